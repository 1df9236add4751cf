"""What real parsers make of the page: prometheus_client, promtool and Prometheus itself."""

import subprocess
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.servers import PrometheusServer, command
from detectors.types import Key
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.metrics_page import Page
from exporter.web.server import Server
from tests.support.verdicts import key, verdict

pytestmark = pytest.mark.servers

ALL_FIELDS = ("value", "expected", "lower", "upper", "severity", "alert", "contribution", "flapping")

nasty = st.text(alphabet=st.sampled_from('a"\\\n\r\t\0 {},=#\u202e\u2028\ud800é😀'), max_size=12)
label_names = (
    st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
    | st.text(max_size=5)
    | st.sampled_from(["__name__", "query", "detector", "exported_query", "channel", "instance", "job", "__address__"])
)
keys = st.dictionaries(label_names, nasty | st.text(max_size=20), max_size=6).map(
    lambda labels: tuple(sorted(labels.items()))
)
numbers = st.floats()


def promtool(page: str) -> tuple[int, str]:
    done = subprocess.run(
        [command("promtool"), "check", "metrics"], input=page.encode(), capture_output=True, check=False, timeout=60
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def test_promtool_finds_nothing_to_say_about_a_full_page(servers: None) -> None:
    metrics = SelfMetrics()
    page = Page(metrics)
    for family in vars(metrics).values():
        if names := getattr(family, "_labelnames", ()):
            child = family.labels(*names)
            child.observe(1) if hasattr(child, "observe") else child.inc()
    entity = key(instance="a", job="node")
    page.publish(verdict((entity,), groups={key(job="node"): 1.0}), ALL_FIELDS)
    page.publish(verdict((entity,), job="api", channels=("p99", "rps")), ALL_FIELDS)
    page.render()
    assert promtool(page.current.body.decode()) == (0, "")


def test_whatever_the_labels_the_page_parses_and_prometheus_takes_it_whole(
    page: Page, serve: Callable[..., Server], prometheus: Callable[..., PrometheusServer]
) -> None:
    """Rows 12 and 14."""
    seen: dict[Key, float] = {}

    @settings(max_examples=150, deadline=None, database=None)
    @given(st.dictionaries(keys, numbers, max_size=8), st.sampled_from([("value",), ("p99", "rps")]))
    def parses(scores: dict[Key, float], channels: tuple[str, ...]) -> None:
        page.publish(verdict(tuple(scores), channels=channels, score=list(scores.values())), ALL_FIELDS)
        page.render()
        identities = [
            (sample.name, tuple(sorted(sample.labels.items())))
            for family in text_string_to_metric_families(page.current.body.decode())
            for sample in family.samples
        ]
        assert len(identities) == len(set(identities)), "the same labels twice"
        seen.update(scores)

    parses()
    seen[key(bomb="x" * 2**20)] = 1.0
    seen[tuple((f"label_{n}", "value") for n in range(5_000))] = 1.0
    seen[key(long="x" * 60_000)] = np.inf
    page.publish(verdict(tuple(seen), score=list(seen.values()), groups=seen), ALL_FIELDS)
    page.render()
    text = page.current.body.decode()
    said = promtool(text)[1]
    assert "pars" not in said, said  # what it says of the names of labels is between it and their owner
    shown = sum(line.startswith("anomaly_score{") for line in text.split("\n"))
    assert shown > 300

    host, port = serve().address
    scraper = prometheus(scrape={"exporter": f"{host}:{port}"})
    scraper.wait_for('up{job="exporter"} == 1')
    found = scraper.wait_for('count({__name__="anomaly_score"})')
    assert int(found[0]["value"][1]) == shown
    infinite = scraper.query('{__name__="anomaly_score", long!=""}')
    assert infinite[0]["value"][1] == "+Inf"
