"""Finds incidents in the flagged steps, and refines them with the audit file."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Key
from detectors.units import DAY
from exporter.backtest.quality import runs
from exporter.config.sections.job import JobConfig
from exporter.label_names import RESERVED, possible_keys
from exporter.report.data import JUDGED, Incident, Period
from exporter.report.prometheus_history import Series
from exporter.report.read_audit import FORGOTTEN, AuditTrail, Flagged
from exporter.sinks.audit_files import SILENT

States = Mapping[str, NDArray[np.int8]]
Masks = Mapping[str, Mapping[Key, Flags]]


def steps_of(series: Series, period: Period) -> NDArray[np.intp]:
    """Return the index of the step that each sample stands for."""
    return np.rint((series.times - period.start) / period.step).astype(np.intp) - 1


def masks(found: Sequence[Series], period: Period) -> Masks:
    """Return by job and entity the steps with a sample; detectors and shards of one job count as one."""
    by_job: dict[str, dict[Key, Flags]] = {}
    for series in found:
        entities = by_job.setdefault(series.labels.get("query", ""), {})
        mask = entities.setdefault(series.key, np.zeros(len(period.times), np.bool_))
        mask[steps_of(series, period)] = True
    return by_job


def peaks(found: Sequence[Series], flagged: Masks, period: Period) -> Mapping[tuple[str, Key], Floats]:
    """Return the highest value of each step, NaN without one, by job and entity, for entities that were flagged."""
    highest: dict[tuple[str, Key], Floats] = {}
    for series in found:
        job, key = series.labels.get("query", ""), series.key
        if key not in flagged.get(job, {}):
            continue
        row = highest.setdefault((job, key), np.full(len(period.times), np.nan))
        at = steps_of(series, period)
        row[at] = np.fmax(row[at], series.values)
    return highest


def bridged(mask: Flags, states: NDArray[np.int8]) -> list[tuple[int, int, bool]]:
    """Return (first, one past the last, across a gap) of each run; steps without a verdict do not end a run."""
    whole: list[tuple[int, int, bool]] = []
    for first, last in runs(mask):
        if whole and (states[whole[-1][1] : first] != JUDGED).all():
            whole[-1] = whole[-1][0], last, True
        else:
            whole.append((first, last, False))
    return whole


def incidents(
    flagged: Masks, alerting: Masks, scores: Mapping[tuple[str, Key], Floats], states: States, period: Period
) -> list[Incident]:
    """Return the incidents of all jobs, unordered."""
    times = period.times
    found = []
    for job, entities in flagged.items():
        for key, mask in entities.items():
            alert, score = alerting.get(job, {}).get(key), scores.get((job, key))
            for first, last, across in bridged(mask, states[job]):
                peak = np.nan if score is None else np.fmax.reduce(score[first:last])
                found.append(
                    Incident(
                        job=job,
                        key=key,
                        start=float(times[first] - period.step),
                        end=float(times[last - 1]),
                        peak=float(peak),
                        alerted=alert is not None and bool(alert[first:last].any()),
                        since_before=first == 0,
                        still_open=last == len(times),
                        across_gap=across,
                    )
                )
    return found


def with_audit(
    found: list[Incident], audit: AuditTrail, jobs: Mapping[str, JobConfig], states: States, period: Period
) -> list[Incident]:
    """Return the incidents with what the audit file knows better, and the incidents that only that file has."""
    by_entity: dict[str, dict[Key, list[Incident]]] = {}
    for incident in found:
        by_entity.setdefault(incident.job, {}).setdefault(incident.key, []).append(incident)
    audit_only = []
    for job, entities in audit.intervals.items():
        reserved = RESERVED | {"channel"} if len(jobs[job].queries) > 1 else RESERVED
        names_seen: dict[tuple[str, ...], dict[Key, Key]] = {}
        for key, rows in entities.items():
            full = _full(possible_keys(key, reserved), by_entity.get(job, {}), names_seen)
            known = by_entity.get(job, {}).get(full, [])
            for mine in _of_audit(job, full, rows, states[job], period):
                near = [
                    each
                    for each in known
                    if mine.start <= each.end + period.step and mine.end >= each.start - period.step
                ]
                for each in near:
                    each.source, each.deploy = "both", each.deploy or mine.deploy
                if near:
                    _refine_start(near[0], mine, states[job], period)
                    _refine_end(near[-1], mine, states[job], period)
                else:
                    audit_only.append(mine)
    return found + audit_only


def _of_audit(
    job: str, key: Key, rows: Sequence[Flagged], states: NDArray[np.int8], period: Period
) -> Iterator[Incident]:
    """Yield the incidents of an entity as the audit file has them."""
    whole: list[tuple[Flagged, bool]] = []
    for each in rows:
        before = whole[-1][0] if whole else None
        if before is not None and not before.closed and not _ended_between(before.end, each.start, states, period):
            whole[-1] = each._replace(start=before.start, deploy=before.deploy or each.deploy), True
        else:
            whole.append((each, False))
    for (start, end, closed, deploy), across_gap in whole:
        if end < period.start and (closed or period.start - end > FORGOTTEN):
            continue
        still_open = not closed and not _judged_between(end, period.end, states, period)
        earlier = start < period.start
        yield Incident(
            job=job,
            key=key,
            start=max(start, period.start),
            end=period.end if still_open else max(end, period.start),
            since_before=earlier,
            since=start if earlier else np.nan,
            still_open=not closed,
            last_seen=np.nan if closed or period.end - end <= max(SILENT, 2 * period.step) else end,
            across_gap=across_gap,
            source="audit",
            deploy=deploy,
        )


def _judged_between(start: float, end: float, states: NDArray[np.int8], period: Period) -> bool:
    """Tell whether the job was judged between two times, more than two steps after the first."""
    begins = period.times - period.step
    return bool((states[(begins >= start + 2 * period.step) & (period.times <= end)] == JUDGED).any())


def _ended_between(start: float, end: float, states: NDArray[np.int8], period: Period) -> bool:
    """Tell whether a flag that is there at both times is that of two incidents."""
    return (end <= period.start and end - start > DAY) or _judged_between(start, end, states, period)


def _refine_start(incident: Incident, mine: Incident, states: NDArray[np.int8], period: Period) -> None:
    """Use the beginning in the audit file where it is close to that in Prometheus, or earlier and possible."""
    earlier = mine.start < incident.start and not _judged_between(mine.start, incident.start, states, period)
    if not incident.since_before and (earlier or abs(mine.start - incident.start) <= 2 * period.step):
        incident.start, incident.since_before = mine.start, mine.since_before
    if incident.since_before:
        incident.since = mine.since


def _refine_end(incident: Incident, mine: Incident, states: NDArray[np.int8], period: Period) -> None:
    """Use the end in the audit file where it is close to that in Prometheus, or later and possible."""
    later = mine.end > incident.end and not _judged_between(incident.end, mine.end, states, period)
    if not incident.still_open and (later or abs(mine.end - incident.end) <= 2 * period.step):
        incident.end = mine.end
        incident.still_open, incident.last_seen = mine.still_open and later, mine.last_seen if later else np.nan


def _full(forms: Sequence[Key], entities: Mapping[Key, object], seen: dict[tuple[str, ...], dict[Key, Key]]) -> Key:
    """Return the entity with all labels of one of the forms: a scrape adds `instance` and `job` to others."""
    for own in forms:
        names = tuple(name for name, _ in own)
        if names not in seen:
            seen[names] = {tuple(pair for pair in key if pair[0] in names): key for key in entities}
        if own in seen[names]:
            return seen[names][own]
    return forms[0]
