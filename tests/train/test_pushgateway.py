"""The outcome of a training at a Pushgateway: a tiny real HTTP server that takes what is pushed."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.config.secrets import Secret
from exporter.config.sections.train import Endpoint
from exporter.train.errors import TrainError
from exporter.train.pushgateway import push
from exporter.train.result import TrainOutcome
from tests.support.stub import Reply, serve

REJECTED = TrainOutcome(
    job="api/slow",
    shard="1/3",
    outcome="rejected",
    figures={"recall": 0.5, "old_recall": 0.75, "precision": None},
    time=1000.0,
    seconds=20.0,
)


def test_the_outcome_arrives_under_the_job_and_shard(monkeypatch):
    monkeypatch.setenv("PUSH_PASSWORD", "pushed-c4n4ry")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with serve(Reply()) as gateway:
        endpoint = Endpoint(url=gateway.url, username="train", password=Secret(env="PUSH_PASSWORD"))
        push(endpoint, [REJECTED])
    (request,) = gateway.requests
    assert request.method == "POST", "what is there of an earlier training stays"
    assert request.path == "/metrics/job/anomaly_exporter_train/query@base64/YXBpL3Nsb3c=/shard@base64/MS8z"
    assert request.headers["authorization"].startswith("Basic ")
    samples = {
        (sample.name.removeprefix("anomaly_exporter_train_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(request.body.decode())
        for sample in family.samples
    }
    assert samples == {
        ("timestamp_seconds",): 1020.0,
        ("duration_seconds",): 20.0,
        ("outcome", "promoted"): 0.0,
        ("outcome", "rejected"): 1.0,
        ("outcome", "failed"): 0.0,
        ("outcome", "skipped"): 0.0,
        ("recall", "new"): 0.5,
        ("recall", "old"): 0.75,
    }


@pytest.mark.parametrize(
    "reply", [Reply(b"busy", status=503), Reply(b"pushed-c4n4ry", status=401), Reply(raw=b""), Reply(delay=5)]
)
def test_a_gateway_that_refuses_or_hangs_is_one_error_in_bounded_time(reply):
    """Rows 2 and 3."""
    with serve(reply) as gateway, pytest.raises(TrainError, match="the outcome was not pushed"):
        push(Endpoint(url=gateway.url, deadline=0.5), [REJECTED])
