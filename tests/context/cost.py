"""What context costs a cycle of 100,000 series in CPU: `python -m tests.context.cost`; for memory see `cost_memory`."""

import time

import numpy as np

from detectors import Batch, Key, make
from exporter.config.sections.job import JobConfig
from exporter.context.deploy_book import DeployBook
from exporter.context.deploys import Deploy
from exporter.context.endings import Targets
from exporter.context.own_deploys import IncidentDeploys, OwnDeploys
from exporter.context.passage import CELLS
from exporter.pipeline import hourly_past
from exporter.pipeline.after_deploy import Caution
from exporter.pipeline.limit_forecast import LimitForecast
from exporter.pipeline.presence import Presence
from exporter.source.samples import NOTHING
from tests.context import cost_together

SERIES, MINUTES = 100_000, 30
START = 1_700_000_040.0
WARM = 45
"""Samples before the cycles of a detector are timed."""


def main() -> None:
    """Print milliseconds of a cycle, by what happens in it."""
    keys, config, now = every_key(), JobConfig(expr="x"), START
    presence, deploys, named = Presence(config), OwnDeploys(DeployBook()), IncidentDeploys()
    since, invalid, flags = np.full(SERIES, np.nan), np.zeros(SERIES, np.bool_), np.zeros(SERIES, np.bool_)

    def cycle(at: float, keys, present, known) -> float:
        deploys._known, deploys._of = known, (deploys.book.revision, config.deploys)
        began = time.process_time()
        deployed = deploys.newest(config.deploys, keys, at)
        Caution.of(config.deploys, deployed, at, 60.0, since, invalid)
        named.take(deploys, config.deploys, keys, at, flags, since)
        presence.take(keys, present, at, whole=True, live=True)
        return time.process_time() - began

    there = np.ones(SERIES, np.bool_)
    first = cycle(now, keys, there, ())
    quiet = [cycle(now + 60 * n, keys, there, ()) for n in range(1, MINUTES)]
    now += 60 * MINUTES
    many = tuple(Deploy(now - 60 * n, (("service", f"s{n}"),), "v2") for n in range(100, 1, -1))
    join = cycle(now, keys, there, many)
    joined = [cycle(now + 60 * n, keys, there, many) for n in range(1, 10)]
    changed = (*keys[1:], (("service", "s0"), ("instance", "new")))
    churn = cycle(now + 630, changed, there, many)
    cycle(now + 640, keys, there, many)
    gone = there.copy()
    gone[:1000] = False
    fewer = cycle(now + 660, keys, gone, many)
    began = time.process_time()
    presence.look(presence.open(now + 660), Targets(NOTHING, now))
    looked = time.process_time() - began
    told = {
        "first": first, "nothing happens": np.mean(quiet), "first cycle after entities came, with 99 deploys": join,
        "one entity for another, with 99 deploys": churn,
        "the others, with 99 deploys": np.mean(joined), "1,000 series end": fewer,
        "why they ended (next to the cycles)": looked,
    }  # fmt: skip
    told |= forecast_cost(keys)
    told |= of_peers(keys)
    for what, seconds in told.items():
        print(f"{what}: {1000 * float(seconds):.1f} ms")


def every_key() -> tuple[Key, ...]:
    """Return the label sets of all series: a thousand services of a hundred instances each."""
    return tuple(
        tuple(sorted({"namespace": f"n{n % 50}", "service": f"s{n % 1000}", "instance": f"i{n}", "path": "/"}.items()))
        for n in range(SERIES)
    )


def forecasts(keys: tuple[Key, ...]) -> LimitForecast:
    """Return the forecasts of series, of which three weeks are known at `START`."""
    config = JobConfig.model_validate({"expr": "x", "direction": "above", "forecast": {"limit": 1.0}})
    found, rng = LimitForecast(config), np.random.default_rng(1)
    found.take(keys, np.full(len(keys), 0.5), START, live=False)
    for first in range(0, len(keys), 1000):
        known = -0.5 + 0.01 * rng.standard_normal((len(keys[first : first + 1000]), CELLS))
        hourly_past.put(found._entities, slice(first, first + 1000), np.arange(CELLS), known)
    return found


def forecast_cost(keys: tuple[Key, ...]) -> dict[str, float]:
    """Return seconds of a cycle with a forecast for every series; three weeks of them are known."""
    forecast, rng = forecasts(keys), np.random.default_rng(2)
    spent = []
    for minute in range(1, 6 * 60 + 30):
        values = 0.5 + 0.005 * rng.standard_normal(len(keys))
        began = time.process_time()
        forecast.take(keys, values, START + 60 * minute, live=True)
        spent.append(time.process_time() - began)
    every = np.array(spent)
    size = sum(forecast._entities[name].nbytes for name in forecast._entities.names) / len(keys)
    print(f"forecast: {size:.0f} bytes a series")
    return {
        "forecast, the first half hour": float(every[:30].mean()),
        "forecast, later": float(every[60:].mean()),
        "forecast, at most later": float(every[60:].max()),
    }


def of_peers(keys: tuple[Key, ...]) -> dict[str, float]:
    """Return the seconds of a cycle of `auto` on these entities without and with peers, in groups of 100."""
    rng = np.random.default_rng(1)
    values = rng.lognormal(0, 0.1, (SERIES, 1, WARM + 10))
    found, nobody = {}, np.zeros(SERIES, np.bool_)
    for name, peers in (("auto", None), ("auto with peers", ("service",))):
        detector, seconds = make("auto", 60, peers), []
        for end in range(2, WARM + 10):
            part = Batch(keys, ("value",), 60.0 * np.arange(end - 2, end), values[:, :, end - 2 : end])
            began = time.process_time()
            detector.score(part)
            detector.update(part.last(1), nobody, nobody)
            seconds.append(time.process_time() - began)
        found[name] = float(np.median(seconds[WARM:]))
        size = sum(array.nbytes for array in detector.state().values()) / 2**20
        print(f"{name}: {size:.0f} MiB of state")
    print(f"peers: {100 * (found['auto with peers'] / found['auto'] - 1):.0f} % more")
    return found


if __name__ == "__main__":
    main()
    cost_together.main()
