"""A team checks in its own pipeline what it declares, without a cluster."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from exporter.cli.main import cli
from tests.support.declared import config_map, grafana_rule, prometheus_rule

GOOD = "jobs: {a: {expr: up}}"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANOMALY_EXPORTER_CONFIG", raising=False)

    def run(*objects, more=(), text=None):
        file = tmp_path / "team.yaml"
        file.write_text(text or yaml.safe_dump_all(objects))
        return CliRunner().invoke(cli, ["check-config", "--declared", "team.yaml", *more])

    return run


def test_what_is_good_is_shown_as_it_will_run(run):
    made = run(config_map("shop", GOOD), prometheus_rule("shop", grafana_rule("requests", "adaptive")))
    assert made.exit_code == 0, made.output
    assert made.output.startswith("team.yaml: good; 2 jobs\n  shop:a: auto, every 1m, 0.5 alerts per week by chance\n")
    assert '    value: up{namespace="shop"}\n' in made.output


def test_what_is_refused_is_said_and_is_2(run):
    made = run(config_map("shop", 'jobs:\n  a: {expr: up}\n  b: {expr: "up{namespace=\\"bank\\"}"}\n'))
    assert made.exit_code == 2
    assert (
        'shop/ConfigMap/jobs: b: shop/ConfigMap/jobs/jobs.yml:3: jobs.b.expr: asks for namespace="bank"' in made.output
    )
    assert made.output.endswith("team.yaml: 1 refused; the other jobs come into force\n")


def test_programs_get_the_same_as_data(run):
    made = run(config_map("shop", GOOD), config_map("shop", "jobs: {", name="bad"), more=["--output", "json"])
    found = json.loads(made.output)
    assert (made.exit_code, found["good"], list(found["jobs"])) == (2, False, ["shop:a"])
    assert found["refused"][0]["object"] == "shop/ConfigMap/bad"


def test_an_object_without_a_namespace_has_the_one_that_is_said(run):
    nowhere = config_map("shop", GOOD)
    del nowhere["metadata"]["namespace"]
    assert "bank:a" in run(nowhere, more=["--namespace", "bank"]).output


def test_the_limits_of_the_configuration_count_where_there_is_one(run, tmp_path):
    (tmp_path / "anomaly.yml").write_text("discover: {jobs: 1, enforce: null}\n")
    made = run(config_map("shop", "jobs: {a: {expr: up}, b: {expr: up}}"))
    assert "    value: up\n" in made.output
    assert "the namespace has 1 jobs already" in made.output
    (tmp_path / "anomaly.yml").write_text("jobs: {a: {expr: up}}\n")
    made = run(config_map("shop", GOOD))
    assert (made.exit_code, made.output) == (2, "anomaly.yml: discover: is missing: no object is read\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "kind: Service",
            "team.yaml: declares no jobs: there must be a ConfigMap with the label anomaly-exporter/jobs=",
        ),
        ("kind: ConfigMap\nmetadata: {name: a}", "team.yaml: declares no jobs"),
        ("kind: ConfigMap", "team.yaml: metadata.name: is missing in one of the objects"),
        ("a: [", "team.yaml:2: not valid YAML"),
        ("a: !!python/object:os.system {}", "team.yaml:1: not valid YAML"),
    ],
)
def test_a_file_that_declares_nothing_is_one_clear_mistake(run, text, told):
    made = run(text=text + "\n")
    assert made.exit_code == 2
    assert told in made.output


def test_a_list_of_objects_is_read_too(run):
    made = run({"kind": "List", "items": [config_map("shop", GOOD)]})
    assert made.exit_code == 0, made.output
