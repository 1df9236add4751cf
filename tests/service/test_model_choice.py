"""A stored model is chosen on its page: as by the command, only when nobody else has, and never one that is no good."""

from types import SimpleNamespace

import numpy as np
import pytest

from exporter.config.sections.models import ModelsConfig
from exporter.models import Store
from exporter.service.model_choice import activate
from exporter.web.ui.not_answered import NotAnswered

JOB = ("level", "auto", {}, ("value",))


@pytest.fixture
def store(tmp_path):
    return Store(ModelsConfig(path=tmp_path / "models"))


@pytest.fixture
def choose(store):
    runner = SimpleNamespace(job=SimpleNamespace(settings=SimpleNamespace(model_name="level")))
    active = SimpleNamespace(store=store, runners={"level": runner})
    return lambda version, seen, job="level": activate(lambda: active, job, version, seen, "eva")


def saved(store) -> str:
    return store.save(*JOB, {"x": np.zeros(1)}, trained_from=0, trained_to=1, fingerprint="").version


def active_of(store) -> str:
    return store.current("level").version


def test_the_model_before_is_active_again_and_back_again(store, choose):
    first, second = saved(store), saved(store)
    choose(first, second)
    assert active_of(store) == first
    choose(second, first)
    assert active_of(store) == second


def test_two_people_at_once_do_not_undo_each_other(store, choose):
    first, second, third = saved(store), saved(store), saved(store)
    choose(second, third)
    with pytest.raises(NotAnswered, match=f"{second} is active now") as refused:
        choose(first, third)
    assert (refused.value.status, active_of(store)) == (409, second)


def test_what_is_no_good_is_not_taken_and_what_was_active_stays(store, choose, tmp_path):
    rejected, torn, last = saved(store), saved(store), saved(store)
    store.judge("level", rejected, passed=False, reason="worse recall", figures={})
    (tmp_path / "models" / "level" / torn / "model.joblib").write_bytes(b"x")
    for version, job, status, told in (
        (rejected, "level", 409, "worse recall"), (torn, "level", 409, "cannot be used"),
        ("../../x", "level", 404, "not in the store"), (torn, "gone", 404, "no such job"),
    ):  # fmt: skip
        with pytest.raises(NotAnswered, match=told) as refused:
            choose(version, last, job)
        assert refused.value.status == status
    assert active_of(store) == last


def test_a_store_that_cannot_be_written_says_so(store, choose, monkeypatch):
    from exporter.models import StoreError

    first, last = saved(store), saved(store)

    def refuse(*_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "rollback", refuse)
    with pytest.raises(NotAnswered, match="the disk is full") as refused:
        choose(first, last)
    assert refused.value.status == 502
