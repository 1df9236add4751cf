"""Each preset finds what it should, and nothing else, on the pages of distributions and Kubernetes flavours."""

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.demo.servers import PrometheusServer
from exporter.config.load import load
from exporter.config.sections.job import JobConfig
from rules.init import PRESETS
from tests.conftest import StartPrometheus
from tests.support.shapes import Page, kubelet_page, marked, node_page, rows, state_page

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SHAPES = sorted((Path(__file__).parent / "shapes").glob("*.yml"))
WITHOUT_INODES = {"vfat", "btrfs"}


def jobs(preset: str) -> dict[str, JobConfig]:
    return load(PRESETS[preset], environ={}).config.jobs


def found(source: PrometheusServer, expr: str, *labels: str, at: float) -> list[str]:
    """The entities of a query, written a/b from their labels; no label may be there twice or be missing."""
    series = [one["metric"] for one in source.query(expr, at)]
    assert all(set(labels) <= one.keys() for one in series), series
    return sorted("/".join(one[label] for label in labels) for one in series)


@pytest.fixture(params=SHAPES, ids=lambda path: path.stem)
def shape(request: pytest.FixtureRequest) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(request.param.read_text())
    return made


def test_the_entities_of_a_shape_are_those_expected(shape: dict[str, Any], prometheus: StartPrometheus) -> None:
    with ExitStack() as stack:
        pages = {"node": Page(partial(node_page, shape["node"]))}
        if cluster := shape.get("kubernetes"):
            pages["kubelet"] = Page(partial(kubelet_page, cluster))
            if "no_state" not in cluster:
                pages["kube-state-metrics"] = Page(partial(state_page, cluster))
        scraped = {name: stack.enter_context(page).address for name, page in pages.items()}
        source = prometheus(scrape=scraped)
        for job in scraped:
            source.wait_for(f'count_over_time(up{{job="{job}"}}[1m]) > 3')
        now = time.time()
        node_entities(shape["node"], source, now)
        if cluster:
            cluster_entities(shape["judged"], source, now)


def node_entities(node: dict[str, str], source: PrometheusServer, now: float) -> None:
    asked = {name: job.queries for name, job in jobs("node").items()}
    kinds = {row[2]: row[1] for row in rows(node["filesystems"]) if row[3] == "rw"}
    mounts = marked(node["filesystems"], 2)
    assert found(source, asked["node-filesystem"]["value"], "mountpoint", at=now) == sorted(mounts)
    numbered = [mount for mount in mounts if kinds[mount] not in WITHOUT_INODES]
    assert found(source, asked["node-inodes"]["value"], "mountpoint", at=now) == sorted(numbered)
    cards = marked(node["interfaces"], 0)
    assert found(source, asked["node-network-errors"]["value"], "device", at=now) == sorted(cards)
    for way, expr in asked["node-network"].items():
        [judged] = source.query(expr, now)
        [wanted] = source.query(
            f'sum by (job, instance) (rate(node_network_{way}_bytes_total{{device=~"{"|".join(cards)}"}}[5m]))', now
        )
        assert judged["metric"] == wanted["metric"]
        assert float(judged["value"][1]) == pytest.approx(float(wanted["value"][1]), rel=1e-9) != 0
    assert found(source, asked["node-disk"]["value"], "device", at=now) == sorted(marked(node["disks"], 0))
    for name in ("node-cpu", "node-cpu-waiting", "node-load", "node-memory"):
        assert found(source, asked[name]["value"], "job", at=now) == ["node"], name


def cluster_entities(judged: dict[str, Any], source: PrometheusServer, now: float) -> None:
    asked = {name: job.queries for name, job in jobs("kubernetes").items()}
    labels = {"kube-unavailable": ("namespace", "deployment"), "kube-pods-waiting": ("namespace",)}
    for name, wanted in judged.items():
        if name != "namespace-network":
            by = labels.get(name, ("namespace", "container"))
            assert found(source, asked[name]["value"], *by, at=now) == sorted(wanted), name
    for way, expr in asked["namespace-network"].items():
        traffic = {one["metric"]["namespace"]: float(one["value"][1]) for one in source.query(expr, now)}
        assert traffic.keys() == judged["namespace-network"].keys()
        for namespace, pods in judged["namespace-network"].items():
            parts = [
                f'container_network_{way}_bytes_total{{pod="{pod}",interface=~"{"|".join(interfaces)}"}}[5m]'
                for pod, interfaces in pods.items()
            ]
            wanted = sum(float(one["value"][1]) for part in parts for one in source.query(f"rate({part})", now))
            assert traffic[namespace] == pytest.approx(wanted, rel=1e-3) != 0, namespace
