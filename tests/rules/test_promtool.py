"""What is generated passes promtool and amtool, and its own tests can fail."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config.load import load
from exporter.config.sections.root import Config
from rules.alerts.names import RESERVED, WATCHDOG
from rules.generate import generate
from tests.support.generated import passes, tool, written

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[2]
BASES = sorted(path for folder in ("examples", "rules/presets") for path in (ROOT / folder).glob("*.yml"))
FILES = [
    (path.with_name(f"{path.stem.split('.')[0]}.yml"), path.suffixes[0][1:] if len(path.suffixes) > 1 else None)
    for path in BASES
]


def loaded(path: Path, profile: str | None) -> Config:
    return load(path, profile, {"MODEL_STORE_KEY": "k"}).config


@pytest.mark.parametrize(("path", "profile"), FILES, ids=[path.name for path in BASES])
def test_all_that_is_generated_passes(path: Path, profile: str | None, tmp_path: Path) -> None:
    """promtool check rules, promtool test rules and amtool check-config, for every example and preset."""
    passes(written(tmp_path, loaded(path, profile)))


@pytest.mark.parametrize(("path", "profile"), FILES, ids=[path.name for path in BASES])
def test_objects_for_the_operator_hold_the_same_groups(path: Path, profile: str | None) -> None:
    made = generate(loaded(path, profile))
    rules = {name.partition("/")[2]: yaml.safe_load(text) for name, text in made.items() if name.startswith("rules/")}
    every = [yaml.safe_load(text) for name, text in made.items() if name.startswith("prometheus-operator/")]
    objects = [each for each in every if each["kind"] == "PrometheusRule"]
    assert [made["spec"] for made in objects] == [rules[name] for name in sorted(rules)]
    assert {(made["apiVersion"], made["kind"]) for made in objects} == {("monitoring.coreos.com/v1", "PrometheusRule")}
    names = [made["metadata"]["name"] for made in objects]
    assert len(set(names)) == len(names)
    assert all(name.islower() and len(name) < 253 for name in names)


def test_every_alert_has_a_case_that_fires_and_one_that_stays_silent() -> None:
    made = generate(loaded(ROOT / "examples" / "alerting.yml", None))
    alerts = {
        (name.partition("/")[2].removesuffix(".yml"), rule["alert"])
        for name, text in made.items()
        if name.startswith("rules/")
        for rule in yaml.safe_load(text)["groups"][0]["rules"]
    }
    outcomes: dict[Any, set[bool]] = {}
    for name, text in made.items():
        if name.startswith("tests/"):
            for case in yaml.safe_load(text)["tests"]:
                [looked] = case["alert_rule_test"]
                of = (name.partition("/")[2].removesuffix("_test.yml"), looked["alertname"])
                outcomes.setdefault(of, set()).add(bool(looked["exp_alerts"]))
    assert outcomes == {alert: {True, False} for alert in alerts}


def test_every_metric_that_an_alert_reads_is_on_our_page() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    made = generate(loaded(ROOT / "tests" / "rules" / "golden.yml", None))
    read = {
        metric
        for name, text in made.items()
        if name.startswith("rules/")
        for metric in re.findall(r"\banomaly_[a-z_]+\b", text)
    }
    read.remove("anomaly_incident")  # a label
    assert len(read) > 10
    assert [metric for metric in sorted(read) if f"| `{metric}` |" not in page] == []


def test_every_alert_is_documented() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    assert [name for name in (*RESERVED, WATCHDOG) if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize(("broken", "fires"), [("({}) unless on () vector(1)", True), ("vector(1) or ({})", False)])
def test_the_generated_tests_fail_when_a_rule_does(broken: str, fires: bool, tmp_path: Path) -> None:
    """An alert that never fires fails every case that fires; one that always does every case that stays silent."""
    written(tmp_path, loaded(ROOT / "examples" / "alerting.yml", None))
    for file in (tmp_path / "rules").iterdir():
        rules = yaml.safe_load(file.read_text())
        for rule in rules["groups"][0]["rules"]:
            rule["expr"] = broken.format(rule["expr"])
            if not fires:
                rule.pop("for", None)  # a case may be silent because too little time has passed
        file.write_text(yaml.safe_dump(rules))
    done = tool(tmp_path, "promtool", "test", "rules", files="tests/*.yml")
    assert done.returncode != 0
    for file in (tmp_path / "tests").iterdir():
        for case in yaml.safe_load(file.read_text())["tests"]:
            [looked] = case["alert_rule_test"]
            if bool(looked["exp_alerts"]) == fires:
                assert f"name: {case['name']},\n" in done.stderr + done.stdout, (file.name, case["name"])
