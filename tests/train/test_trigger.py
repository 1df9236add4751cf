"""What calls for a training, and what it waits for otherwise."""

from dataclasses import replace

import pytest

from detectors.units import DAY
from exporter.config.sections.root import Config
from exporter.models.retrain_requests import RetrainRequest
from exporter.models.signed_records import Manifest
from exporter.pipeline.shard import Shard
from exporter.train.task import TrainTask
from exporter.train.trigger import due

NOW = 1000 * DAY


def manifest(age):
    at = NOW - age * DAY
    return Manifest("j", "000001-x", 1, "auto", {}, ("value",), 0.0, at, at, "", {}, {}, 0, "")


def asked(age=1.0, attempted=None, known=0, known_before=0, request=None, **train):
    config = Config.model_validate({"jobs": {"j": {"expr": "q"}}, "train": train})
    before = NOW - (age if attempted is None else attempted) * DAY
    task = TrainTask(config, "j", Shard(), "all", 0.0, NOW, None, "", before, known, known_before)
    return due(task, None if age is None else manifest(age), request, NOW)


def test_a_job_without_a_model_is_due():
    assert asked(age=None, attempted=0.1) == (True, "no active model")


@pytest.mark.parametrize(
    ("age", "attempted", "is_due"),
    [(6.0, None, False), (6.4, None, True), (7.0, None, True), (20.0, 1.0, False), (29.0, 8.0, True)],
)
def test_the_schedule_counts_from_the_last_training_and_forgives_that_it_took_its_time(age, attempted, is_due):
    assert asked(age, attempted)[0] is is_due


def test_an_old_model_is_due_whatever_was_tried_since():
    assert asked(31.0, 0.5) == (True, "the active model is older than 4w2d")
    assert not asked(31.0, 0.5, max_age="0s")[0]


def test_a_model_that_the_exporter_would_refuse_is_due():
    for change in ({"detector": "robust"}, {"parameters": {"time_zone": "UTC"}}, {"channels": ("a",)}):
        other = replace(manifest(1.0), **change)
        task = TrainTask(Config.model_validate({"jobs": {"j": {"expr": "q"}}}), "j", Shard(), "all", 0.0, NOW)
        assert due(task, other, None, NOW)[1].startswith("the active model was made for another detector")
    assert due(task, replace(manifest(1.0), libraries={"numpy": "1.0"}), None, NOW)[0]
    assert not due(replace(task, attempted=NOW), manifest(1.0), None, NOW)[0]


def test_drift_is_due_and_says_why():
    request = RetrainRequest(job="j", detector="auto", method="adwin", reason="scores have risen", time=NOW)
    assert asked(request=request) == (True, "drift: scores have risen")


def test_new_known_incidents_are_due():
    assert asked(known=9, known_before=4) == (True, "5 more known incidents than at the last training")
    wanted, why = asked(known=8, known_before=4)
    assert not wanted
    assert "1 more known incidents" in why
    assert not asked(known=2, known_before=4)[0], "a file that was begun anew holds less"


def test_every_trigger_can_be_switched_off():
    wanted, why = asked(500.0, every="0s", max_age="0s", new_events=0, known=99)
    assert (wanted, why) == (False, "not due: waits for drift or for --force")


SECRET = {"env": "TOKEN"}
BOTH = {"url": "http://p", "username": "u", "password": SECRET, "bearer": SECRET}


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"backend": "dask"}, "needs the scheduler's address"),
        ({"pushgateway": {"url": "http://p", "username": "u"}}, "go together"),
        ({"alertmanager": BOTH}, "exclude each other"),
        ({"holdout": 1.0}, "less than 1"),
        ({"incident": "x.yml"}, "Extra inputs"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(train, message):
    with pytest.raises(ValueError, match=message):
        Config.model_validate({"jobs": {"j": {"expr": "q"}}, "train": train})
