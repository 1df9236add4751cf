/* Reads and zooms the graphs of a series: a cursor through all of them, and a range that is drawn. Without it all still works. */
"use strict";
const place = document.querySelector("[data-curves]");
const plots = [...document.querySelectorAll(".plot")];
const readout = document.createElement("p");
let curves = null, at = null, anchor = null, drawing = false;

function moment(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
}

function nearest(seconds) {
  let best = 0;
  curves.times.forEach((time, index) => { if (Math.abs(time - seconds) < Math.abs(curves.times[best] - seconds)) best = index; });
  return best;
}

function share(seconds) {
  return Math.min(Math.max((seconds - curves.start) / (curves.end - curves.start), 0), 1);
}

function draw() {
  for (const plot of plots) {
    const cursor = plot.querySelector(".cursor"), brush = plot.querySelector(".brush");
    cursor.hidden = at === null;
    brush.hidden = anchor === null || anchor === at;
    if (at === null) continue;
    const here = share(curves.times[at]);
    cursor.style.left = `${100 * here}%`;
    if (anchor !== null) {
      const there = share(curves.times[anchor]);
      brush.style.left = `${100 * Math.min(here, there)}%`;
      brush.style.width = `${100 * Math.abs(here - there)}%`;
    }
  }
  readout.textContent = at === null ? hint : curves.told[at] + (anchor !== null && anchor !== at ? ` · from ${moment(curves.times[anchor])}: Enter zooms` : "");
}

function zoom() {
  const ends = [curves.times[at], curves.times[anchor]].sort((one, other) => one - other);
  const range = Math.max(Math.ceil(ends[1] - ends[0]), 60);
  location.assign(`${place.dataset.link}&range=${range}&end=${Math.ceil(ends[1])}`);
}

function pointed(event) {
  const box = event.currentTarget.getBoundingClientRect();
  return nearest(curves.start + (event.clientX - box.left) / box.width * (curves.end - curves.start));
}

function keyed(event) {
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
  const last = curves.times.length - 1;
  if (event.key in steps) {
    const before = at ?? last;
    if (event.shiftKey) anchor ??= before; else anchor = null;
    at = Math.min(Math.max((at ?? last) + (at === null ? 0 : steps[event.key]), 0), last);
  } else if (event.key === "Enter" && anchor !== null && anchor !== at) zoom();
  else if (event.key === "Escape") at = anchor = null;
  else return;
  event.preventDefault();
  draw();
}

const hint = "Point at a graph to read it, drag to zoom; by keyboard: arrows, with Shift to mark, Enter to zoom.";

function listen(plot) {
  for (const name of ["cursor", "brush"]) {
    const mark = document.createElement("i");
    mark.className = name;
    mark.hidden = true;
    plot.append(mark);
  }
  plot.tabIndex = 0;
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", "graph; arrows read it");
  plot.addEventListener("pointermove", (event) => { at = pointed(event); draw(); });
  plot.addEventListener("pointerleave", () => { if (!drawing) { at = anchor = null; draw(); } });
  plot.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    plot.setPointerCapture(event.pointerId);
    drawing = true;
    anchor = at = pointed(event);
    draw();
  });
  plot.addEventListener("pointerup", (event) => {
    drawing = false;
    at = pointed(event);
    if (anchor !== null && Math.abs(at - anchor) > 1) zoom();
    else { anchor = null; draw(); }
  });
  plot.addEventListener("pointercancel", () => { drawing = false; at = anchor = null; draw(); });
  plot.addEventListener("keydown", keyed);
}

async function start() {
  try {
    const answer = await fetch(place.dataset.curves, { signal: AbortSignal.timeout(20000) });
    if (!answer.ok) return;
    curves = await answer.json();
  } catch { return; }
  if (!curves.times.length) return;
  readout.className = "readout";
  readout.setAttribute("role", "status");
  place.before(readout);
  plots.forEach(listen);
  draw();
}

if (place && plots.length) start();
