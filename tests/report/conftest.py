"""A week of a running exporter, as Prometheus and the audit file remember it."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
import yaml
from click.testing import Result
from typer.testing import CliRunner

from deploy.demo.servers import PrometheusServer, backfill, openmetrics
from detectors.units import DAY, HOUR
from exporter.cli.main import cli
from exporter.sinks.audit_rows import HEADER

SCRIPT = '<script>document.title="broken out"</script>'
A, B = {"instance": "a:9100", "mode": 'idle"}'}, {"instance": "b:9100", "mode": 'idle"}'}
SHOP = {"service": SCRIPT, "note": "$x$ & <b>\\ \u202e"}
_EVERY = 120.0


@dataclass(frozen=True)
class Week:
    """What really happened, in Unix seconds: `end` is the end of the week."""

    url: str
    end: float

    def at(self, days: float) -> float:
        """Return the time so many days after the beginning."""
        return self.end - 7 * DAY + days * DAY


# day, and how many hours, of what happened
LONG, SHORT, OPEN, SHOP_WRONG = (1.0, 7.0), (3.0, 0.5), (6.9, 2.4), (4.0, 3.0)
GAP, OUTAGE, UNSEEN = (2.0, 10.0), (5.0, 2.0), (2.1, 1.0)


class _History:
    def __init__(self, end: float) -> None:
        self.start = end - 7 * DAY
        self.times = np.arange(self.start + _EVERY, end + 1, _EVERY)
        self.there = ~self.inside(GAP)
        self.lines: list[str] = []

    def inside(self, span: tuple[float, float]) -> Any:
        begin = self.start + span[0] * DAY
        return (self.times > begin) & (self.times <= begin + span[1] * HOUR)

    def put(self, name: str, labels: dict[str, str], values: Any, where: Any = True) -> None:
        """Add a series, absent where the exporter was not scraped, and where `where` says so."""
        values = np.broadcast_to(np.asarray(values, float), self.times.shape)
        kept = self.there & where & np.isfinite(values)
        self.lines += openmetrics(name, labels, self.times[kept].tolist(), values[kept].tolist())

    def entity(
        self, query: str, labels: dict[str, str], wrong: list[tuple[float, float]], alerts: list[tuple[float, float]],
        channels: tuple[str, ...] = (), silent: Any = False,
    ) -> None:  # fmt: skip
        """Add the judged families of an entity."""
        own = {**labels, "query": query, "detector": "auto"}
        flag = np.any([self.inside(span) for span in wrong], axis=0)
        alert = np.any([self.inside(span) for span in alerts] or [np.zeros_like(flag)], axis=0)
        self.put("anomaly_flag", own, flag, ~np.asarray(silent))
        self.put("anomaly_alert", own, alert, ~np.asarray(silent))
        self.put("anomaly_score", own, np.where(flag, 6.5, 0.2), ~np.asarray(silent))
        level = 0.4 + 0.2 * np.sin((self.times - self.start) / DAY * 2 * math.pi)
        noise = np.random.default_rng(len(query)).normal(0, 0.02, len(level))
        silent = silent | ~np.any([self.inside((day - 0.5, hours + 24)) for day, hours in wrong], axis=0)
        for channel in channels or ("",):
            named = own | ({"channel": channel} if channel else {})
            high = 0.5 if channel in {"", "p99"} else 0.0
            self.put("anomaly_value", named, level + noise + high * flag, ~np.asarray(silent))
            self.put("anomaly_expected", named, level, ~np.asarray(silent))
            self.put("anomaly_lower", named, level - 0.1, ~np.asarray(silent))
            self.put("anomaly_upper", named, level + 0.1, ~np.asarray(silent))
        for channel in channels:
            self.put("anomaly_contribution", own | {"channel": channel}, 0.9 if channel == "p99" else 0.1, flag)


def _lines(end: float) -> list[str]:
    past = _History(end)
    out = past.inside(OUTAGE)
    past.entity("node-cpu", A, [LONG, OPEN], [LONG], silent=out)
    past.entity("node-cpu", B, [SHORT], [], silent=out)
    past.entity("api", SHOP, [SHOP_WRONG], [SHOP_WRONG], ("p99", "rps"))
    for query, ready, up in (("node-cpu", np.where(out, 0, 2), ~out), ("api", 1, 1)):
        past.put("anomaly_exporter_series", {"query": query, "detector": "auto", "state": "ready"}, ready)
        stale = 2 - np.asarray(ready) if query == "node-cpu" else 0
        past.put("anomaly_exporter_series", {"query": query, "detector": "auto", "state": "stale"}, stale)
        past.put("anomaly_exporter_source_up", {"query": query}, up)
    days = (past.times - past.start) / DAY
    node = {"query": "node-cpu"}
    errors = np.clip((days - 5) * 1440, 0, 120) + 7
    past.put("anomaly_exporter_query_errors_total", {**node, "reason": "deadline"}, errors)
    past.put("anomaly_exporter_drift_events_total", {**node, "detector": "auto", "method": "adwin"}, 1, days > 3.5)
    past.put("anomaly_exporter_retrains_total", {**node, "outcome": "promoted"}, 1, days > 3.6)
    for name, values in {"precision": np.where(days < 3, 0.5, 0.8), "recall": 0.9, "f1": 0.85, "events": 10}.items():
        past.put(f"anomaly_exporter_backtest_{name}", node, values)
    past.put("anomaly_exporter_backtest_timestamp_seconds", node, past.start + 3 * DAY)
    past.put("anomaly_exporter_model_trained_timestamp_seconds", {**node, "detector": "auto"}, past.start + 3.6 * DAY)
    return past.lines


@pytest.fixture(scope="session")
def week(servers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    """A Prometheus that has scraped the exporter for a week; only to ask."""
    end = (time.time() - 120) // 300 * 300
    directory = tmp_path_factory.mktemp("week")
    backfill(directory, _lines(end), longest_block="192h")
    with PrometheusServer(directory) as server:
        yield Week(server.url, end)


@pytest.fixture
def audit(week: Week, tmp_path: Path) -> Path:
    """The audit file of that week: it knows one incident more, and one to the minute; its last row is torn."""

    def row(moment: float, labels: str, flag: int) -> str:
        stamp = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return f"{stamp},node-cpu,{labels},value,0.9,0.4,0.3,0.5,,6.5,{flag},auto,,abc,,,,,,,,\n"

    b = '"{""instance"": ""b:9100"", ""mode"": ""idle\\""}""}"'
    rows = []
    for (day, hours), late in ((UNSEEN, 0.0), (SHORT, 60.0)):
        begin = week.at(day) + late
        count = round(hours * 60)
        rows += [row(begin + 60 * minute, b, int(minute < count)) for minute in range(count + 1)]
    path = tmp_path / "audit.csv"
    path.write_bytes(HEADER + "".join(rows).encode() + b"2026-01-0")
    return path


@pytest.fixture
def config(week: Week, tmp_path: Path) -> Callable[..., Path]:
    """Write a configuration: `config(audit=…)`, with further keys of the top level."""

    def write(**top: Any) -> Path:
        jobs = {
            "node-cpu": {"expr": "up", "budget": "1 per week"},
            "api": {"channels": {"p99": "up", "rps": "up"}, "budget": "3 per week"},
            "lonely": {"expr": "up"},
        }
        path = tmp_path / "anomaly.yml"
        written = {"prometheus": {"url": week.url, "retries": 0}, "jobs": jobs, **top}
        path.write_text(yaml.safe_dump(written, sort_keys=False))
        return path

    return write


@pytest.fixture
def report() -> Callable[..., Result]:
    """Run the command in this process; anything but an exit is a failure of the test."""

    def run(*arguments: object) -> Result:
        try:
            result = CliRunner().invoke(cli, ["report", *map(str, arguments)])
        finally:
            structlog.reset_defaults()  # the command has set up logs for itself
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture(scope="session")
def _kept() -> dict[str, str]:
    return {}


@pytest.fixture
def written(
    _kept: dict[str, str], report: Callable[..., Result], config: Callable[..., Path], audit: Path, week: Week,
    tmp_path: Path,
) -> dict[str, str]:  # fmt: skip
    """The `page` and the `digest` of all jobs, made once: it costs seconds."""
    if not _kept:
        out = tmp_path / "report.html"
        result = report("--config", config(audit={"path": str(audit)}), "--to", week.end, "--out", out, "--text")
        assert result.exit_code == 0, result.output
        _kept |= {"page": out.read_text(), "digest": result.stdout}
    return _kept
