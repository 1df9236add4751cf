/* Progress and moves of the workbench. Without it the forms do the same, a page at a time. */
"use strict";
const main = document.getElementById("main");
const POLL = 700;
let moving = null;

/* Puts the fresh parts into the page; fields that somebody is in stay as they are. */
function show(html, parts) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  const missing = parts.some((id) => fresh.getElementById(id) && !document.getElementById(id));
  if (missing) document.getElementById("result").replaceChildren(...fresh.body.childNodes);
  else for (const id of parts) {
    const made = fresh.getElementById(id);
    if (made) document.getElementById(id).replaceWith(made);
  }
  offer();
}

function offer() {
  const button = document.getElementById("copy");
  if (button) button.hidden = false;
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
      show(text, ["state", "decided"]);
      if (!had) sliders();
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

/* Copies what is to be put into the configuration file; where the browser gives no clipboard it is selected. */
function copying() {
  document.addEventListener("click", async (event) => {
    if (event.target.id !== "copy") return;
    const text = document.getElementById("job-yaml");
    getSelection().selectAllChildren(text);
    try { await navigator.clipboard.writeText(text.textContent); event.target.textContent = "Copied"; }
    catch { event.target.textContent = "Selected: copy it with Ctrl+C"; }
  });
}

copying();
offer();
sliders();
follow();
