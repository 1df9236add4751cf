"""Past incidents are listed with how they ended, and are still known after a restart."""

import dataclasses

import numpy as np
import pytest
import structlog

from exporter.config.sections.root import Config
from exporter.sinks import incident_log
from exporter.sinks.incident_log import IncidentLog
from tests.pipeline.test_cycle import STEP, Bench
from tests.support.runners import runner_of
from tests.support.verdicts import key, verdict

A, B = key(i="a"), key(i="b")
N = np.nan


def logging(folder=None, jobs=("cpu",), **web) -> IncidentLog:
    book = IncidentLog()
    state = {"state": {"path": str(folder)}} if folder else {}
    config = {"jobs": {name: {"expr": "node_memory_free_bytes"} for name in jobs}, "web": web, **state}
    book.prepare(Config.model_validate(config)).commit()
    return book


def at(minute, flag, keys=(A, B), since=None, **changed):
    flag = np.asarray(flag)
    begun = np.where(flag, 60.0 if since is None else since, N)
    return dataclasses.replace(verdict(keys, flag=flag, since=begun, **changed), time=minute * STEP)


def told(book):
    return [(each.incident.labels["i"], each.incident.over, each.ending, each.alerted) for each in book.past()]


def test_an_incident_is_followed_from_its_opening_to_its_end():
    book = logging()
    book.record(at(0, [False, False]))
    book.record(at(1, [True, False], changed=[True, False], severity=[3.0, 0.0], values=[[7.5], [1.0]]))
    open_one = book.find("cpu", A, 60.0)
    assert (open_one.ending, open_one.alerted) == ("", False)
    assert open_one.incident.channels[0].unit == "bytes"
    book.record(at(2, [True, False], alert=[True, False], severity=[30.0, 0.0]))
    book.record(at(3, [False, False], changed=[True, False], severity=[0.0, 0.0], score=[0.5, 0.5]))
    assert told(book) == [("a", 180.0, "recovered", True)]
    assert book.find("cpu", A, 60.0).incident.severity == 30.0
    assert book.find("cpu", A, 70.0) is None
    assert book.find("cpu", B, 60.0) is None


@pytest.mark.parametrize(
    ("after", "ending"),
    [
        (at(5, [False], keys=(B,)), "no data"),
        (at(5, [False, False]), "unknown"),  # not a change: the job has begun again
        (at(5, [True, False], since=240.0), "unknown"),
    ],
)
def test_an_end_that_nobody_saw_is_not_called_recovered(after, ending):
    book = logging()
    book.record(at(1, [True, False], changed=[True, False]))
    book.record(after)
    assert [each[2] for each in told(book)] == [ending]


def test_a_restart_knows_what_was_open_and_what_is_over(tmp_path):
    before = logging(tmp_path)
    before.record(at(1, [True, True], changed=[True, True], alert=[True, False]))
    before.record(at(2, [True, False], changed=[False, True]))
    assert before.is_kept
    before.close(1.0)
    after = logging(tmp_path)
    assert [each[0] for each in told(after)] == ["b"]
    after.record(at(3, [True, False]))  # from the saved state of the job: nothing has changed
    after.record(at(4, [False, False], changed=[True, False], score=[0.2, 0.2]))
    assert told(after) == [("a", 240.0, "recovered", True), ("b", 120.0, "adopted", False)]


def test_a_job_that_left_the_configuration_has_no_open_incident(tmp_path):
    before = logging(tmp_path)
    before.record(at(1, [True, False], changed=[True, False]))
    before.close(1.0)
    after = logging(tmp_path, jobs=("other",))
    assert [each[2] for each in told(after)] == ["removed"]


def test_a_damaged_file_is_said_and_costs_only_the_past(tmp_path):
    (tmp_path / incident_log.FILE).write_text("{}")
    with structlog.testing.capture_logs() as logs:
        book = logging(tmp_path)
    assert [(each["event"], each["error"]) for each in logs] == [("incidents_refused", "does not match its checksum")]
    assert book.past() == []


def test_a_folder_that_cannot_be_written_is_said_once_and_tried_again(tmp_path):
    blocked = tmp_path / "state"
    blocked.write_text("a file")
    book = logging()
    book.prepare(Config.model_validate({"jobs": {"cpu": {"expr": "q"}}, "state": {"path": str(blocked)}})).commit()
    book.record(at(1, [True, False], changed=[True, False]))
    with structlog.testing.capture_logs() as logs:
        book.save()
        book.save()
    assert [each["event"] for each in logs] == ["incidents_not_saved"]
    blocked.unlink()
    book.save()
    assert (blocked / incident_log.FILE).exists()


def test_incidents_that_come_by_chance_do_not_push_alerts_out(monkeypatch):
    monkeypatch.setattr(incident_log, "MOST", 3)
    book = logging()
    book.record(at(1, [True, False], changed=[True, False], alert=[True, False]))
    book.record(at(2, [False, False], changed=[True, False], score=[0.1, 0.1]))
    for minute in range(3, 30, 2):
        book.record(at(minute, [False, True], changed=[False, True], since=60.0 * minute))
        book.record(at(minute + 1, [False, False], changed=[False, True], score=[0.1, 0.1]))
    assert [(each[0], each[3]) for each in told(book)] == [("b", False)] * 3 + [("a", True)]


def test_the_log_is_bounded_and_off_without_the_pages(monkeypatch):
    monkeypatch.setattr(incident_log, "MOST_OPEN", 1)
    book = logging()
    book.record(at(1, [True, True], changed=[True, True]))
    assert book.find("cpu", A, 60.0) is not None
    assert book.find("cpu", B, 60.0) is None
    off = logging(ui=False)
    off.record(at(1, [True, True], changed=[True, True]))
    assert off.find("cpu", A, 60.0) is None


def test_a_real_job_writes_its_incident(tmp_path):
    """From samples to the log: opened by an outage, recovered, with its worst reading."""
    bench, book = Bench(window="10m"), logging(jobs=("job",))
    bench.put("a", range(80))
    bench.put("a", range(60, 65), value=90.0)
    runner = runner_of(bench, incident_log=book)
    for minute in range(50, 80):
        runner.cycle(minute * STEP)
    (logged,) = book.past()
    assert logged.ending == "recovered"
    assert (logged.incident.since, logged.incident.at is not None) == (60 * STEP, True)
    assert logged.incident.channels[0].observed == 90.0
    assert logged.incident.severity > 5
