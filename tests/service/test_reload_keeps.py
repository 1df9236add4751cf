"""A reload that turns a knob of deciding keeps what a job has learnt, its open incidents and its saved state."""

import json

import numpy as np
import pytest

from exporter.service import active as service
from exporter.service.app import App
from tests.support.fake import FakeSource

NOW = 104
KNOBS = [
    {"budget": "9 per week"}, {"false_alarms": "2 per week"}, {"least_deviation": 5}, {"open_after": 3},
    {"publish": ["value"]}, {"max_age": "1h"}, {"clear_after": "20m"}, {"direction": "above"}, {"max_hold": "2d"},
    {"valid_range": [0, 1000]}, {"flap_limit": 7}, {"flap_window": "2h"}, {"max_series": 70},
    {"drift_detection": True},
]  # fmt: skip


class Service:
    """An application whose source is in memory and whose clock is the test's."""

    def __init__(self, folder, source):
        self.folder, self.source, self.settings = folder, source, {}
        self.write()
        self.app = App(self.path, listen="127.0.0.1:0")

    @property
    def path(self):
        return self.folder / "anomaly.yml"

    def write(self, **settings):
        self.settings |= settings
        job = {"expr": "q", "window": "30m", "detector": "robust", **self.settings}
        self.path.write_text(json.dumps({"jobs": {"job": job}, "state": {"path": str(self.folder / "state")}}))

    @property
    def runner(self):
        return self.app.active.runners["job"]

    def cycle(self, minute):
        self.runner.cycle(minute * 60.0)
        return self.runner.job.last


@pytest.fixture
def running(tmp_path, monkeypatch):
    """An application with an open incident, after the cycle of minute NOW."""
    source, rng = FakeSource(), np.random.default_rng(1)
    for n in range(20):
        samples = {m * 60.0: 10 + float(rng.normal()) for m in range(130)}
        source.put("q", {"i": f"e{n:02}"}, samples | ({m * 60.0: 60.0 for m in range(100, 130)} if n == 0 else {}))
    source.close = lambda: None
    monkeypatch.setattr(service, "Prometheus", lambda *_: source)
    there = Service(tmp_path, source)
    for minute in range(95, NOW + 1):
        assert (verdict := there.cycle(minute)) is not None
    assert verdict.flag[0]
    there.runner.save()
    return there


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: next(iter(knob)))
def test_a_knob_of_deciding_keeps_history_incidents_and_saved_state(running, knob):
    runner, job, before = running.runner, running.runner.job, running.runner.job.last
    asked = len(running.source.asked)
    running.write(**knob)
    assert running.app.reload() is None
    assert running.runner is runner
    assert runner.job is job
    assert runner.published
    after = running.cycle(NOW + 1)
    assert job.config == running.app.active.loaded.config.jobs["job"]
    assert after.config_hash == job.settings.digests.combined != before.config_hash
    assert len(running.source.asked) == asked + 1  # the new sample, no history
    assert after.flag[0]
    assert after.since[0] == before.since[0]
    assert after.severity[0] > before.severity[0]

    again = App(running.path, listen="127.0.0.1:0")  # a restart: the state was saved under the old settings
    restored = again.active.runners["job"].job
    assert restored.judged == before.time
    assert restored.last.since[0] == before.since[0]


def test_what_shapes_learning_begins_with_a_fresh_start(running):
    runner = running.runner
    running.write(fill=0)
    assert running.app.reload() is None
    assert running.runner is not runner
    running.runner.stop()
    assert running.runner.join(10.0)


def test_a_knob_turned_back_before_the_next_cycle_leaves_no_trace(running):
    before = running.runner.job.last
    running.write(budget="9 per week")
    running.app.reload()
    running.settings.clear()
    running.write()
    running.app.reload()
    assert running.cycle(NOW + 1).config_hash == before.config_hash
