"""`python -m tests.bench.rules`: what bands cost as PromQL recording rules, and what they cost with the exporter.

One Prometheus scrapes 10,000 series once a minute and holds 26 hours of them. Counted are CPU seconds of the Prometheus
process and of the exporter, by the kernel, over whole periods, less what the same server uses without either.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.local import LocalServer
from deploy.demo.servers import PrometheusServer, ServerError, backfill, free_port, get
from tests.bench.bands import ABOUT, GOALS, METRIC, PERIOD, RULES, rule_file
from tests.bench.history import STEP, lines, selector
from tests.bench.peer import Contender, RunningExporter
from tests.bench.report import ROOT, Row, finish, machine, say, working
from tests.bench.usage import cpu_seconds


@dataclass(frozen=True)
class Plan:
    """How many series, hours of them, and periods of each way to measure."""

    series: int = 10_000
    hours: int = 26
    minutes: int = 2
    evaluations: int = 2


class Target(LocalServer):
    """Serves the newest value of every series."""

    def __init__(self, series: int) -> None:
        super().__init__()
        self._series = [selector(METRIC, at) for at in range(series)]
        self._rng = np.random.default_rng(0)

    def get(self) -> str:
        count = len(self._series)
        newest = np.round(self._rng.normal(100 + np.arange(count) % 17, 3), 4).tolist()
        pairs = zip(self._series, newest, strict=True)
        return f"# TYPE {METRIC} gauge\n" + "".join(f"{series} {value}\n" for series, value in pairs)


class Meter:
    """CPU seconds per second of the server when nothing but its target is to be scraped, and what comes on top."""

    def __init__(self, server: PrometheusServer) -> None:
        self._server, self.idle = server, 0.0

    def wait(self, label: str, period: float, times: int) -> float:
        """Return the CPU seconds on top in each of so many periods."""
        with working(label, every=15):
            before, began = cpu_seconds(self._server.pid), time.monotonic()
            time.sleep(began + period * times - time.monotonic())
            used, took = cpu_seconds(self._server.pid) - before, time.monotonic() - began
        return (used - self.idle * took) / times

    def settle(self, within: float = 60.0) -> None:
        """Wait until compaction and the like are done."""
        with working("waiting for Prometheus to settle"):
            end = time.monotonic() + within
            while time.monotonic() < end:
                before = cpu_seconds(self._server.pid)
                time.sleep(5)
                if cpu_seconds(self._server.pid) - before < 0.25:
                    return


def own_metric(server: PrometheusServer, name: str, group: str) -> float:
    """Return one of the server's own metrics on a rule group, read from its page, which nobody scrapes."""
    page = get(f"{server.url}/metrics").text
    samples = (sample for family in text_string_to_metric_families(page) for sample in family.samples)
    return sum(s.value for s in samples if s.name == name and s.labels.get("rule_group", "").endswith(f";{group}"))


def until(condition: Callable[[], bool], label: str, within: float = 180.0) -> None:
    """Wait for a condition; give up after `within` seconds."""
    with working(label, every=15):
        end = time.monotonic() + within
        while not condition():
            if time.monotonic() > end:
                raise SystemExit(f"{label}: not within {within:.0f}s")
            time.sleep(0.5)


def count(server: PrometheusServer, expr: str) -> int:
    """Return how many series `expr` has."""
    return sum(int(each["value"][1]) for each in server.query(f"count({expr})"))


def with_exporter(server: PrometheusServer, meter: Meter, plan: Plan) -> tuple[float, float, int]:
    """Let the exporter run and its page be scraped; return the server's and its own CPU a minute, and the bands."""
    port = free_port()
    with RunningExporter(server.url, METRIC, "robust", server.directory, port) as exporter:
        exporter.first_page()
        server.scrape["exporter"] = f"127.0.0.1:{port}"
        server.reload()
        until(lambda: count(server, "anomaly_upper") == plan.series, "exporter: first scrape of its page")
        own = cpu_seconds(exporter.pid)
        cost = meter.wait(f"exporter: {plan.minutes} cycles, {plan.minutes} scrapes", STEP, plan.minutes)
        own = (cpu_seconds(exporter.pid) - own) / plan.minutes
        bands = count(server, "anomaly_upper > anomaly_lower")
        del server.scrape["exporter"]
        server.reload()
    return cost, own, bands


def with_rules(
    server: PrometheusServer, meter: Meter, plan: Plan, name: str, rules: dict[str, str]
) -> tuple[float, int]:
    """Load the rules, let the first evaluation make the new series; return CPU an evaluation, and bands."""
    server.rules = (rule_file(server.directory, name, rules),)
    server.reload()
    until(
        lambda: own_metric(server, "prometheus_rule_evaluations_total", name) > len(rules),
        f"{name}: first evaluation",
    )
    cost = meter.wait(f"{name}: {plan.evaluations} evaluations", PERIOD, plan.evaluations)
    took = own_metric(server, "prometheus_rule_group_last_duration_seconds", name)
    missed = own_metric(server, "prometheus_rule_group_iterations_missed_total", name)
    if missed or own_metric(server, "prometheus_rule_evaluation_failures_total", name):
        raise SystemExit(f"{name}: evaluations failed or were missed; the last one took {took:.1f}s of {PERIOD}s")
    bands = count(server, "band:upper > band:lower")
    say(f"  {cost:.2f} s of CPU an evaluation, which took {took:.2f} s")
    server.rules = ()
    server.reload()
    return cost, bands


def long_window(server: PrometheusServer, plan: Plan) -> float:
    """Return the CPU of our own cycle with a window as long as that of the rules."""
    window, now = plan.hours * 3600, time.time() // STEP * STEP - 10 * STEP
    options = {"url": server.url, "expr": METRIC, "detector": "robust", "pods": [], "window": window}
    with working(f"exporter with a window of {plan.hours}h", every=15), Contender("exporter", **options) as exporter:
        cycles = [exporter.ask(now=now + turn * STEP)["cpu"] for turn in range(5)]
    return median(cycles[2:])


def measure(plan: Plan, directory: Path) -> list[Row]:
    """Measure the server alone, the exporter, both sets of rules."""
    now = time.time() // STEP * STEP
    times = [now - minute * STEP for minute in range(plan.hours * 60, -1, -1)]
    with working(f"filling Prometheus: {plan.series:,} series of {len(times):,} samples"):
        backfill(directory, lines({METRIC: plan.series}, times), longest_block="54h")
    with (
        Target(plan.series) as target,
        PrometheusServer(directory, scrape={"target": target.address}, interval="60s") as server,
    ):
        meter = Meter(server)
        until(lambda: count(server, f"timestamp({METRIC}) > {now + 1}") == plan.series, "first scrape")
        meter.settle()
        idle = meter.wait("server alone: one scrape of the target", STEP, 1)
        meter.idle = idle / STEP
        say(f"  {idle:.2f} s of CPU a minute, taken off from what follows")
        scraped, own, bands = with_exporter(server, meter, plan)
        say(f"  a minute: {scraped:.3f} s of CPU of Prometheus, {own:.3f} s of our own")
        rivals = {name: with_rules(server, meter, plan, name, rules) for name, rules in RULES.items()}
        own_long = long_window(server, plan)
    ours = scraped + own
    most = ours + own_long  # the short cycle is among ours

    def row(name: str) -> Row:
        cost, theirs = rivals[name]
        wrong = "" if bands == theirs == plan.series else f"{bands} and {theirs} bands for {plan.series} series"
        return Row(
            f"cpu_vs_{name}_rules",
            cost / ours,
            "x",
            f"{ours:.3f} s a minute: Prometheus {scraped:.3f} (query, scrape of our page), exporter {own:.3f}, all in;"
            f" with a window of {plan.hours}h, too, at most {most:.3f} s ({cost / most:.3g}x)",
            f"{cost:.2f} s: {len(RULES[name])} rules once a minute: {ABOUT[name]} ({GOALS[name]})",
            wrong or f"a band for each of the {plan.series:,} series from both",
            wrong,
        )

    return [row(name) for name in RULES]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rules", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it works, its figures mean nothing"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench-rules.json", help="the JSON file")
    options = parser.parse_args(arguments)
    plan = Plan(series=100, hours=2, minutes=1, evaluations=1) if options.quick else Plan()
    for line in machine():
        say(line)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        try:
            rows = measure(plan, Path(directory))
        except ServerError as error:
            raise SystemExit(str(error)) from None
    return finish(rows, options.output)


if __name__ == "__main__":
    sys.exit(main())
