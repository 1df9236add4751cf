"""What an operator calls normal is normal from the next sample on, and stays so."""

import numpy as np
import pytest

from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.service.state_files import StateFolder
from tests.pipeline.test_cycle import Bench
from tests.support.fake import DIGESTS
from tests.support.runners import runner_of


def with_a_lasting_change(detector, last=430):
    bench = Bench(detector=detector, history="6h")
    rng = np.random.default_rng(2)
    for name in "ab":
        values = 10 + rng.normal(size=900)
        values[400:] += 30.0
        bench.source.put("q", {"i": name}, {60.0 * m: float(value) for m, value in enumerate(values)})
    for minute in range(390, last):
        verdict = bench.cycle(minute)
    assert verdict.flag.all()
    return bench


def flags(bench, first, last):
    return np.array([bench.cycle(minute).flag for minute in range(first, last)])


@pytest.mark.parametrize("detector", ["auto", "half_space_trees", "isolation_forest", "robust", "seasonal"])
@pytest.mark.parametrize("after", [3, 30])
def test_the_level_is_adopted_at_the_next_sample_and_the_incident_does_not_come_back(detector, after):
    bench = with_a_lasting_change(detector, 400 + after)
    bench.job.accept(bench.verdicts[-1].keys[:1])
    found = flags(bench, 400 + after, 530 + after)
    assert not found[:10, 0].any()
    assert found[:, 0].mean() < 0.1  # chance
    assert found[:, 1].all()
    assert bench.verdicts[-130].changed[0]


def test_what_was_accepted_does_not_count_as_a_severe_incident():
    bench, closed = with_a_lasting_change("robust"), []
    decide = bench.job.learnt.incidents.decide
    bench.job.learnt.incidents.decide = lambda *some: (
        decision := decide(*some),
        closed.append(decision.closed_severity),
    )[0]
    bench.job.accept(bench.verdicts[-1].keys)
    bench.cycle(430)
    assert np.sum(closed) == 0


def test_accepting_what_is_not_open_any_more_does_nothing():
    bench = with_a_lasting_change("robust")
    bench.job.accept([(("i", "never seen"),)])
    assert bench.cycle(430).flag.all()
    assert bench.job.learnt.take_accepted(bench.verdicts[-1].keys, bench.verdicts[-1].time) is None


def test_it_is_counted_and_kept_over_a_restart_before_the_next_cycle(tmp_path):
    bench, folder = with_a_lasting_change("robust"), StateFolder(tmp_path, list)
    runner = runner_of(bench)
    assert runner.accept(bench.verdicts[-1].keys) == 60.0
    assert bench.sample("incidents_accepted_total") == 2
    folder.save(bench.job)
    bench.job = Job(JobSettings("job", bench.config, DIGESTS), bench.source)
    assert folder.restore(bench.job)
    assert not bench.cycle(430).flag.any()
