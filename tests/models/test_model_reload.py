"""A newer model takes over between two cycles, knowing all that came since its training; a bad one never does."""

import math
import socket
import threading
from functools import partial

import numpy as np
import pytest
import structlog

from exporter.config.sections.models import ModelsConfig
from exporter.models import Store
from exporter.models.signed_records import libraries
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.shard import Shard
from exporter.service.model_reload import ModelReload, ModelReloader
from exporter.source.errors import Unreachable
from tests.pipeline.test_cycle import Bench
from tests.support.fake import DIGESTS, recorded
from tests.support.runners import runner_of
from tests.support.waiting import eventually

STEP = 60.0


class Served(Bench):
    """A bench whose job has a model store, with a runner and what looks after its models."""

    def __init__(self, store, **settings):
        super().__init__(**settings)
        self.store = store
        self.job = Job(
            JobSettings("job", self.config, DIGESTS), self.source, recorded(self.metrics, self.config), store
        )
        self.runner = runner_of(self)
        self.succession = ModelReload(self.job, store)
        rng = np.random.default_rng(3)
        for name in "abcdefgh":
            self.put(name, (), None)
            self.source.put("q", {"i": name}, {STEP * m: float(10 + rng.normal()) for m in range(900)})

    def look(self):
        self.succession.look(lambda: True)

    def cycles(self, *minutes):
        for minute in range(*minutes):
            self.runner.cycle(minute * STEP)

    def save(self, detector=None, trained_to=None, **options):
        """Store the state of `detector`, by default our own as it is now."""
        spec = self.config.detector
        name = spec if isinstance(spec, str) else next(iter(spec))
        parameters = {} if isinstance(spec, str) else spec[name]
        return self.store.save(
            "job", name, parameters, ("value",), (detector or self.job.model.detector).state(),
            trained_from=0.0, trained_to=self.job.judged if trained_to is None else trained_to, fingerprint="",
            **options,
        )  # fmt: skip

    @property
    def version(self):
        return self.job.model.version


@pytest.fixture
def local(tmp_path):
    return Store(ModelsConfig(path=tmp_path / "models"))


CALM_FOREST = {"isolation_forest": {"contamination": 1e-6}}


@pytest.mark.parametrize("detector", ["auto", "robust", "seasonal", "half_space_trees", CALM_FOREST], ids=str)
def test_a_new_model_judges_as_if_it_had_judged_all_since_its_training(detector, local, tmp_path):
    never = Served(Store(ModelsConfig(path=tmp_path / "other")), detector=detector, history="8h", open_after=30)
    swapped = Served(local, detector=detector, history="8h", open_after=30)
    for bench in (never, swapped):
        bench.cycles(500, 526)
    assert not never.job.learnt.hold.state()["level_held"].any(), "a model does not know what is held from learning"
    manifest = swapped.save()
    for bench in (never, swapped):
        bench.cycles(526, 560)
    del swapped.job.model.detector  # whatever the old one had learnt is of no use any more
    swapped.look()
    swapped.job.begin_cycle()
    assert swapped.version == manifest.version
    for minute in range(560, 600):
        one, other = never.cycle(minute), swapped.cycle(minute)
        np.testing.assert_array_equal(one.score, other.score)
        np.testing.assert_array_equal(one.flag, other.flag)
        assert other.model_version == manifest.version


def test_a_model_whose_training_ended_three_days_ago_learns_all_three(local, tmp_path):
    never, swapped = (
        Served(store, detector="auto", step="10m", window="5h")
        for store in (Store(ModelsConfig(path=tmp_path / "other")), local)
    )
    rng = np.random.default_rng(4)
    for name in "abcdefgh":
        samples = {10 * STEP * at: float(10 + rng.normal()) for at in range(600)}
        for bench in (never, swapped):
            bench.source.put("q", {"i": name}, samples)
    for bench in (never, swapped):
        bench.cycles(1000, 1300, 10)
    swapped.save()
    for bench in (never, swapped):
        bench.cycles(1300, 5630, 10)
    del swapped.job.model.detector
    swapped.look()
    swapped.job.begin_cycle()
    for minute in range(5630, 5730, 10):
        np.testing.assert_array_equal(never.cycle(minute).score, swapped.cycle(minute).score)


def test_promotion_and_rollback_take_one_cycle_and_the_metrics_say_so(local):
    bench = Served(local)
    bench.cycles(500, 510)
    first, second = bench.save(), bench.save(in_service=False)
    bench.look()
    bench.cycles(510, 511)
    assert bench.version == first.version
    for change, now in (
        (lambda: local.promote("job", second.version, force=True), second),
        (lambda: local.rollback("job"), first),
    ):
        change()
        bench.look()
        assert bench.sample("model_current") == 0
        bench.cycles(int(bench.job.judged / STEP) + 1, int(bench.job.judged / STEP) + 2)
        assert bench.version == now.version
        assert bench.sample("model_info", detector="robust", version=now.version) == 1
        assert bench.sample("model_trained_timestamp_seconds", detector="robust") == now.trained_at
        bench.look()
        assert bench.sample("model_current") == 1
    assert bench.sample("model_info", detector="robust", version=second.version) is None
    assert bench.sample("model_loads_total", outcome="loaded") == 3
    assert bench.sample("cycles_total", outcome="error") is None


def test_a_model_that_has_not_caught_up_waits_for_the_cycle_after(local):
    bench = Served(local)
    bench.cycles(500, 510)
    manifest = bench.save()
    bench.look()
    bench.job.learnt.judged += STEP  # a cycle that was under way while it caught up
    bench.cycles(511, 512)
    assert bench.version == ""
    bench.look()
    bench.cycles(512, 513)
    assert bench.version == manifest.version


def test_open_incidents_and_their_severity_outlast_a_change_of_models(local):
    bench = Served(local)
    bench.cycles(500, 520)
    model = bench.save()
    local.rollback("job", model.version)
    bench.source.put("q", {"i": "c"}, {STEP * m: 60.0 for m in range(520, 900)})
    bench.cycles(520, 530)
    before = bench.job.last
    row = [dict(key)["i"] for key in before.keys].index("c")
    assert before.flag[row]
    bench.look()
    bench.cycles(530, 531)
    after = bench.job.last
    assert after.model_version == model.version
    assert after.since[row] == before.since[row]
    assert after.severity[row] > before.severity[row]
    assert bench.sample("flag_changes_total", to="open") == 1


def test_an_incident_that_is_open_is_not_learnt_while_a_model_catches_up(local):
    bench = Served(local, clear_after="1h")
    bench.source.put("q", {"i": "c"}, {STEP * m: 60.0 for m in range(520, 525)})
    bench.source.put("q", {"i": "c"}, {STEP * m: 11.9 for m in range(525, 900)})  # not anomalous by itself
    bench.cycles(500, 522)
    learnt = []
    bench.cycles(522, 526)
    bench.save(trained_to=524 * STEP)
    bench.cycles(526, 540)
    row = [dict(key)["i"] for key in bench.job.last.keys].index("c")
    assert bench.job.last.flag[row]
    successor = bench.job.with_newer_model(local)
    successor.model.detector.update = lambda fresh, frozen, rebaselined: learnt.append(frozen[row])
    list(evaluate(successor, 530 * STEP, partial(bench.telemetry.stage, "job")))
    assert learnt == [True] * 6


def damage_model(store, version):
    store._place.write(f"job/{version}/model.joblib", b"\x80torn")


def damage_manifest(store, version):
    store._place.write(f"job/{version}/manifest.json", b"{}")


def damage_pointer(store, version):
    del version
    store._place.write("job/current", b"")


@pytest.mark.parametrize("damage", [damage_model, damage_manifest, damage_pointer])
def test_a_damaged_current_leaves_the_old_model_in_service(damage, local, monkeypatch):
    """Rows 25 and 26."""
    bench = Served(local)
    bench.cycles(500, 510)
    first = bench.save()
    bench.look()
    bench.cycles(510, 511)
    second = bench.save()
    damage(local, second.version)
    with structlog.testing.capture_logs() as logs:
        bench.look()
        bench.look()
    bench.cycles(511, 515)
    assert bench.version == first.version
    assert np.isfinite(bench.job.last.score).all()
    assert bench.sample("model_current") == 0
    assert bench.sample("model_loads_total", outcome="refused") == 1
    [line] = [line for line in logs if line["event"] == "model_refused"]
    assert line["job"] == "job"
    assert f"{first.version} stays active" in line["hint"]
    third = bench.save()
    monkeypatch.setattr(bench.succession, "_again", -math.inf)
    bench.look()
    bench.cycles(515, 516)
    assert bench.version == third.version


def test_a_model_that_fails_on_the_samples_of_today_is_refused(local):
    bench = Served(local)
    bench.cycles(500, 510)
    first = bench.save()
    bench.look()
    bench.cycles(510, 515)
    local.save(
        "job", "robust", {}, ("value",), {"nonsense": np.zeros(3)}, trained_from=0, trained_to=0.0, fingerprint=""
    )
    bench.look()
    bench.cycles(515, 516)
    assert bench.version == first.version
    assert bench.sample("model_loads_total", outcome="refused") == 1


def test_a_source_that_is_down_only_makes_a_new_model_wait(local):
    bench = Served(local)
    bench.cycles(500, 510)
    manifest = bench.save(trained_to=400 * STEP)
    bench.source.error = Unreachable("down")
    bench.look()
    bench.cycles(510, 511)
    assert bench.version == ""
    bench.source.error = None
    bench.cycles(511, 512)
    bench.look()
    bench.cycles(512, 513)
    assert bench.version == manifest.version


def test_a_store_that_is_down_is_said_once_and_changes_nothing(local, monkeypatch):
    bench = Served(local)
    bench.cycles(500, 510)
    manifest = bench.save()
    bench.look()
    bench.cycles(510, 511)
    with structlog.testing.capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(local._place, "read", down)
        patch.setattr(local._place, "pointer", down)
        for minute in range(511, 515):
            bench.look()
            bench.cycles(minute, minute + 1)
    assert [line["event"] for line in logs].count("model_store_down") == 1
    assert bench.sample("model_store_up") == 0
    assert bench.version == manifest.version
    bench.look()
    assert bench.sample("model_store_up") == 1


def down(*_):
    from exporter.models.errors import Unreachable as StoreUnreachable

    raise StoreUnreachable("no answer")


def test_every_replica_has_a_model_of_its_own(local):
    benches = []
    for index in range(2):
        bench = Served(local, detector="isolation_forest", history="8h")
        bench.job = Job(
            JobSettings("job", bench.config, shard=Shard(index, 2)),
            bench.source,
            recorded(bench.metrics, bench.config),
            local,
        )
        bench.cycle(500)
        benches.append(bench)
    assert sorted(local.jobs()) == ["job@0-of-2", "job@1-of-2"]
    assert [len(bench.job.last.keys) for bench in benches] != [8, 8]
    assert all(bench.version for bench in benches)


def test_a_store_that_hangs_holds_up_no_cycle(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = {"endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}", "anon": True}
        hanging = Store(ModelsConfig(url="s3://bucket/models", options=options, timeout="10m"))
        bench = Served(Store(ModelsConfig(path=tmp_path)))
        bench.cycles(500, 501)
        watch = ModelReloader(lambda: [bench.job], lambda: hanging)
        watch.start()
        connection, _ = silent.accept()  # it has asked, and waits
        with connection:
            bench.cycles(501, 511)
            assert bench.sample("cycles_total", outcome="success") == 11
            assert bench.sample("model_store_up") is None, "the answer came before the cycles: nothing is proved"
            silent.close()
        eventually(lambda: bench.sample("model_store_up") == 0)
        watch.stop()


def test_a_first_model_is_fitted_and_judges_though_the_store_hangs(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = {"endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}", "anon": True}
        hanging = Store(ModelsConfig(url="s3://bucket/models", options=options, timeout="500ms"))
        bench = Served(hanging, detector="isolation_forest", history="8h")
        with structlog.testing.capture_logs() as logs:
            bench.cycles(500, 502)
    assert np.isfinite(bench.job.last.score).all()
    assert bench.sample("cycles_total", outcome="success") == 2
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["model_store_down", "model_not_saved"]
    assert bench.sample("model_loads_total", outcome="unreachable") == 1


def test_no_model_learns_a_sample_twice_however_cycles_and_changes_meet(local, monkeypatch):
    bench = Served(local)
    bench.cycles(500, 502)
    versions = [bench.save().version, bench.save().version]
    learnt, detector = {}, type(bench.job.model.detector)
    update = detector.update

    def recorded(self, fresh, frozen, rebaselined):
        learnt.setdefault(id(self), (self, []))[1].append(fresh.times[-1])
        update(self, fresh, frozen=frozen, rebaselined=rebaselined)

    monkeypatch.setattr(detector, "update", recorded)
    ended = threading.Event()

    def watch():
        while not ended.is_set():
            bench.look()

    thread = threading.Thread(target=watch)
    thread.start()
    for minute in range(502, 880):
        bench.runner.cycle(minute * STEP)
        if minute % 5 == 0:
            local.rollback("job", versions[minute // 5 % 2])
    ended.set()
    thread.join()
    assert bench.sample("model_loads_total", outcome="loaded") > 2
    assert all((np.diff(times) > 0).all() for _, times in learnt.values())
    assert np.isfinite(bench.job.last.score).all()


def test_how_trainings_ended_is_counted_over_a_restart(local):
    bench = Served(local)
    bench.look()
    assert bench.sample("train_timestamp_seconds") is None
    for outcome in ("promoted", "rejected", "rejected"):
        local.record("job", {"outcome": outcome, "seconds": 2.5})
    bench.look()
    again = Served(local)
    again.look()
    local.record("job", {"outcome": "failed", "seconds": 1})
    for each in (bench, again):
        each.look()
        each.look()
        counts = {
            outcome: each.sample("retrains_total", outcome=outcome) for outcome in ("promoted", "rejected", "failed")
        }
        assert counts == {"promoted": 1, "rejected": 2, "failed": 1}
        assert each.sample("train_outcome", outcome="failed") == 1
        assert each.sample("train_outcome", outcome="rejected") == 0
        assert each.sample("train_duration_seconds") == 1
        ended = each.sample("train_timestamp_seconds")
        assert ended > 1e9
    local.record("job", {"outcome": "candidate", "time": 5.0})  # the first stage of one that has yet to end
    bench.look()
    assert bench.sample("train_timestamp_seconds") == ended
    assert bench.sample("train_outcome", outcome="failed") == 1
    local.record("job", {"outcome": "promoted", "time": 1000.0, "seconds": 20.0})
    bench.look()
    assert bench.sample("train_timestamp_seconds") == 1020.0
    assert bench.sample("retrains_total", outcome="promoted") == 2


def test_a_model_of_other_library_versions_stays_out(local, monkeypatch):
    """Row 29."""
    bench = Served(local)
    bench.cycles(500, 510)
    first = bench.save()
    bench.look()
    bench.cycles(510, 511)
    with monkeypatch.context() as patch:
        patch.setattr("exporter.models.store.libraries", lambda: libraries() | {"scikit-learn": "99.0"})
        bench.save()
    with structlog.testing.capture_logs() as logs:
        bench.look()
    bench.cycles(511, 512)
    assert bench.version == first.version
    assert "saved by scikit-learn 99.0, which is not installed here" in str(logs)


@pytest.mark.parametrize(
    "found", ['{"totals": {"promoted": "many"}, "time": "now"}', '{"totals": []}', "[]", "{}", "null"]
)
def test_a_result_of_another_form_is_no_result_and_no_crash(found, local):
    bench = Served(local)
    local._place.write("job/last_train.json", found.encode())
    bench.look()
    assert bench.sample("retrains_total", outcome="promoted") in {None, 0}
