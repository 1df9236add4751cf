"""Equal digests, equal verdicts."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exporter.config.digest import JobDigests, config_digest, job_digests, job_keys
from exporter.config.sections.job import DECIDING, LEARNING, NEITHER, JobConfig
from exporter.config.sections.root import Config

EXAMPLES = Path(__file__).parents[2] / "examples"


def config(job: dict[str, Any] | None = None, **top: Any) -> Config:
    return Config.model_validate({"jobs": {"a": {"expr": "up", **(job or {})}}, **top})


def of_job(changed: Config) -> JobDigests:
    return job_digests(changed.jobs["a"], changed)


def test_every_key_of_a_job_shapes_learning_or_deciding_or_only_the_rules() -> None:
    assert sorted((*LEARNING, *DECIDING, *NEITHER)) == sorted(JobConfig.model_fields)


@pytest.mark.parametrize(
    "job",
    [
        {"expr": "down"}, {"expr": None, "channels": {"x": "up"}}, {"step": "30s"}, {"window": "2h"},
        {"entity": ["job"]}, {"group": ["job"]}, {"history": "3d"}, {"lag": "30s"}, {"fill": 0}, {"rate": False},
        {"detector": {"robust": {"deviations": 3}}}, {"detector": "isolation_forest"},
    ],
)  # fmt: skip
def test_what_shapes_learning_makes_a_job_begin_with_a_fresh_start(job: dict[str, Any]) -> None:
    assert of_job(config(job)).learning != of_job(config()).learning
    assert of_job(config(job)).deciding == of_job(config()).deciding
    assert of_job(config(job)).combined != of_job(config()).combined
    assert config_digest(config(job)) != config_digest(config())


@pytest.mark.parametrize(
    "job",
    [
        {"direction": "above"}, {"least_deviation": 1}, {"valid_range": [0, None]}, {"open_after": 2},
        {"clear_after": "1m"}, {"flap_limit": 9}, {"flap_window": "2h"}, {"max_hold": "2d"}, {"budget": "2 per week"},
        {"false_alarms": "2 per week"}, {"publish": ["value"]}, {"max_age": "1h"}, {"max_series": 9},
        {"drift_detection": True},
    ],
)  # fmt: skip
def test_what_shapes_deciding_keeps_what_was_learnt(job: dict[str, Any]) -> None:
    assert of_job(config(job)).learning == of_job(config()).learning
    assert of_job(config(job)).deciding != of_job(config()).deciding
    assert of_job(config(job)).combined != of_job(config()).combined
    assert config_digest(config(job)) != config_digest(config())


def test_the_key_that_differs_is_named_and_its_value_is_not_shown() -> None:
    before, after = (job_keys(each.jobs["a"], each) for each in (config(), config({"expr": "secret", "budget": 2})))
    assert [key for key in before.learning if before.learning[key] != after.learning[key]] == ["expr"]
    assert [key for key in before.deciding if before.deciding[key] != after.deciding[key]] == ["budget"]
    assert "secret" not in str(after)


@pytest.mark.parametrize("top", [{"prometheus": {"url": "http://other"}}, {"models": {"path": "m"}}])
def test_another_source_or_model_store_changes_every_job(top: dict[str, Any]) -> None:
    assert of_job(config(**top)).learning != of_job(config()).learning
    assert of_job(config(**top)).deciding == of_job(config()).deciding


@pytest.mark.parametrize(
    "top",
    [
        {"log": {"level": "debug"}}, {"web": {"listen": ":1"}}, {"audit": {"path": "a"}},
        {"prometheus": {"retries": 1}}, {"limits": {"series": 5}},
    ],
)  # fmt: skip
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


def test_the_docs_list_what_every_key_costs() -> None:
    page = (EXAMPLES.parent / "docs" / "configuration.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and " of a job" in line]
    nothing, fresh = (set(re.findall(r"`(\w+)`", row)) for row in rows[:2])
    assert (nothing, fresh) == (DECIDING, LEARNING)
