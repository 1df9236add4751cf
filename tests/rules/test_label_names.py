"""Rules for series with names that only Prometheus 3 knows, such as `service.name`."""

from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from exporter.config.sections.root import Config
from rules.generate import generate
from tests.support.generated import config, passes, written

KEYS: dict[str, Any] = {"entity": ["service.name", "k8s.pod/1", "%d"], "group": ["service.name", "%d"]}


def configured(escaping: str) -> Config:
    made = config("cpu", **KEYS)
    return made.model_copy(update={"alerting": made.alerting.model_copy(update={"escaping": escaping})})


@pytest.mark.servers
def test_with_escaped_names_everything_passes_the_tools_of_old_servers(tmp_path: Path) -> None:
    """promtool check rules, promtool test rules and amtool check-config of servers before UTF-8."""
    passes(written(tmp_path, configured("underscores")))
    [storm] = [rule for rule in rules(configured("underscores")) if rule["alert"] == "AnomalyStorm"]
    assert "on (query, service_name, _d)" in storm["expr"]


def test_names_of_prometheus_3_are_quoted_wherever_promql_names_them() -> None:
    made = rules(configured("allow-utf-8"))
    for rule in made:
        promql_parser.parse(rule["expr"])
    [storm] = [rule for rule in made if rule["alert"] == "AnomalyStorm"]
    assert 'on (query, "service.name", "%d")' in storm["expr"]
    asked = r"""(printf "count(anomaly_flag{query=\"cpu\",\"service.name\"=%q,\"%%d\"=%q} == 1)" (index $labels "service.name") (index $labels "%d"))"""  # noqa: E501
    assert asked in storm["annotations"]["description"]
    for name, text in generate(configured("allow-utf-8")).items():
        if name.startswith("tests/"):
            for series in (each["series"] for test in yaml.safe_load(text)["tests"] for each in test["input_series"]):
                promql_parser.parse(series)


def rules(of: Config) -> list[dict[str, Any]]:
    return [
        rule
        for name, text in generate(of).items()
        if name.startswith("rules/")
        for rule in yaml.safe_load(text)["groups"][0]["rules"]
    ]
