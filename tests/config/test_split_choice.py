"""By which label replicas split a job is the same for all of them: it follows from the configuration alone."""

import io

import pytest

from exporter.config.check import check
from exporter.config.sections.job import JobConfig
from exporter.config.split_choice import split_choice
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.shard import Shard


@pytest.mark.parametrize(
    ("job", "label"),
    [
        ({"expr": "sum by (host_name) (a)"}, "host_name"),
        ({"expr": "sum by (namespace, pod) (rate(a[5m]))"}, "pod"),
        ({"expr": "avg by (cluster, service) (a)"}, None),
        ({"expr": "a"}, None),
        ({"expr": "sum(a)"}, None),
        ({"expr": "rate(a[5m])", "entity": ["instance"]}, "instance"),
        ({"expr": "sum by (pod, zone) (a)", "group": ["zone"]}, None),
        ({"expr": "sum by (pod, zone) (a)", "peers": []}, None),
        ({"expr": "a", "shard_by": "instance"}, "instance"),
        ({"expr": "sum by (pod) (a)", "shard_by": "entity"}, None),
        ({"channels": {"x": "sum by (pod) (a)", "y": "max by (pod) (b)"}}, "pod"),
        ({"channels": {"x": "sum by (pod) (a)", "y": "b"}, "entity": ["pod"]}, "pod"),
        ({"channels": {"x": "sum by (pod, zone) (a)", "y": "max by (zone) (b)"}}, None),
    ],
)
def test_the_label_is_one_that_the_queries_keep_and_nothing_tears_apart(job, label):
    assert split_choice(JobConfig(**job)).label == label


def test_one_replica_alone_splits_nothing():
    config = JobConfig(expr="sum by (pod) (a)")
    assert JobSettings("j", config).split_label is None
    assert JobSettings("j", config, shard=Shard(0, 2)).split_label == "pod"


def test_exactly_one_replica_owns_an_entity_of_a_split_job():
    config = JobConfig(expr="sum by (pod) (a)")
    for value in ("", "a", "b", "\udc80"):
        key = (("pod", value),) if value else ()
        assert sum(JobSettings("j", config, shard=Shard(index, 5)).owns(key) for index in range(5)) == 1


def test_check_config_says_how_replicas_share(tmp_path):
    file = tmp_path / "anomaly.yml"
    file.write_text(
        "models: {path: models}\ntrain: {shards: 3}\njobs:\n  a: {expr: sum by (pod) (x)}\n  b: {expr: x}\n"
    )
    out = io.StringIO()
    assert check(file, out=out, environ={}) == 0
    assert "    replicas: split by pod (the only label of its series)\n" in out.getvalue()
    assert "    replicas: each reads all and keeps its share (its query does not say which label" in out.getvalue()
