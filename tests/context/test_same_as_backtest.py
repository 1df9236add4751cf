"""A backtest decides as the running exporter did: the same deploys at the same samples, to the bit."""

import json

import numpy as np

from exporter.backtest.replay import Columns, make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.context.deploy_book import DeployBook, questions
from exporter.context.own_deploys import OwnDeploys
from exporter.pipeline.cycle import evaluate
from exporter.source.samples import NOTHING
from tests.support.cycles import HOUR, MONDAY, STEP

SAMPLES, LEARNT = 16 * HOUR, 6 * HOUR
SERVICES = 6


class Source:
    """Services whose latency rises after some of their deploys."""

    def __init__(self, rng: np.random.Generator) -> None:
        first = round(MONDAY / STEP)
        values = 1 + 0.05 * rng.standard_t(5, (SERVICES, SAMPLES))
        told = np.full((SERVICES, SAMPLES), np.nan)
        for row in range(1, SERVICES):
            for at in rng.integers(LEARNT, SAMPLES - 60, 3).tolist():
                told[row, at] = 1.0
                values[row, at : at + int(rng.integers(2, 40))] *= rng.uniform(1.2, 4.0)
        values[0, LEARNT + 200 :] *= 0.5  # lower from here on
        told[0, LEARNT + 199] = 1.0
        names = [json.dumps({"service": f"s{n}"}).encode() for n in range(SERVICES)]
        self._columns = {
            "latency": Columns(names, values, first, STEP), "deploys": Columns(names, told, first, STEP),
        }  # fmt: skip

    def range(self, expr, start, end, step, max_series=None):
        return self._columns[expr].frame(start, end) if expr in self._columns else NOTHING

    def metric_types(self, _names):
        return {}


def config(**deploys) -> JobConfig:
    return JobConfig.model_validate(
        {"expr": "latency", "detector": "robust", "history": LEARNT * STEP, "direction": "above",
         "deploys": {"presets": [], "expr": "deploys"} | deploys}
    )  # fmt: skip


def frozen(verdict):
    arrays = ("score", "severity", "flag", "alert", "since", "expected", "upper")
    return verdict.time, *(getattr(verdict, name).tobytes() for name in arrays), dict(verdict.deploys)


def replayed(source: Source, job_config: JobConfig):
    job = make_job("job", job_config, source, hold=True)
    job.deploys = OwnDeploys(DeployBook(source), waits=True)
    first = round(MONDAY / STEP)
    return list(replay(job, first + LEARNT, first + SAMPLES - 1, lambda _: None))


def lived(source: Source, job_config: JobConfig):
    """Run one cycle a minute; deploys are asked about by somebody else, in between."""
    job = make_job("job", job_config, source, hold=True)
    book = DeployBook(source)
    job.deploys = OwnDeploys(book)
    found = []
    for minute in range(LEARNT, SAMPLES):
        now = MONDAY + minute * STEP
        found += evaluate(job, now + 0.5)
        book.read(questions(job_config.deploys), now - 86_400, now)  # half a minute later: never the newest for a cycle
    return found


def test_live_and_backtest_are_equal_to_the_bit() -> None:
    source, asked = Source(np.random.default_rng()), config()
    live, past = lived(source, asked), replayed(source, asked)
    assert [frozen(each) for each in live] == [frozen(each) for each in past]
    assert any(each.deploys for each in live)
    without = replayed(source, config(rarity=1, caution="0s"))
    assert any(each.flag.sum() != other.flag.sum() for each, other in zip(past, without, strict=True))


def test_a_lower_level_after_a_deploy_is_learnt_within_hours_and_without_one_is_not() -> None:
    source = Source(np.random.default_rng(7))
    known, unknown = (
        replayed(source, config(expr=expr).model_copy(update={"detector": "auto"})) for expr in ("deploys", "nothing")
    )
    at = 200 + 4 * HOUR
    row = [dict(each)["service"] for each in known[at].keys].index("s0")
    assert known[at].expected[row, 0] < 0.7
    assert unknown[at].expected[row, 0] > 0.8
