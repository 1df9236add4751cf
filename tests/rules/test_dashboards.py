"""The generated dashboards: every panel asks what a real Prometheus answers, and the alerts' links lead to them."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.models import dashboardv2
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.servers import PrometheusServer, backfill, get, openmetrics
from exporter.config.load import load
from exporter.observe.metrics import STATES, SelfMetrics
from exporter.pipeline.reaches import Reaches
from exporter.sinks.metrics_page import Page
from rules.generate import generate
from tests.support.dashboards import SHOWN, asked, dashboard, targets
from tests.support.verdicts import key, verdict
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
MINUTES = 90
LABELS = {
    "query": ("cpu", "api"),
    "detector": ("robust",),
    "state": STATES,
    "stage": ("fetch", "score"),
    "outcome": ("success", "error"),
    "reason": ("limit",),
    "to": ("open", "closed"),
}
"""Values of the labels of the exporter's own metrics; any other label gets one of its own name."""


def fill(metrics: SelfMetrics, minute: int, start: float) -> None:
    """Set every metric of the exporter, as if it had been running for so many minutes since `start`."""
    for metric in vars(metrics).values():
        if not isinstance(metric, Counter | Gauge | Histogram):
            continue
        for values in product(*(LABELS.get(name, (name,)) for name in metric._labelnames)):
            child = metric.labels(*values) if values else metric
            if isinstance(child, Counter):
                child.inc(3)
            elif isinstance(child, Histogram):
                child.observe(0.2 + 0.01 * (minute % 7))
            elif isinstance(child, Gauge):
                child.set(start if "timestamp" in metric._name or "start_time" in metric._name else 0.9)


def pages() -> Iterator[tuple[float, str]]:
    """Yield pages as the exporter serves them, one a minute up to now: an incident lasts all the time."""
    metrics = SelfMetrics()
    page = Page(metrics)
    end = time.time() - 2
    fields = ["value", "expected", "lower", "upper", "severity", "alert", "contribution", "flapping"]
    entities = tuple(key(instance=name) for name in "abc")
    groups = {key(rack="r1"): 2.5}
    score, odd = np.array([4.0, 0.2, np.nan]), np.array([True, False, False])
    for minute in range(MINUTES):
        fill(metrics, minute, end - 3600)
        for job, channels in (("cpu", ("value",)), ("api", ("p99", "rps"))):
            changed = {"score": score, "flag": odd, "alert": odd, "flapping": odd, "groups": groups}
            now = end - 60 * (MINUTES - 1 - minute)
            ends = (np.full(3, now + 3600.0 * hours) for hours in (2, 3, 5))
            found = replace(verdict(entities, job, channels=channels, **changed), reaches=Reaches(0.0, 0, *ends))
            page.publish(found, fields)
        page.render()
        yield end - 60 * (MINUTES - 1 - minute), page.current.body.decode()


def lines() -> Iterator[str]:
    """Yield the pages as Prometheus would have scraped them with honor_labels."""
    scraped = {"job": "anomaly-exporter", "instance": "exporter:9877"}
    for moment, text in pages():
        yield from openmetrics("up", scraped, [moment], [1.0])
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                yield from openmetrics(sample.name, {**scraped, **sample.labels}, [moment], [sample.value])


@pytest.fixture(scope="module")
def filled(servers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that has scraped the exporter for a while."""
    directory = tmp_path_factory.mktemp("filled")
    backfill(directory, lines(), longest_block="24h")
    with PrometheusServer(directory) as server:
        yield server


def numbers(server: PrometheusServer, expr: str, *, instant: bool) -> list[float]:
    """Return all numbers that a panel gets."""
    if instant:
        return [float(series["value"][1]) for series in server.query(expr)]
    end = time.time()
    span = {"start": f"{end - 3600:.3f}", "end": f"{end:.3f}", "step": "60"}
    body = json.loads(get(f"{server.url}/api/v1/query_range", timeout=PATIENCE, query=expr, **span).text)
    assert body["status"] == "success", f"{body['error']}: {expr}"
    return [float(value) for series in body["data"]["result"] for _, value in series["values"]]


def choices(server: PrometheusServer, variable: str, **variables: str) -> list[str]:
    """Return what Grafana's Prometheus data source would offer for a variable of the dashboard *Anomalies*."""
    [found] = [one for one in dashboard("anomalies")["templating"]["list"] if one["name"] == variable]
    query, regex = asked(found["query"], **variables), (found.get("regex") or "/(.*)/s")[1:].rpartition("/")[0]
    function, _, inner = query.removesuffix(")").partition("(")
    if function == "query_result":
        texts = [
            "{" + ",".join(f'{name}="{value}"' for name, value in series["metric"].items()) + "} 1 1"
            for series in server.query(inner)
        ]
    elif function == "label_names":
        texts = sorted({name for series in server.query(inner) for name in series["metric"]})
    else:
        selector, _, label = inner.rpartition(", ")
        texts = sorted({series["metric"].get(label, "") for series in server.query(selector)} - {""})
    return [match[1] for text in texts if (match := re.search(regex, text))]


@pytest.mark.servers
@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("query", [".*", "api"])
def test_every_panel_shows_data_of_a_real_prometheus(filled: PrometheusServer, name: str, query: str) -> None:
    """Issue 5, item 5: for all jobs, and for the one that the link of an alert names."""
    empty = [
        (title, target["expr"])
        for title, target in targets(dashboard(name))
        if not np.isfinite(numbers(filled, asked(target["expr"], query=query), instant=not target.get("range"))).any()
    ]
    assert empty == []


@pytest.mark.servers
def test_the_choices_lead_from_the_fleet_to_one_channel_of_one_entity(filled: PrometheusServer) -> None:
    assert choices(filled, "query") == ["api", "cpu"]
    names = choices(filled, "label")
    assert {"instance", "query", "detector"} <= set(names)
    assert "__name__" not in names, "a selector may name its metric only once"
    assert choices(filled, "value", label="instance") == ["a", "b", "c"]
    found = choices(filled, "entity", query="api")
    assert 'instance="a"' in found[0], "the most unusual one comes first"
    assert len(found) == 2, "an entity without a verdict is not among them"
    assert choices(filled, "channel", **{"entity:raw": found[0]}) == ["p99", "rps"]
    single = choices(filled, "entity", query="cpu")[0]
    assert choices(filled, "channel", **{"entity:raw": single}) == [], "Grafana then takes the empty one"
    band = [target["expr"] for title, target in targets(dashboard("anomalies")) if title == "Value and expected band"]
    for entity, channel in ((found[0], "rps"), (single, "")):
        got = [
            numbers(filled, asked(expr, **{"entity:raw": entity, "channel": channel}), instant=True) for expr in band
        ]
        assert got == [[1.5]] * 4


@pytest.mark.servers
def test_the_heat_map_of_the_fleet_counts_each_verdict_once_and_none_without(filled: PrometheusServer) -> None:
    [expr] = [target["expr"] for title, target in targets(dashboard("anomalies")) if title == "Scores of the fleet"]
    got = {one["metric"]["le"]: float(one["value"][1]) for one in filled.query(asked(expr))}
    assert got == {"0.3": 2, "0.6": 2, "1": 2, "2": 2, "5": 4, "+Inf": 4}


@pytest.mark.servers
def test_nothing_looks_healthy_on_an_empty_prometheus(prometheus: Any) -> None:
    """A dashboard without an exporter has no zeros."""
    server = prometheus()
    for name in SHOWN:
        for title, target in targets(dashboard(name)):
            assert server.query(asked(target["expr"])) == [], title


@pytest.mark.parametrize("name", SHOWN)
def test_every_expression_parses_and_asks_for_metrics_of_our_page(name: str) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    for title, target in targets(dashboard(name)):
        expr = asked(target["expr"])
        assert promql_parser.parse(expr), title
        for metric in re.findall(r"\b(?:anomaly|process)_\w+", re.sub(r'"[^"]*"', "", expr)):
            family = re.sub(r"_(bucket|sum|count)$", "", metric)
            assert f"| `{family}` |" in page, (title, metric)


@pytest.mark.parametrize("name", SHOWN)
def test_panels_fill_their_lines_say_what_to_look_for_and_ask_the_chosen_source(name: str) -> None:
    shown = dashboard(name)
    panels = [panel for panel in shown["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    assert all(panel["description"].endswith(".") for panel in panels)
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    taken = [
        (column, line)
        for place in (panel["gridPos"] for panel in shown["panels"])
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken), "panels overlap"
    lines: dict[int, int] = {}
    for panel in shown["panels"]:
        place = panel["gridPos"]
        lines[place["y"]] = lines.get(place["y"], 0) + place["w"]
    assert set(lines.values()) == {24}
    for panel in panels:
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
    assert "do not edit" in shown["description"]
    assert f"(`/d/{shown['uid']}`)" in (ROOT / "docs" / "alerts.md").read_text()


def test_the_incidents_are_shaded_in_the_panels_of_their_entity_only() -> None:
    shown = dashboard("anomalies")
    annotation, deploys = shown["annotations"]["list"]
    assert "deploy_timestamp" in deploys["expr"]
    titles = {panel["id"]: panel["title"] for panel in shown["panels"] if panel["type"] != "row"}
    assert [titles[number] for number in annotation["filter"]["ids"]][:2] == ["Value and expected band", "Score"]


def test_the_links_of_alerts_lead_to_the_dashboard_and_to_a_choice_that_it_has() -> None:
    made = generate(load(ROOT / "examples" / "alerting.yml", None, {}).config)
    rules = [
        rule for name, text in made.items() if name.startswith("rules/")
        for rule in yaml.safe_load(text)["groups"][0]["rules"]
    ]  # fmt: skip
    links = {urlsplit(rule["annotations"]["dashboard_url"]) for rule in rules}
    shown = json.loads(made["dashboards/anomalies.json"])
    rows = re.findall(r'"url": "(/d/[^"]+)"', made["dashboards/anomalies.json"])
    assert rows, "a row of a table leads to its job"
    assert {link.path for link in links} | {urlsplit(row).path for row in rows} == {f"/d/{shown['uid']}"}
    given = {name.removeprefix("var-") for link in links for name in parse_qs(link.query)}
    assert given == {"query", "entity"}
    assert given <= {variable["name"] for variable in shown["templating"]["list"]}
    for name in SHOWN:
        board = json.loads(made[f"dashboards/{name}.json"])
        assert "query" in {variable["name"] for variable in board["templating"]["list"]}, name
        assert "https://wiki.example.com/runbook.md" in {link.get("url") for link in board["links"]}


def test_dashboards_find_one_another_by_their_tag_and_link_no_runbook_that_nobody_named() -> None:
    boards = [dashboard(name) for name in SHOWN]
    for board in boards:
        assert [(link["type"], link["tags"]) for link in board["links"]] == [("dashboards", board["tags"])]
    assert boards[0]["uid"] != boards[1]["uid"]


def test_an_odd_scrape_job_is_text_and_nothing_else() -> None:
    """Row 51: whatever the configuration says is quoted."""
    odd = 'a"}) or vector(1) # \\'
    for title, target in targets(dashboard("exporter-health", alerting={"health": {"scrape_job": odd}})):
        assert promql_parser.parse(asked(target["expr"])), title
        assert "vector" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", target["expr"])


def plain(value: Any) -> Any:
    """Return what a model of Grafana's SDK writes, as JSON would have it."""
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set):  # of what is one text the SDK makes a set
        [value] = value
    return str(getattr(value, "value", value)) if isinstance(value, str | Enum) else value


def lost(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Yield the places where what was read is not what we wrote; what the SDK adds by default is no loss."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            yield from lost(value, theirs[name], f"{place}/{name}") if name in theirs else [f"{place}/{name}"]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(one, other, f"{place}/{at}")
    elif ours != theirs:
        yield place


@pytest.mark.parametrize("name", SHOWN)
def test_schema_v2_is_what_grafanas_own_models_read_and_write(name: str) -> None:
    made = dashboard(name, alerting={"grafana_schema": "v2"})
    assert (made["apiVersion"], made["kind"]) == ("dashboard.grafana.app/v2", "Dashboard")
    read = plain(dashboardv2.Dashboard.from_json(made["spec"]))
    assert list(lost(made["spec"], read)) == []
    assert list(lost({**made["spec"], "uid": 1}, read)) == ["/uid"], "a key that they do not know is found"


@pytest.mark.parametrize("name", SHOWN)
def test_schema_v2_has_the_panels_queries_choices_and_places_of_v1(name: str) -> None:
    old, made = dashboard(name), dashboard(name, alerting={"grafana_schema": "v2"})
    new = made["spec"]
    assert made["metadata"]["name"] == old["uid"]
    panels = {f"panel-{panel['id']}": panel for panel in old["panels"] if panel["type"] != "row"}
    assert set(new["elements"]) == set(panels)
    for element, panel in panels.items():
        spec = new["elements"][element]["spec"]
        exprs = [query["spec"]["query"]["spec"]["expr"] for query in spec["data"]["spec"]["queries"]]
        assert exprs == [target["expr"] for target in panel["targets"]]
        assert (spec["title"], spec["vizConfig"]["group"]) == (panel["title"], panel["type"])
    rows, top, places = new["layout"]["spec"]["rows"], 0, {}
    for row in rows:
        items = [item["spec"] for item in row["spec"]["layout"]["spec"]["items"]]
        places |= {item["element"]["name"]: (item["x"], top + 1 + item["y"]) for item in items}
        top += 1 + max(item["y"] + item["height"] for item in items)
    assert places == {element: (panel["gridPos"]["x"], panel["gridPos"]["y"]) for element, panel in panels.items()}
    headings = [panel["title"] for panel in old["panels"] if panel["type"] == "row"]
    assert [row["spec"]["title"] for row in rows] == headings
    variables = [variable["spec"]["name"] for variable in new["variables"]]
    assert variables == [variable["name"] for variable in old["templating"]["list"]]
    assert len(new["annotations"]) == len(old["annotations"].get("list", []))
