"""A fresh installation with all presets raises no alert about itself: real servers, where a second is a minute."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.servers import ITSELF, ExporterServer, NodeExporterServer, PrometheusServer, get
from detectors.types import Key
from exporter.backtest.replay import make_job, replay
from exporter.config.sections.root import Config
from exporter.promql import metrics, quote
from exporter.source.prometheus import Prometheus
from rules.alerts.names import RESERVED
from rules.generate import generate
from tests.conftest import StartPrometheus
from tests.e2e.conftest import Page
from tests.rules.test_presets import ALL, tree
from tests.support.ordinary_day import Cluster, openmetrics, services
from tests.support.waiting import eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SHAPES = Path(__file__).parent / "shapes"
BUSY = {"AnomalyCycleFailing", "AnomalyExporterDown", "AnomalyTargetDown"}
"""Alerts that are right on a busy machine, where a minute is a second."""
CAUSED = {f"AnomalyPrometheus{name}" for name in ("Churn", "Notifications", "Series")}
"""Alerts on Prometheus that our own series and rules caused."""
OURS = "|".join(sorted((RESERVED - BUSY) | CAUSED))
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def quicker(text: str) -> str:
    """Rules and queries in which a minute is a second: spans, `for`, and numbers of seconds."""

    def span(match: re.Match[str]) -> str:
        return f"{int(match[1]) * UNITS[match[2]] * 1000 // 60}ms"

    text = re.sub(r"(?<=[\[ :])(\d+)([smhd])(?=[\]:\s)]|$)", span, text, flags=re.MULTILINE)
    text = re.sub(r"(?<=:)(\d+)([smhd])(?=\])", span, text)
    return text.replace("< 900", "< 15").replace("/ 300", "/ 5")


def quick(job: dict[str, Any]) -> dict[str, Any]:
    """A job of a preset in which a minute is a second."""
    made = {**job, "step": "1s", "window": "60s", "clear_after": "5s", "flap_window": "60s", "max_age": "10s"}
    made |= {"false_alarms": 60, "budget": 60, "alert": {"keep_firing_for": "5s"}}
    for key in ("expr", "channels"):
        if key in made:
            asked = made[key]
            made[key] = quicker(asked) if key == "expr" else {name: quicker(expr) for name, expr in asked.items()}
    return made


def test_spans_become_seconds() -> None:
    assert (
        quicker("a[5m] and b[1d:5m] offset 1h\nfor: 2m\n")
        == "a[5000ms] and b[1440000ms:5000ms] offset 60000ms\nfor: 2000ms\n"
    )


def test_a_fresh_installation_is_silent_about_itself_from_its_first_scrape_until_after_its_warm_up(
    prometheus: StartPrometheus, node_exporter: NodeExporterServer, tmp_path: Path
) -> None:
    """No Alertmanager, no history, one node; what happens on this machine meanwhile may be anomalous, we may not."""
    jobs = {name: quick(job) for name, job in tree(*ALL)["jobs"].items()}
    ours = ExporterServer(tmp_path / "exporter", {"jobs": jobs})
    ours.ready_path = "/-/healthy"
    source = prometheus(
        scrape={"prometheus": ITSELF, "node": node_exporter.address, "anomaly-exporter": ours.address},
        rules=[tmp_path / "*.yml"],
    )
    ours.config["prometheus"] = {"url": source.url}
    with ours:
        source.wait_for('up{job="anomaly-exporter"} == 1')  # a process starts no faster where a minute is a second
        for name, text in generate(Config.model_validate({"jobs": jobs})).items():
            if name.startswith("rules/"):
                (tmp_path / Path(name).name).write_text(quicker(text))
        source.reload()
        settled = [name for name in jobs if name.startswith(("node", "prometheus"))]

        def past_the_warm_up() -> bool:
            page = Page(ours.url)
            return all(page.cycles(name) > 90 for name in settled)

        eventually(past_the_warm_up, within=300, every=2)
        seen = source.query(
            f'count by (alertname, query, alertstate) (count_over_time(ALERTS{{alertname=~"{OURS}"}}[1h]))'
        )
        print("pending or firing:", [one["metric"] for one in seen])
        fired = [one["metric"] for one in seen if one["metric"]["alertstate"] == "firing"]
        assert fired == []
        assert source.query('ALERTS{alertname="Watchdog",alertstate="firing"}')


def numbers(page: str, wanted: set[str]) -> dict[tuple[str, str], float]:
    """The values of a page by metric and labels, of the metrics that a preset asks for."""
    return {
        (sample.name, ",".join(f"{name}={quote(value)}" for name, value in sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name in wanted
    }


def ordinary_day(pages: dict[str, tuple[str, str]], wanted: set[str], start: int, seed: int) -> Iterator[str]:
    """A day of the series of real pages, a minute apart: each job's page now, and as it was some seconds before.

    Counters grow at the rate they had, which follows the day by a third and varies by a tenth; gauges vary by a
    hundredth, and what is constant (sizes, flags, identities) stays.
    """
    minutes = np.arange(0, 1500)
    random = np.random.default_rng(seed)
    for job, (before, after) in pages.items():
        old = numbers(before, wanted)
        for (name, labels), value in numbers(after, wanted).items():
            grown = value - old.get((name, labels), value)
            if name.endswith("_total"):
                shape = (1 + np.sin(2 * np.pi * minutes / 1440) / 3) * random.normal(1, 0.1, minutes.size).clip(0.1)
                values = value + np.cumsum(grown / 5 * 60 * shape)
            elif grown:
                values = value * (1 + 0.01 * random.standard_normal(minutes.size))
            else:
                values = np.full(minutes.size, value)
            target = f'job="{job}",instance="{job}:1"' + (f",{labels}" if labels else "")
            yield f"# TYPE {name.removesuffix('_total')} {'counter' if name.endswith('_total') else 'gauge'}"
            yield from (
                f"{name}{{{target}}} {number} {start + 60 * at}" for at, number in zip(minutes, values, strict=True)
            )


MADE = "up 1\nscrape_duration_seconds 0.01\nscrape_samples_post_metric_relabeling 700\nscrape_series_added 0\n"
"""What Prometheus itself adds to a scrape."""


@pytest.mark.parametrize(("preset", "seed"), [("node", 1), ("self", 2)])
def test_an_ordinary_first_day_of_a_real_node_and_prometheus_has_no_alert(
    preset: str, seed: int, prometheus: StartPrometheus, node_exporter: NodeExporterServer
) -> None:
    """A minute after the installation the first cycle, a day later the last one: every verdict of the live exporter."""
    presets = tree(preset)["jobs"]
    config = Config.model_validate({"jobs": presets})
    wanted = {metric for job in config.jobs.values() for expr in job.queries.values() for metric in metrics(expr)}
    itself = prometheus(scrape={"prometheus": ITSELF})
    itself.wait_for("count_over_time(up[1m]) > 3")
    before = {"node": get(f"{node_exporter.url}/metrics").text, "prometheus": get(f"{itself.url}/metrics").text}
    time.sleep(5)
    after = {"node": get(f"{node_exporter.url}/metrics").text, "prometheus": get(f"{itself.url}/metrics").text}
    start = int(time.time() - 90_000) // 60 * 60
    pages = {job: (before[job], after[job] + MADE) for job in before}
    source = prometheus(history=ordinary_day(pages, wanted, start, seed))
    told, judged = alerts(presets, source, start)
    assert told == []
    assert judged > 5000


@pytest.mark.parametrize(
    ("preset", "shape", "seed"), [("kubernetes", "eks", 1), ("kubernetes", "k3s", 2), ("http", "", 3), ("http", "", 4)]
)
def test_an_ordinary_first_day_of_a_cluster_and_of_web_services_has_no_alert(
    preset: str, shape: str, seed: int, prometheus: StartPrometheus
) -> None:
    """Pods are rolled out, scaled and run as jobs, one container is restarted; a quiet service fails now and then."""
    presets = tree(preset)["jobs"]
    start = int(time.time() - 90_000) // 60 * 60
    if preset == "kubernetes":
        made = yaml.safe_load((SHAPES / f"{shape}.yml").read_text())["kubernetes"]
        series = Cluster({"volume": "yes", **made}, seed).day()
    else:
        series = services(seed)
    told, judged = alerts(presets, prometheus(history=openmetrics(series, start)), start)
    assert told == []
    assert judged > 1400 * len(presets)


def alerts(presets: dict[str, Any], source: PrometheusServer, start: int) -> tuple[list[tuple[str, Key]], int]:
    """Replay the day that began at `start` (Unix seconds); return what became an alert, and how many verdicts."""
    config = Config.model_validate({"jobs": presets, "prometheus": {"url": source.url}})
    reader = Prometheus(config.prometheus, config.limits)
    told: list[tuple[str, Key]] = []
    judged = 0
    for name, job in config.jobs.items():
        began = time.monotonic()
        mine, seen = set(), 0
        for verdict in replay(make_job(name, job, reader, True), start // 60 + 1, start // 60 + 1440, lambda _: None):
            seen += int(np.isfinite(verdict.score).sum())
            mine |= {(name, key) for key, alert in zip(verdict.keys, verdict.alert, strict=True) if alert}
        print(f"{name}: {time.monotonic() - began:.1f}s, {seen} verdicts, {len(mine)} alerts")
        told += sorted(mine)
        judged += seen
    reader.close()
    print(f"{judged} verdicts, alerts: {told}")
    return told, judged
