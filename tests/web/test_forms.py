"""The page in every form that a scrape may ask for, read by the parsers of prometheus_client and by Prometheus."""

import gzip
import time
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from exporter.config.sections.source import LimitsConfig, PrometheusConfig
from exporter.observe.metrics import SelfMetrics
from exporter.openmetrics import CLASSIC, CLASSIC_TYPE, END, Form, negotiate, openmetrics_head
from exporter.source.prometheus import Prometheus
from exporter.web.ui.history import History
from tests.sinks.test_incident_lines import with_readings
from tests.support.verdicts import key, verdict

OTEL = key(**{"service.name": "cart", "k8s.pod": 'a"b', "instance": "a"})
PLAIN = key(instance="b", job="node")
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping={0};q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping={0};q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
TEXT = "text/plain;version=1.0.0;escaping={}"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
NOTHING_WE_WRITE = ("text/html", "application/vnd.google.protobuf;proto=x", "", ";;,=,q")
FIELDS = ("value", "expected", "lower", "upper", "severity", "alert", "contribution", "flapping")
NAMES = {
    "allow-utf-8": "service.name",
    "underscores": "service_name",
    "dots": "service_dot_name",
    "values": "U__service_2e_name",
}


def fetched(url: str, accept: str | None) -> tuple[str, str]:
    headers = {"Accept": accept} if accept is not None else {}
    answer = httpx.get(f"{url}/metrics", headers=headers, trust_env=False)
    assert answer.status_code == 200
    return answer.headers["content-type"], answer.text


def scores(families) -> list[dict[str, str]]:
    return [
        {name: value for name, value in sample.labels.items() if value}
        for family in families
        if family.name == "anomaly_score"
        for sample in family.samples
    ]


@pytest.mark.parametrize(("scheme", "name"), NAMES.items())
@pytest.mark.parametrize("accept", [PROMETHEUS_3, TEXT])
def test_names_are_in_the_form_that_is_asked_for(page, serve, scheme, name, accept):
    page.publish(verdict((OTEL, PLAIN), score=[2.0, np.nan]), FIELDS)
    page.render()
    kind, text = fetched(serve().url, accept.format(scheme))
    assert kind.endswith(f"; charset=utf-8; escaping={scheme}")
    parser = (
        openmetrics_families
        if kind.startswith("application/openmetrics-text; version=1.0.0;")
        else text_string_to_metric_families
    )
    otel, plain = scores(parser(text))
    assert otel[name] == "cart"
    assert sorted(otel.values()) == sorted(["cart", 'a"b', "a", "cpu", "robust"])
    assert plain == {"instance": "b", "job": "node", "query": "cpu", "detector": "robust"}


def test_who_asks_for_nothing_gets_the_classic_page_and_prometheus_2_open_metrics_with_classic_names(page, serve):
    page.publish(verdict((OTEL,)), FIELDS)
    page.render()
    url = serve().url
    for accept in (
        None,
        "*/*",
        "text/html",
        "application/vnd.google.protobuf;proto=x",
        "text/plain;version=0.0.4",
        "",
        ";;,=,q",
    ):
        assert fetched(url, accept) == (CLASSIC_TYPE, page.current.body.decode())
    kind, text = fetched(url, PROMETHEUS_2)
    assert kind == f"{OPENMETRICS}; charset=utf-8"
    assert text.endswith("\n# EOF\n")
    assert "service_name" in scores(openmetrics_families(text))[0]


def test_pages_without_special_names_are_the_same_in_every_form_and_compressed_once(page):
    page.publish(verdict((PLAIN,)), FIELDS)
    page.render()
    assert {page.in_form(Form(False, scheme)) for scheme in NAMES} == {page.current}
    assert len({page.in_form(Form(True, scheme)) for scheme in NAMES}) == 1
    page.render()
    assert {page.ready(Form(False, scheme)) for scheme in NAMES} == {page.current}


def test_every_form_that_was_asked_for_shows_what_is_new_and_loses_what_is_gone(page):
    page.publish(verdict((OTEL,), score=[1.0]), ())
    page.render()
    forms = [Form(kind, scheme) for kind in (False, True) for scheme in NAMES]
    for form in forms:
        assert b"} 1.0\n" in page.in_form(form).body
    page.publish(verdict((OTEL, PLAIN), score=[2.0, 3.0]), ())
    page.render()
    for form in forms:
        ready = page.ready(form)
        assert b"} 2.0\n" in ready.body
        assert b"} 3.0\n" in ready.body
        assert gzip.decompress(ready.gzip()) == ready.body
        assert ready.generation == page.current.generation
    page.withdraw("cpu")
    page.render()
    assert all(b"anomaly_score" not in page.ready(form).body for form in forms)


def test_names_that_clash_or_belong_to_prometheus_move_aside_in_every_form(page):
    keys = (key(**{"a.b": "1", "a_b": "2", "__x.y": "3", "query": "4", "": "5", "\ud800": "6"}),)
    page.publish(verdict(keys), FIELDS)
    page.render()
    for scheme in NAMES:
        for kind, parser in ((False, text_string_to_metric_families), (True, openmetrics_families)):
            (found,) = scores(parser(page.in_form(Form(kind, scheme)).body.decode()))
            assert sorted(found.values()) == ["1", "2", "3", "4", "5", "6", "cpu", "robust"], scheme
            assert found["a_b"] == "2"


@pytest.mark.servers
def test_prometheus_scrapes_special_names_as_it_can_take_them_and_the_pages_read_them_back(page, serve, prometheus):
    """Debian's Prometheus is a 2: it asks for OpenMetrics, and gets `service_name`."""
    page.publish(verdict((OTEL, PLAIN), score=[2.0, 3.0]), FIELDS)
    page.render()
    host, port = serve().address
    scraper = prometheus(scrape={"exporter": f"{host}:{port}"})
    found = scraper.wait_for('anomaly_score{query="cpu",service_name="cart"} == 2')
    assert found[0]["metric"]["k8s_pod"] == 'a"b'
    assert scraper.query("anomaly_exporter_build_info")
    source, now = Prometheus(PrometheusConfig(url=scraper.url), LimitsConfig()), time.time()
    with closing(source):
        _, read = History(source.range).published("cpu", OTEL, ("value",), now - 60, now, 15.0, 15.0)
    assert np.nanmax(read["score"]) == 2.0


@pytest.mark.parametrize(
    ("accept", "form", "kind"),
    [
        ("text/plain;q=0.1, application/openmetrics-text;q=0.2", Form(True), OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1", Form(True), "application/openmetrics-text; version=0.0.1"),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.2", CLASSIC, "text/plain; version=0.0.4"),
        ("APPLICATION/OpenMetrics-Text; Version=1.0.0; Q=0.9", Form(True), OPENMETRICS),
        ("application/openmetrics-text;q=0,text/plain", CLASSIC, "text/plain; version=0.0.4"),
        ("application/openmetrics-text;q=much,*/*;q=0.1", CLASSIC, "text/plain; version=0.0.4"),
        ("text/plain;escaping=rot13", CLASSIC, "text/plain; version=0.0.4"),
        ('text/plain; version="1.0.0"; escaping="dots"', Form(False, "dots"), "text/plain; version=1.0.0"),
    ],
)  # fmt: skip
def test_what_an_accept_header_wants(accept, form, kind):
    found, content_type = negotiate(accept)
    assert (found, content_type.partition("; charset=utf-8")[0]) == (form, kind)


def test_the_open_metrics_page_reads_exactly_like_this(page):
    """What is judged; the metrics about ourselves are compared with prometheus_client's own below."""
    page.publish(with_readings(verdict((OTEL,), score=[0.25]), 0), ("value",))
    page.render()
    text = page.in_form(Form(True, "allow-utf-8")).body.decode()
    golden = Path(__file__).with_name("openmetrics_page.txt")
    assert text[text.index("# HELP anomaly_score") :] == golden.read_text(encoding="utf-8")


def test_metrics_about_ourselves_are_those_of_prometheus_client_with_units():
    metrics = SelfMetrics()
    for family in vars(metrics).values():
        if names := getattr(family, "_labelnames", ()):
            child = family.labels(*names)
            child.observe(1) if hasattr(child, "observe") else child.inc()
    own = list(openmetrics_families((openmetrics_head(generate_latest(metrics.registry)) + END).decode()))
    theirs = list(openmetrics_families(openmetrics.generate_latest(metrics.registry).decode()))
    for ours, other in zip(own, theirs, strict=True):
        if ours.name.startswith("anomaly_exporter") and ours.type != "info":
            assert ours.samples == other.samples
            assert (ours.name, ours.type, ours.documentation) == (other.name, other.type, other.documentation)
            assert ours.unit == next((unit for unit in ("seconds", "bytes", "ratio") if ours.name.endswith(unit)), "")
    infos = {family.name for family in own if family.type == "info"}
    ours_too = {f"anomaly_exporter_{name}" for name in ("build", "discovered_job", "model", "shard")}
    assert infos == {*ours_too, "python"}
