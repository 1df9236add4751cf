"""Parts of the cycle, each beside the usual way to do the same, in one process."""

import json
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from deploy.demo.servers import PrometheusServer
from detectors.types import Key
from exporter import exposition
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.metrics_page import Page
from exporter.source.decode import Limits, decode
from exporter.source.decode_repeat import RepeatDecoder
from exporter.source.samples import merge
from tests.bench.cycles import Plan, metric
from tests.bench.history import STEP, labels
from tests.bench.peer import answer
from tests.bench.quality import forest_score, rank_agreement
from tests.bench.report import Row, alternate, say, seconds
from tests.support.half_space import against_river
from tests.support.isolation import isolation_score

Parsed = dict[Key, np.ndarray]


def cpu(work: Callable[[], Any]) -> float:
    """Return the CPU seconds that `work` needs."""
    began = time.process_time()
    work()
    return time.process_time() - began


def parsed_json(body: bytes) -> Parsed:
    """Return times and values, shape (T, 2), of each series, as one writes it first."""
    return {
        tuple(sorted(series["metric"].items())): np.array([(at, float(value)) for at, value in series["values"]])
        for series in json.loads(body)["data"]["result"]
    }


def decoding(server: PrometheusServer, plan: Plan) -> Row:
    """Compare with json.loads, for the answer of a steady cycle and for that of a first one."""
    say("decoding against json.loads")
    limits = Limits(series=10**6, samples=10**8, points=1)
    expr = metric(plan.large)
    one = answer(server, expr, plan.first, plan.first)
    known = merge([decode(one, limits)], limits)
    steady = RepeatDecoder()
    steady.remember(expr, limits, known)

    def short() -> Any:
        return steady.decode(expr, limits, one, plan.first)

    many = answer(server, metric(plan.medium), plan.first - 60 * STEP, plan.first)
    of_many = Limits(series=10**6, samples=10**8, points=61)

    def long() -> Any:
        return merge([decode(many, of_many)], of_many)

    wrong = ""
    for body, frame in ((one, short()), (many, long())):
        if frame is None:
            raise SystemExit("the shortcut for steady answers was not taken")
        ends = np.cumsum(frame.counts)[:-1]
        pairs = np.split(np.column_stack([frame.times, frame.values]), ends)
        ours = {tuple(sorted(json.loads(label).items())): pair for label, pair in zip(frame.labels, pairs, strict=True)}
        theirs = parsed_json(body)
        if ours.keys() != theirs.keys() or any(not np.array_equal(ours[key], theirs[key]) for key in ours):
            wrong = "the decoded samples differ from those of json.loads"
    rounds = max(plan.rounds // 2, 3)
    quick, slow = alternate(lambda: cpu(short), lambda: cpu(lambda: parsed_json(one)), rounds)
    whole, slow_whole = alternate(lambda: cpu(long), lambda: cpu(lambda: parsed_json(many)), rounds)
    return Row(
        "decode_vs_json",
        slow / quick,
        "x",
        f"{seconds(quick)}: one sample each of {plan.large:,} known series ({len(one) / 1e6:.1f} MB);"
        f" {seconds(whole)}: 61 samples each of {plan.medium:,} new series ({len(many) / 1e6:.1f} MB)",
        f"{seconds(slow)} and {seconds(slow_whole)} ({slow_whole / whole:.2g}x): json.loads, then arrays",
        wrong or "equal, every label, time and value of both",
        wrong,
    )


class _Collector:
    """The judged families as a prometheus_client collector."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = self.verdict
        columns = {"score": found.score, "flag": found.flag, "lower": found.lower[:, 0], "upper": found.upper[:, 0]}
        names = [name for name, _ in found.keys[0]]
        for name, column in columns.items():
            family = GaugeMetricFamily(f"anomaly_{name}", name, labels=[*names, "query", "detector"])
            for key, value in zip(found.keys, column.tolist(), strict=True):
                family.add_metric([*(text for _, text in key), found.job, found.detector], value)
            yield family


def _verdict(keys: tuple[Key, ...], seed: int) -> Verdict:
    rng, count = np.random.default_rng(seed), len(keys)
    wide = {name: rng.normal(100, 3, (count, 1)) for name in ("values", "expected", "lower", "upper", "contribution")}
    narrow = {name: rng.exponential(0.3, count) for name in ("score", "severity", "since")}
    flags = {name: rng.random(count) < 0.01 for name in ("flag", "changed", "flapping", "alert")}
    return Verdict("bench", "robust", 0.0, keys, ("value",), **wide, **narrow, **flags, states={"ready": count})


def _samples(text: str) -> dict[tuple[str, Key], float]:
    return {
        (name, tuple(sorted(labelled.items()))): value
        for name, labelled, value in exposition.read(text)
        if not name.startswith(("anomaly_exporter_", "process_", "python_"))
    }


def page(plan: Plan) -> Row:
    """Compare the page with one made by prometheus_client, new numbers every time."""
    say("the page against prometheus_client")
    keys = tuple(tuple(sorted(labels(number).items())) for number in range(plan.medium))
    verdicts = iter(_verdict(keys, seed) for seed in range(10**6))
    ours = Page(SelfMetrics())
    collector = _Collector(next(verdicts))
    registry = CollectorRegistry()
    registry.register(collector)

    def show(verdict: Verdict) -> None:
        ours.publish(verdict, {"lower", "upper"})
        ours.render()
        for _ in ours.current.pieces():  # it is written as it is read
            pass

    def generate(verdict: Verdict) -> bytes:
        collector.verdict = verdict
        return generate_latest(registry)

    def timed(make: Callable[[Verdict], Any]) -> float:
        verdict = next(verdicts)
        return cpu(lambda: make(verdict))

    show(collector.verdict)
    theirs = _samples(generate(collector.verdict).decode())
    wrong = "" if _samples(ours.current.body.decode()) == theirs else "the two pages differ"
    quick, slow = alternate(lambda: timed(show), lambda: timed(generate), plan.rounds)
    each = 4 * plan.medium
    return Row(
        "page_vs_prometheus_client",
        slow / quick,
        "x",
        f"{seconds(quick / each)} a sample: page of {plan.medium:,} series, four gauges each, with our own metrics",
        f"{seconds(slow / each)} a sample: GaugeMetricFamily and generate_latest",
        wrong or "equal, every sample as prometheus_client's parser reads it",
        wrong,
    )


def half_space_trees(plan: Plan) -> Row:
    """Compare with river, on river's own trees."""
    say("half-space trees against river")
    trees, height = 25, 6
    found = [against_river(min(1000, plan.medium), trees, height) for _ in range(3)]
    ours, other = (median(each[name] for each in found) for name in ("ours", "other"))
    worst = max(each["quality"] for each in found)
    return Row(
        "half_space_trees_vs_river",
        other / ours,
        "x",
        f"{seconds(ours)} to score and learn one sample, all entities at once, {trees} trees of height {height}",
        f"{seconds(other)}: river, one model per entity",
        f"scores differ by at most {worst:.1g} on the same trees",
        "" if worst <= 1e-12 else f"scores differ by {worst:.3g}",
    )


def isolation(plan: Plan) -> Row:
    """Compare the closed form with scikit-learn's forest, on series of several kinds."""
    say("isolation score against scikit-learn")
    rng, samples, kinds = np.random.default_rng(0), 60, 4
    count = max(plan.medium // kinds, 4)
    windows = np.concatenate(
        [
            rng.normal(100, 3, (count, samples)),
            rng.lognormal(0, 1, (count, samples)),
            rng.poisson(8, (count, samples)).astype(float),
            np.where(rng.random((count, samples)) < 0.85, 0.0, rng.exponential(5, (count, samples))),
        ]
    )
    chosen = rng.permutation(len(windows))[: 3 * plan.checked]

    def ours() -> np.ndarray:
        return isolation_score(windows)

    said = ours()
    parts = np.array_split(chosen, 3)
    theirs: dict[int, float] = {}

    def forests() -> float:
        part = parts[len(theirs) * 3 // len(chosen)]
        began = time.process_time()
        theirs.update({row: forest_score(windows[row]) for row in part.tolist()})
        return (time.process_time() - began) / len(part)

    quick, slow = alternate(lambda: cpu(ours) / len(windows), forests, 3)
    expected = [theirs[row] for row in chosen.tolist()]
    agreement = rank_agreement(said[chosen], expected)
    again = rank_agreement(expected, [forest_score(windows[row], seed=1) for row in chosen.tolist()])
    return Row(
        "isolation_vs_sklearn",
        slow / quick,
        "x",
        f"{seconds(quick)}: closed form, newest of {samples} samples, window sorted anew, {len(windows):,} series",
        f"{seconds(slow)}: IsolationForest fit and score, {len(chosen)} of these series",
        f"rank agreement {agreement:.3f} (scikit-learn with another seed: {again:.3f})",
        "" if agreement >= plan.least_agreement else f"rank agreement {agreement:.3f} is below {plan.least_agreement}",
    )
