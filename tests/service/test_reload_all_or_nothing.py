"""A reload exchanges everything or nothing, wherever it fails."""

import gc
import json
import threading
import weakref

import bcrypt
import httpx
import numpy as np
import pytest
import structlog

from exporter.atomic_files import Lock
from exporter.service import active
from exporter.service.app import App
from exporter.sinks.audit import AuditSink
from exporter.sinks.drift_requests import DriftRequests
from exporter.sinks.latest import LatestVerdicts
from exporter.sinks.notify.notifier import Notifier
from exporter.sinks.registry import SINKS
from exporter.source.errors import Unreachable
from tests.support.fake import FakeSource
from tests.support.verdicts import key, verdict
from tests.support.waiting import eventually

STEPS = ["Watcher", "Prometheus", "Store", "StateFolder", "job_digests", "Job", "restore", "Runner"]
"""What is made for a configuration, one after the other."""


class Source(FakeSource):
    closed = False

    def close(self):
        self.closed = True


class Service:
    """An application with all that a reload may exchange, and two configurations that differ in all of it."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.sources = folder, []
        self._others = set(threading.enumerate())  # servers of other tests, which may end meanwhile
        monkeypatch.setattr(active, "Prometheus", self.source)
        monkeypatch.setenv("HOOK", "http://127.0.0.1:1/")
        self.write("old")
        self.app = App(self.path, listen="127.0.0.1:0")

    @property
    def path(self):
        return self.folder / "anomaly.yml"

    def source(self, *_):
        self.sources.append(Source())
        return self.sources[-1]

    def write(self, name, audit=None, **more):
        new = name == "new"
        jobs = {"stays": {"expr": "q"}, "changes": {"expr": "q", "fill": 1 if new else 2}}
        jobs |= {"comes": {"expr": "q"}} if new else {"goes": {"expr": "q"}}
        place = {section: {"path": str(self.folder / f"{section}-{name}")} for section in ("models", "state")}
        config = {
            "jobs": jobs,
            "prometheus": {"deadline": "9s" if new else "8s"},
            "audit": {
                "path": str(self.folder / (audit or f"{name}.csv")),
                "all_samples": True,
                "keep": 2 if new else 3,
            },
            "notify": {"webhook" if new else "slack": {"env": "HOOK"}},
            "log": {"level": "info"},
            **place,
            **more,
        }
        self.path.write_text(json.dumps(config))

    def standing(self):
        """Return all that a reload may exchange."""
        one = self.app.sinks.one
        audit, notifier = one(AuditSink)._audit, one(Notifier)
        parts = self.app.active
        return {
            "active": parts,
            **{name: getattr(parts, name) for name in ("loaded", "watcher", "source", "store", "saving", "runners")},
            "jobs": {name: (runner, runner.job, runner.config, runner.saving, runner.job.source, runner.job.model.store)
                     for name, runner in parts.runners.items()},
            "audit": (audit, audit._rows, audit._file._keep, audit._lock.held(), audit._thread.is_alive()),
            "requests": one(DriftRequests)._folder,
            "latest": one(LatestVerdicts).jobs,
            "notify": (notifier._config, {name: each.settings for name, each in notifier._receivers.items()}),
            "answers": self.app._running.feedback._content,
            "threads": set(threading.enumerate()) - self._others,
            "info": self.info(),
        }  # fmt: skip

    def info(self):
        families = self.app.metrics.registry.collect()
        return [s for family in families if "model_info" in family.name for s in family.samples]

    def reload(self):
        with structlog.testing.capture_logs() as logs:
            answer = self.app.reload()
        return answer, [line["event"] for line in logs if line["log_level"] == "error"]

    def writes(self, name, job="stays"):
        """Write a row and tell whether it arrives in the audit file of this name."""
        self.app.sinks.record(verdict((key(i="row"),), job=job))
        file = self.folder / name
        return eventually(lambda: file.exists() and f",{job}," in file.read_text())

    def close(self):
        for runner in self.app.active.runners.values():
            runner.stop()
            assert not runner._clock._thread.is_alive() or runner.join(10)
        self.app.sinks.close(5.0)


@pytest.fixture
def service(tmp_path, monkeypatch):
    there = Service(tmp_path, monkeypatch)
    yield there
    there.close()


def breaking(*_, **__):
    raise OSError("injected")


def failing(service, step, monkeypatch):
    """Let the next reload fail at one step."""
    if step in SINKS:
        monkeypatch.setattr(service.app.sinks._sinks[step], "prepare", breaking)
    elif step == "StateFolder":
        monkeypatch.setattr("exporter.service.runner.StateFolder", breaking)
    elif step == "restore":
        monkeypatch.setattr("exporter.service.runner.StateFolder.restore", breaking)
    else:
        monkeypatch.setattr(active, step, breaking)


@pytest.mark.parametrize("step", [*STEPS, *SINKS])
def test_wherever_it_fails_nothing_has_changed(service, step, monkeypatch):
    before, sources = service.standing(), list(service.sources)
    with monkeypatch.context() as patch:
        service.write("new")
        failing(service, step, patch)
        answer, errors = service.reload()
    assert answer
    assert "injected" not in answer, "only the log shows what no user can have written"
    assert errors == ["reload_failed"]
    assert service.standing() == before
    assert not any(source.closed for source in sources)
    assert all(source.closed for source in service.sources if source not in sources)
    assert service.writes("old.csv")
    assert not (service.folder / "new.csv").exists()
    with Lock(service.folder / "new.csv.lock"):
        pass  # nobody holds it

    assert service.reload() == (None, []), "what was in the way is gone"
    assert service.app.active is not before["active"]
    assert service.writes("new.csv")


def test_a_file_that_another_process_writes_is_left_to_it_and_nothing_has_changed(service):
    before = service.standing()
    with Lock(service.folder / "new.csv.lock"):
        service.write("new")
        answer, errors = service.reload()
    assert "new.csv is in use" in answer
    assert errors == ["reload_failed"]
    assert service.standing() == before
    assert service.sources[-1].closed
    assert service.writes("old.csv")


def test_a_mistake_in_the_configuration_changes_nothing(service):
    before = service.standing()
    service.write("new", jobs={"stays": {"exrp": "q"}})
    answer, errors = service.reload()
    assert "did you mean 'expr'" in answer
    assert errors == ["reload_failed"]
    assert service.standing() == before


@pytest.mark.parametrize("spelled", ["old.csv", "./down/../old.csv"])
def test_the_same_audit_file_keeps_its_lock_and_its_rows_and_gets_the_new_settings(service, spelled):
    (service.folder / "down").mkdir()
    audit = service.standing()["audit"][0]
    service.app.sinks.record(verdict((key(i="before"),), job="first"))
    service.write("new", audit=spelled)
    assert service.reload() == (None, [])
    after = service.standing()
    assert after["audit"][0] is audit
    assert after["audit"][2:] == (2, True, True)
    assert service.writes("old.csv", "second")
    assert service.writes("old.csv", "first")


@pytest.mark.parametrize("step", ["job_digests", "notify"])
def test_settings_of_the_same_audit_file_wait_for_all_the_rest(service, step, monkeypatch):
    before = service.standing()
    with monkeypatch.context() as patch:
        service.write("new", audit="old.csv")
        failing(service, step, patch)
        service.reload()
    assert service.standing() == before
    assert service.writes("old.csv")


def test_all_of_it_is_exchanged_when_nothing_fails(service):
    before, stays = service.standing(), service.app.active.runners["stays"]
    service.write("new", models={"path": str(service.folder / "models-old")})
    assert service.reload() == (None, [])
    after = service.standing()
    assert after["latest"] == ("stays", "changes", "comes")
    assert after["runners"]["stays"] is stays
    assert stays.saving is after["saving"]
    assert stays.job.source is after["source"] is service.sources[-1]
    assert after["runners"]["changes"] is not before["runners"]["changes"]
    assert set(after["notify"][1]) == {"log", "webhook"}
    assert after["audit"][0] is not before["audit"][0]
    assert not before["audit"][0]._thread.is_alive()
    assert after["requests"] is not before["requests"]


def test_nothing_is_left_of_a_removed_job_whose_last_cycle_ends_after_the_reload(service, monkeypatch):
    """What it counts then would look like a healthy job for ever."""
    runner, asked, answer = service.app.active.runners["goes"], threading.Event(), threading.Event()

    def slow(*_, **__):
        asked.set()
        assert answer.wait(60)
        raise Unreachable("gone")

    monkeypatch.setattr(runner.job.source, "range", slow)
    runner.start()
    assert asked.wait(60)
    service.write("new")
    assert service.app.reload() is None
    service.app.exchange.forget_removed()  # too early: the cycle is under way
    answer.set()
    assert runner.join(60)

    def of_it():
        families = service.app.metrics.registry.collect()
        return [sample for family in families for sample in family.samples if sample.labels.get("query") == "goes"]

    assert of_it(), "the cycle has counted its failure"
    service.app.exchange.forget_removed()
    assert not of_it()


def test_a_changed_web_yml_is_noticed_and_its_users_count_without_a_restart(service, capsys):
    """exporter-toolkit's file, as other exporters have it: people change users there."""
    web = service.folder / "web.yml"

    def users(*names):
        hashes = "".join(f"  {name}: {bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode()}\n" for name in names)
        web.write_text(f"basic_auth_users:\n{hashes}")

    def status(name):
        return httpx.get(f"{app.server.url}/metrics", auth=(name, name), trust_env=False).status_code

    users("alice")
    place = {section: {"path": str(service.folder / f"{section}-own")} for section in ("models", "state")}
    service.write("old", audit="own.csv", web={"config_file": str(web), "listen": "127.0.0.1:0"}, **place)
    app = App(service.path)
    app.server.start()
    try:
        assert (status("alice"), status("bob")) == (200, 401)
        users("bob")
        assert status("alice") == 401, "the file has her no more"
        watcher = app.active.watcher
        eventually(watcher.changed)
        assert app.reload() is None
        assert (status("alice"), status("bob")) == (401, 200)
        assert "restart_needed" not in capsys.readouterr().err
        web.write_text("basic_auth_users:\n  carol: hunter2\n")
        assert "hunter2" not in (app.reload() or "hunter2")
        assert status("bob") == 401, "what is no hash any more lets nobody in"
        web.write_text("")
        assert app.reload() is None
        assert status("bob") == 401
        assert "restart_needed" in capsys.readouterr().err
    finally:
        app.server.stop()


def test_what_removed_and_replaced_jobs_have_learnt_is_freed_at_once(service):
    """Row 31: they refer to each other, and Python's collector would come much later."""
    gc.collect()
    runners = service.app.active.runners
    of_before = {name: weakref.ref(runner.job) for name, runner in runners.items()}
    for runner in runners.values():
        runner.start()
    for runner in runners.values():
        assert eventually(lambda runner=runner: runner.job.judged > -np.inf or runner.health.failures)
    del runner, runners
    gc.disable()
    try:
        service.write("new", models={"path": str(service.folder / "models-old")})
        assert service.app.reload() is None
        service.close()
        assert eventually(lambda: service.app.exchange.forget_removed() or not service.app.exchange._leaving)
    finally:
        gc.enable()
    assert [name for name, job in of_before.items() if job() is not None] == ["stays"]
