/* Completes the word before the caret from the names of metrics that the source knows, by keyboard or pointer. */
"use strict";
const list = document.getElementById("completions"), told = document.getElementById("completed");
let field = null, word = "", active = -1;

function close() {
  list.hidden = true;
  list.replaceChildren();
  active = -1;
  field?.setAttribute("aria-expanded", "false");
  field?.removeAttribute("aria-activedescendant");
}

function wordOf() {
  return /[A-Za-z_:][A-Za-z0-9_:]*$/.exec(field.value.slice(0, field.selectionStart))?.[0] || "";
}

function point(at) {
  const options = [...list.children];
  active = (at + options.length) % options.length;
  options.forEach((each, place) => each.setAttribute("aria-selected", String(place === active)));
  options[active].scrollIntoView({ block: "nearest" });
  field.setAttribute("aria-activedescendant", options[active].id);
}

function take(option) {
  const end = field.selectionStart, start = end - wordOf().length;
  field.setRangeText(option.dataset.name, start, end, "end");
  told.textContent = "";
  close();
}

async function look() {
  word = wordOf();
  if (word.length < 2) { close(); told.textContent = ""; return; }
  const asked = word;
  const answer = await fetch("api/v1/preview/metrics?" + new URLSearchParams({ part: asked }), { cache: "no-store" }).catch(() => null);
  if (asked !== word || document.activeElement !== field) return;
  if (!answer || !answer.ok) { close(); told.textContent = "The names of metrics cannot be read now."; return; }
  const found = await answer.json();
  if (asked !== word) return;
  const metrics = found.metrics.filter((each) => each.name !== asked).slice(0, 12);
  told.textContent = metrics.length ? `${found.total} metrics match; choose with the arrow keys` : "No other metric matches.";
  if (!metrics.length) { close(); return; }
  list.replaceChildren(...metrics.map((each, at) => {
    const option = document.createElement("li"), about = document.createElement("span");
    option.id = `completion-${at}`;
    option.dataset.name = each.name;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    about.textContent = [each.type, each.help].filter(Boolean).join(": ").slice(0, 160);
    option.append(each.name, about);
    option.addEventListener("pointerdown", (event) => { event.preventDefault(); take(option); });
    return option;
  }));
  active = -1;
  field.parentElement.append(list);
  list.hidden = false;
  field.setAttribute("aria-expanded", "true");
}

function key(event) {
  if (list.hidden) return;
  const to = { ArrowDown: active + 1, ArrowUp: Math.max(active, 0) - 1 }[event.key];
  if (to !== undefined) { event.preventDefault(); point(to); }
  else if (event.key === "Escape") { event.preventDefault(); close(); }
  else if ((event.key === "Enter" || event.key === "Tab") && active >= 0) { event.preventDefault(); take(list.children[active]); }
}

for (const each of document.querySelectorAll("[data-completes]")) {
  for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", "completions"], ["aria-expanded", "false"]]) each.setAttribute(name, value);
  each.addEventListener("focus", () => { field = each; });
  each.addEventListener("input", () => { field = each; look(); });
  each.addEventListener("keydown", key);
  each.addEventListener("blur", close);
}
