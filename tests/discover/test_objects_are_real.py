"""The objects of the tests and of the page are such as Kubernetes and the Prometheus operator take."""

import re
from pathlib import Path

import kubernetes_validate
import yaml

from exporter.config.declared import declared
from exporter.config.declared_objects import declaration
from exporter.config.load import load
from exporter.config.sections.root import Config
from tests.rules.test_operator_objects import keeps_to_its_schema
from tests.support.declared import config_map, grafana_rule, prometheus_rule

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "discovery.md").read_text()


def test_they_keep_strictly_to_their_schemas():
    kubernetes_validate.validate(config_map("shop", "jobs: {}"), "1.31", strict=True)
    keeps_to_its_schema(prometheus_rule("shop", grafana_rule("a", "adaptive"), annotation="jobs: {}"))


def test_the_config_map_of_the_page_declares_its_job():
    (text,) = [each for each in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "kind: ConfigMap" in each]
    made = yaml.safe_load(text)
    kubernetes_validate.validate(made, "1.31", strict=True)
    config = Config.model_validate({"discover": {}})
    assert config.discover is not None
    read = declaration(made, config.discover)
    assert read is not None
    found = declared([read], config)
    assert found.refused == ()
    assert found.jobs["shop:errors"].alert.severity == "page"


def test_every_configuration_of_the_page_is_good(tmp_path):
    receivers = {name: {"webhook": {"url": "http://x.test"}} for name in ("platform", "shop")}
    alerting = yaml.safe_dump({"alerting": {"routes": {"ticket": ["platform"]}, "receivers": receivers}})
    for text in re.findall(r"```yaml\n(discover:.*?)```", PAGE, re.DOTALL):
        (tmp_path / "a.yml").write_text(f"{text}{alerting}")
        assert load(tmp_path / "a.yml", environ={}).config.discover is not None
