"""A real server that speaks S3, for the tests that ask for its fixtures."""

import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """The address of a server that speaks S3."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_models(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return a function that gives the `models` section of a store in a bucket of its own."""
    monkeypatch.setenv("STORE_KEY", "AKIA-of-the-store")
    monkeypatch.setenv("STORE_SECRET", "the-secret-of-the-store")
    bucket = f"b{uuid4().hex}"
    client = boto3.client(
        "s3", endpoint_url=s3_address, region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})

    def section(address: str = s3_address, **settings: Any) -> dict[str, Any]:
        options = {
            "key": {"env": "STORE_KEY"},
            "secret": {"env": "STORE_SECRET"},
            "endpoint_url": address,
            "client_kwargs": {"region_name": REGION},
            "config_kwargs": {"retries": {"max_attempts": 1}},
        }
        return {"url": f"s3://{bucket}/models", "options": options, **settings}

    return section
