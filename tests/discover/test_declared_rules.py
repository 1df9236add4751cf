"""The alerts on declared jobs hold for every team, and no team can break them for the others."""

import pytest
import yaml

from exporter.config.sections.root import Config
from rules.alerts.declared import declared_alerts
from rules.generate import generate
from tests.support.generated import passes, written


def config(**discover) -> Config:
    return Config.model_validate({"discover": discover})


@pytest.mark.servers
@pytest.mark.parametrize("enforce", ["namespace", None, "tenant"])
def test_their_promtool_tests_pass(enforce, tmp_path):
    passes(written(tmp_path, config(enforce=enforce)))


def test_a_configuration_without_discover_has_none_of_them():
    made = generate(Config.model_validate({"jobs": {"a": {"expr": "up"}}}))
    assert not [name for name in made if "declared" in name]


def test_the_rules_name_no_job_so_that_a_new_one_needs_no_new_rule():
    (made,) = [text for name, text in generate(config()).items() if name == "rules/declared.yml"]
    rules = yaml.safe_load(made)["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == [each.name for each in declared_alerts(*settings())]
    assert 'query=~"[a-z0-9-]+:.+"' in rules[0]["expr"]


def settings():
    made = config()
    assert made.discover is not None
    return made.discover, made.alerting, None
