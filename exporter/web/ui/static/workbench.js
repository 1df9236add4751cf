/* Completion, progress and moves of the workbench. Without it the forms do the same, a page at a time. */
"use strict";
const main = document.getElementById("main");
const POLL = 700;
let moving = null;

/* Puts the fresh parts into the page; fields that somebody is in stay as they are. */
function show(html, parts) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const id of parts) {
    const old = document.getElementById(id), made = fresh.getElementById(id);
    if (old && made) old.replaceWith(made); else if (!old && made) document.getElementById("result").replaceChildren(...fresh.body.childNodes);
  }
  return fresh;
}

function question() {
  const form = document.getElementById("choice");
  const found = new URLSearchParams(form ? new FormData(form) : "");
  found.set("preview", document.getElementById("state").dataset.preview);
  return found;
}

async function part(signal) {
  const answer = await fetch("workbench-part?" + question(), { cache: "no-store", signal });
  return { ok: answer.ok, text: await answer.text() };
}

async function follow() {
  const state = document.getElementById("state");
  if (!state || state.dataset.going !== "1") return;
  try {
    const { ok, text } = await part(AbortSignal.timeout(15000));
    if (ok) {
      const had = document.getElementById("choice");
      const made = show(text, ["state", "decided"]);
      if (!had && made.getElementById("choice")) sliders();
    } else {
      state.replaceChildren(...new DOMParser().parseFromString(text, "text/html").getElementById("main").childNodes);
      state.dataset.going = "0";
    }
  } catch { /* the next one tries again */ }
  setTimeout(follow, POLL);
}

async function move() {
  if (moving) moving.abort();
  moving = new AbortController();
  try {
    const { ok, text } = await part(moving.signal);
    if (ok) show(text, ["decided"]);
    history.replaceState(null, "", "workbench?" + new URLSearchParams([...new URLSearchParams(location.search)].filter(([name]) => !question().has(name)).concat([...question()])));
  } catch (error) { if (error.name !== "AbortError") throw error; }
}

/* A slider next to each number: it moves in parts of what there is, small ones first. */
function sliders() {
  const form = document.getElementById("choice");
  if (!form || form.dataset.ready) return;
  form.dataset.ready = "1";
  const largest = Number(form.dataset.largest) || 1;
  for (const [name, most] of [["least_deviation", largest], ["budget", 20]]) {
    const field = form.elements[name], slider = document.createElement("input");
    slider.type = "range"; slider.min = 0; slider.max = 100; slider.setAttribute("aria-label", field.parentElement.firstChild.textContent.trim());
    const place = () => { slider.value = 100 * Math.cbrt(Math.min(Number(field.value) / most, 1)); };
    place();
    slider.addEventListener("input", () => { field.value = Number((most * (slider.value / 100) ** 3).toPrecision(3)) || (name === "budget" ? 0.001 : 0); move(); });
    field.addEventListener("input", place);
    field.after(slider);
  }
  form.addEventListener("input", (event) => { if (event.target.name && event.target.checkValidity()) move(); });
  form.addEventListener("submit", (event) => { event.preventDefault(); move(); });
}

/* Completes the word before the caret from the names of metrics that the source knows. */
function completion() {
  const field = document.getElementById("expr"), list = document.getElementById("completions");
  if (!field) return;
  const jobs = [...list.children];
  let last = "";
  field.addEventListener("input", async () => {
    const before = field.value.slice(0, field.selectionStart), word = /[A-Za-z_:][A-Za-z0-9_:]*$/.exec(before)?.[0] || "";
    if (word.length < 2 || word === last) { if (word.length < 2) list.replaceChildren(...jobs); return; }
    last = word;
    const answer = await fetch("api/v1/preview/metrics?" + new URLSearchParams({ part: word }), { cache: "no-store" });
    if (!answer.ok || word !== last) return;
    const start = field.value.slice(0, field.selectionStart - word.length), end = field.value.slice(field.selectionStart);
    list.replaceChildren(...(await answer.json()).metrics.map((each) => {
      const option = document.createElement("option");
      option.value = start + each.name + end;
      option.textContent = [each.type, each.help].filter(Boolean).join(": ").slice(0, 120);
      return option;
    }));
  });
}

completion();
sliders();
follow();
