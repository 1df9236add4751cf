"""A workbench without processes, and something that a real one can replay."""

import time
from dataclasses import replace
from typing import Any

import numpy as np

from exporter.config.sections.job import JobConfig
from exporter.json_values import utc
from exporter.preview.job_text import text_of
from exporter.preview.outcome import Outcome
from exporter.preview.tape import Tape
from exporter.web.ui.bench import Choice, Gone, Question, Refused
from exporter.web.ui.preview_answers import (
    Decided,
    MetricName,
    MetricNames,
    Past,
    PastJob,
    Preview,
    PreviewCurve,
    PreviewIncident,
    PreviewSeries,
)

HOURS = 12
EVIL = {"instance": "<script>alert(1)</script>{{ 7*7 }}\u202e"}
TIME = "2026-01-05T10:06:00.000Z"


def preview(state="exact", choice=Choice(), past=None) -> Preview:  # noqa: B008 - it is frozen
    incident = PreviewIncident("new", EVIL, TIME, None, 60.0, 3.5, True, TIME, "at once")
    series = PreviewSeries(0, EVIL, 1, 1, 3.5, [[1767607560.0, 1767607680.0]], [[1767607600.0, 1767607680.0]])
    line = [1.0, 2.0, None, 9.0]
    times = [1767607500.0, 1767607560.0, 1767607620.0, 1767607680.0]
    curve = PreviewCurve(0, "value", "", times, line, [1.0] * 4, [None] * 4, [3.0] * 4)
    decided = Decided(choice.direction, choice.least_deviation, choice.budget, True, [], 1, 2.0, 1, [incident],
                      [series], [curve], 7.5)  # fmt: skip
    return Preview("abc", state, 0.5, "replaying", "2026-01-05T10:00:00.000Z", TIME, 60.0, 60.0, 86400.0, 1, 4,
                   None if past else decided, past, "jobs:\n  <b>: {}\n", "good")  # fmt: skip


class FakeBench:
    """Takes down what it is asked; `state` tells how far its replay is."""

    def __init__(self):
        self.asked, self.ended, self.refusal = [], [], None
        self.state = lambda: "exact"

    def warm_up(self):
        pass

    def start(self, question):
        if self.refusal:
            raise Refused(self.refusal)
        self.asked.append(question)
        return "abc"

    def start_past(self, jobs, seconds):
        self.asked.append((list(jobs), seconds))
        return "past"

    def answer(self, name, choice=None, rows=()):
        if name == "past":
            return preview(past=Past([PastJob("cpu", 2, 0.5, 1, 1, None, "<i>cut</i>")], 0, []))
        if name != "abc":
            raise Gone
        return preview(self.state(), choice or Choice())

    def cancel(self, name):
        self.ended.append(name)

    def metrics(self, part, most):
        return MetricNames(1, [MetricName("up", "gauge", "<b>")])


class ShownBench(FakeBench):
    """Shows what a replay has found, by whatever settings."""

    def __init__(self, found: Outcome, question: Question) -> None:
        super().__init__()
        self._found, self._question = found, question

    def answer(self, name, choice=None, rows=()):
        choice = choice or self._question.choice
        decided, tape = self._found.decide(choice, rows), self._found.tape
        text = text_of(replace(self._question, choice=choice))
        return Preview(
            name, "exact", 1.0, "", utc(tape.times[self._found.first]), utc(tape.times[-1]), 60.0, 60.0, 86400.0,
            len(tape.keys), tape["score"].size, decided, None, text, "good\na reload with it: new job",
        )  # fmt: skip


def load_lines() -> list[str]:
    """Return twelve hours of a metric of two instances, one of which has an incident."""
    end = int(time.time() // 60 * 60)
    rng = np.random.default_rng(7)
    found = ["# TYPE load gauge", "# HELP load How much there is to do."]
    for instance in ("a", "b"):
        values = 10 + rng.normal(0, 0.5, HOURS * 60)
        if instance == "a":
            values[-100:-60] += 30
        times = end - 60 * np.arange(HOURS * 60 - 1, -1, -1)
        found += [f'load{{instance="{instance}"}} {value:.3f} {at}' for value, at in zip(values, times, strict=True)]
    return found


def outcome(
    entities: int, samples: int, name: str = "new", level: float = 50.0, job: dict[str, Any] | None = None
) -> Outcome:
    """Return what a replay of minutes up to now would have written down, with four incidents for each series.

    A replay of 100 series over two weeks takes forty seconds.
    """
    rng = np.random.default_rng(8)
    tape = Tape(samples, 1)
    for entity in range(entities):
        tape.keys[(("instance", f"node-{entity:03}"),)] = entity
    tape._room(samples, max(entities, 8))
    tape._times[:] = time.time() // 60 * 60 - 60 * np.arange(samples - 1, -1, -1)
    tape.count = samples
    tape["there"][:] = True
    usual = level * (1 + 0.1 * np.sin(2 * np.pi * np.arange(samples) / 1440))[:, None, None]
    for name_, share in (("expected", 1.0), ("lower", 0.9), ("upper", 1.1)):
        tape[name_][:] = share * usual
    tape["contribution"][:] = 1.0
    tape["value"][:] = usual * (1 + 0.02 * rng.normal(size=(samples, entities, 1)))
    tape["score"][:] = np.abs(rng.normal(0, 0.15, (samples, entities)))
    for entity in range(entities):
        for start in rng.integers(300, samples - 90, 4):
            part = slice(start, start + int(rng.integers(1, 90)))
            tape["value"][part, entity] += rng.choice([-1, 1]) * rng.uniform(0.15, 0.8) * level
            tape["score"][part, entity] = rng.uniform(1.2, 9.0)
    config = JobConfig.model_validate({"expr": "value", "history": "1d", **(job or {})})
    opened = Outcome(name, config, tape, 1440).verdicts(config)[0]
    tape["frozen"][opened.column, np.repeat(opened.entity, np.diff(opened.at))] = True  # as it is while one is open
    return Outcome(name, config, tape, 1440)
