"""The generated rules load into Prometheus and say what happened, whatever the jobs are called."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from exporter.config.models import Config, JobConfig
from rules.alerts import alert_name, rule_groups

pytestmark = pytest.mark.servers

ODD = [
    "{",
    "{{ $labels }}",
    "}}{{",
    'a"b',
    "back\\slash",
    "two\nlines",
    "`{{`",
    "日本 ✓",
    "{{/* x",
    "x" * 300,
    "\x7f",
    "a\u2028b",
]


def config(*names: str, **job: Any) -> Config:
    """A configuration past the check of job names: the rules must not lean on it."""
    return Config.model_construct(jobs={name: JobConfig.model_validate({"expr": "up", **job}) for name in names})


def promtool(folder: Path, test: dict[str, Any] | None, rules: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yml").write_text(yaml.safe_dump(rules, allow_unicode=True))
    arguments = ["check", "rules", "rules.yml"]
    if test is not None:
        (folder / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], **test}, allow_unicode=True))
        arguments = ["test", "rules", "test.yml"]
    return subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def fires(name: str, severity: str, *series: tuple[str, str], labels: dict[str, str], **texts: str) -> dict[str, Any]:
    """A promtool test: the alert of job `name` is silent at 0m and fires at 3m with these labels and texts."""
    common = {"alertname": alert_name(name)}
    return {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in series],
                "alert_rule_test": [
                    {"eval_time": "0m", **common, "exp_alerts": []},
                    {
                        "eval_time": "3m",
                        **common,
                        "exp_alerts": [{"exp_labels": {"severity": severity, **labels}, "exp_annotations": texts}],
                    },
                ],
            }
        ],
    }


def test_alert_fires_with_observed_and_expected_and_stays_silent_before(tmp_path: Path) -> None:
    rules = rule_groups(config("shop-latency", publish=["alert", "value", "expected"], alert={"severity": "page"}))
    labels = {"query": "shop-latency", "detector": "robust", "page": "checkout"}
    series = 'query="shop-latency",detector="robust",page="checkout"}'
    other = 'query="shop-latency",detector="robust",page="search"}'
    test = fires(
        "shop-latency",
        "page",
        ("anomaly_alert{" + series, "0 1 1 1"),
        ("anomaly_alert{" + other, "0 0 0 0"),
        ("anomaly_value{" + series, "0.1 0.5 0.5 0.5"),
        ("anomaly_expected{" + series, "0.1x3"),
        ("anomaly_score{" + series, "0 9 9 9"),
        labels=labels,
        summary="Anomaly in shop-latency page=checkout",
        description="observed 0.5, expected 0.1, score 9 (above 1 is anomalous).",
    )
    done = promtool(tmp_path, test, rules)
    assert done.returncode == 0, done.stdout + done.stderr
    test["tests"][0]["input_series"][0]["values"] = "0 0 0 0"
    assert promtool(tmp_path, test, rules).returncode != 0, "the test above can fail"


def test_alert_waits_for_its_for_and_uses_the_flag_where_alerts_are_not_published(tmp_path: Path) -> None:
    rules = rule_groups(config("cpu", publish=[], alert={"for": "90s"}))
    rule = rules["groups"][0]["rules"][0]
    assert rule["for"] == "90000ms"
    assert rule["expr"] == 'anomaly_flag{query="cpu"} == 1'
    assert rule["labels"] == {"severity": "ticket"}
    assert promtool(tmp_path, None, rules).returncode == 0


def test_job_with_two_channels_names_each_reading(tmp_path: Path) -> None:
    rules = rule_groups(
        Config.model_validate({"jobs": {"api": {"channels": {"p99": "a", "rps": "b"}, "publish": ["alert", "value"]}}})
    )
    series = 'query="api",detector="robust"}'
    test = fires(
        "api",
        "ticket",
        ("anomaly_alert{" + series, "0 1 1 1"),
        ('anomaly_value{channel="p99",' + series, "2x3"),
        ('anomaly_value{channel="rps",' + series, "7x3"),
        ("anomaly_score{" + series, "9x3"),
        labels={"query": "api", "detector": "robust"},
        summary="Anomaly in api",
        description="p99 observed 2, rps observed 7, score 9 (above 1 is anomalous).",
    )
    done = promtool(tmp_path, test, rules)
    assert done.returncode == 0, done.stdout + done.stderr


def test_odd_job_names_and_severities_reach_the_alert_unchanged(tmp_path: Path) -> None:
    """Row 51."""
    rules = rule_groups(config(*ODD))
    done = promtool(tmp_path, None, rules)
    assert done.returncode == 0, done.stdout + done.stderr
    for odd in ODD:
        rules = rule_groups(config(odd, publish=["alert"], alert={"severity": odd}))
        test = fires(
            odd,
            odd,
            (f"anomaly_alert{{query={_literal(odd)}}}", "0 1 1 1"),
            labels={"query": odd},
            summary=f"Anomaly in {odd}",
            description="score  (above 1 is anomalous).",
        )
        done = promtool(tmp_path, test, rules)
        assert done.returncode == 0, f"{odd!r}: {done.stdout}{done.stderr}"


def test_odd_label_values_are_shown_as_they_are_and_find_their_readings(tmp_path: Path) -> None:
    """Row 51."""
    rules = rule_groups(config("cpu", publish=["alert", "value"]))
    odd = "".join(ODD)
    series = f'{{query="cpu",detector="robust",pod={_literal(odd)}}}'
    test = fires(
        "cpu",
        "ticket",
        ("anomaly_alert" + series, "0 1 1 1"),
        ("anomaly_value" + series, "7x3"),
        ("anomaly_score" + series, "9x3"),
        labels={"query": "cpu", "detector": "robust", "pod": odd},
        summary=f"Anomaly in cpu pod={odd}",
        description="observed 7, score 9 (above 1 is anomalous).",
    )
    done = promtool(tmp_path, test, rules)
    assert done.returncode == 0, done.stdout + done.stderr


def _literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@example(names=["\ufffd", "{{", '"', "\\"])
@given(
    names=st.lists(st.text(min_size=1).filter(lambda name: name.isprintable()), min_size=40, max_size=120, unique=True)
)
@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_printable_job_name_passes_promtool(tmp_path: Path, names: list[str]) -> None:
    """Row 51."""
    done = promtool(tmp_path, None, rule_groups(config(*names)))
    assert done.returncode == 0, done.stdout + done.stderr
