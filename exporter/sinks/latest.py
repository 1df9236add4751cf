"""The newest verdicts as JSON, for dashboards that do not read Prometheus.

A request costs what it shows, not what there is.
"""

import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Key
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.families import FAMILIES
from exporter.json_values import finite, utc
from exporter.label_names import RESERVED, SCHEMES, is_classic, published_names
from exporter.pipeline.verdict import Verdict, entity_states
from exporter.sinks.base import Change, NewestVerdict

_NOWHERE: Final = np.empty(0, np.intp)


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label and the value it must have, or with `equal=False` must not have; "" means that it is missing."""

    label: str
    value: str
    equal: bool = True


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for; None and () ask for all."""

    jobs: tuple[str, ...] = ()
    labels: tuple[Matcher, ...] = ()
    flag: bool | None = None
    alert: bool | None = None
    limit: int = 100
    offset: int = 0


class Labels:
    """Rows by label and value, made when they are first asked for and kept while the entities stay the same."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self.keys = keys
        rows: dict[str, dict[str, list[int]]] = {}
        # A pass over the labels, about 0.2 µs each, only when somebody asks, and only after entities came or went.
        for row, key in enumerate(keys):
            for name, value in key:
                rows.setdefault(name, {}).setdefault(value, []).append(row)
        special = [name for name in rows if not is_classic(name)]
        self._known_as = {published_names((name,), RESERVED, form)[0]: name for name in special for form in SCHEMES}
        """Label by the names that older servers have for it, and the alerts that they send."""
        self._rows = {name: {value: np.array(at) for value, at in by.items()} for name, by in rows.items()}

    def matching(self, matcher: Matcher) -> Flags:
        """Return which entities match, shape (E,)."""
        name = matcher.label if matcher.label in self._rows else self._known_as.get(matcher.label, "")
        by_value = self._rows.get(name, {})
        found = np.zeros(len(self.keys), np.bool_)
        found[by_value.get(matcher.value, _NOWHERE)] = True
        if not matcher.value:
            found[:] = True
            for value, rows in by_value.items():
                found[rows] = not value
        return found if matcher.equal else ~found


def job_json(verdict: Verdict | None) -> dict[str, Any] | None:
    """Return how a job stands, None without a verdict."""
    if verdict is None:  # not judged yet, or not for so long that it was withdrawn
        return None
    return {
        "judged": utc(verdict.time),
        "entities": len(verdict.keys),
        "flagged": int(verdict.flag.sum()),
        "alerting": int(verdict.alert.sum()),
        "states": dict(verdict.states),
    }


def entity_json(verdict: Verdict, row: int, queries: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return what is known of one entity; `queries` is the PromQL by job and channel."""
    expressions = queries.get(verdict.job, {})
    states = entity_states(verdict.values[row], verdict.score[row])
    found = {name: _plain(getattr(verdict, array)[row]) for name, array in _OF_ENTITY.items()}
    if not found["flag"]:  # the severity of an incident that has just ended
        found["severity"] = None
    return {
        "query": verdict.job,
        "detector": verdict.detector,
        "labels": dict(verdict.keys[row]),
        "state": next(state for state, there in states.items() if there),
        **found,
        "since": utc(verdict.since[row]) if found["flag"] else None,
        "judged": utc(verdict.time),
        "channels": [
            {
                "channel": channel,
                "expr": expressions.get(channel),
                **{name: _plain(getattr(verdict, array)[row, at]) for name, array in _OF_CHANNEL.items()},
            }
            for at, channel in enumerate(verdict.channels)
        ],
    }


_OF_ENTITY: Final = {family.json: family.array for family in FAMILIES if family.json and not family.per_channel}
_OF_CHANNEL: Final = {family.json: family.array for family in FAMILIES if family.json and family.per_channel}
"""Fields of a verdict by their key in the answer."""


def _plain(value: np.bool_ | np.float64) -> bool | float | None:
    """Return a value as JSON has it: None for a number that is not finite."""
    return bool(value) if isinstance(value, np.bool_) else finite(value)


Rows = NDArray[np.intp]


class UnknownJob(Exception):
    """There is no job of that name."""


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The entities of all jobs one after the other, and the order in which they are shown."""

    generation: int
    verdicts: tuple[Verdict, ...]
    starts: Rows
    flag: Flags
    alert: Flags
    order: Rows


class LatestVerdicts(NewestVerdict):
    """Keeps the newest verdict of every job and answers what is asked about them. Safe to use from any thread.

    The worst come first: alerts, other open incidents, then the rest by score, those without a verdict last; where all
    that is equal, jobs as in the configuration and entities as they came. The order holds within one generation.
    """

    def __init__(self) -> None:
        self._queries: dict[str, Mapping[str, str]] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._labels: dict[str, Labels] = {}
        self._lock = threading.Lock()  # of the verdicts; never held for long
        self._turn = threading.Lock()  # one answer at a time: the others would only take memory
        self._table: _Table | None = None
        self._start = secrets.token_hex(4)
        self.generation = 0
        """Counts what was published since the start."""

    @property
    def tag(self) -> str:
        """What changes with every answer that may change, over restarts too."""
        return f'"{self._start}-{self.generation}"'

    def prepare(self, config: Config) -> Change:
        """Prepare to know the jobs of another configuration."""
        queries = {name: job.queries for name, job in config.jobs.items()}
        return Change(lambda: self.expect(queries))

    def expect(self, queries: Mapping[str, Mapping[str, str]]) -> None:
        """Note which jobs there are, each with its PromQL by channel; forget all others."""
        with self._lock:
            self._queries = dict(queries)
            self._verdicts = {job: verdict for job, verdict in self._verdicts.items() if job in queries}
            self._labels = {job: labels for job, labels in self._labels.items() if job in queries}
            self.generation += 1

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        """Take over the newest verdict of a job."""
        del config
        self.publish(verdict)

    def publish(self, verdict: Verdict) -> None:
        """Take over the newest verdict of a job; its arrays are not changed any more."""
        with self._lock:
            self._verdicts[verdict.job] = verdict
            self.generation += 1

    def show_first(self, verdict: Verdict, config: JobConfig) -> None:
        """Take over the verdict of a first look."""
        self.show(verdict, config)

    def withdraw(self, job: str) -> None:
        """Forget a verdict that is too old."""
        with self._lock:
            self._verdicts.pop(job, None)
            self.generation += 1

    def answer(self, asked: Selection) -> dict[str, Any]:
        """Return what is asked for, ready for JSON. Raises UnknownJob."""
        with self._turn:
            verdicts, queries, table, rows = self._selected(asked)
            shown = rows[asked.offset : asked.offset + asked.limit]
            end = asked.offset + len(shown)
            return {
                "generation": table.generation,
                "total": len(rows),
                "offset": asked.offset,
                "next": end if end < len(rows) else None,
                "jobs": {job: job_json(verdicts.get(job)) for job in asked.jobs or queries},
                "anomalies": [entity_json(*found, queries) for found in _found(table, shown)],
            }

    @property
    def jobs(self) -> tuple[str, ...]:
        """The names of the jobs there are."""
        return tuple(self._queries)

    def snapshot(self) -> tuple[int, dict[str, Verdict]]:
        """Return generation and newest verdict by job, of one moment."""
        with self._lock:
            return self.generation, dict(self._verdicts)

    def entities(self, asked: Selection) -> list[Key]:
        """Return all entities that are asked for, the worst first. Raises UnknownJob."""
        with self._turn:
            _, _, table, rows = self._selected(asked)
            return [verdict.keys[row] for verdict, row in _found(table, rows)]

    def _selected(self, asked: Selection) -> tuple[dict[str, Verdict], Mapping[str, Mapping[str, str]], _Table, Rows]:
        """Return verdicts and queries of one moment, their table, and the rows asked for, in order."""
        with self._lock:
            verdicts, queries, generation = dict(self._verdicts), self._queries, self.generation
        if not set(asked.jobs) <= queries.keys():
            raise UnknownJob
        if self._table is None or self._table.generation != generation:
            self._table = _table(generation, tuple(verdicts[job] for job in queries if job in verdicts))
        table = self._table
        return verdicts, queries, table, table.order[self._chosen(table, asked)[table.order]]

    def _chosen(self, table: _Table, asked: Selection) -> Flags:
        chosen = np.ones(len(table.flag), np.bool_)
        if asked.flag is not None:
            chosen &= table.flag == asked.flag
        if asked.alert is not None:
            chosen &= table.alert == asked.alert
        for verdict, start, end in zip(table.verdicts, table.starts, table.starts[1:], strict=False):
            if asked.jobs and verdict.job not in asked.jobs:
                chosen[start:end] = False
            elif asked.labels:
                labels = self._labels.get(verdict.job)
                if labels is None or labels.keys is not verdict.keys:
                    labels = self._labels[verdict.job] = Labels(verdict.keys)
                for matcher in asked.labels:
                    chosen[start:end] &= labels.matching(matcher)
        return chosen


def _table(generation: int, verdicts: tuple[Verdict, ...]) -> _Table:
    score, flag, alert = (
        np.concatenate([np.empty(0, kind), *(getattr(verdict, name) for verdict in verdicts)])
        for name, kind in (("score", np.float64), ("flag", np.bool_), ("alert", np.bool_))
    )
    starts = np.cumsum([0, *(len(verdict.keys) for verdict in verdicts)])
    order = np.lexsort((-np.nan_to_num(score, nan=-np.inf), ~flag, ~alert))
    return _Table(generation, verdicts, starts, flag, alert, order)


def _found(table: _Table, rows: Rows) -> Sequence[tuple[Verdict, int]]:
    jobs = np.searchsorted(table.starts, rows, side="right") - 1
    own = rows - table.starts[jobs]
    return [(table.verdicts[job], row) for job, row in zip(jobs.tolist(), own.tolist(), strict=True)]
