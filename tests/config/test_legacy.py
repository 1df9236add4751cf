"""The original flat file loads unchanged."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from exporter.config.legacy import job_names
from exporter.config.load import ConfigError, load
from exporter.config.sections.job import DriftConfig
from exporter.config.sections.root import Config

EXAMPLES = Path(__file__).parents[2] / "examples"
ORIGINAL = EXAMPLES / "original.yml"


def flat(tmp_path: Path, text: str, **environ: str) -> Config:
    file = tmp_path / "original.yml"
    file.write_text(text)
    return load(file, None, environ).config


def test_the_original_file_loads_unchanged() -> None:
    config = load(ORIGINAL, None, {}).config
    assert config.prometheus.url == "http://localhost:9090"
    assert {name: job.expr for name, job in config.jobs.items()} == {
        "node_load1": "node_load1",
        "rate_node_network_receive_bytes_total_5m": "rate(node_network_receive_bytes_total[5m])",
        "http_requests_total": "http_requests_total",
    }
    for job in config.jobs.values():
        assert job.detector == {"isolation_forest": {"contamination": 0.01}}
        assert (job.window, job.step, job.rate) == (3600, 60, True)
    assert config.audit is not None
    assert config.audit.path == Path("anomalies.csv")
    assert config.models is not None
    assert config.models.path == Path("models/isolation_forest")
    assert isinstance(config.notify.slack, SecretStr)
    assert config.notify.slack.get_secret_value().startswith("https://hooks.slack.com/")
    assert config.drift_detection == DriftConfig(method="adwin")


def test_metrics_alone_are_enough_and_get_the_original_defaults(tmp_path: Path) -> None:
    config = flat(tmp_path, "metrics: [up]\n")
    assert config.jobs["up"].detector == {"isolation_forest": {"contamination": 0.01}}
    assert (config.audit, config.models, config.notify.slack) == (None, None, None)
    assert config.drift_detection == DriftConfig(method="off")


def test_keys_without_a_value_are_as_if_absent(tmp_path: Path) -> None:
    config = flat(tmp_path, "metrics: [up]\nmodel_path:\noutput_csv: ''\nslack_webhook_url: ''\n")
    assert (config.audit, config.models, config.notify.slack) == (None, None, None)


@pytest.mark.parametrize(
    ("path", "folder"), [("m/if.joblib", "m/if"), ("m/if.pkl", "m/if"), ("models", "models"), ("v1.2", "v1.2")]
)
def test_a_model_file_becomes_the_folder_of_its_name(tmp_path: Path, path: str, folder: str) -> None:
    models = flat(tmp_path, f"metrics: [up]\nmodel_path: {path}\n").models
    assert models is not None
    assert models.path == Path(folder)


def test_profile_and_environment_speak_the_flat_keys(tmp_path: Path) -> None:
    (tmp_path / "original.dev.yml").write_text("contamination: 0.05\noutput_csv: null\n")
    file = tmp_path / "original.yml"
    file.write_text(ORIGINAL.read_text())
    environ = {"ANOMALY_EXPORTER__WINDOW_MINUTES": "30", "ANOMALY_EXPORTER__METRICS": "[up, 'sum(up)']"}
    config = load(file, "dev", environ).config
    assert list(config.jobs) == ["up", "sum_up"]
    assert config.jobs["up"].detector == {"isolation_forest": {"contamination": 0.05}}
    assert config.jobs["up"].window == 1800
    assert config.audit is None


def test_notes_say_what_has_no_effect(tmp_path: Path) -> None:
    assert load(ORIGINAL, None, {}).notes == ()
    file = tmp_path / "new.yml"
    new = "jobs: {a: {expr: up}}\nnotify: {slack: {env: HOOK}}\n"
    file.write_text(new)
    assert load(file, None, {}).notes == ()
    receiver = "{webhook: {url: 'http://localhost:1'}}"
    file.write_text(f"{new}alerting: {{receivers: {{us: {receiver}}}, routes: {{ticket: [us]}}}}\n")
    assert load(file, None, {}).notes == (
        "notify has no effect when alerting.receivers is set: Alertmanager notifies them; "
        "notify.beside_alertmanager lets both notify",
    )


def test_names_are_readable_unique_valid_and_independent_of_the_order() -> None:
    exprs = [
        "up",
        "a + b",
        "a - b",
        "{}",
        "-(x)",
        "sum by (job) (" + "y" * 200 + ")",
        "sum by (job) (" + "y" * 201 + ")",
    ]
    names = job_names(exprs)
    assert names[0] == "up"
    assert names[1].startswith("a_b-")
    assert names[3:5] == ["query", "x"]
    assert len(set(names)) == len(names)
    assert job_names(exprs[::-1]) == names[::-1]
    Config.model_validate({"jobs": {name: {"expr": "up"} for name in names}})


def test_nothing_but_foreign_keys_is_no_flat_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="jobs: is missing"):
        flat(tmp_path, "drift_detection: true\n")
