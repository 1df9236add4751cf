"""What the detector sees of a training window, and which part of it is held back."""

import json

import numpy as np
import pytest

from detectors.units import DAY
from exporter.backtest.history import VerdictHistory
from exporter.backtest.replay import make_job, replay
from exporter.config.load import load
from exporter.config.sections.root import Config
from exporter.config.sections.train import TrainConfig
from exporter.labelled_incidents import Incident
from exporter.pipeline.shard import Shard
from exporter.pipeline.window import Window
from exporter.source.chunks import Chunk, FetchStats
from exporter.source.prometheus import Prometheus
from exporter.source.samples import RangeResult
from exporter.train.errors import TrainError
from exporter.train.holdout import PROBES, HoldoutReplay, split
from exporter.train.stages import Training
from exporter.train.training_job import Exclusions, unedited
from tests.train.conftest import STEP as STEP_OF_THE_PAST

STEP = 60.0


def incident(first, last, instance):
    return Incident(start=str(first * STEP), end=str(last * STEP), labels={"i": instance})


def test_what_is_left_out_is_a_gap_of_an_entity_that_stays():
    labels = [json.dumps({"i": name}).encode() for name in "ab"]
    piece = Chunk(STEP, 20, ((labels, np.ones((2, 20))),), FetchStats())
    left_out = Exclusions([incident(5, 15, "a"), incident(90, 95, "b")])
    window = Window(("value",), STEP, 4, edit=left_out)  # the incident is longer than the window
    newest = []
    for batch in window.append(piece):
        assert [dict(key)["i"] for key in batch.keys] == ["a", "b"]
        newest.append(batch.values[:, 0, -1].copy())
    gaps = np.isnan(newest)
    assert np.flatnonzero(gaps[:, 0]).tolist() == list(range(4, 15)), "the samples number 5 to 15 of a"
    assert not gaps[:, 1].any()
    assert (left_out.samples, left_out.left_out, left_out.share) == (40, 11, 11 / 40)


def test_the_fingerprint_tells_what_was_learnt_from():
    labels = [b'{"i":"a"}']

    def fingerprint(values, known=()):
        left_out = Exclusions(known)
        for _ in Window(("value",), STEP, 4, edit=left_out).append(Chunk(STEP, 5, ((labels, values),), FetchStats())):
            pass
        return left_out.fingerprint

    values = np.arange(5.0)[None]
    assert fingerprint(values) == fingerprint(values.copy())
    assert fingerprint(values) != fingerprint(values + 1)
    assert fingerprint(values) != fingerprint(values, [incident(2, 3, "a")])


def test_the_newest_fifth_is_held_back_and_more_where_that_holds_too_few_known_incidents():
    config = TrainConfig()
    assert split(1, 1000, STEP, [], config) == 800
    late = [incident(at, at + 5, "a") for at in (850, 900, 950)]
    assert split(1, 1000, STEP, late, config) == 800
    earlier = [incident(at, at + 5, "a") for at in (100, 700, 900, 950)]
    assert split(1, 1000, STEP, earlier, config) == 699
    early = [incident(at, at + 5, "a") for at in (100, 200, 950)]
    assert split(1, 1000, STEP, early, config) == 500, "but no more than half"
    with pytest.raises(TrainError, match="too few samples"):
        split(1, 1, STEP, [], config)


@pytest.mark.servers
@pytest.mark.parametrize("detector", ["auto", "isolation_forest"])
def test_a_stored_candidate_judges_as_the_job_that_learnt_it_would_have_gone_on(trainer, past, detector):
    train = trainer(detector=detector)
    train(f"--from={past.begin}", f"--to={past.end}", "--force", "--stage=fit")
    config = load(train.file).config
    with Training(config, "load", Shard(), past.begin, past.end) as training:
        version = train.store.versions("load")[0].manifest
        first = round(version.trained_to / STEP_OF_THE_PAST)
        state, _ = training._load(version.version)
        held = HoldoutReplay(training._make, first, training.last).run(state, first, unedited)
    history = {"history": (first - training.first + 1) * STEP_OF_THE_PAST}
    source = Prometheus(config.prometheus, config.limits)
    never_stopped = make_job("load", config.jobs["load"].model_copy(update=history), source, hold=True)
    record = VerdictHistory(STEP_OF_THE_PAST * np.arange(first, training.last + 1.0), STEP_OF_THE_PAST)
    for verdict in replay(never_stopped, first, training.last, lambda _: None):
        record.add(verdict)
    source.close()
    assert held.flag[:, 4:].any()  # an hour later: which incidents are open is not the model's knowledge
    np.testing.assert_array_equal(held.flag[:, 4:], record.flag[:, 4:])
    np.testing.assert_array_equal(held.present[:, 1:], record.present[:, 1:])


class Endless:
    """A source of 300 series that notes how much it was asked for at once."""

    def __init__(self, *_: object) -> None:
        self.labels = [json.dumps({"i": str(number)}).encode() for number in range(300)]

    def range(self, expr, start, end, step, max_series=None):
        times = np.arange(start, end + step / 2, step)
        asked.append(len(self.labels) * len(times))
        values = np.sin(np.arange(len(self.labels) * len(times)) % 17.3)
        return RangeResult(self.labels, np.full(300, len(times)), np.tile(times, 300), values)

    def close(self):
        pass


asked: list[int] = []


def test_however_long_the_window_is_it_is_read_in_pieces_of_bounded_size(tmp_path, monkeypatch):
    """And of what is read a model is fitted on a bounded part, as at any start of the exporter."""
    monkeypatch.setattr("exporter.train.stages.Prometheus", Endless)
    monkeypatch.setattr("exporter.source.chunks._AT_ONCE", 30_000)
    job = {"expr": "q", "step": "10m", "window": "2h", "rate": False, "detector": "robust"}
    config = Config.model_validate({"models": {"path": tmp_path}, "jobs": {"j": job}})
    asked.clear()
    with Training(config, "j", Shard(), 0.0, 14 * DAY) as training:
        manifest = training.fit()
    assert manifest.quality["samples"] == 300 * (manifest.trained_to / 600 + 1)
    probe, *pieces = asked
    assert probe <= 300 * 2 * PROBES
    assert len(pieces) > 10
    assert max(pieces) <= 30_000
