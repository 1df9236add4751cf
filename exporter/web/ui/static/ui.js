/* Fetches the page again while it is looked at, and says so when the exporter does not answer. Without it all still works. */
"use strict";
const every = Number(document.body.dataset.refresh || 0) * 1000;
const lost = document.getElementById("lost");
let shown = new Date();

async function refresh() {
  if (document.hidden) return;
  const main = document.getElementById("main");
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const open = [...main.querySelectorAll("details")].map((each) => each.open);
    const fresh = page.getElementById("main");
    fresh.querySelectorAll("details").forEach((each, at) => { each.open = Boolean(open[at]); });
    const focused = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    main.replaceWith(fresh);
    if (focused) [...fresh.querySelectorAll("a")].find((each) => each.getAttribute("href") === focused)?.focus({ preventScroll: true });
    document.title = page.title;
    shown = new Date();
    lost.hidden = true;
  } catch {
    lost.querySelector("span").textContent = shown.toISOString().slice(0, 16).replace("T", " ") + " UTC";
    lost.hidden = false;
  }
}

if (every) {
  setInterval(refresh, every);
  document.addEventListener("visibilitychange", refresh);
}
