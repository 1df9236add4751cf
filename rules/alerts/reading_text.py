"""What the text of an alert tells of the worst reading of its incident, and since when it lasts, as a template."""

from collections.abc import Mapping
from typing import Final

from exporter import incident_wording as wording
from exporter.promql import quote
from exporter.query_units import Unit
from rules.alerts.number_templates import template_name
from rules.alerts.templates import picked, plain, then

NO_READING: Final = "its worst reading is not known: see the graph"
_LIMITS: Final = ("lower", "upper")
_FIGURES: Final = ("value", "expected", *_LIMITS, "contribution")


def worst(units: Mapping[str, Unit]) -> str:
    """Return what was observed, expected and normal at the worst reading; see `wording.reading`."""
    several = len(units) > 1
    worst = wording.WORST.format(
        at=_moment("at"),
        readings=_readings(units) if several else _reading(*next(iter(units.items())), several=False),
        score='{{ template "number" $score }}',
    )
    return then() + "{{ if gt $at 0.0 }}" + worst + "{{ else }}" + NO_READING + "{{ end }}"


def _moment(name: str) -> str:
    return "{{ (toTime $" + name + ").UTC.Format $layout }}"


def lasting() -> str:
    """Return since when the incident lasts, or from when to when it did."""
    blanks = {"start": _moment("start"), "end": _moment("end"), "length": '{{ template "length" $length }}'}
    ended, is_open = wording.FROM.format(**blanks), wording.SINCE.format(**blanks)
    return "{{ if gt $end $start }}" + ended + "{{ else }}" + is_open + "{{ end }}"


def _readings(units: Mapping[str, Unit]) -> str:
    """Return what those channels showed that have a reading."""
    separated = '{{ $between := "" }}'
    for name, unit in units.items():
        text = plain(f"{name}: ") + _reading(name, unit, several=True)
        separated += (
            _values(name, several=True)
            + "{{ if or $value_there $expected_there }}{{ $between }}{{ $between = "
            + quote(wording.BETWEEN)
            + " }}"
            + text
            + "{{ end }}"
        )
    return separated


def _values(channel: str, several: bool) -> str:
    """Set `$value`, `$value_there` and so on for one channel."""
    figures = {name: f"anomaly_incident_{name}" for name in _FIGURES}
    return picked(figures, channel if several else None, there=True)


def _reading(channel: str, unit: Unit, several: bool) -> str:
    """Return what a channel showed; see `wording.reading`."""
    blanks = {
        name: '{{ template "' + template_name(unit) + '" $' + name + " }}" for name in ("value", "expected", *_LIMITS)
    }
    inside = "and $value_there (or $lower_there $upper_there)"
    below, above = "(and $lower_there (lt $value $lower))", "(and $upper_there (gt $value $upper))"
    return "".join(
        (
            "" if several else _values(channel, several=False),
            "{{ if $value_there }}" + wording.OBSERVED.format(**blanks) + "{{ else }}" + wording.MISSING + "{{ end }}",
            "{{ if $expected_there }}" + wording.EXPECTED.format(**blanks) + "{{ end }}",
            "{{ if " + inside + f" (not (or {below} {above}))" + " }}" + wording.TOGETHER,
            "{{ else if and $lower_there $upper_there }}" + wording.BAND.format(**blanks),
            "{{ else if $lower_there }}" + wording.AT_LEAST.format(**blanks),
            "{{ else if $upper_there }}" + wording.AT_MOST.format(**blanks) + "{{ end }}",
            _share() if several else "",
        )
    )


def _share() -> str:
    shown = wording.SHARE.format(contribution="{{ humanizePercentage $contribution }}")
    return "{{ if $contribution_there }}" + shown + "{{ end }}"
