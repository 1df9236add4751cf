"""The table that compares detectors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

BEGIN: Final = "<!-- quality: begin, written by make quality -->"
END: Final = "<!-- quality: end -->"


@dataclass(frozen=True)
class Result:
    """One detector on one set; `figures` are those of evaluate.py, `error` says why there are none."""

    detector: str
    data: str
    hold: bool
    figures: dict[str, Any] = field(default_factory=dict)
    microseconds: float = float("nan")
    seconds: float = 0.0
    error: str = ""


def table(results: Sequence[Result]) -> str:
    """Return the comparison as Markdown, a row per detector."""
    by_place = {(each.detector, each.data, each.hold): each for each in results}
    incidents = sorted({each.data for each in results if each.hold})
    ranked = sorted({each.data for each in results if not each.hold})
    heads = ["detector", *(f"{data}: found (by luck) at incidents/week" for data in incidents)]
    heads += ["NAB score of the incidents"] if "nab" in incidents else []
    heads += [f"{data}: recall@7, no hold" for data in ranked] + [f"{data}: µs per sample" for data in incidents]
    heads.append("minutes in all")
    lines = ["| " + " | ".join(heads) + " |", "|-" * len(heads) + "|"]
    for detector in dict.fromkeys(each.detector for each in results):
        found = [by_place.get((detector, data, True)) for data in incidents]
        cells = [f"`{detector}`", *map(_incidents, found)]
        if "nab" in incidents:
            cells.append(_nab(by_place.get((detector, "nab", True))))
        cells += [_ranking(by_place.get((detector, data, False))) for data in ranked]
        cells += ["-" if each is None or each.error else f"{each.microseconds:.0f}" for each in found]
        cells.append(f"{sum(each.seconds for each in results if each.detector == detector) / 60:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def replace_table(page: str, text: str) -> str:
    """Return `page` with `text` between the markers, which are added at its end where there are none."""
    block = f"{BEGIN}\n{text}\n{END}"
    if BEGIN not in page:
        return f"{page.rstrip()}\n\n## Comparison\n\n{block}\n"
    before, _, rest = page.partition(BEGIN)
    return before + block + rest.partition(END)[2]


def _incidents(result: Result | None) -> str:
    if result is None or "incidents" not in result.figures:
        return "-"
    found = result.figures["incidents"]
    return f"{found['recall']:.2f} ({found['floor']:.2f}) at {found['opened_per_week']:.2f}"


def _nab(result: Result | None) -> str:
    nab = {} if result is None else result.figures.get("incidents", {}).get("nab", {})
    return f"{nab['standard']:.1f}" if nab else "-"


def _ranking(result: Result | None) -> str:
    return "-" if result is None or result.error else f"{result.figures['detector']['recall@7']:.2f}"
