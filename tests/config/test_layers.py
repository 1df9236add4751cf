"""Base file, profile file, environment: what lies over what."""

from pathlib import Path

import pytest

from exporter.config.load import Loaded, load
from exporter.config.secrets import Secret
from exporter.config.sections.root import Config

BASE = """
prometheus:
  url: http://base:9090
  bearer: {env: TOKEN}
  headers: {X-Scope-OrgID: base}
jobs:
  node-cpu:
    expr: node_load1
    entity: [instance, job]
    step: 1m
    detector: {isolation_forest: {contamination: 0.02, trees: 50}}
  memory: {expr: node_memory_MemFree_bytes}
audit: {path: base.csv, keep: 3}
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    file = tmp_path / "anomaly.yml"
    file.write_text(BASE)
    return file


def with_profile(base: Path, text: str) -> Config:
    base.with_name("anomaly.dev.yml").write_text(text)
    return load(base, "dev", {}).config


def with_variables(base: Path, **variables: str) -> Config:
    return load(base, None, {f"ANOMALY_EXPORTER__{name}": value for name, value in variables.items()}).config


def test_without_a_profile_only_the_base_is_read(base: Path) -> None:
    loaded = load(base, None, {})
    assert isinstance(loaded, Loaded)
    assert loaded.files == (base,)
    assert loaded.config.prometheus.url == "http://base:9090"
    assert loaded.notes == ()


def test_a_profile_is_merged_key_by_key(base: Path) -> None:
    config = with_profile(base, "audit: {keep: 9}\njobs: {node-cpu: {step: 30s}, disk: {expr: up}}\n")
    assert (config.audit and config.audit.keep, config.audit and config.audit.path) == (9, Path("base.csv"))
    assert (config.jobs["node-cpu"].step, config.jobs["node-cpu"].expr) == (30, "node_load1")
    assert list(config.jobs) == ["node-cpu", "memory", "disk"]


def test_a_list_in_a_profile_replaces_the_list(base: Path) -> None:
    assert with_profile(base, "jobs: {node-cpu: {entity: [pod]}}\n").jobs["node-cpu"].entity == ("pod",)


def test_null_in_a_profile_removes_the_key(base: Path) -> None:
    config = with_profile(base, "audit: null\njobs: {memory: ~, node-cpu: {step: , entity: null, lag: null}}\n")
    assert config.audit is None
    assert list(config.jobs) == ["node-cpu"]
    assert (config.jobs["node-cpu"].step, config.jobs["node-cpu"].entity) == (60, None)


def test_null_in_a_section_the_base_does_not_have_removes_nothing(base: Path) -> None:
    assert with_profile(base, "web: {tls: null, listen: null}\n").web.listen == "0.0.0.0:9877"


def test_another_detector_replaces_the_one_before_with_its_parameters(base: Path) -> None:
    for text in ("{robust: {deviations: 3}}", "robust", "{robust: }"):
        job = with_profile(base, f"jobs: {{node-cpu: {{detector: {text}}}}}\n").jobs["node-cpu"]
        assert job.detector in ({"robust": {"deviations": 3}}, "robust", {"robust": {}})


def test_the_same_detector_keeps_its_other_parameters(base: Path) -> None:
    job = with_profile(base, "jobs: {node-cpu: {detector: {isolation_forest: {trees: 9}}}}\n").jobs["node-cpu"]
    assert job.detector == {"isolation_forest": {"contamination": 0.02, "trees": 9}}


def test_another_reference_replaces_the_secret(base: Path) -> None:
    config = with_profile(base, "prometheus: {bearer: {file: /run/token}}\n")
    assert config.prometheus.bearer == Secret(file=Path("/run/token"))


def test_the_profile_comes_from_the_environment_unless_it_is_given(base: Path) -> None:
    base.with_name("anomaly.dev.yml").write_text("log: {level: debug}\n")
    base.with_name("anomaly.prod.yml").write_text("log: {level: error}\n")
    environ = {"ANOMALY_EXPORTER_PROFILE": "dev"}
    loaded = load(base, None, environ)
    assert (loaded.config.log.level, loaded.files) == ("debug", (base, base.with_name("anomaly.dev.yml")))
    assert load(base, "prod", environ).config.log.level == "error"
    assert load(base, None, {"ANOMALY_EXPORTER_PROFILE": ""}).files == (base,)


def test_a_profile_keeps_the_ending_of_the_base(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"jobs": {"x": {"expr": "up"}}}')
    (tmp_path / "a.dev.json").write_text('{"jobs": {"x": {"step": "30s"}}}')
    assert load(tmp_path / "a.json", "dev", {}).config.jobs["x"].step == 30


def test_the_environment_lies_on_top_of_the_profile(base: Path) -> None:
    base.with_name("anomaly.dev.yml").write_text("prometheus: {url: 'http://dev:9090'}\n")
    environ = {"ANOMALY_EXPORTER__PROMETHEUS__URL": "http://env:9090"}
    assert load(base, "dev", environ).config.prometheus.url == "http://env:9090"


def test_a_variable_finds_keys_without_regard_to_case_and_dashes(base: Path) -> None:
    config = with_variables(
        base,
        JOBS__NODE_CPU__LEAST_DEVIATION="1e3",
        JOBS__node_cpu__Alert__For="5m",
        PROMETHEUS__HEADERS__X_SCOPE_ORGID="env",
        WEB__ENABLE_RELOAD="yes",
    )
    job = config.jobs["node-cpu"]
    assert (job.least_deviation, job.alert.for_) == (1000.0, 300.0)
    assert config.prometheus.headers == {"X-Scope-OrgID": "env"}
    assert config.web.enable_reload is True


def test_a_variable_sets_what_no_file_mentions(base: Path) -> None:
    config = with_variables(
        base,
        MODELS__PATH="/models",
        MODELS__KEY__ENV="KEY",
        PROMETHEUS__BEARER__FILE="/run/token",
        JOBS__MEMORY__DETECTOR__ISOLATION_FOREST__CONTAMINATION="0.05",
    )
    assert config.models is not None
    assert (config.models.path, config.models.key) == (Path("/models"), Secret(env="KEY"))
    assert config.prometheus.bearer == Secret(file=Path("/run/token"))
    assert config.jobs["memory"].detector == {"isolation_forest": {"contamination": 0.05}}


def test_a_variable_holds_a_list_or_quoted_text(base: Path) -> None:
    config = with_variables(
        base, JOBS__NODE_CPU__ENTITY="[pod, 'a']", PROMETHEUS__HEADERS__X_SCOPE_ORGID='"0042"', WEB__LISTEN=" :9000 "
    )
    assert config.jobs["node-cpu"].entity == ("pod", "a")
    assert config.prometheus.headers == {"X-Scope-OrgID": "0042"}
    assert config.web.listen == ":9000"


def test_promql_in_a_variable_is_taken_as_it_is(base: Path) -> None:
    expr = '{__name__=~"a: b #.*"} > 1'
    assert with_variables(base, JOBS__MEMORY__EXPR=expr).jobs["memory"].expr == expr


def test_an_empty_variable_removes_the_key(base: Path) -> None:
    config = with_variables(base, AUDIT="", JOBS__NODE_CPU__STEP="")
    assert config.audit is None
    assert config.jobs["node-cpu"].step == 60


def test_other_variables_are_left_alone(base: Path) -> None:
    assert load(base, None, {"ANOMALY_EXPORTER_CONFIG": "x", "PATH": "y", "ANOMALY": "z"}) == load(base, None, {})
