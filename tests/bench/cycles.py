"""Whole cycles over the backfilled past, each contender a process of its own."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from deploy.demo.servers import PrometheusServer
from tests.bench.history import STEP, pod
from tests.bench.peer import Contender, answer, curl, series
from tests.bench.quality import forest_score, rank_agreement, robust_score
from tests.bench.report import Row, say, seconds

WARM_UP = 2
WINDOWED = ("robust", "isolation_forest")
"""Detectors that look at their window only; the goals of a cycle are theirs."""
LEARNING = "auto"


@dataclass
class Steady:
    """What the cycles of one detector at one size cost, medians."""

    series: int
    detector: str
    cpu: float = math.nan
    shown: float = math.nan
    """Seconds from the question to the verdict on the page; `wall` is that of the whole cycle, with learning."""
    wall: float = math.nan
    curl: float = math.nan
    cold_peak: float = math.nan
    peak: float = math.nan
    rss: float = math.nan
    quality: str = ""
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.detector} {seconds(self.cpu)}"


@dataclass(frozen=True)
class Plan:
    """Sizes of one run. The first judged minute is `first`; there are samples for an hour before it."""

    small: int = 1_000
    medium: int = 10_000
    large: int = 100_000
    rounds: int = 9
    checked: int = 80
    scripted: int = 40
    starts: int = 2
    service: float = 60.0
    least_agreement: float = 0.9
    first: float = 0.0

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.small, self.medium, self.large

    def pods(self, size: int) -> list[str]:
        """Return the entities of a size whose scores are checked."""
        return [pod(number) for number in range(0, size, max(size // self.checked, 1))]


def metric(size: int) -> str:
    return f"level_{size}"


def steady(server: PrometheusServer, plan: Plan, size: int) -> Iterator[Steady]:
    """Run cycles and curl in turns, for each detector."""
    expr, pods = metric(size), plan.pods(size)
    for detector in (*WINDOWED, LEARNING):
        found = Steady(size, detector)
        history = 60 * STEP if detector == LEARNING else 0.0
        asked = {"url": server.url, "expr": expr, "detector": detector, "pods": pods, "history": history}
        with Contender("exporter", **asked) as exporter:
            cold = exporter.ask(now=plan.first, detail=True)
            say(f"{size} series, {detector}: first cycle {seconds(cold['wall'])}, {cold['peak']:.0f} MiB")
            _judge_scores(found, server, plan, cold)
            for turn in range(1, WARM_UP + 1):
                exporter.ask(now=plan.first + turn * STEP)
            cycles: list[dict[str, Any]] = []
            curls: list[float] = []
            for turn in range(plan.rounds):
                now = plan.first + (WARM_UP + 1 + turn) * STEP
                if turn % 2:
                    curls.append(curl(server, expr, now))
                cycles.append(exporter.ask(now=now, detail=turn == plan.rounds - 1, reset_peak=turn == 0))
                if not turn % 2:
                    curls.append(curl(server, expr, now))
        _judge_values(found, server, plan, cycles[-1], now)
        found.cpu, found.shown, found.wall = (
            median(cycle[name] for cycle in cycles) for name in ("cpu", "shown", "wall")
        )
        found.curl, found.cold_peak = median(curls), cold["peak"]
        found.peak, found.rss = max(cycle["peak"] for cycle in cycles), median(cycle["rss"] for cycle in cycles)
        say(
            f"  a cycle: CPU {seconds(found.cpu)}, shown after {seconds(found.shown)}, ended after"
            f" {seconds(found.wall)} (curl {seconds(found.curl)}),"
            f" {found.rss:.0f} MiB, page {cycles[-1]['page_bytes'] / 1e6:.1f} MB, {cycles[-1]['flagged']} flagged"
        )
        stages = {name: median(cycle["stages"][name] for cycle in cycles) for name in cycles[0]["stages"]}
        stages["render and the rest"] = found.cpu - sum(stages.values())
        say(f"  CPU of its stages: {', '.join(f'{name} {seconds(cpu)}' for name, cpu in stages.items())}")
        yield found


def _judge_scores(found: Steady, server: PrometheusServer, plan: Plan, cold: dict[str, Any]) -> None:
    """Hold the scores of the first cycle, which knows of no incidents yet, against the slow original."""
    if cold["entities"] != found.series:
        found.wrong.append(f"{cold['entities']} series judged of {found.series}")
    pods = plan.pods(found.series)
    expr = f'{metric(found.series)}{{pod=~"{"|".join(pods)}"}}'
    windows = series(answer(server, expr, plan.first - 59 * STEP, plan.first))
    if found.detector == "robust":
        expected = [robust_score(windows[name]) for name in pods]
        worst = max(abs(ours - theirs) for ours, theirs in zip(cold["score"], expected, strict=True))
        found.quality = "robust: scores equal to numpy's medians"
        if not worst < 1e-4 * max(expected):
            found.wrong.append(f"robust scores differ by {worst:.3g}")
    elif found.detector == LEARNING:
        found.quality = f"{LEARNING}: judged samples equal to those of the answer, all series have a score"
        if not all(map(math.isfinite, cold["score"])):
            found.wrong.append(f"{LEARNING} has no score after an hour of history")
    else:
        agreement = rank_agreement(cold["score"], [forest_score(windows[name]) for name in pods])
        found.quality = f"isolation_forest: rank agreement {agreement:.3f} with a forest per series"
        if not agreement >= plan.least_agreement:
            found.wrong.append(f"rank agreement of isolation_forest is {agreement:.3f}, below {plan.least_agreement}")


def _judge_values(found: Steady, server: PrometheusServer, plan: Plan, last: dict[str, Any], now: float) -> None:
    """Hold the judged samples against those of curl's answer."""
    body = series(answer(server, metric(found.series), now, now))
    if [body[name][-1] for name in plan.pods(found.series)] != last["value"]:
        found.wrong.append(f"the samples judged at {now:.0f} are not those of the answer")


def steady_rows(found: list[Steady], plan: Plan) -> list[Row]:
    """Make the rows on wall time, own CPU and memory."""
    learning = next(each for each in found if each.series == plan.large and each.detector == LEARNING)
    every = [each for each in found if each.series == plan.large]
    found = [each for each in found if each.detector != LEARNING]
    large = [each for each in found if each.series == plan.large]
    rows = [
        _wall_row("verdict_wall_vs_curl", "shown", "from the question to the verdict on the page", every),
        _wall_row("cycle_wall_vs_curl", "wall", "whole cycle, with learning", every),
    ]
    goals = (("1k", "none set"), ("10k", "50 ms"), ("100k", "200 ms `robust`, 350 ms `auto`"))
    for size, (name, goal) in zip(plan.sizes, goals, strict=True):
        both = [each for each in found if each.series == size]
        rows.append(
            Row(
                f"own_cpu_seconds_{name}",
                max(each.cpu for each in both),
                "s",
                f"{', '.join(map(str, both))}: own CPU of a steady cycle with page, {size:,} series, four gauges each",
                f"goal: {goal}",
                "; ".join(each.quality for each in both),
                "; ".join(text for each in both for text in each.wrong),
            )
        )
    return [*rows, _memory_row(large, plan), *_learning_rows(learning)]


def _wall_row(name: str, which: str, what: str, every: list[Steady]) -> Row:
    """Make the row on one of the two times that Prometheus' answer is part of, for the slowest detector."""

    def ratio(each: Steady) -> float:
        return float(getattr(each, which)) / each.curl

    slowest = max(every, key=ratio)
    others = ", ".join(f"{each.detector} {ratio(each):.2f}" for each in every if each is not slowest)
    return Row(
        name,
        ratio(slowest),
        "x curl",
        f"{seconds(getattr(slowest, which))}: {what}, {slowest.series:,} series, {slowest.detector}, the slowest"
        f" ({others})",
        f"{seconds(slowest.curl)}: curl of the same query",
        "judged samples equal to those of the answer; " + "; ".join(each.quality for each in every),
        "; ".join(text for each in every for text in each.wrong),
    )


def _learning_rows(found: Steady) -> list[Row]:
    wrong = "; ".join(found.wrong)
    return [
        Row(
            f"own_cpu_seconds_100k_{found.detector}",
            found.cpu,
            "s",
            f"own CPU of a steady cycle with page, {found.series:,} series, {found.detector}",
            "goal: 350 ms",
            found.quality,
            wrong,
        ),
        Row(
            f"rss_mib_100k_{found.detector}",
            found.peak,
            "MiB",
            f"highest during steady cycles, {found.series:,} series: {found.detector}; between cycles {found.rss:.0f}; "
            f"highest with the first fill {found.cold_peak:.0f}",
            "goal: 700 MiB",
            found.quality,
            wrong,
        ),
    ]


def _memory_row(large: list[Steady], plan: Plan) -> Row:
    def both(name: str) -> str:
        return ", ".join(f"{getattr(each, name):.0f}" for each in large)

    return Row(
        "rss_mib_100k",
        max(each.peak for each in large),
        "MiB",
        f"highest during steady cycles, {plan.large:,} series: {both('peak')} ({', '.join(WINDOWED)});"
        f" between cycles {both('rss')}; highest with the first fill {both('cold_peak')}",
        "goal: 600 MiB",
        f"all {plan.large:,} series judged",
    )


def incremental(server: PrometheusServer, plan: Plan) -> Row:
    """Compare reading what is new with reading the whole window every time."""
    size = plan.medium
    options: dict[str, Any] = {
        "url": server.url,
        "expr": metric(size),
        "detector": "robust",
        "pods": plan.pods(size),
    }
    say(f"{size} series: reading what is new against reading the window every time")
    wrong = ""
    with Contender("exporter", **options) as new, Contender("rereading", **options) as whole:
        costs: tuple[list[float], list[float]] = ([], [])
        for turn in range(WARM_UP + plan.rounds):
            pair = [(0, new), (1, whole)]
            found = {
                at: each.ask(now=plan.first + turn * STEP, detail=True) for at, each in pair[:: 1 - 2 * (turn % 2)]
            }
            if turn >= WARM_UP:
                costs[0].append(found[0]["cpu"])
                costs[1].append(found[1]["cpu"])
            if found[0]["digest"] != found[1]["digest"]:
                wrong = f"the verdicts of minute {turn} differ"
    ours, other = median(costs[0]), median(costs[1])
    return Row(
        "incremental_vs_full_window",
        other / ours,
        "x",
        f"{seconds(ours)} CPU: cycle that reads new samples only, {size:,} series, robust",
        f"{seconds(other)} CPU: the same cycle reading all 60 samples",
        wrong or "equal, every score and band in every minute",
        wrong,
    )


def script(server: PrometheusServer, plan: Plan) -> Row:
    """Compare our cycle with range query, pandas and one forest per series."""
    size, count = plan.medium, plan.scripted
    rounds = min(plan.rounds, 5)
    pods = [pod(number) for number in range(rounds * count)]
    say(f"{size} series: our cycle against pandas and a forest per series, {count} series a time")
    ours: list[float] = []
    others: list[float] = []
    scores: tuple[list[float], list[float]] = ([], [])
    with (
        Contender("exporter", url=server.url, expr=metric(size), detector="isolation_forest", pods=pods) as exporter,
        Contender("script", url=server.url, metric=metric(size)) as rival,
    ):
        for turn in range(WARM_UP):
            exporter.ask(now=plan.first + turn * STEP)
        rival.ask(now=plan.first, first=0, count=1)  # its imports
        for turn in range(rounds):
            now = plan.first + (WARM_UP + turn) * STEP
            mine = exporter.ask(now=now, detail=True)
            his = rival.ask(now=now, first=turn * count, count=count)
            ours.append(mine["cpu"] / size)
            others.append(his["cpu"] / count)
            scores[0].extend(mine["score"][turn * count : (turn + 1) * count])
            scores[1].extend(his["score"])
    agreement = rank_agreement(*scores)
    return Row(
        "own_cpu_per_series_vs_naive",
        median(others) / median(ours),
        "x",
        f"{seconds(median(ours))} CPU per series: whole cycle, isolation_forest, {size:,} series",
        f"{seconds(median(others))} CPU per series: range query, pandas, one scikit-learn forest each, {count} series",
        f"rank agreement {agreement:.3f} over {rounds * count} series",
        "" if agreement >= plan.least_agreement else f"rank agreement {agreement:.3f} is below {plan.least_agreement}",
    )
