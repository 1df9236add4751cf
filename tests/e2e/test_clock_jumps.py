"""Row 40: the clock of the machine is set while the exporter runs."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import Page
from tests.soak.source import Churning
from tests.support.stub import serve
from tests.support.waiting import eventually

JOB = {"expr": "level", "step": "1s", "window": "30s", "history": "30s", "max_age": "10s", "detector": "robust"}
HOUR = 3600.0


@pytest.mark.parametrize("first", [HOUR, -HOUR], ids=["ahead and back", "back and ahead"])
def test_cycles_go_on_and_none_is_doubled_when_the_clock_is_set(first, exporter, tmp_path, monkeypatch):
    ahead = tmp_path / "ahead"

    def set_clock(seconds: float) -> None:
        draft = ahead.with_suffix(".new")
        draft.write_text(str(seconds))
        draft.rename(ahead)

    set_clock(0.0)
    folder = Path(__file__).parents[1] / "support/moved_clock"
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}")
    monkeypatch.setenv("MOVED_CLOCK", str(ahead))
    audit = tmp_path / "audit.csv"
    with serve(Churning(series=10, churn=0.0, step=1.0).reply) as stub:
        jobs = {"prometheus": {"url": stub.url}, "log": {"format": "json"}, "jobs": {"level": JOB}}
        ours = exporter({**jobs, "audit": {"path": str(audit), "all_samples": True}})
        for moved in (0.0, first, 0.0):
            set_clock(moved)
            done = Page(ours.url).cycles("level")
            eventually(lambda done=done: Page(ours.url).cycles("level") > done + 4)
            rows = audit.read_text().count("\n")
            eventually(lambda rows=rows: audit.read_text().count("\n") > rows)
            assert len(Page(ours.url).get("anomaly_score")) == 10
        skipped = Page(ours.url).one("anomaly_exporter_cycles_total", query="level", outcome="skipped") or 0.0
        assert skipped < HOUR / 2, "an hour that never was is no missed cycle"
        assert "Traceback" not in ours.log.read_text()
    with audit.open(newline="") as file:
        written = Counter((row["time"], row["labels"]) for row in csv.DictReader(file))
    assert max(written.values()) == 1
