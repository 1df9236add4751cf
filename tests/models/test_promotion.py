"""Candidates, the gate's verdict, promotion and rollback: what is active changes only when it is said to."""

import numpy as np
import pytest

from exporter.models import ModelMissing, ModelRefused, Store, StoreError
from exporter.models.signed_records import Manifest

ASKED = ("api", "robust", {"window": 60}, ("value",))


def save(store: Store, value: float = 0.0, *, in_service: bool = True) -> Manifest:
    state = {"value": np.array([value])}
    return store.save(*ASKED, state, trained_from=0.0, trained_to=value, fingerprint=str(value), in_service=in_service)


def served(store: Store) -> float:
    state, manifest = store.load(*ASKED)
    assert state["value"][0] == manifest.trained_to
    return manifest.trained_to


def content(store: Store, name: str) -> bytes:
    return store._place.read(name, 2**20)


def judge(store: Store, candidate: Manifest, *, passed: bool) -> None:
    store.judge("api", candidate.version, passed=passed, reason="because", figures={"f1": 0.9, "none": float("nan")})


def test_a_candidate_changes_nothing_until_it_is_promoted(store: Store) -> None:
    save(store, 1.0)
    candidate = save(store, 2.0, in_service=False)
    assert served(store) == 1.0
    assert store.load(*ASKED, version=candidate.version)[0]["value"][0] == 2.0
    judge(store, candidate, passed=True)
    outcome = store.outcome("api", candidate.version)
    assert outcome is not None
    assert (outcome.passed, outcome.reason, outcome.figures) == (True, "because", {"f1": 0.9, "none": None})
    assert store.promote("api", candidate.version) == candidate
    assert served(store) == served(Store(store._config)) == 2.0


def test_a_first_candidate_is_not_in_service_either(store: Store) -> None:
    candidate = save(store, 1.0, in_service=False)
    assert store.current("api") is None
    with pytest.raises(ModelMissing):
        store.load(*ASKED)
    store.promote("api", candidate.version, force=True)
    assert served(store) == 1.0


@pytest.mark.parametrize("passed", [False, None])
def test_what_the_gate_did_not_pass_is_put_in_service_by_force_only(passed: bool | None, store: Store) -> None:
    save(store, 1.0)
    candidate = save(store, 2.0, in_service=False)
    if passed is not None:
        judge(store, candidate, passed=passed)
    with pytest.raises(StoreError, match=r"job api: version 0\S+ was (rejected by the gate \(because\)|not evaluated)"):
        store.promote("api", candidate.version)
    assert served(store) == 1.0
    store.promote("api", candidate.version, force=True)
    assert served(store) == 2.0


def test_a_rollback_goes_back_step_by_step_and_says_where_it_ends(store: Store) -> None:
    for value in (1.0, 2.0, 3.0):
        save(store, value)
    generations = []
    for value in (2.0, 1.0):
        assert store.rollback("api").trained_to == value
        assert served(store) == value
        pointer = store.current("api")
        assert pointer is not None
        generations.append(pointer.generation)
    assert generations == [4, 5]
    with pytest.raises(StoreError, match="no other model was active before; name a version"):
        store.rollback("api")
    assert served(store) == 1.0
    assert save(store, 4.0).generation == 6
    assert served(store) == 4.0


def test_a_rollback_to_a_named_version_can_be_taken_back(store: Store) -> None:
    first, _, third = (save(store, value) for value in (1.0, 2.0, 3.0))
    store.rollback("api", first.version)
    assert served(store) == 1.0
    store.rollback("api", third.version)
    store.rollback("api")
    assert served(store) == 1.0


@pytest.mark.parametrize("damage", ["model.joblib", "manifest.json"])
def test_a_damaged_version_is_never_put_in_service(damage: str, store: Store) -> None:
    """Row 25."""
    first, _ = save(store, 1.0), save(store, 2.0)
    name = f"api/{first.version}/{damage}"
    store._place.write(name, content(store, name)[:-9])
    for change in (lambda: store.rollback("api"), lambda: store.promote("api", first.version, force=True)):
        with pytest.raises(ModelRefused, match=f"job api: .*{damage}"):
            change()
    assert served(store) == 2.0
    assert [(each.version == first.version, bool(each.refused)) for each in store.versions("api")] == (
        [(False, False), (True, damage == "manifest.json")]
    )
    assert set(store.verify("api")) == {first.version}


def test_a_verdict_that_was_tampered_with_is_no_verdict(store: Store) -> None:
    candidate = save(store, 2.0, in_service=False)
    judge(store, candidate, passed=False)
    name = f"api/{candidate.version}/gate.json"
    store._place.write(name, content(store, name).replace(b'"passed": false', b'"passed": true'))
    with pytest.raises(ModelRefused, match="does not match its checksum"):
        store.promote("api", candidate.version)


def test_another_models_verdict_does_not_count(store: Store) -> None:
    good, bad = (save(store, value, in_service=False) for value in (1.0, 2.0))
    judge(store, good, passed=True)
    store._place.write(f"api/{bad.version}/gate.json", content(store, f"api/{good.version}/gate.json"))
    with pytest.raises(ModelRefused, match="another job or version"):
        store.promote("api", bad.version)


def test_after_a_damaged_pointer_a_version_can_be_put_in_service_for_processes_that_saw_the_old_one(
    store: Store,
) -> None:
    """Row 25: the generation that can no longer be read is passed for sure."""
    versions = [save(store, value) for value in (1.0, 2.0)]
    for _ in range(3):
        store.rollback("api", versions[0].version)
        store.rollback("api", versions[1].version)
    assert served(store) == 2.0
    store._place.write(store._place.pointer("api", 10_000)[0], b"torn")
    assert "current" in store.verify("api")
    Store(store._config).rollback("api", versions[0].version)
    assert served(store) == 1.0


def test_pruning_keeps_what_is_in_service_and_the_one_before(store: Store) -> None:
    versions = [save(store, float(value)) for value in range(6)]
    store.rollback("api", versions[1].version)
    assert store.prune("api", 1) == tuple(each.version for each in reversed(versions[2:5]))
    assert [each.version for each in store.versions("api")] == [versions[each].version for each in (5, 1, 0)]
    store.rollback("api")
    assert served(store) == 0.0


def test_the_result_of_a_training_is_kept_and_counted(store: Store) -> None:
    assert store.recorded("api") is None
    store.record("api", {"outcome": "promoted", "seconds": np.float64(1.5), "figures": {"f1": float("nan")}})
    store.record("api", {"outcome": "rejected", "reason": "worse"})
    found = store.recorded("api")
    assert found is not None
    assert found["time"] > 0
    assert (found["outcome"], found["reason"], found["totals"]) == ("rejected", "worse", {"promoted": 1, "rejected": 1})
    store._place.write("api/last_train.json", b"{")
    assert store.recorded("api") is None


def test_jobs_are_listed_by_their_names(store: Store) -> None:
    for job in ("api", "NS/api@0-of-2"):
        store.save(job, *ASKED[1:], {"x": np.zeros(1)}, trained_from=0, trained_to=1, fingerprint="")
    store._place.write(".retrain", b"")
    assert sorted(store.jobs()) == ["NS/api@0-of-2", "api"]
