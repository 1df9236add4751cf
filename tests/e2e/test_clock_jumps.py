"""Row 40: the clock of the machine is set while the exporter runs."""

import csv
import json
import os
import re
from collections import Counter
from pathlib import Path

from tests.e2e.conftest import Page
from tests.soak.source import Churning
from tests.support.stub import serve
from tests.support.waiting import eventually

JOB = {"expr": "level", "step": "1s", "window": "30s", "history": "30s", "max_age": "10s", "detector": "robust"}
HOUR = 3600.0


def test_a_clock_that_is_set_doubles_no_cycle_and_freezes_no_score(exporter, tmp_path, monkeypatch):
    """An hour ahead, back again, and caught up: behind what was judged nothing is judged, and no old score is shown."""
    ahead, audit = tmp_path / "ahead", tmp_path / "audit.csv"

    def set_clock(seconds: float) -> None:
        draft = ahead.with_suffix(".new")
        draft.write_text(str(seconds))
        draft.rename(ahead)

    def goes_on() -> None:
        begun = Page(ours.url).cycles("level")
        eventually(lambda: Page(ours.url).cycles("level") > begun + 3)
        eventually(lambda: len(Page(ours.url).get("anomaly_score")) == 10)

    set_clock(0.0)
    folder = Path(__file__).parents[1] / "support/moved_clock"
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}")
    monkeypatch.setenv("MOVED_CLOCK", str(ahead))
    with serve(Churning(series=10, churn=0.0, step=1.0).reply) as stub:
        config = {"prometheus": {"url": stub.url}, "log": {"format": "json"}, "jobs": {"level": JOB}}
        ours = exporter({**config, "audit": {"path": str(audit), "all_samples": True}})
        goes_on()
        set_clock(HOUR)
        goes_on()
        set_clock(0.0)
        eventually(lambda: not Page(ours.url).get("anomaly_score"))
        assert ours.running
        failed = [
            event for event in map(json.loads, ours.log.read_text().splitlines()) if event["event"] == "cycle_failed"
        ]
        assert {event["reason"] for event in failed} == {"clock_set_back"}
        assert re.search(
            r"the clock of this machine is (59m|1h)\S* behind the newest judged sample", failed[0]["error"]
        )
        set_clock(HOUR)
        goes_on()
        skipped = Page(ours.url).one("anomaly_exporter_cycles_total", query="level", outcome="skipped") or 0.0
        assert skipped < HOUR / 2, "an hour that never was is no missed cycle"
        assert "Traceback" not in ours.log.read_text()
    with audit.open(newline="") as file:
        written = Counter((row["time"], row["labels"]) for row in csv.DictReader(file))
    assert max(written.values()) == 1
