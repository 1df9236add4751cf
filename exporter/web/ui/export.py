"""Past incidents as files: a table for people, and an incidents file for `backtest`."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import yaml

from exporter.json_values import utc
from exporter.sinks.audit_rows import text_cell
from exporter.sinks.feedback import Feedback
from exporter.web.ui.answers import PastIncident
from exporter.web.ui.feedback_answers import Answer

_OF_ANSWERS = (
    *("at", "kind", "job", "labels", "since", "over", "who", "why", "told", "stands", "until", "undone", "undone_by"),
    *("id", "link"),
)
_HALF: Final = re.compile("[\ud800-\udfff]")
_COLUMNS = (
    "since",
    "until",
    "seconds",
    "job",
    "labels",
    "alerted",
    "ending",
    "score",
    "severity",
    "why",
    "link",
    "answered",
)


def as_csv(incidents: Sequence[PastIncident]) -> str:
    """Return a table that no spreadsheet runs: text is written as in the audit file."""
    rows = [",".join(_COLUMNS)]
    for each in incidents:
        values = (getattr(each, name) for name in _COLUMNS)
        rows.append(",".join(_cell(value) for value in values))
    return "\n".join(rows) + "\n"


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool | int | float):
        return "" if value is None else str(value).lower()
    return text_cell(" ".join(value) if isinstance(value, list) else value)


def _patterns(labels: Mapping[str, str]) -> dict[str, str]:
    """Return regular expressions of the labels; half a surrogate pair is any character, since no YAML has it."""
    return {name: _HALF.sub(".", re.escape(value)) for name, value in labels.items()}


def as_incidents_file(incidents: Sequence[PastIncident]) -> str:
    """Return what `--incidents` reads: beginning, end and labels, whose values are regular expressions there."""
    found = [
        {
            "start": each.since,
            "end": each.until,
            "labels": _patterns(each.labels),
        }
        for each in incidents
        if each.since is not None and each.until is not None
    ]
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=False, width=1000)


def answers_as_csv(answers: Sequence[Answer]) -> str:
    """Return a table of answers that no spreadsheet runs."""
    rows = [",".join(_OF_ANSWERS)]
    rows += [",".join(_cell(getattr(each, name)) for name in _OF_ANSWERS) for each in answers]
    return "\n".join(rows) + "\n"


def labels_file(feedback: Sequence[Feedback], ended: Mapping[str, float]) -> str:
    """Return the real incidents as `--incidents` and `train.incidents` read them.

    `ended` (Unix seconds, by id) is when those ended that were open when they were answered.
    """
    found = [
        {
            "start": utc(each.since),
            "end": utc(ended[each.id]),
            "labels": _patterns(each.labels),
        }
        for each in feedback
        if each.kind == "incident" and each.undone is None and each.id in ended
    ]
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=False, width=1000)
