"""A day in half an hour: one exporter that runs through, and one that is killed again and again, on the same source."""

import csv
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from deploy.demo.process import get
from deploy.demo.servers import ExporterServer
from tests.soak.source import Churning
from tests.soak.usage import MIB, Usage, growth, usage
from tests.support.stub import serve

JOB: Final = "level"
_SETTLED: Final = 0.7
"""Share of the cycles after which memory has settled: 20,000 series that ended are remembered, by 2,000 cycles."""
_PATIENCE: Final = 300.0
WINDOW: Final = 60.0
"""Seconds that are looked at, and read back after a kill."""


@dataclass
class Life:
    """What was seen of one exporter."""

    name: str
    cycles: list[float] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    reloads: int = 0
    refused: int = 0
    kills: int = 0
    slowest_start: float = 0.0
    wrong: list[str] = field(default_factory=list)
    rows: int = 0
    doubled: int = 0
    missing: int = 0
    torn: int = 0
    skipped: int = 0

    @property
    def growth(self) -> float:
        """MiB in 1,000 cycles, without those until it had settled."""
        first = int(len(self.cycles) * _SETTLED)
        return growth(self.cycles[first:], [each.resident for each in self.usage[first:]])


def configuration(folder: Path, source: str, step: float) -> dict[str, Any]:
    """Return what the exporters run with."""
    seconds = f"{round(step * 1000)}ms"
    return {
        "prometheus": {"url": source},
        "log": {"format": "json", "level": "warning"},
        "audit": {"path": str(folder / "audit.csv"), "all_samples": True, "max_size": "1 GiB"},
        "state": {"path": str(folder / "state"), "every": f"{round(step * 2000)}ms"},
        "jobs": {
            JOB: {
                "expr": "level",
                "step": seconds,
                "window": f"{WINDOW:g}s",
                "history": f"{WINDOW:g}s",
                "detector": "robust",
                "max_hold": f"{round(step * 600)}s",  # what has ended is remembered for so long
            }
        },
    }


def value(page: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of a page with these labels."""
    wanted = [f'{label}="{text}"' for label, text in labels.items()]
    lines = [line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted))


def _page(server: ExporterServer) -> str:
    return get(f"{server.url}/metrics", timeout=30).text


def _cycles(page: str) -> float:
    return value(page, "anomaly_exporter_cycles_total", query=JOB, outcome="success")


def _reload(server: ExporterServer, life: Life, number: int) -> None:
    """Load another configuration; every second one is wrong, and the one before has to stay."""
    good = number % 2 == 0
    config = json.loads(json.dumps(server.config))
    config["jobs"][JOB]["publish"] = ["value"] if number % 4 else ["value", "expected"]
    if not good:
        config["jobs"][JOB]["no_such_key"] = 1
    (server.directory / "anomaly.yml").write_text(json.dumps(config))
    os.kill(server.pid, signal.SIGHUP)
    end = time.monotonic() + _PATIENCE
    while value(_page(server), "anomaly_exporter_config_last_reload_successful") != good:
        if time.monotonic() > end:
            life.wrong.append(f"reload {number} was not {'taken' if good else 'refused'}")
            break
        time.sleep(0.05)
    life.reloads += good
    life.refused += not good


def _exposed(page: str) -> tuple[int, int]:
    """Return how many series a page shows, and how many of them with a score."""
    lines = [line for line in page.splitlines() if line.startswith("anomaly_score{")]
    return len(lines), sum(not line.endswith("NaN") for line in lines)


def _counted(life: Life, path: Path, source: Churning) -> None:
    """Count the rows of the audit file: of a series that stays there has to be one for every step."""
    times: dict[str, list[float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            life.rows += 1
            if row["config_hash"] is None:
                life.torn += 1
                continue
            number = int(json.loads(row["labels"])["instance"])
            if number < source.staying:
                at = time_of(row["time"])
                times.setdefault(row["labels"], []).append(at)
    for series in times.values():
        ticks = Counter(round(each / source.step) for each in series)
        life.doubled += sum(ticks.values()) - len(ticks)
        life.missing += max(ticks) - min(ticks) + 1 - len(ticks)
    if len(times) != source.staying:
        life.wrong.append(f"rows of {len(times)} series that stay, not {source.staying}")


def time_of(text: str) -> float:
    """Return Unix seconds."""
    return datetime.fromisoformat(text).timestamp()


def day(
    folder: Path, cycles: int, series: int, churn: float, step: float, reload_every: int, kill_every: int
) -> Iterator[str | Life]:
    """Run two exporters for so many cycles; yield what is going on, and at the end what was seen of each."""
    source = Churning(series, churn, step)
    with serve(source.reply) as stub:
        lives, servers = [Life("runs through"), Life("killed")], []
        for name in ("through", "killed"):
            at = folder / name
            at.mkdir(parents=True)
            servers.append(ExporterServer(at, configuration(at, stub.url, step)))
        with servers[0], servers[1]:
            yield from _watched(list(zip(servers, lives, strict=True)), source, cycles, reload_every, kill_every)
        for server, life in zip(servers, lives, strict=True):
            _counted(life, server.directory / "audit.csv", source)
    yield from lives


def _watched(
    pairs: list[tuple[ExporterServer, Life]], source: Churning, cycles: int, reload_every: int, kill_every: int
) -> Iterator[str]:
    (through, _), (killed, victim) = pairs
    begun = time.time()
    reloads = kills = reported = 0
    while (done := int((time.time() - begun) / source.step)) < cycles:
        time.sleep(min(20 * source.step, 5.0))
        for server, life in pairs:
            page = _page(server)
            life.cycles.append(done)
            life.usage.append(usage(server.pid))
            shown, scored = _exposed(page)
            gone = source.coming * (WINDOW / source.step + 5)  # shown without a score while they are in the window
            if shown > source.series + gone or scored > source.series:
                life.wrong.append(f"{shown} series, {scored} of them with a score, after {done} steps")
        if done // reload_every > reloads:
            reloads = done // reload_every
            for server, life in pairs:
                _reload(server, life, reloads)
        if done // kill_every > kills:
            kills = done // kill_every
            killed.kill()
            (killed.directory / "anomaly.yml").write_text(json.dumps(killed.config))
            at = time.monotonic()
            killed.start()
            victim.slowest_start = max(victim.slowest_start, time.monotonic() - at)
            victim.kills += 1
        if done - reported >= 200:
            reported = done
            yield f"{done} of {cycles} steps; {pairs[0][1].usage[-1].resident / MIB:.0f} MiB"
    for server, life in pairs:
        page = _page(server)
        life.skipped = int(value(page, "anomaly_exporter_cycles_total", query=JOB, outcome="skipped"))
        if value(page, "anomaly_exporter_audit_rows_lost_total"):
            life.wrong.append("audit rows were lost")
    assert through.running
