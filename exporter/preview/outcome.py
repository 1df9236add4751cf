"""What was found on a tape, by whatever settings: incidents, and the curves of the worst series."""

import math
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from detectors.types import Floats, Judgement
from detectors.units import WEEK
from exporter import incident_wording as wording
from exporter.backtest.overview_output import why
from exporter.backtest.past_incidents import NEVER, PastIncident
from exporter.config.sections.job import JobConfig
from exporter.json_values import finite, utc
from exporter.pipeline.normal_band import normal_band
from exporter.pipeline.policy import Policy
from exporter.preview.alerts import Alerts, Budgeting
from exporter.preview.incidents import Deciding, Opened
from exporter.preview.tape import Tape
from exporter.preview.worst import evidence, worst_column
from exporter.query_units import quantity_of
from exporter.web.ui.answers import Stream
from exporter.web.ui.bench import Choice
from exporter.web.ui.preview_answers import Decided, PreviewCurve, PreviewIncident, PreviewSeries

MOST_LISTED: Final = 200
"""Incidents in an answer: all alerts first, then the most severe."""
DRAWN: Final = 6
"""Series with a curve, where nobody asks for others."""
_POINTS: Final = 360
"""Samples of a curve."""


class Outcome:
    """Decides on a tape again and again.

    Parameters
    ----------
    name : str
        Of the job.
    job : JobConfig
        The settings of the replay.
    tape : Tape
    first : int
        Column from which on verdicts are shown; what came before was history.
    rough : str
        What is to be said of the replay as a whole, "" where it is one at the job's own step.
    """

    def __init__(self, name: str, job: JobConfig, tape: Tape, first: int, rough: str = "") -> None:
        self.name, self.job, self.tape, self.first, self._rough = name, job, tape, first, rough
        self._keys = tuple(tape.keys)
        self._deciding = Deciding(tape, job)
        self._budgeting = Budgeting(self._keys, tape["there"], job)
        self._known: tuple[object, tuple[Opened, Floats]] | None = None

    def settings(self, choice: Choice) -> JobConfig:
        """Return the settings of the replay with those of `choice`."""
        return self.job.model_copy(
            update={
                "direction": choice.direction,
                "least_deviation": choice.least_deviation,
                "budget": choice.budget,
            }
        )

    def verdicts(self, job: JobConfig) -> tuple[Opened, Alerts, Floats]:
        """Return incidents, alerts, and from when on entities would have learnt otherwise, shape (E,)."""
        wanted = job.direction, job.least_deviation
        if self._known is None or self._known[0] != wanted:  # another budget opens no other incidents
            self._known = wanted, self._deciding.decide(job)
        opened, differs = self._known[1]
        return opened, self._budgeting.decide(opened, job), differs

    def decide(self, choice: Choice, rows: Sequence[int] = ()) -> Decided:
        """Return what would have been found, with the curves of `rows`."""
        began = time.perf_counter()
        job = self.settings(choice)
        opened, alerts, differs = self.verdicts(job)
        incidents = self._incidents(job, opened, alerts)
        series = self._series(opened, alerts)
        notes = [self._rough] if self._rough else _differing(differs)
        start, end = float(self.tape.times[self.first]), float(self.tape.times[-1])
        chosen = [row for row in rows if 0 <= row < len(self._keys)] or [each.row for each in series[:DRAWN]]
        return Decided(
            direction=choice.direction,
            least_deviation=choice.least_deviation,
            budget=choice.budget,
            exact=not notes,
            notes=notes,
            alerts=sum(each.fired > start for each in incidents),
            allowed=(end - start) / WEEK * job.budget,
            found=len(incidents),
            incidents=[told(self._with_evidence(each, job, opened), job) for each in _listed(incidents)],
            series=series,
            curves=[curve for row in chosen for curve in self._curves(job, row)],
            milliseconds=round(1000 * (time.perf_counter() - began), 1),
        )

    def _incidents(self, job: JobConfig, opened: Opened, alerts: Alerts) -> list[PastIncident]:
        """Return the incidents of the range that is shown, as `PastIncidents` collects them verdict by verdict."""
        times, found = self.tape.times, []
        last = len(times) - 1
        for each in np.flatnonzero(opened.end > self.first).tolist():
            part = slice(int(opened.at[each]), int(opened.at[each + 1]))
            seen = opened.column[part] >= self.first
            column, alert = opened.column[part][seen], alerts.alert[part][seen]
            if job.alerting_metric == "flag":
                alert = np.ones_like(alert)
            held = times[column[alert.argmax()]] if alert.any() else NEVER
            late = column[alert][times[column[alert]] - held >= job.alert.for_]
            over = int(opened.end[each])
            found.append(
                PastIncident(
                    self.name,
                    self._keys[opened.entity[each]],
                    float(times[opened.first[each]]),
                    float(times[min(over, last)]),
                    still_open=over > last,
                    severity=float(opened.severity[part][seen].max()),
                    needed=math.nan if alert[0] else float(alerts.needed[each]),
                    held_since=float(held),
                    fired=float(times[late[0]]) if len(late) else NEVER,
                )
            )
        return sorted(found, key=lambda incident: (incident.start, incident.key))

    def _with_evidence(self, incident: PastIncident, job: JobConfig, opened: Opened) -> PastIncident:
        """Add what the worst reading is made of, which takes too long to be done for all."""
        row, first = self.tape.keys[incident.key], np.searchsorted(self.tape.times, incident.start)
        each = int(np.flatnonzero((opened.entity == row) & (opened.first == first))[0])
        part = slice(int(opened.at[each]), int(opened.at[each + 1]))
        column = worst_column(self.tape, job, row, opened.column[part], opened.cautious[part])
        if column is not None:
            incident.worst = float(self.tape.times[column])
            incident.streams = evidence(self.tape, job, incident.key, row, column)
        return incident

    def _series(self, opened: Opened, alerts: Alerts) -> list[PreviewSeries]:
        times, step = self.tape.times, self.job.step
        every = [PreviewSeries(row, dict(key), 0, 0, 0.0, [], []) for row, key in enumerate(self._keys)]
        for each in np.flatnonzero(opened.end > self.first).tolist():
            part = slice(int(opened.at[each]), int(opened.at[each + 1]))
            seen = opened.column[part] >= self.first
            column, alert = opened.column[part][seen], alerts.alert[part][seen]
            series = every[opened.entity[each]]
            series.incidents += 1
            series.severity = max(series.severity, float(opened.severity[part][seen].max()))
            series.open.append([float(times[column[0]] - step), float(times[column[-1]])])
            if alert.any():
                series.alerts += 1
                series.alert.append([float(times[column[alert.argmax()]] - step), float(times[column[-1]])])
        return sorted(every, key=lambda series: (-series.alerts, -series.severity, series.row))

    def _curves(self, job: JobConfig, row: int) -> list[PreviewCurve]:
        """Return the curves of a series: of each part of the range the most unusual sample."""
        tape, policy = self.tape, Policy.of(job)
        score = np.nan_to_num(tape["score"][self.first :, row], nan=-1.0)
        size = max(math.ceil(len(score) / _POINTS), 1)
        padded = np.pad(score, (0, -len(score) % size), constant_values=-2.0).reshape(-1, size)
        at = self.first + np.arange(len(padded)) * size + padded.argmax(axis=1)
        parts = {name: tape[name][at, row] for name in ("value", "expected", "lower", "upper", "contribution")}
        value = parts.pop("value")
        lower, upper = normal_band(policy, Judgement(tape["score"][at, row], **parts))
        return [
            PreviewCurve(
                row=row,
                channel=channel,
                unit=quantity_of(expr, job.rate).unit,
                times=tape.times[at].tolist(),
                value=_numbers(value[:, place]),
                expected=_numbers(parts["expected"][:, place]),
                lower=_numbers(lower[:, place]),
                upper=_numbers(upper[:, place]),
            )
            for place, (channel, expr) in enumerate(job.queries.items())
        ]


def _differing(differs: Floats) -> list[str]:
    """Say what is not exact."""
    some = differs[np.isfinite(differs)]
    if not len(some):
        return []
    since = wording.moment(float(some.min()), dated=True)
    return [
        f"With these settings {len(some)} of {len(differs)} series would have learnt otherwise from {since} UTC on: "
        "what follows is what they would have found with what was learnt here. Replay again with these settings to "
        "have it exact."
    ]


def _listed(incidents: list[PastIncident]) -> list[PastIncident]:
    worst = sorted(incidents, key=lambda each: (not each.alerted, -each.severity))[:MOST_LISTED]
    return sorted(worst, key=lambda each: (each.start, each.key))


def told(incident: PastIncident, job: JobConfig) -> PreviewIncident:
    """Return an incident as the API shows it."""
    return PreviewIncident(
        job=incident.job,
        labels=dict(incident.key),
        start=utc(incident.start),
        end=None if incident.still_open else utc(incident.end),
        seconds=incident.seconds,
        severity=incident.severity,
        alert=incident.alerted,
        alert_since=utc(incident.fired),
        why=why(incident, job),
        worst=utc(incident.worst),
        streams=[Stream(each.name, each.channel, each.size, each.every, each.text) for each in incident.streams],
    )


def _numbers(values: Floats) -> list[float | None]:
    return [finite(each) for each in values.tolist()]
