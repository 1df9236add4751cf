"""What takes longer than it should, in a real process: cycles, and saving at a stop."""

import csv
import json
import re
import signal
import threading
import time
from datetime import datetime

import pytest

from deploy.demo.process import get
from tests.soak.source import EMPTY
from tests.support.stub import Reply, serve
from tests.support.waiting import PATIENCE, eventually

STEP = 1


class Slow:
    """A source of some series that takes its time, and notes how many questions it was asked at once."""

    def __init__(self, series, seconds):
        self.labels = [json.dumps({"instance": f"host-{number}"}) for number in range(series)]
        self.seconds, self.asked, self.most = seconds, 0, 0
        self._lock, self._now = threading.Lock(), 0

    def __call__(self, request):
        form = request.form
        if "level" not in form.get("query", "") or "start" not in form:
            return Reply(EMPTY, headers={"Content-Type": "application/json"})
        with self._lock:
            self.asked, self._now = self.asked + 1, self._now + 1
            self.most = max(self.most, self._now)
        time.sleep(self.seconds)
        with self._lock:
            self._now -= 1
        first, last = (round(float(form[name]) / STEP) for name in ("start", "end"))
        values = ",".join(f'[{tick * STEP},"{10 + tick % 7}"]' for tick in range(first, last + 1))
        body = ",".join(f'{{"metric":{each},"values":[{values}]}}' for each in self.labels)
        return Reply(EMPTY.replace(b"[]", f"[{body}]".encode()), headers={"Content-Type": "application/json"})


def configuration(url, **more):
    job = {"expr": "level", "step": "1s", "window": "1m", "history": "1m", "rate": False}
    return {"prometheus": {"url": url}, "jobs": {"slow": job | more.pop("job", {})}, "log": {"format": "json"}, **more}


def test_cycles_longer_than_their_step_neither_overlap_nor_leave_a_sample_out(exporter, tmp_path):
    """Row 42: the next ones are skipped and counted; what they would have judged is judged by the one that comes."""
    audit, source = tmp_path / "audit.csv", Slow(series=1, seconds=2.3 * STEP)
    with serve(source) as stub:
        settings = configuration(stub.url, job={"detector": "robust"}, audit={"path": str(audit), "all_samples": True})
        server = exporter(settings)
        eventually(lambda: source.asked >= 6)
        page = get(f"{server.url}/metrics", PATIENCE).text
        server.stop()
    skipped = re.search(r'anomaly_exporter_cycles_total\{outcome="skipped",query="slow"\} ([0-9.]+)', page)
    assert skipped is not None
    assert float(skipped[1]) >= 4
    assert source.most == 1
    rows = list(csv.DictReader(audit.read_text().splitlines()))
    times = [round(datetime.fromisoformat(row["time"]).timestamp()) for row in rows]
    assert len(times) > 6
    assert times == list(range(times[0], times[-1] + 1, STEP))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_the_state_is_saved_ends_with_zero_and_a_state_that_is_whole(exporter, tmp_path, number):
    """Row 44."""
    state = tmp_path / "state"
    with serve(Slow(series=1500, seconds=0.0)) as stub:
        settings = configuration(stub.url, state={"path": str(state), "every": "1s"})
        server = exporter(settings)

        def is_saving():
            return [draft for draft in state.glob(".*.tmp") if draft.exists()]

        eventually(is_saving, every=0.0005)
        server._signal(number)
        assert server._process.wait(PATIENCE) == 0
        assert not is_saving()
        server.start()
        log = server.log.read_text()
        server.stop()
    events = [json.loads(line)["event"] for line in log.splitlines() if line.startswith("{")]
    assert "state_restored" in events
    assert not {"state_refused", "state_not_saved", "cycles_abandoned"} & set(events)
