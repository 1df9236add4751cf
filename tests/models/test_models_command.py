"""`anomaly-exporter models`: what is stored, in words and as JSON, and back to the model before in one command."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from exporter.cli.main import cli
from exporter.config.sections.models import ModelsConfig
from exporter.models import Store

Call = Callable[..., Result]


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(ModelsConfig(path=tmp_path / "models"))
    return Store(ModelsConfig(url=f"memory://{uuid4().hex}/models"))


@pytest.fixture
def call(store: Store, tmp_path: Path) -> Call:
    """Run `models` with these arguments on the configuration of `store`."""
    return caller(tmp_path, store._config)


def caller(folder: Path, config: ModelsConfig) -> Call:
    models = json.loads(config.model_dump_json(exclude_none=True, exclude_defaults=True))
    jobs = {"api": {"expr": "up"}, "NS:new": {"expr": "up"}}
    (folder / "anomaly.yml").write_text(yaml.safe_dump({"jobs": jobs, "models": models}))
    return lambda *more: CliRunner().invoke(cli, ["models", *more, "--config", str(folder / "anomaly.yml")])


def save(store: Store, value: float, job: str = "api", **options: Any) -> str:
    return store.save(
        job, "robust", {"window": 60 + value}, ("value",), {"x": np.array([value])},
        trained_from=1e9, trained_to=1e9 + 86_400, fingerprint="", **options,
    ).version  # fmt: skip


def test_versions_are_listed_with_what_the_gate_said(store: Store, call: Call) -> None:
    first, second = save(store, 1), save(store, 2, in_service=False)
    store.judge("api", second, passed=False, reason="recall fell to 0.40", figures={"recall": 0.4})
    done = call("list")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    [mine] = [line for line in lines if first in line]
    assert "yes" in mine
    assert "not evaluated" in mine
    [other] = [line for line in lines if second in line]
    assert "yes" not in other
    assert "rejected: recall fell to 0.40" in other
    assert "\nNS:new: no model is stored yet" in done.output
    data = json.loads(call("list", "--json", "--job", "api").output)
    assert [(each["version"], each["in_service"]) for each in data] == [(second, False), (first, True)]
    assert data[0]["gate"]["figures"] == {"recall": 0.4}


def test_a_damaged_model_is_listed_with_the_reason_and_fails_the_check(store: Store, call: Call) -> None:
    first, second = save(store, 1), save(store, 2)
    assert call("verify").exit_code == 0
    store._place.write(f"api/{first}/manifest.json", b"{}")
    store._place.write(f"api/{second}/model.joblib", b"\x80")
    done = call("list")
    assert done.exit_code == 0
    assert "rejected, see below" in done.output
    assert f"api, {first}: job api:" in done.output
    done = call("verify")
    assert done.exit_code == 1
    assert f"api, {first}: " in done.output
    assert f"api, {second}: " in done.output
    assert "does not match the digest in its manifest" in done.output
    assert set(json.loads(call("verify", "--json", "--job", "api").output)["api"]) == {first, second}


def test_one_command_goes_back_and_says_from_what_to_what(store: Store, call: Call) -> None:
    first, second = save(store, 1), save(store, 2)
    done = call("rollback", "--job", "api")
    assert done.exit_code == 0
    assert done.output == (f"api: {first} is active instead of {second}; exporters load it at their next cycle\n")
    done = call("rollback", "--job", "api")
    assert done.exit_code == 1
    assert "job api: no other model was active before; name a version from `models list`" in done.output
    done = call("rollback", "--job", "api", "--version", second, "--json")
    assert json.loads(done.output) == [{"job": "api", "version": second, "before": first}]


def test_a_sharded_job_goes_back_as_one(store: Store, call: Call) -> None:
    for shard in ("api@0-of-2", "api@1-of-2"):
        save(store, 1, shard)
        save(store, 2, shard)
    assert call("rollback", "--job", "api").exit_code == 0
    for shard in ("api@0-of-2", "api@1-of-2"):
        pointer = store.current(shard)
        assert pointer is not None
        assert pointer.generation == 3
    assert call("rollback", "--job", "api@1-of-2").exit_code == 1


def test_two_versions_are_compared(store: Store, call: Call) -> None:
    first, second = save(store, 1, quality={"f1": 0.5}), save(store, 2, quality={"f1": 0.75}, in_service=False)
    done = call("diff", "--job", "api")
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        f"api: {first} and {second}", "  parameters.window: 61 / 62", "  quality.f1: 0.5 / 0.75"
    ]  # fmt: skip
    assert json.loads(call("diff", "--job", "api", second, first, "--json").output)[0]["differences"] == {
        "parameters.window": [62, 61], "quality.f1": [0.75, 0.5]
    }  # fmt: skip


def test_a_version_is_shown_with_the_last_training(store: Store, call: Call) -> None:
    version = save(store, 1)
    store.record("api", {"outcome": "rejected", "reason": "more false alarms"})
    done = call("show", "--job", "api")
    assert done.exit_code == 0
    assert f"api {version} (active)" in done.output
    assert "trained_to: 2001-09-10 01:46:40Z" in done.output
    assert "last training: rejected: more false alarms" in done.output
    assert json.loads(call("show", "--job", "api", "--json").output)[0]["last_train"]["outcome"] == "rejected"


def test_old_versions_are_removed(store: Store, call: Call) -> None:
    versions = [save(store, value) for value in range(4)]
    done = call("prune", "--keep", "1", "--job", "api")
    assert done.output == f"api: removed {versions[1]}, {versions[0]}\n"
    assert call("prune", "--keep", "0").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "--job", "nothing"), "job nothing: neither configured nor stored; stored are api"),
        (("show", "--job", "NS:new"), "job NS:new: no active model; stored are none"),
        (("show", "--job", "api", "--version", "7"), "job api: no model 7; stored are 0"),
        (("rollback", "--job", "api", "--version", "../x"), "job api: '../x' is not a version"),
        (("diff", "--job", "api"), "job api: no other model; stored are none"),
    ],
)
def test_what_is_not_there_is_one_clear_error(arguments: tuple[str, ...], said: str, store: Store, call: Call) -> None:
    save(store, 1)
    done = call(*arguments)
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output


def test_an_object_store_is_reached_as_the_configuration_says_and_no_secret_is_shown(
    s3: Callable[..., ModelsConfig], tmp_path: Path
) -> None:
    """Row 53."""
    config = s3()
    first, _ = save(Store(config), 1), save(Store(config), 2)
    call = caller(tmp_path, config)
    assert "the-secret" not in (tmp_path / "anomaly.yml").read_text()
    assert call("rollback", "--job", "api").output.startswith(f"api: {first} is active")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = caller(tmp_path, s3(address, timeout="300ms"))("list")
    assert done.exit_code == 1
    assert "gave no answer within 0.3s (models.timeout)" in done.output
    assert "the-secret-of-the-store" not in done.output
    assert "AKIA" not in done.output


def test_a_configuration_without_a_store_says_what_to_add(tmp_path: Path) -> None:
    (tmp_path / "anomaly.yml").write_text("jobs: {api: {expr: up}}\n")
    done = CliRunner().invoke(cli, ["models", "list", "--config", str(tmp_path / "anomaly.yml")])
    assert done.exit_code == 2
    assert "no model store is configured; add models: {path: …}" in done.output


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({}, "give exactly one of path or url"),
        ({"path": "m", "url": "s3://b/p"}, "give exactly one of path or url"),
        ({"path": "m", "options": {"anon": True}}, "options are for url only"),
        ({"url": "b/p"}, "must be the URL of an object store"),
        ({"url": "s3://"}, "must be the URL of an object store"),
        ({"url": "nothing://b"}, "must be the URL of an object store"),
        ({"url": "s3://user:word@b/p"}, "holds a user name or password"),
        ({"url": "gs://b/p"}, "gs:// needs the Python module gcsfs, which is not installed"),
        ({"url": "s3://b", "options": {"secret": "swordfish"}}, "secret looks like a secret"),
        (
            {"url": "s3://b", "options": {"client_kwargs": {"aws_session_token": "swordfish"}}},
            "aws_session_token looks",
        ),
        ({"url": "s3://b", "options": {"connection_string": "AccountKey=swordfish"}}, "connection_string looks like a"),
        ({"url": "s3://b", "options": {"secret": {"env": "A", "file": "b"}}}, "exactly one of {env: NAME}"),
    ],
)
def test_a_wrong_store_is_one_clear_mistake_that_shows_no_secret(
    models: dict[str, object], said: str, tmp_path: Path
) -> None:
    """Row 53."""
    (tmp_path / "anomaly.yml").write_text(yaml.safe_dump({"jobs": {"api": {"expr": "up"}}, "models": models}))
    done = CliRunner().invoke(cli, ["models", "list", "--config", str(tmp_path / "anomaly.yml")])
    assert done.exit_code == 2
    assert said in done.output
    assert "swordfish" not in done.output
    assert "word@" not in done.output
