"""Model stores: in a folder, and in a real server that speaks S3."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from exporter.config.models import ModelsConfig
from exporter.store import Store

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
def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelsConfig]:
    """Return a function that gives the configuration of a store in a bucket of its own."""
    monkeypatch.setenv("STORE_KEY", "AKIA-of-the-store")
    monkeypatch.setenv("STORE_SECRET", "the-secret-of-the-store")
    bucket = f"b{uuid4().hex}"
    client = boto3.client(
        "s3", endpoint_url=s3_address, region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})

    def config(address: str = s3_address, **settings: object) -> ModelsConfig:
        options = {
            "key": {"env": "STORE_KEY"},
            "secret": {"env": "STORE_SECRET"},
            "endpoint_url": address,
            "client_kwargs": {"region_name": REGION},
            "config_kwargs": {"retries": {"max_attempts": 1}},
        }
        return ModelsConfig.model_validate({"url": f"s3://{bucket}/models", "options": options, **settings})

    return config


@pytest.fixture(params=["folder", "s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind: every promise is one of all of them."""
    match request.param:
        case "folder":
            return Store(ModelsConfig(path=tmp_path / "models"))
        case "s3":
            return Store(request.getfixturevalue("s3")())
    return Store(ModelsConfig(url=f"memory://{uuid4().hex}/models"))
