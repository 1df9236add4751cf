"""A running exporter takes another model into service, goes back, and does not take a bad one."""

import subprocess
import sys
import time

import numpy as np
import pytest

from detectors import Batch, make
from exporter.config.sections.models import ModelsConfig
from exporter.models import Store
from tests.e2e.conftest import Page, soon
from tests.e2e.test_end_to_end import QUICK, config, history, watching
from tests.support.batches import until
from tests.support.object_store import s3_address, s3_models
from tests.support.visit import visit
from tests.support.waiting import eventually

__all__ = ["s3_address", "s3_models"]
pytestmark = pytest.mark.servers

JOB = ("level", "auto", {}, ("value",))


def version(url):
    found = [dict(labels)["version"] for labels in Page(url).get("anomaly_exporter_model_info", query="level")]
    return found[0] if found else None


def rollback(folder):
    return subprocess.run(
        [
            *(sys.executable, "-m", "exporter", "models", "rollback"),
            *("--job", "level", "--config", folder / "anomaly.yml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def learnt():
    """Return the state of a detector that has seen a minute of the target's series, and when it ended."""
    keys = tuple((("instance", "target"), ("job", "target"), ("name", name)) for name in "ab")
    values = 10 + 0.1 * np.random.default_rng(1).normal(size=(2, 1, 60))
    batch = Batch(keys, ("value",), np.floor(time.time()) - 60 + np.arange(60.0), values)
    detector, none = make("auto", 30), np.zeros(2, np.bool_)
    for at in batch.times:
        detector.score(until(batch, at).last(30))
        detector.update(until(batch, at).last(1), frozen=none, rebaselined=none)
    return detector.state(), float(batch.times[-1])


def test_a_promoted_model_is_in_service_a_cycle_later_and_a_rollback_too_and_a_torn_one_never(
    prometheus, exporter, target, tmp_path
):
    """Promote, roll back, and a damaged `current` (row 25); an open incident stays open throughout."""
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    source.wait_for("level")
    store = Store(ModelsConfig(path=tmp_path / "models"))
    state, ended = learnt()
    trained = {"trained_from": ended - 59, "trained_to": ended, "fingerprint": "x"}
    first = store.save(*JOB, state, **trained).version
    jobs = {"level": {"expr": "level", **QUICK}}
    state_folder = {"path": str(tmp_path / "state")}
    ours = exporter(
        config(source, jobs, models={"path": str(tmp_path / "models")}, web={"actions": True}, state=state_folder)
    )
    eventually(lambda: (Page(ours.url).one("anomaly_score", name="a") or 9) < 1)
    assert eventually(lambda: version(ours.url)) == first
    target.series["a"] = 40.0
    eventually(lambda: Page(ours.url).one("anomaly_flag", name="a") == 1)

    candidate = store.save(*JOB, state, **trained, in_service=False)
    store.judge("level", candidate.version, passed=True, reason="as good", figures={"f1": 1.0})
    store.promote("level", candidate.version)
    store.record("level", {"outcome": "promoted", "version": candidate.version, "seconds": 3.0})
    soon(ours.url, "level", lambda: version(ours.url) == candidate.version)
    soon(ours.url, "level", lambda: Page(ours.url).one("anomaly_exporter_model_current", query="level") == 1)
    assert Page(ours.url).one("anomaly_exporter_retrains_total", query="level", outcome="promoted") == 1

    done = rollback(ours.directory)
    assert (done.returncode, done.stderr) == (0, "")
    soon(ours.url, "level", lambda: version(ours.url) == first)

    with visit(f"{ours.url}/job?job=level") as page:  # forth and back by a click each
        for wanted in (candidate.version, first):
            page.click(f"[aria-label='Make {wanted} the active model']")
            soon(ours.url, "level", lambda wanted=wanted: version(ours.url) == wanted)
            page.reload()
    assert ours.log.read_text().count("model_chosen") == 2

    torn = store.save(*JOB, {"x": np.zeros(1)}, trained_from=0, trained_to=1, fingerprint="")
    (tmp_path / "models" / "level" / torn.version / "model.joblib").write_bytes(b"\x80")
    soon(
        ours.url,
        "level",
        lambda: Page(ours.url).one("anomaly_exporter_model_loads_total", query="level", outcome="refused"),
    )
    page = Page(ours.url)
    assert page.one("anomaly_exporter_model_current", query="level") == 0
    assert version(ours.url) == first
    assert page.one("anomaly_flag", name="a") == 1
    assert page.one("anomaly_exporter_flag_changes_total", query="level", to="open") == 1
    assert page.one("anomaly_score", name="a") > 1
    assert "does not match the digest" in ours.log.read_text()


def test_a_model_promoted_in_an_object_store_reaches_the_running_exporter(
    prometheus, exporter, target, s3_models, monkeypatch
):
    """With a key: signed here, checked there. A rollback as well; no secret in log or page (row 53)."""
    monkeypatch.setenv("MODEL_KEY", "the-key-of-the-models")
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    source.wait_for("level")
    models = s3_models(poll="1s", key={"env": "MODEL_KEY"})
    store = Store(ModelsConfig.model_validate(models))
    state, ended = learnt()
    trained = {"trained_from": ended - 59, "trained_to": ended, "fingerprint": "x"}
    ours = exporter(config(source, {"level": {"expr": "level", **QUICK}}, models=models))
    eventually(lambda: (Page(ours.url).one("anomaly_score", name="a") or 9) < 1)
    assert version(ours.url) is None
    first, second = (store.save(*JOB, state, **trained).version for _ in range(2))
    soon(ours.url, "level", lambda: version(ours.url) == second)
    done = rollback(ours.directory)
    assert (done.returncode, done.stderr) == (0, "")
    soon(ours.url, "level", lambda: version(ours.url) == first)
    assert Page(ours.url).one("anomaly_exporter_cycles_total", query="level", outcome="error") is None
    said = ours.log.read_text() + Page(ours.url).text + done.stdout
    for secret in ("the-key-of-the-models", "the-secret-of-the-store", "AKIA-of-the-store"):
        assert secret not in said
