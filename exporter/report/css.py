"""How the page looks on a screen, on a phone (a table becomes one card a row) and on paper."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light; --ink: #1c2733; --soft: #5d6b7a; --line: #dde3ea; --bad: #b3261e; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.2rem; color: var(--ink); background: #fff;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: .3rem 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0; } p { margin: .4rem 0; }
.quiet { color: var(--soft); font-size: .88rem; } .bad { color: var(--bad); font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.tile { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.5rem; } .tile span { color: var(--soft); font-size: .88rem; }
.warning { border-left: .3rem solid #f0b429; background: #fff8e6; padding: .6rem .9rem; }
.warning ul { margin: .3rem 0 0; padding-left: 1.1rem; }
.fine { border-left: .3rem solid #7cb98b; padding: .4rem .9rem; }
.wide { overflow-x: auto; } .wide svg { min-width: 40rem; } svg { width: 100%; height: auto; display: block; }
.legend { font-size: .82rem; } .legend span { margin-right: 1rem; white-space: nowrap; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .3rem; vertical-align: -.05rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20.5rem, 100%), 1fr)); gap: .9rem; }
article { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .8rem; break-inside: avoid;
  min-width: 0; }
article p { font-size: .88rem; } .labels { overflow-wrap: anywhere; }
code { font: .82rem ui-monospace, "DejaVu Sans Mono", monospace; background: #f2f5f8; border-radius: .25rem;
  padding: .05rem .3rem; margin-right: .3rem; overflow-wrap: anywhere; }
.mark { background: var(--bad); color: #fff; border-radius: .6rem; font-size: .72rem; padding: .1rem .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 500; } tr { break-inside: avoid; } h2 { break-after: avoid; }
.bar { display: block; width: 7rem; max-width: 100%; height: .3rem; background: #eef1f5; margin-top: .2rem; }
.bar i { display: block; height: 100%; background: #d9534f; }
@media (max-width: 40rem) {
  .tiles { grid-template-columns: 1fr 1fr; } .cards { grid-template-columns: 1fr; }
  thead { display: none; } tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  td { display: flex; gap: .8rem; border: 0; padding: .1rem 0; } td.empty { display: none; }
  td::before { content: attr(data-label); flex: 0 0 8rem; color: var(--soft); }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; } .cards { grid-template-columns: 1fr 1fr; }
  .wide svg { min-width: 0; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
