"""Finds incidents in the flagged steps, and refines them with the audit file."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Key
from exporter.backtest.quality import runs
from exporter.config.sections.job import JobConfig
from exporter.exposition import published_names
from exporter.report.data import JUDGED, AuditTrail, Incident, Period
from exporter.report.prometheus_history import Series

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
    found: list[Incident], audit: AuditTrail, jobs: Mapping[str, JobConfig], period: Period
) -> list[Incident]:
    """Return the incidents with exact times from the audit file, and the incidents that only that file has."""
    by_entity: dict[str, dict[Key, list[Incident]]] = {}
    for incident in found:
        by_entity.setdefault(incident.job, {}).setdefault(incident.key, []).append(incident)
    audit_only = []
    for job, entities in audit.intervals.items():
        reserved = frozenset({"query", "detector"} | ({"channel"} if len(jobs[job].queries) > 1 else set()))
        names_seen: dict[tuple[str, ...], dict[Key, Key]] = {}
        for key, intervals in entities.items():
            own = _published(key, reserved)
            full = _full(own, by_entity.get(job, {}), names_seen)
            known = by_entity.get(job, {}).get(full, [])
            for start, end in intervals:
                near = [each for each in known if start <= each.end + period.step and end >= each.start - period.step]
                for each in near:
                    _refine(each, start, end, period.step)
                if not near:
                    audit_only.append(Incident(job=job, key=full, start=start, end=end, source="audit"))
    return found + audit_only


def _refine(incident: Incident, start: float, end: float, step: float) -> None:
    """Use the edges in the audit file where they are within two steps of those in Prometheus."""
    incident.source = "both"
    if not incident.since_before and abs(start - incident.start) <= 2 * step:
        incident.start = start
    if not incident.still_open and abs(end - incident.end) <= 2 * step:
        incident.end = end


def _published(key: Key, reserved: frozenset[str]) -> Key:
    present = [(name, value) for name, value in key if value]
    names = published_names(tuple(name for name, _ in present), reserved)
    return tuple(sorted((name, value) for name, (_, value) in zip(names, present, strict=True)))


def _full(own: Key, entities: Mapping[Key, object], seen: dict[tuple[str, ...], dict[Key, Key]]) -> Key:
    """Return the entity that has all labels of `own`: a scrape adds `instance` and `job` to series without them."""
    names = tuple(name for name, _ in own)
    if names not in seen:
        seen[names] = {tuple(pair for pair in key if pair[0] in names): key for key in entities}
    return seen[names].get(own, own)
