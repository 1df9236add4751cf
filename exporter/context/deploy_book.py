"""The deploys that the source tells of, asked for now and then and kept; one book for all jobs."""

import math
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from detectors.units import DAY, HOUR
from exporter.config.sections.context import DeploysConfig
from exporter.context.deploys import GRID, LABELS, Deploy, DeployLog
from exporter.context.presets import PRESETS, asking_which
from exporter.redact import masked
from exporter.source.errors import SourceError
from exporter.source.samples import RangeResult, Source

log = structlog.get_logger()

SETTLED: Final = 20.0
"""Seconds after a time at which the source surely has its samples: what is asked then is what a backtest will read."""
KNOWN_AFTER: Final = 60.0
"""Seconds after which a deploy is heeded: by then the question about it is answered, in a running exporter too."""
ASKED_AT_ONCE: Final = DAY
"""Seconds of the past that one query asks for."""
LOOK_AGAIN: Final = HOUR
"""Seconds after which the source is asked again which metrics it has."""
MOST_SERIES: Final = 2000
"""Series that one answer may have; more of them are left out, and that is told."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about deploys: a preset or PromQL of one's own, and the label that names versions."""

    preset: str
    expr: str
    version: str | None = None


def questions(config: DeploysConfig) -> list[Question]:
    """Return what a job asks about deploys, whatever the source has of it."""
    found = [Question(name, PRESETS[name].expr, config.version) for name in PRESETS if _wants(config, name)]
    if config.expr is not None:
        found.append(Question("", config.expr, config.version))
    return found


def _wants(config: DeploysConfig, preset: str) -> bool:
    return config.presets is None or preset in config.presets


@dataclass(slots=True)
class _Asked:
    """What was asked so far, from the first to the last time (Unix seconds)."""

    log: DeployLog
    first: float = math.inf
    last: float = -math.inf


@dataclass(frozen=True, slots=True)
class Standing:
    """How the questions stand, for people.

    Parameters
    ----------
    has : tuple of str
        Presets whose metrics the source has; None: it was not asked yet.
    trouble : mapping of str to str
        Why a question was not answered the last time, by preset, "" for PromQL of one's own.
    queries, failures : int
        Asked since the start.
    seconds : float
        Spent on that.
    cut : int
        Series left out of the newest answers.
    """

    has: tuple[str, ...] | None = None
    trouble: Mapping[str, str] = field(default_factory=dict)
    queries: int = 0
    failures: int = 0
    seconds: float = 0.0
    cut: int = 0


class DeployBook:
    """Asks about deploys and remembers them. Safe to use from any thread; one asks at a time.

    Parameters
    ----------
    source : Source or None
        May be exchanged; nothing is asked before there is one.
    """

    def __init__(self, source: Source | None = None) -> None:
        self.source = source
        self.standing = Standing()
        """Replaced as a whole."""
        self._asking = threading.Lock()
        self._asked: dict[Question, _Asked] = {}
        self._has: frozenset[str] | None = None
        self._looked = -math.inf
        self._known: dict[Question, tuple[Deploy, ...]] = {}
        self.revision = 0
        """Counts what became known."""

    def known(self, asked: Iterable[Question]) -> tuple[Deploy, ...]:
        """Return the deploys that the questions have told of, the oldest first; never waits."""
        known = self._known
        return tuple(sorted(deploy for question in asked for deploy in known.get(question, ())))

    def read(self, asked: Iterable[Question], first: float, until: float) -> None:
        """Ask for all from `first` to `until` (Unix seconds) that was not asked for yet. Never raises.

        What is not answered is noted, and the newest of it asked for again the next time. Times that have not settled
        are left for later.
        """
        until = min(until, time.time() - SETTLED)
        with self._asking:
            wanted = [question for question in asked if self._is_there(question)]
            for question in wanted:
                self._read(question, math.ceil(first / GRID) * GRID, math.floor(until / GRID) * GRID)

    def _is_there(self, question: Question) -> bool:
        """Tell whether the source has what a preset asks for; that is found out now and then."""
        if not question.preset:
            return True
        now = time.monotonic()
        if self._has is None or now - self._looked > LOOK_AGAIN:
            self._looked = now
            at = math.floor(time.time() / GRID) * GRID
            answer = self.ask("metrics", asking_which(), at - LOOK_AGAIN, at, LOOK_AGAIN)
            if answer is not None:
                metrics = [LABELS.decode(label).get("__name__", "") for label in answer.labels]
                self._has = frozenset(name for name, preset in PRESETS.items() if preset.is_in(metrics))
                self.standing = replace(self.standing, has=tuple(name for name in PRESETS if name in self._has))
        return self._has is not None and question.preset in self._has

    def _read(self, question: Question, first: float, until: float) -> None:
        asked = self._asked.setdefault(question, _Asked(DeployLog(question.version)))
        if first < asked.first and asked.last > -math.inf:  # a job with a longer past: it is told from the beginning
            asked = self._asked[question] = _Asked(DeployLog(question.version))
        begin = max(first, asked.last + GRID)
        while begin <= until:
            end = min(begin + ASKED_AT_ONCE - GRID, until)
            answer = self.ask(question.preset, question.expr, begin, end, GRID)
            if answer is None:  # the newest is worth more than the rest
                if begin > until - 3 * GRID:
                    return
                begin = until - 2 * GRID
                continue
            new = asked.log.take(answer, begin, asked.first == math.inf)
            asked.first, asked.last = min(asked.first, begin), end
            begin = end + GRID
            self.standing = replace(self.standing, cut=sum(answer.series_dropped.values()))
            if new:
                self._known = self._known | {question: tuple(asked.log.deploys)}
                self.revision += 1

    def ask(
        self, name: str, expr: str, first: float, last: float, step: float, most: int = MOST_SERIES
    ) -> RangeResult | None:
        """Return an answer, None where there is none; that is counted and noted by `name`."""
        if self.source is None:
            return None
        began, standing = time.perf_counter(), self.standing
        trouble = {preset: text for preset, text in standing.trouble.items() if preset != name}
        failures, answer = standing.failures, None
        try:
            answer = self.source.range(expr, first, last, step, max_series=most)
        except SourceError as error:
            failures += 1
            trouble[name] = masked(str(error))
            if name not in standing.trouble:
                hint = "incidents are judged without it until it is answered"
                log.warning("deploys_not_answered", preset=name or "expr", error=trouble[name], hint=hint)
        seconds = standing.seconds + time.perf_counter() - began
        self.standing = replace(
            standing, trouble=trouble, queries=standing.queries + 1, failures=failures, seconds=seconds
        )
        return answer
