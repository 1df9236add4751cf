"""What works with the jobs of the file does not stumble over declared ones."""

import pytest
from typer.testing import CliRunner

from exporter.cli.main import cli
from exporter.config.declared import declared
from exporter.config.declared_objects import declaration
from exporter.config.sections.root import Config
from exporter.preview.job_text import checked
from exporter.preview.workbench import _without_receivers
from tests.support.declared import config_map


@pytest.fixture
def running() -> Config:
    """A configuration with a job of its own and a declared one, whose severity has no route."""
    config = Config.model_validate(
        {
            "jobs": {"own": {"expr": "up", "alert": {"receivers": ["chat"]}}},
            "discover": {},
            "alerting": {
                "receivers": {"chat": {"webhook": {"url": "http://hook.test"}}},
                "routes": {"ticket": ["chat"]},
            },
        }
    )
    assert config.discover is not None
    made = declaration(config_map("shop", "jobs: {a: {expr: up, alert: {severity: whatever}}}"), config.discover)
    assert made is not None
    return config.model_copy(update={"jobs": {**config.jobs, **declared([made], config).jobs}})


def test_a_new_job_is_checked_beside_declared_ones(running):
    job, told = checked("jobs: {new: {expr: up}}", running)
    assert job.expr == "up"
    assert told.startswith("good\na reload with it: new: ")


def test_the_past_is_replayed_of_jobs_with_receivers_and_of_declared_ones(running):
    plain = {name: _without_receivers(job) for name, job in running.jobs.items()}
    assert list(Config.model_validate({"jobs": plain}).jobs) == ["own", "shop:a"]


def test_a_backtest_of_a_file_without_jobs_says_so(tmp_path):
    file = tmp_path / "anomaly.yml"
    file.write_text("discover: {}\n")
    made = CliRunner().invoke(cli, ["backtest", "--config", str(file), "--since", "1d"])
    assert made.exit_code == 2
    assert f"{file}: has no jobs of its own; those that teams declare are known to the running exporter" in made.output
