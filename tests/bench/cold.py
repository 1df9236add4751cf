"""From the start of the real process to its first page."""

import re
from pathlib import Path
from statistics import median

from deploy.demo.servers import PrometheusServer
from tests.bench.cycles import DETECTORS, Plan, metric
from tests.bench.peer import RunningExporter
from tests.bench.report import Row, say, seconds
from tests.bench.usage import memory

SCORE = re.compile(rb"^anomaly_score\{.*\} [0-9.e-]+$", re.MULTILINE)


def cold_start(server: PrometheusServer, plan: Plan, directory: Path) -> Row:
    """Start the exporter at now, the detectors in turns."""
    found: dict[str, list[float]] = {detector: [] for detector in DETECTORS}
    peak, scored = 0.0, []
    for _ in range(plan.starts):
        for detector in DETECTORS:
            with RunningExporter(server.url, metric(plan.large), detector, directory) as exporter:
                took, page = exporter.first_page()
                peak = max(peak, memory(exporter.pid)["peak"])
            found[detector].append(took)
            scored.append(len(SCORE.findall(page)))
            say(f"{plan.large} series, {detector}: first page after {seconds(took)}")
    worst = max(median(times) for times in found.values())
    wrong = "" if min(scored) == plan.large else f"only {min(scored)} of {plan.large} series have a score"
    each = ", ".join(f"{name} {seconds(median(times))}" for name, times in found.items())
    return Row(
        "cold_start_seconds_100k",
        worst,
        "s",
        f"{each}: from process start to the first page read, {plan.large:,} series of 60 samples,"
        f" HTTP server and all; at most {peak:.0f} MiB",
        "no goal set",
        wrong or f"all {plan.large:,} series have a score on the page",
        wrong,
    )
