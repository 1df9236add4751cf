"""A workbench without processes, and something that a real one can replay."""

import time

import numpy as np

from exporter.web.ui.bench import Choice, Gone, Refused
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
