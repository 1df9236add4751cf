"""How the cycles of a job go, as people are told."""

from exporter.redact import mask
from exporter.source.errors import Unreachable
from tests.pipeline.test_cycle import STEP, Bench
from tests.support.runners import runner_of


def test_a_failing_job_says_since_when_and_why_until_a_cycle_succeeds():
    bench = Bench()
    bench.put("a", range(100))
    runner = runner_of(bench)
    assert runner.health.cycles == 0
    runner.cycle(50 * STEP)
    good = runner.health
    assert (good.cycles, good.failures, good.last_success, good.error) == (1, 0, 50 * STEP, "")
    assert (good.progress, good.warming, good.queries) == (1.0, 0, (("value", "q"),))
    assert good.seconds is not None
    mask("hunter22")
    bench.source.error = Unreachable("nobody answers at http://me:hunter22@prometheus:9090")
    runner.cycle(51 * STEP)
    runner.cycle(52 * STEP)
    failing = runner.health
    assert (failing.cycles, failing.failures, failing.last_success) == (3, 2, 50 * STEP)
    assert (failing.reason, failing.failing_since) == ("unreachable", 51 * STEP)
    assert "nobody answers" in failing.error
    assert "hunter22" not in failing.error
    bench.source.error = None
    runner.cycle(53 * STEP)
    again = runner.health
    assert (again.failures, again.reason, again.error, again.failing_since) == (2, "", "", None)


def test_a_defect_is_told_without_what_it_held():
    bench = Bench()
    bench.source.error = ValueError("labels of a customer")
    runner = runner_of(bench)
    runner.cycle(50 * STEP)
    assert runner.health.reason == "internal"
    assert runner.health.error == "ValueError, which the log explains"
