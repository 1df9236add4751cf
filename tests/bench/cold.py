"""The real process: from its start to the first page, and what it uses in a minute of service."""

import re
import time
from pathlib import Path
from statistics import median

from deploy.demo.servers import PrometheusServer
from tests.bench.cycles import WINDOWED, Plan, metric
from tests.bench.history import STEP
from tests.bench.peer import RunningExporter
from tests.bench.report import Row, say, seconds, working
from tests.bench.usage import cpu_seconds, memory

SCORE = re.compile(rb"^anomaly_score\{.*\} [0-9.e-]+$", re.MULTILINE)


def processes(server: PrometheusServer, plan: Plan, directory: Path) -> list[Row]:
    """Start the exporter at now, the detectors in turns; let the last one serve for a minute."""
    minute = 0.0
    found: dict[str, list[float]] = {detector: [] for detector in WINDOWED}
    peak, scored = 0.0, []
    for turn in range(plan.starts):
        for detector in WINDOWED:
            with RunningExporter(server.url, metric(plan.large), detector, directory) as exporter:
                took, page = exporter.first_page()
                if (turn, detector) == (plan.starts - 1, WINDOWED[-1]):
                    minute = _minute(exporter, plan)
                peak = max(peak, memory(exporter.pid)["peak"])
            found[detector].append(took)
            scored.append(len(SCORE.findall(page)))
            say(f"{plan.large} series, {detector}: first page after {seconds(took)}")
    worst = max(median(times) for times in found.values())
    wrong = "" if min(scored) == plan.large else f"only {min(scored)} of {plan.large} series have a score"
    each = ", ".join(f"{name} {seconds(median(times))}" for name, times in found.items())
    start = Row(
        "cold_start_seconds_100k",
        worst,
        "s",
        f"{each}: from process start to the first page read, {plan.large:,} series of 60 samples,"
        f" HTTP server and all; at most {peak:.0f} MiB",
        "no goal set",
        wrong or f"all {plan.large:,} series have a score on the page",
        wrong,
    )
    service = Row(
        "process_cpu_seconds_per_minute_100k",
        minute,
        "s",
        f"own CPU of the process in a minute of service, {plan.large:,} series, {WINDOWED[-1]}:"
        " one cycle, one scrape with gzip, housekeeping",
        "no goal set",
        start.quality,
        wrong,
    )
    return [start, service]


def _minute(exporter: RunningExporter, plan: Plan) -> float:
    """Return the CPU seconds that a running exporter uses in a minute with one cycle and one scrape."""
    with working(f"{plan.large} series: a minute of service", every=15):
        if plan.service >= STEP:
            # From the middle of one minute to that of the next: one whole cycle, wherever we came in. Not the first
            # one after the start, which gets its memory back from the system.
            time.sleep((STEP / 2 - time.time()) % STEP + STEP)
        before = cpu_seconds(exporter.pid)
        exporter.page()
        time.sleep(plan.service)
        return cpu_seconds(exporter.pid) - before
