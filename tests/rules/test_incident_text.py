"""The texts of alerts: what promtool renders is what `exporter.incident_wording` writes."""

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from detectors.auto.streams import names
from detectors.streams import BESIDE, WITHOUT_SIDE
from exporter import incident_wording as wording
from exporter.config.sections.root import Config
from exporter.forecast_wording import soon
from exporter.joint_wording import ONE_OF
from exporter.query_units import quantity_of
from rules.alerts.alert import series
from rules.alerts.incident_text import FLAPPING, OLD
from rules.alerts.reading_text import NO_READING
from rules.generate import generate
from tests.support.generated import tool

QUERIES = {
    "number": "node_load5",
    "memory": "node_memory_MemAvailable_bytes",
    "traffic": "rate(node_network_receive_bytes_total[5m])",
    "latency": "rate(api_seconds_sum[5m]) / rate(api_seconds_count[5m])",
    "share": 'sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m]))',
}
SIZES = (
    0.0,
    1e-7,
    0.0042,
    0.3,
    1.0,
    7.25,
    59.99,
    60.0,
    999.96,
    1023.97,
    1024.0,
    9999.4,
    9999.6,
    123_456.0,
    5.4e9,
    3e14,
)
FIGURES = ("value", "expected", "lower", "upper")
AFTER_DEPLOY, DEPLOYED = "incident_after_deploy_seconds", "checkout v1.8.2 and cart"
CHECKED = 20_000
"""Minute at which the rules are evaluated: nearly 14 days, so that times have dates and hours."""


def rendered(
    folder: Path, job: dict[str, Any], given: list[tuple[dict[str, float], dict[str, Any]]],
    also: dict[str, float] | None = None,
) -> list[str]:  # fmt: skip
    """Return the descriptions of alerts of a job with such incidents, each with times and figures by channel.

    `also` are other series with their values.
    """
    made = generate(Config.model_validate({"jobs": {"api": job}}))
    document = yaml.safe_load(made["rules/job-api.yml"])
    [rule] = [each for each in document["groups"][0]["rules"] if each["alert"] == "AnomalyApi"]
    rule["annotations"] = {"description": rule["annotations"]["description"]}
    document["groups"][0]["rules"] = [rule]
    (folder / "rules.yml").write_text(yaml.safe_dump(document))
    inputs = dict(also or {})
    for number, (times, channels) in enumerate(given):
        labels = {"instance": f"i{number:03}", "query": "api", "detector": "auto"}
        inputs[series("anomaly_alert", **labels)] = 1.0
        inputs[series("anomaly_flag", **labels)] = 1.0
        for name, value in times.items():
            named = {"deployed": DEPLOYED} if name == AFTER_DEPLOY else {}
            inputs[series(f"anomaly_{name}", **named, **labels)] = value
        for channel, figures in channels.items():
            named = {"channel": channel} if len(channels) > 1 else {}
            for name, value in figures.items():
                inputs[series(f"anomaly_incident_{name}", **named, **labels)] = value
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{CHECKED}m",
        "tests": [
            {
                "interval": f"{CHECKED}m",
                "input_series": [{"series": name, "values": f"{value!r}x1"} for name, value in inputs.items()],
                "alert_rule_test": [{"eval_time": f"{CHECKED}m", "alertname": "AnomalyApi", "exp_alerts": []}],
            }
        ],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(test))
    done = tool(folder, "promtool", "test", "rules", files="test.yml")
    shown = [line for line in (done.stdout + done.stderr).splitlines() if "Annotations:" in line]
    texts = [line.partition('description="')[2].rpartition('"}')[0] for line in shown if "description=" in line]
    assert len(texts) == len(given), done.stdout + done.stderr
    return texts


def figures_of(generator: random.Random) -> dict[str, float]:
    """Return figures of which any may be missing."""
    found = {name: generator.choice(SIZES) * generator.uniform(0.9, 1.1) for name in FIGURES}
    if generator.random() < 0.2:
        found["value"] = -found["value"]
    lower, upper = sorted((found["lower"], found["upper"]))
    found |= {"lower": lower, "upper": upper}
    return {name: value for name, value in found.items() if generator.random() < 0.8} or {"value": 1.0}


def told(expr: str, figures: dict[str, float], contribution: float | None = None) -> str:
    numbers = {"value": None, **figures}
    return wording.reading(**numbers, contribution=contribution, unit=quantity_of(expr, rate=True).unit)


@pytest.mark.servers
@pytest.mark.parametrize("query", QUERIES)
def test_a_template_and_the_exporter_write_the_same(query: str, tmp_path: Path) -> None:
    generator, expr, now = random.Random(query), QUERIES[query], 60.0 * CHECKED
    given, expected = [], []
    for _ in range(60):
        figures = figures_of(generator)
        start = now - generator.choice((20.0, 300.5, 4000.0, 43_000.0, 44_000.0, 400_000.0))
        at, score = start + generator.uniform(0, now - start), generator.uniform(1, 2000)
        end = generator.choice((None, None, start + generator.uniform(1, now - start)))
        times = {"incident_start_timestamp_seconds": start, "incident_worst_timestamp_seconds": at}
        times |= {"incident_score": score} | ({} if end is None else {"incident_end_timestamp_seconds": end})
        after = generator.choice((None, -90.0, 0.0, 59.0, 60.0, 745.0, 1800.0))
        times |= {} if after is None else {AFTER_DEPLOY: after}
        given.append((times, {query: figures}))
        dated = wording.is_dated(start, now if end is None else end)
        worst = wording.WORST.format(
            at=wording.moment(at, dated), readings=told(expr, figures), score=wording.number(score)
        )
        deploy = "" if after is None else wording.after_deploy(after, DEPLOYED)
        expected.append(wording.ordered(worst=worst, lasting=wording.lasting(start, end, now), deploy=deploy) + ".")
    assert sorted(rendered(tmp_path, {"expr": expr}, given)) == sorted(expected)


EVERY = (60.0, 1799.0, 5399.0, 5401.0, 7200.0, 129_599.0, 129_601.0, 6e5, 1_814_400.0, 5e6, 1.84e7, 4e7, 6e7, 1e9, 1e12)


@pytest.mark.servers
@pytest.mark.parametrize("step", ["1m", "5m"])
def test_the_evidence_is_told_as_the_exporter_tells_it(step: str, tmp_path: Path) -> None:
    generator, now = random.Random(step), 60.0 * CHECKED
    streams = names(60.0 if step == "1m" else 300.0)[: BESIDE.start]
    times = {"incident_start_timestamp_seconds": now - 2220, "incident_worst_timestamp_seconds": now - 600}
    given, expected = [], []
    since = wording.lasting(now - 2220, None, now)
    worst = wording.WORST.format(at=wording.moment(now - 600), readings="observed 5", score="7.25")
    for every in (*EVERY, None, None):
        at = generator.randrange(len(streams))
        size = generator.choice((None, 3.14, -9.94, 9.96, -61.4, 123_456.0, -0.04))
        evidence = {"": at, "_deviations": size, "_interval_seconds": every}
        known = {f"incident_evidence{name}": float(value) for name, value in evidence.items() if value is not None}
        given.append((times | {"incident_score": 7.25} | known, {"api": {"value": 5.0}}))
        told = wording.stream(streams[at], size, every, sided=streams[at] not in WITHOUT_SIDE)
        expected.append(f"{worst}; {since}; {told}.")
    assert sorted(rendered(tmp_path, {"expr": "node_load5", "step": step}, given)) == sorted(expected)


@pytest.mark.servers
def test_of_several_channels_those_with_a_reading_are_told(tmp_path: Path) -> None:
    queries = {"p99": QUERIES["latency"], "errors": QUERIES["share"], "rps": "sum(rate(http_requests_total[5m]))"}
    now = 60.0 * CHECKED
    times = {"incident_start_timestamp_seconds": now - 2220, "incident_worst_timestamp_seconds": now - 600}
    times |= {"incident_score": 7.25, "flapping": 1.0}
    figures = {
        "p99": {"value": 4.2, "expected": 0.31, "upper": 0.45, "contribution": 0.8},
        "errors": {"value": 0.14, "expected": 0.002, "lower": 0.0, "upper": 0.01, "contribution": 0.2},
        "rps": {},
    }
    at = wording.moment(now - 600)
    since = wording.lasting(now - 2220, None, now)
    assert rendered(tmp_path, {"channels": queries}, [(times, figures)]) == [
        f"worst at {at} UTC: p99: observed 4.2 s, expected 310 ms (normal: at most 450 ms), 80% of the deviation; "
        "errors: observed 14%, expected 0.2% (normal: 0% to 1%), 20% of the deviation, score 7.25 (above 1 is "
        f"anomalous); {since}; {FLAPPING}."
    ]
    assert since.endswith("(37 min)")


@pytest.mark.servers
def test_a_text_without_a_reading_claims_nothing(tmp_path: Path) -> None:
    assert rendered(tmp_path, {"expr": "up"}, [({}, {"up": {}})]) == [f"{NO_READING}."]
    assert OLD not in NO_READING


@pytest.mark.servers
def test_a_series_beside_its_peers_is_told_as_the_exporter_tells_it(tmp_path: Path) -> None:
    job = {"expr": QUERIES["latency"], "peers": ["instance"]}
    start = 60.0 * CHECKED - 300
    times = {"incident_start_timestamp_seconds": start, "incident_worst_timestamp_seconds": start}
    times |= {"incident_score": 3.0, "incident_evidence": 10.0, "incident_evidence_deviations": 12.0}
    beside = {"incident_peers": 11.0, "incident_peers_value": 0.12}
    beside |= {"incident_peers_ratio": 3.4, "incident_peers_usual_ratio": 1.1}
    given = [
        (times | beside, {"value": {"value": 0.408}}),
        (times | beside | {"incident_evidence": 2.0}, {"value": {"value": 0.408}}),
        (times | {"incident_peers": 4.0, "incident_peers_value": 0.0}, {"value": {"value": 7.0}}),
    ]
    texts = sorted(rendered(tmp_path, job, given))
    told_beside = wording.beside(0.408, 0.12, 0.132, 11, "i000", "seconds")
    assert told_beside == "3.4 x the other 11 of i000 (they: 120 ms, usual difference 1.1 x)"
    [first] = [text for text in texts if text.startswith(f"{told_beside}; worst at ")]
    assert "; value beside its peers 12 standard" in first
    assert len([text for text in texts if "the other" in text]) == 1


@pytest.mark.servers
def test_what_changes_most_what_somebody_does_comes_first(tmp_path: Path) -> None:
    """Every sentence that there can be, in the order in which messages of the exporter itself tell them."""
    job = {"expr": QUERIES["latency"], "peers": ["instance"], "direction": "above", "forecast": {"limit": 2.0}}
    now = 60.0 * CHECKED
    times = {"incident_start_timestamp_seconds": now - 300, "incident_worst_timestamp_seconds": now - 300}
    times |= {"incident_score": 3.0, "incident_evidence": 10.0, "incident_evidence_deviations": 12.0}
    times |= {"incident_peers": 11.0, "incident_peers_value": 0.12, AFTER_DEPLOY: 745.0, "flapping": 1.0}
    times |= {"incident_peers_ratio": 3.4, "incident_peers_usual_ratio": 1.1}
    times |= {"forecast_reaches_limit_early_timestamp_seconds": now + 7200}
    times |= {"forecast_reaches_limit_timestamp_seconds": now + 10_800}
    own = {"instance": "i000", "query": "api", "detector": "auto"}
    moved = "host=b in disk rose from 1 to 9 and 3 more"
    also = {
        series("anomaly_incident_moved_timestamp_seconds", anomaly_incident="1f", **own): now - 300,
        series("anomaly_exporter_joint_incident_series", anomaly_incident="1f", first_mover="service=db in cpu"): 40.0,
        series("anomaly_exporter_joint_incident_companions", anomaly_incident="1f", companions=moved): 5.0,
        series("anomaly_series_vanished", reason="down", **own): 1.0,
    }
    stream = names(60.0)[10]
    reading = wording.reading(0.408, unit="seconds")
    expected = wording.ordered(
        flapping=FLAPPING,
        evidence=wording.stream(stream, 12.0, None),
        companions=wording.ALSO.format(companions=moved),
        lasting=wording.lasting(now - 300, None, now),
        worst=wording.WORST.format(at=wording.moment(now - 300), readings=reading, score="3"),
        limit=soon(2.0, now + 7200, now + 10_800, now, "seconds"),
        beside=wording.beside(0.408, 0.12, 0.132, 11, "i000", "seconds"),
        together=ONE_OF.format(count=40, first="service=db in cpu"),
        deploy=wording.after_deploy(745.0, DEPLOYED),
        vanished=wording.VANISHED["down"],
    )
    assert rendered(tmp_path, job, [(times, {"value": {"value": 0.408}})], also) == [f"{expected}."]
    assert expected.startswith("gone: its target is down; 12 min after checkout v1.8.2 and cart; one of 40 series ")


@pytest.mark.servers
@pytest.mark.parametrize("reason", wording.VANISHED)
def test_a_series_that_is_gone_is_told_first(reason: str, tmp_path: Path) -> None:
    also = {series("anomaly_series_vanished", reason=reason, instance="i000", query="api", detector="auto"): 1.0}
    [text] = rendered(tmp_path, {"expr": "up"}, [({}, {"up": {}})], also)
    assert text == f"{wording.VANISHED[reason]}; {NO_READING}."
