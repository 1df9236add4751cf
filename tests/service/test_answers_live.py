"""Answers to incidents in the running exporter: they reach the cycles, outlive a restart and a kill, and a reload."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from exporter.service.app import App
from exporter.sinks import feedback_book
from exporter.sinks.feedback import FILE, read_feedback
from exporter.sinks.incident_log import IncidentLog
from exporter.web.ui.answering import give, take_back
from exporter.web.ui.feedback_answers import NewAnswer
from tests.service.test_reload_keeps import NOW, Service, running

__all__ = ["running"]
E0 = {"i": "e00"}


@pytest.fixture
def there(running: Service, monkeypatch) -> Service:
    """The application with the clock of its samples: an answer holds from the next minute on."""
    running.now = NOW
    monkeypatch.setattr(feedback_book, "time", SimpleNamespace(time=lambda: running.now * 60.0))
    return running


def answer(there: Service, **changed):
    new = NewAnswer(**({"kind": "expected", "job": "job", "why": "a backup", "labels": E0, "when": "always"} | changed))
    return give(there.app._running, new, "eva", there.now * 60.0)


def test_an_answer_is_heeded_from_the_next_sample_on_until_it_is_taken_back(there):
    before = there.runner.job.last
    given = answer(there)
    after = there.cycle(NOW + 1)
    assert not after.flag[0]
    assert after.hidden[0]
    counted = there.app.metrics.registry.get_sample_value
    assert counted("anomaly_exporter_expected_incidents", {"query": "job"}) == 1.0
    there.now = NOW + 1
    take_back(there.app._running, given.answer.id, "max", there.now * 60.0)
    back = there.cycle(NOW + 2)
    assert (back.flag[0], back.since[0]) == (True, before.since[0])
    assert back.severity[0] > before.severity[0]
    (kept,) = read_feedback(there.folder / "state" / FILE)
    assert (kept.who, kept.why, kept.undone.who) == ("eva", "a backup", "max")
    incidents = there.app.sinks.one(IncidentLog)
    assert [each.incident.over for each in incidents.every() if each.incident.labels == E0] == [None]


def test_an_answer_holds_after_a_restart_and_a_reload(there):
    answer(there)
    assert not there.cycle(NOW + 1).flag[0]
    there.write(budget="9 per week")
    assert there.app.reload() is None
    assert not there.cycle(NOW + 2).flag[0]
    there.write(window="20m")  # the job begins again
    assert there.app.reload() is None
    there.runner.stop()
    there.runner.join(10.0)
    assert there.runner.job.learnt.expected.answers
    there.runner.save()
    again = App(there.path, listen="127.0.0.1:0")
    assert again.active.runners["job"].job.learnt.expected.answers == there.runner.job.learnt.expected.answers


def test_a_new_normal_is_learnt_from_the_next_sample_on(there):
    answer(there, kind="normal")
    after = there.cycle(NOW + 1)
    assert not after.flag[0]
    assert after.hidden is None
    counted = there.app.metrics.registry.get_sample_value
    assert counted("anomaly_exporter_incidents_accepted_total", {"query": "job"}) == 1.0


WRITER = """
import sys
from types import SimpleNamespace
from pathlib import Path
from exporter.config.sections.root import Config
from exporter.sinks.feedback import Feedback
from exporter.sinks.feedback_book import FeedbackBook
book = FeedbackBook()
book.prepare(Config.model_validate({"jobs": {"j": {"expr": "x"}}, "state": {"path": sys.argv[1]}})).commit()
for n in range(100_000):
    book.change(lambda every, at: Feedback(f"{n}", "incident", "j", {}, 0.0, None, at, "eva", "why"))
    print(n, flush=True)
"""


def test_a_kill_loses_no_answer_that_was_confirmed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    confirmed = [int(process.stdout.readline()) for _ in range(30)]
    os.kill(process.pid, signal.SIGKILL)
    confirmed += [int(line) for line in process.stdout.read().splitlines() if line.strip()]
    process.wait()
    process.stdout.close()
    kept = [int(each.id) for each in read_feedback(tmp_path / FILE)]
    assert kept[: len(confirmed)] == confirmed
    assert len(kept) <= len(confirmed) + 1


def test_two_processes_lose_none_of_each_others_answers(tmp_path):
    script = WRITER.replace("range(100_000)", "range(15)").replace('f"{n}"', 'sys.argv[2] + f"{n}"')
    several = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name], stdout=subprocess.DEVNULL)
        for name in "ab"
    ]
    assert [each.wait() for each in several] == [0, 0]
    assert len(read_feedback(tmp_path / FILE)) == 30


def test_an_answer_on_a_slow_disk_holds_from_a_sample_that_was_not_judged_without_it(there, monkeypatch):
    write = feedback_book.write_atomically

    def slowly(path: Path, data: bytes) -> None:
        write(path, data)
        there.now += 0.05 if there.now < NOW + 0.1 else 0.0  # three seconds, the first times

    monkeypatch.setattr(feedback_book, "write_atomically", slowly)
    began = time.monotonic()
    answer(there)
    (kept,) = read_feedback(there.folder / "state" / FILE)
    assert kept.at > there.now * 60.0
    assert kept.expectation.at == kept.at
    assert time.monotonic() - began < 60
