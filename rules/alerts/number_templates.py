"""Templates that write numbers, lengths of time and streams of evidence as `exporter.incident_wording` does."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from exporter import incident_wording as wording
from exporter.promql import quote
from exporter.query_units import Unit


def definitions(units: Iterable[Unit], streams: Sequence[str]) -> str:
    """Return a template for each unit, which writes a number as `wording.number` does, and others for what is written.

    They are for lengths of time, and for name, size and frequency of a stream of evidence.
    """
    made: dict[str, str] = {}
    named = "{{ else if ".join(f"eq . {at}.0 }}}}{name}" for at, name in enumerate(streams))
    made |= {"stream": "{{ if " + named + "{{ end }}", "deviations": _DEVIATIONS, "often": _often()}
    return number_definitions(units) + _defined(made)


def number_definitions(units: Iterable[Unit]) -> str:
    """Return the templates that write numbers of these units and of none, and lengths of time."""
    made = {template_name(unit): _NUMBERS[unit] for unit in sorted({"", *units})}
    return _defined({**made, "length": _humanized((wording.WHOLE_MINUTES, *wording.LENGTH))})


def _defined(made: Mapping[str, str]) -> str:
    return "".join('{{ define "' + name + '" }}' + text + "{{ end }}" for name, text in made.items())


def _humanized(replacements: Iterable[tuple[str, str]]) -> str:
    pipe = "".join(f" | reReplaceAll {quote(old)} {quote(new)}" for old, new in replacements)
    return "{{ humanizeDuration ." + pipe + " }}"


_UNSIGNED: Final = ' | reReplaceAll "^-" "" }}'
_DEVIATIONS: Final = (
    f"{{{{ if and (gt . -{wording.WITH_DIGIT}) (lt . {wording.WITH_DIGIT}) }}}}"
    "{{ printf `%.1f` ." + _UNSIGNED + f"{{{{ else if and (gt . -{wording.LARGE}) (lt . {wording.LARGE}) }}}}"
    "{{ printf `%.0f` ." + _UNSIGNED + "{{ else }}{{ humanize ." + _UNSIGNED + "{{ end }}"
)
"""As `wording.deviations` writes a size."""


def _often() -> str:
    """Return a template that writes what `wording.often` does; templates cannot divide, queries can."""
    parts = ["{{ if lt . " + f"{wording.OFTEN_BELOW}" + " }}" + wording.OFTEN]
    for longest, seconds, unit in wording.SPANS:
        many = wording.MANY.format(count="{{ printf `%.0f` .Value }}", unit=unit)
        counted = f"{{{{ range query (printf `floor(vector(%f / {seconds:.0f}) + 0.5)` .) }}}}"
        once = "{{ if lt .Value 1.5 }}" + wording.ONCE.format(one=wording.ONE[unit])
        parts.append(
            "{{ else if lt . " + f"{longest}" + " }}" + counted + once + "{{ else }}" + many + "{{ end }}{{ end }}"
        )
    return "".join(parts) + "{{ else }}" + wording.NEVER + "{{ end }}"


_BYTES: Final = (
    "{{ if or (ge . 1024.0) (le . -1024.0) }}"
    '{{ humanize1024 . | reReplaceAll "k" "K" | reReplaceAll "([A-Z])" " ${1}" }}B'
    "{{ else }}{{ printf `%.4g` . }} B{{ end }}"
)
_NUMBERS: Final[Mapping[Unit, str]] = {
    "": "{{ if or "
    + f"(ge . {wording.LARGE}) (le . -{wording.LARGE})"
    + " }}{{ humanize . }}{{ else }}{{ printf `%.4g` . }}{{ end }}",
    "bytes": _BYTES,
    "bytes per second": _BYTES + "/s",
    "seconds": _humanized(wording.LENGTH),
    "ratio": "{{ humanizePercentage . }}",
}


def template_name(unit: Unit) -> str:
    """Return the name of the template that writes numbers of a unit."""
    return unit.replace(" ", "-") or "number"
