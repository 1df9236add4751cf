"""What of a fleet's alerts was right, how soon, and what came by chance."""

from dataclasses import dataclass

import numpy as np

from detectors import Flags, Floats
from detectors.units import HOUR, WEEK
from tests.fleet.run import Log, Opened
from tests.fleet.series import Fleet, Trouble

SOON: float = HOUR
"""Within this a failure must have become an alert."""


@dataclass(frozen=True)
class Figures:
    """Of the measured weeks; delays in minutes, the 90th percentile over all failures (inf: not within them)."""

    opened_per_series_week: float
    chance_alerts_per_week: float
    failures: int
    alerted: int
    alerted_soon: int
    silent_early: int
    median_delay: float
    delay_of_90_percent: float
    groups_failed: int
    groups_found: int
    group_alarms_per_week: float


def figures(fleet: Fleet, log: Log) -> Figures:
    """Hold what the exporter opened and sent against what befell the fleet."""
    opened, affected = log.opened(), fleet.affected()
    by_chance = by_chance_of(opened, affected) & (opened.begin >= fleet.measured_from)
    single = [trouble for trouble in fleet.troubles if len(trouble.rows) == 1]
    delays = np.array([delay(opened, trouble) for trouble in single]) * fleet.step / 60.0
    held = [_until_the_end(opened, trouble) for trouble, late in zip(single, delays, strict=True) if np.isfinite(late)]
    failing = [trouble for trouble in fleet.troubles if len(trouble.rows) > 1]
    scores = np.array(log.groups, float)
    return Figures(
        opened_per_series_week=float(by_chance.sum() / fleet.entities / fleet.weeks),
        chance_alerts_per_week=float((by_chance & (opened.alert >= 0)).sum() / fleet.weeks),
        failures=len(single),
        alerted=int(np.isfinite(delays).sum()),
        alerted_soon=int((delays <= SOON / 60.0).sum()),
        silent_early=len(held) - sum(held),
        median_delay=float(np.median(delays)) if len(delays) else np.nan,
        delay_of_90_percent=float(np.sort(delays)[int(np.ceil(0.9 * len(delays))) - 1]) if len(delays) else np.nan,
        groups_failed=len(failing),
        groups_found=sum(_group_found(fleet, scores, trouble) for trouble in failing),
        group_alarms_per_week=_group_alarms(fleet, scores, affected),
    )


def by_chance_of(opened: Opened, affected: Flags) -> Flags:
    """Return which incidents never met a failure."""
    return np.array(
        [not affected[r, b:e].any() for r, b, e in zip(opened.row, opened.begin, opened.end, strict=True)], np.bool_
    )


def delay(opened: Opened, trouble: Trouble) -> float:
    """Return samples from the beginning of a failure to its alert, inf where there was none during it."""
    mine = (opened.row == trouble.rows[0]) & (opened.alert >= 0) & (opened.end > trouble.begin)
    late = np.maximum(opened.alert[mine] - trouble.begin, 0)
    late = late[late < trouble.end - trouble.begin]
    return float(late.min()) if len(late) else np.inf


def _until_the_end(opened: Opened, trouble: Trouble) -> bool:
    mine = (opened.row == trouble.rows[0]) & (opened.alert >= 0) & (opened.alert < trouble.end)
    return bool((opened.end[mine & (opened.end > trouble.begin)] >= trouble.end).any())


def _group_found(fleet: Fleet, scores: Floats, trouble: Trouble) -> bool:
    return bool((scores[trouble.begin : trouble.begin + 2, trouble.rows[0] // fleet.group] > 1).any())


def _group_alarms(fleet: Fleet, scores: Floats, affected: Flags) -> float:
    """Return how often a week a group's score rises above 1 while none of its members fails."""
    above = scores > 1
    rises = above & ~np.concatenate([np.zeros_like(above[:1]), above[:-1]])
    first = np.arange(fleet.groups) * fleet.group
    quiet = ~np.logical_or.reduceat(affected, first, axis=0).T
    counts = (rises & quiet)[fleet.measured_from :].sum(axis=0)
    weeks = quiet[fleet.measured_from :].sum(axis=0) * fleet.step / WEEK
    return float(counts.sum() / weeks.sum()) if weeks.sum() else np.nan
