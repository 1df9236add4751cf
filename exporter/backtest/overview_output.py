"""The incidents of all jobs as tables for people and as JSON for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from detectors.types import Key
from exporter.backtest.overview import NOTHING, TOO_LITTLE, JobAnswer, Overview
from exporter.backtest.past_incidents import PastIncident
from exporter.config.sections.job import JobConfig
from exporter.json_values import finite
from exporter.promql import format_duration
from exporter.redact import printable

_MOST_ROWS: Final = 100
"""Incidents listed besides alerts; the JSON has all of them."""
_WIDE: Final = 110
"""Columns of a terminal from which on the evidence of an incident stands next to it; the JSON always has it."""
_STYLE: Final[dict[str, Any]] = {"box": None, "pad_edge": False, "title_justify": "left", "title_style": "bold"}


def as_tables(found: Overview, console: Console) -> None:
    """Print the incidents, the earliest first, and below them a row for each job with its alerts and its budget."""
    configs = {job.name: job.config for job in found.jobs}
    console.print(Text(_headline(found), "bold"), soft_wrap=True)
    if shown := _shown(found.incidents):
        console.print(_incidents(shown, configs, with_evidence=console.width >= _WIDE))
        if rest := len(found.incidents) - len(shown):
            console.print(f"… and {rest:,} less severe incidents that were no alerts, see --json")
    console.print(_jobs(found))


def as_json(found: Overview) -> str:
    """Return a JSON object with the time range, `incidents` and `jobs`; what cannot be said is null."""
    configs = {job.name: job.config for job in found.jobs}
    seconds = found.seconds
    return json.dumps(
        {
            "from": _iso(found.start),
            "to": _iso(found.end),
            "alerts": found.alerts if found.code != NOTHING else None,
            "budget": finite(found.budget),
            "jobs": [
                {
                    "name": job.name,
                    "entities": len(job.past.entities),
                    "judged": job.past.share_judged,
                    "incidents": len(job.past.found) if job.past.judged else None,
                    "alerts": job.past.alerts if job.past.judged else None,
                    "budget": finite(job.budget(seconds)),
                    "error": job.error or None,
                }
                for job in found.jobs
            ],
            "incidents": [_object(incident, configs[incident.job]) for incident in found.incidents],
        },
        indent=1,
    )


def gaps(found: Overview) -> list[str]:
    """Return a line for every job that was not judged to the end, and for entities that were not judged at all."""
    lines = []
    for job in found.jobs:
        past, reached = job.past, ""
        if job.error:
            if past.judged:
                reached = f"judged up to {stamp(past.last)} UTC only: "
            lines.append(f"job {job.name}: {reached}{printable(job.error)}")
        elif past.unscored:
            names = "; ".join(entity_text(key) for key in sorted(past.unscored)[:3]) + "; …" * (len(past.unscored) > 3)
            count = f"{len(past.unscored):,} of {len(past.entities):,} entities"
            lines.append(f"warning: job {job.name}: no score at all for {count} ({names}): {TOO_LITTLE}")
    return lines


def stamp(seconds: float) -> str:
    """Write a time, given in Unix seconds."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def why(incident: PastIncident, job: JobConfig) -> str:
    """Say why an incident was no alert, or how long it took to become one."""
    if incident.alerted:
        after = incident.fired - incident.start
        return f"after {format_duration(after)}" if after >= 1 else "at once"
    if not math.isnan(incident.held_since):
        return f"over before its for of {format_duration(job.alert.for_)}"
    if math.isinf(incident.needed):
        return "no severity is rare enough for the budget"
    return f"the budget asks for a severity of {_number(incident.needed)}"


def _headline(found: Overview) -> str:
    alerts, incidents = found.alerts, len(found.incidents)
    budget = "" if math.isnan(found.budget) else f" (budget {found.budget:.3g})"
    missing = sum(bool(job.error) for job in found.jobs)
    return (
        f"{stamp(found.start)} to {stamp(found.end)} UTC: {alerts:,} alert{'s' * (alerts != 1)}{budget}, "
        f"{incidents:,} incident{'s' * (incidents != 1)}"
        + (f"; {missing} of {len(found.jobs)} jobs are missing or incomplete" if missing else "")
    )


def _shown(incidents: Sequence[PastIncident]) -> list[PastIncident]:
    """Return all alerts and the most severe of the others, in the order of `incidents`."""
    others = sorted((each for each in incidents if not each.alerted), key=lambda each: -each.severity)
    listed = {id(each) for each in others[:_MOST_ROWS]}
    return [each for each in incidents if each.alerted or id(each) in listed]


def _incidents(shown: Sequence[PastIncident], configs: Mapping[str, JobConfig], with_evidence: bool) -> Table:
    table = Table(**_STYLE)
    table.add_column("start, UTC", no_wrap=True)
    table.add_column("length", justify="right", no_wrap=True)
    table.add_column("entity", overflow="fold", min_width=12)
    table.add_column("job", overflow="fold", min_width=8)
    table.add_column("severity", justify="right", no_wrap=True)
    table.add_column("alert", overflow="fold", min_width=18)
    if with_evidence:
        table.add_column("strongest evidence", overflow="fold", min_width=18)
    for each in shown:
        table.add_row(
            stamp(each.start),
            format_duration(60 * round(each.seconds / 60) or round(each.seconds)) + (" …" if each.still_open else ""),
            Text(entity_text(each.key)),
            Text(each.job),
            _number(each.severity),
            Text(f"{'yes' if each.alerted else 'no'}: {why(each, configs[each.job])}"),
            *([Text(printable(each.streams[0].text) if each.streams else "-")] if with_evidence else []),
            style="bold" if each.alerted else "",
        )
    return table


def _jobs(found: Overview) -> Table:
    table = Table(**_STYLE)
    table.add_column("job", overflow="fold")
    for heading in ("entities", "judged", "incidents", "alerts", "budget"):
        table.add_column(heading, justify="right", no_wrap=True)
    for job in found.jobs:
        table.add_row(*_cells(job, found.seconds))
    if len(found.jobs) > 1:
        table.add_section()
        entities = sum(len(job.past.entities) for job in found.jobs)
        table.add_row(
            f"all {len(found.jobs)}", f"{entities:,}", "", f"{len(found.incidents):,}", f"{found.alerts:,}",
            _number(found.budget),
        )  # fmt: skip
    return table


def _cells(job: JobAnswer, seconds: float) -> tuple[Text | str, ...]:
    past = job.past
    entities, budget = f"{len(past.entities):,}" if past.entities else "unknown", _number(job.budget(seconds))
    if not past.judged:
        return Text(job.name), entities, "never", "unknown", "unknown", budget
    share = f"{math.floor(100 * past.share_judged)} %"
    return Text(job.name), entities, share, f"{len(past.found):,}", f"{past.alerts:,}", budget


def entity_text(key: Key) -> str:
    """Write the labels of an entity."""
    return printable(", ".join(f"{name}={value}" for name, value in key)) or "the only series"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _iso(seconds: float) -> str | None:
    return None if math.isnan(seconds) else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _object(incident: PastIncident, job: JobConfig) -> dict[str, object]:
    return {
        "job": incident.job,
        "labels": dict(incident.key),
        "start": _iso(incident.start),
        "end": None if incident.still_open else _iso(incident.end),
        "seconds": incident.seconds,
        "severity": incident.severity,
        "alert": incident.alerted,
        "alert_since": _iso(incident.fired),
        "severity_needed": None if incident.alerted else finite(incident.needed),
        "why": why(incident, job),
        "worst": _iso(incident.worst),
        "streams": [
            {"name": each.name, "channel": each.channel, "size": each.size, "every": each.every, "text": each.text}
            for each in incident.streams
        ],
    }
