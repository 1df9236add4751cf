"""Equal digests, equal verdicts."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exporter.config.digest import config_digest, job_digest
from exporter.config.sections.root import Config

EXAMPLES = Path(__file__).parents[2] / "examples"


def config(job: dict[str, Any] | None = None, **top: Any) -> Config:
    return Config.model_validate({"jobs": {"a": {"expr": "up", **(job or {})}}, **top})


def of_job(changed: Config) -> str:
    return job_digest(changed.jobs["a"], changed)


@pytest.mark.parametrize(
    "job",
    [
        {"expr": "down"}, {"step": "30s"}, {"window": "2h"}, {"direction": "above"}, {"least_deviation": 1},
        {"detector": {"robust": {"deviations": 3}}}, {"detector": "isolation_forest"}, {"clear_after": "1m"},
        {"budget": "2 per week"}, {"publish": ["value"]}, {"max_age": "1h"},
    ],
)  # fmt: skip
def test_what_a_job_depends_on_changes_its_digest(job: dict[str, Any]) -> None:
    assert of_job(config(job)) != of_job(config())
    assert config_digest(config(job)) != config_digest(config())


@pytest.mark.parametrize("top", [{"prometheus": {"url": "http://other"}}, {"models": {"path": "m"}}])
def test_another_source_or_model_store_changes_every_job(top: dict[str, Any]) -> None:
    assert of_job(config(**top)) != of_job(config())


@pytest.mark.parametrize(
    "top",
    [{"log": {"level": "debug"}}, {"web": {"listen": ":1"}}, {"audit": {"path": "a"}}, {"prometheus": {"retries": 1}}],
)
def test_what_a_job_does_not_depend_on_keeps_its_state(top: dict[str, Any]) -> None:
    assert of_job(config(**top)) == of_job(config())
    assert config_digest(config(**top)) != config_digest(config())


def test_another_way_to_write_the_same_keeps_the_digest() -> None:
    assert of_job(config({"step": "1m", "budget": "1 per week", "publish": ["upper", "lower"]})) == of_job(
        config({"step": 60, "budget": 1.0, "publish": ["lower", "upper"]})
    )
    assert of_job(config({"alert": {"severity": "page"}})) == of_job(config())


def test_the_digest_is_the_same_in_every_process() -> None:
    """The order of a set depends on the hash seed of the process."""
    code = "import pathlib, sys, exporter.config.load as l; print(l.load(pathlib.Path(sys.argv[1]), None, {}).digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(EXAMPLES / "anomaly.yml")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 12
