"""When replicas are added or taken away, every series goes on where it was, in whichever replica judges it now."""

import math

import numpy as np
import pytest

from exporter.config.sections.job import JobConfig
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.handover import handed_over
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.shard import Shard
from exporter.service.state_files import StateFolder
from tests.support.fake import DIGESTS, FakeSource

STEP = 60.0
NAMES = [f"e{number}" for number in range(30)]


@pytest.fixture
def source() -> FakeSource:
    made, rng = FakeSource(), np.random.default_rng(5)
    for name in NAMES:
        values = 10 + rng.normal(0, 0.1, 400)
        if name == "e7":
            values[150:] += 100
        made.put("q", {"i": name}, {STEP * minute: float(values[minute]) for minute in range(400)})
    return made


def job(source: FakeSource, shard: Shard, detector: str = "auto") -> Job:
    config = JobConfig(expr="q", detector=detector, window="10m", history="2h", shard_by="i")
    return Job(JobSettings("job", config, DIGESTS, shard), source)


def run(jobs: list[Job], until: float) -> dict[str, tuple[float, bool]]:
    """Return score and flag of every entity, and that none is in two replicas."""
    found: dict[str, tuple[float, bool]] = {}
    for each in jobs:
        *_, verdict = evaluate(each, until)
        for key, score, flag in zip(verdict.keys, verdict.score.tolist(), verdict.flag.tolist(), strict=True):
            if math.isfinite(score):
                assert dict(key)["i"] not in found
                found[dict(key)["i"]] = score, flag
    return found


def since_when(jobs: list[Job]) -> dict[str, float]:
    """Return when the open incidents began."""
    lasts = [each.last for each in jobs if each.last is not None]
    return {
        dict(last.keys[row])["i"]: float(last.since[row])
        for last in lasts
        for row in np.flatnonzero(last.flag).tolist()
    }


def fleet(source: FakeSource, count: int, detector: str) -> list[Job]:
    return [job(source, Shard(index, count), detector) for index in range(count)]


@pytest.mark.parametrize(
    ("detector", "before", "after"),
    [("auto", 2, 3), ("auto", 3, 1), ("robust", 1, 3), ("robust", 3, 2), ("seasonal", 2, 3)],
)
def test_every_series_goes_on_with_what_was_learnt_of_it(source, tmp_path, detector, before, after):
    """An incident that is open stays open, and since when; nothing is warmed up again."""
    folder = StateFolder(tmp_path, list, shared=tmp_path)
    old = fleet(source, before, detector)
    assert set(run(old, STEP * 160)) == set(NAMES)
    for each in old:
        folder.save(each)
    new = fleet(source, after, detector)
    assert all(map(folder.restore, new))
    source.asked.clear()
    found = run(new, STEP * 161)
    assert set(found) == set(NAMES)
    assert found["e7"][1], "it is still an incident"
    assert min(start for _, start, _ in source.asked) >= STEP * (161 - 12), "a window is read, not the history"
    goes_on = run(old, STEP * 161)
    assert {name: flag for name, (_, flag) in found.items()} == {name: flag for name, (_, flag) in goes_on.items()}
    assert [found[name][0] for name in NAMES] == pytest.approx([goes_on[name][0] for name in NAMES], rel=1e-6)
    assert since_when(new) == since_when(old)


def test_a_replica_that_was_there_before_prefers_its_own_state(source, tmp_path):
    folder = StateFolder(tmp_path, list, shared=tmp_path)
    first = fleet(source, 2, "robust")
    run(first, STEP * 100)
    for each in first:
        folder.save(each)
    again = job(source, Shard(0, 2), "robust")
    assert folder.restore(again)
    assert set(again.learnt.keys) == set(first[0].window.keys)


def test_a_damaged_state_of_one_replica_does_not_keep_the_others_from_being_used(source, tmp_path):
    folder = StateFolder(tmp_path, list, shared=tmp_path)
    old = fleet(source, 2, "robust")
    run(old, STEP * 100)
    for each in old:
        folder.save(each)
    file = sorted(tmp_path.glob("*.state"))[0]
    file.write_bytes(file.read_bytes()[:-5])
    new = job(source, Shard(0, 1), "robust")
    assert folder.restore(new)
    assert 0 < len(new.learnt.keys) < len(NAMES)


def test_rows_are_those_of_the_first_state_that_has_the_entity(source):
    one, other = job(source, Shard(), "robust"), job(source, Shard(), "robust")
    run([one], STEP * 100)
    run([other], STEP * 120)
    made = handed_over([one.state(), other.state()], lambda _key: True)
    assert made["judged"] == STEP * 100
    np.testing.assert_array_equal(made["incidents/since"], one.state()["incidents/since"])
    assert not [field for field in made if field.startswith("last/")]
