"""A restart changes nothing: scores after it are those of a run that never stopped."""

import hashlib
import json

import numpy as np
import pytest
import structlog

from exporter.config.digest import JobDigests
from exporter.models.signed_records import StateHeader, libraries, seal
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.service.runner import Saving
from exporter.service.state_files import StateFolder
from exporter.sinks.metrics_page import Page
from tests.pipeline.test_cycle import Bench
from tests.support.every_detector import every_detector, judged_by
from tests.support.fake import DIGESTS
from tests.support.runners import runner_of

COMPARED = ("score", "flag", "severity", "alert", "since", "expected", "upper")


def bench(detector="robust"):
    b = Bench(**judged_by(detector), history="8h", group=["rack"], budget="50 per week")
    rng = np.random.default_rng(3)
    for n in range(8):
        samples = {60.0 * m: float(10 + rng.normal()) for m in range(700)}
        if n == 2:
            samples |= {60.0 * m: 45.0 for m in range(515, 590)}
        b.source.put("q", {"i": str(n), "rack": f"r{n % 2}"}, samples)
    return b


def restarted(before, folder):
    """Return a bench with the same samples whose job is the restored one."""
    after = Bench.__new__(Bench)
    after.__dict__ |= before.__dict__ | {"verdicts": []}
    after.job = Job(JobSettings("job", before.config, DIGESTS), before.source)
    assert folder.restore(after.job)
    return after


@pytest.mark.parametrize("detector", every_detector())
@pytest.mark.parametrize("lost", [0, 7], ids=["clean stop", "kill -9 within the save interval"])
def test_after_a_restart_every_verdict_is_that_of_a_run_that_never_stopped(detector, lost, tmp_path):
    folder = StateFolder(tmp_path, list)
    never, stopped = bench(detector), bench(detector)
    for minute in range(500, 525):
        never.cycle(minute)
        stopped.cycle(minute)
        if minute == 524 - lost:
            folder.save(stopped.job)
    never.verdicts.clear()
    back = restarted(stopped, folder)
    for minute in range(525, 600):
        never.cycle(minute)
    for minute in (529, 540, *range(541, 600)):  # five minutes down, then eleven
        back.cycle(minute)
    verdicts = [v for v in back.verdicts if v.time >= 525 * 60.0]
    assert [v.time for v in verdicts] == [v.time for v in never.verdicts]
    for one, other in zip(verdicts, never.verdicts, strict=True):
        assert one.keys == other.keys
        for name in COMPARED:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=f"{name} at {one.time}")
        assert one.groups == other.groups
    assert any(v.flag[2] for v in never.verdicts)


def test_a_job_without_a_file_or_with_another_configuration_starts_anew(tmp_path):
    folder, b = StateFolder(tmp_path, list), bench()
    assert not folder.restore(b.job)
    b.cycle(200)
    folder.save(b.job)
    other = Job(JobSettings("job", b.config, JobDigests("other", "")), b.source)
    with structlog.testing.capture_logs() as logs:
        assert not folder.restore(other)
    assert "another configuration" in logs[0]["error"]


def test_a_damaged_or_unsigned_file_is_refused_whatever_byte_it_is(tmp_path):
    """Row 25."""
    folder, b = StateFolder(tmp_path, list), bench()
    b.cycle(200)
    folder.save(b.job)
    (file,) = tmp_path.glob("*.state")
    good = file.read_bytes()
    rng = np.random.default_rng(0)
    for at in [*range(0, 1200, 7), *rng.integers(0, len(good), 150).tolist()]:
        file.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        assert not folder.restore(Job(JobSettings("job", b.config, DIGESTS), b.source)), at
    file.write_bytes(good[: len(good) // 2])
    assert not folder.restore(Job(JobSettings("job", b.config, DIGESTS), b.source))
    file.write_bytes(good)
    assert not StateFolder(tmp_path, lambda: [b"key"]).restore(b.job)
    assert folder.restore(Job(JobSettings("job", b.config, DIGESTS), b.source))


def test_a_signed_file_is_read_by_its_key_only(tmp_path):
    """Row 26: a detector's state may hold a pickle."""
    b = bench()
    b.cycle(200)
    StateFolder(tmp_path, lambda: [b"new", b"old"]).save(b.job)
    fresh = Job(JobSettings("job", b.config, DIGESTS), b.source)
    assert not StateFolder(tmp_path, lambda: [b"stolen"]).restore(fresh)
    assert StateFolder(tmp_path, lambda: [b"newer", b"new"]).restore(fresh)


def test_a_folder_that_cannot_be_written_is_said_and_stops_nothing(tmp_path):
    b = bench()
    b.cycle(200)
    (tmp_path / "file").write_text("")
    with structlog.testing.capture_logs() as logs:
        StateFolder(tmp_path / "file" / "state", list).save(b.job)
    assert logs[0]["event"] == "state_not_saved"
    assert logs[0]["job"] == "job"
    json.dumps(logs[0])


@pytest.mark.parametrize("channels", [1, 2])
def test_after_a_restart_the_page_shows_the_newest_verdict_at_once(channels, tmp_path, monkeypatch):
    """Rows 41 and 45: nobody waits for the next minute, and an alert does not vanish meanwhile."""
    folder, now = StateFolder(tmp_path, list), [531 * 60.0]
    monkeypatch.setattr("exporter.service.runner.time.time", lambda: now[0])
    b = bench()
    if channels == 2:
        queries = {"a": "q", "b": "q"}
        b.config = b.config.model_copy(update={"expr": None, "channels": queries})
        b.job = Job(JobSettings("job", b.config, DIGESTS), b.source)
    runner = runner_of(b, Saving(folder))
    runner.cycle(now[0])
    runner.save()
    b.page.render()
    before = [line for line in b.page.current.body.splitlines() if line.startswith(b"anomaly_") and b"query" in line]
    assert any(line.startswith(b"anomaly_flag") and line.endswith(b" 1") for line in before)
    own = [line for line in before if not line.startswith(b"anomaly_exporter")]
    for later, shown in ((40.0, own), (400.0, [])):  # within max_age, and beyond
        after = restarted(b, folder)
        after.page, now[0] = Page(SelfMetrics()), 531 * 60.0 + later
        again = runner_of(after, Saving(folder))
        again._clock.start = lambda: None
        again.start()
        after.page.render()
        found = after.page.current.body.splitlines()
        assert [n for n in found if n.startswith(b"anomaly_") and not n.startswith(b"anomaly_exporter")] == shown
        assert again.published is bool(shown)
    again.cycle(533 * 60.0)
    assert again.published


def test_arrays_that_somebody_sealed_anew_are_refused_whatever_they_are(tmp_path):
    """Row 25: found by fuzzing; without a key anybody can make the checksum right, and the exporter did not start."""
    b = bench()
    b.cycle(200)
    folder = StateFolder(tmp_path, list)
    folder.save(b.job)
    (file,) = tmp_path.glob("*.state")
    good = file.read_bytes()
    arrays = good[8 + int.from_bytes(good[:8]) :]
    for content in (b"", b"PK\x03\x04", b"no archive", arrays[:-200], arrays[:3000] + arrays[3100:]):
        digest = hashlib.sha256(content).hexdigest()
        header = StateHeader("job", DIGESTS.learning, b.job.judged, libraries(), len(content), digest)
        sealed = seal(header, [])
        file.write_bytes(len(sealed).to_bytes(8) + sealed + content)
        with structlog.testing.capture_logs() as logs:
            assert not folder.restore(Job(JobSettings("job", b.config, DIGESTS), b.source))
        assert [(each["event"], each["hint"]) for each in logs] == [("state_refused", "the job starts without history")]
