"""The generated rules in vmalert: it knows fewer functions, and `$labels` holds the labels of the rule itself."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config.load import load
from exporter.config.sections.root import Config
from exporter.promql import quote
from rules.generate import generate
from tests.support.generated import tool, written

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "rules" / "golden.yml"
FILES = [
    GOLDEN,
    ROOT / "examples" / "alerting.yml",
    ROOT / "examples" / "discover.yml",
    *sorted((ROOT / "rules" / "presets").glob("*.yml")),
]
GO = "and call html index slice js len not or print printf println urlquery eq ge gt le lt ne"
VMALERT = (
    "args crlfEscape externalURL first htmlEscape humanize humanize1024 humanizeDuration humanizePercentage "
    "humanizeTimestamp jsonEscape label match parseDuration parseDurationTime pathEscape pathPrefix query queryEscape "
    "quotesEscape reReplaceAll safeHtml sortByLabel stripDomain stripPort strvalue title toLower toTime toUpper value"
)
WORDS = "if else end range with define template block break continue true false nil"
KNOWN = frozenset(f"{GO} {VMALERT} {WORDS}".split())
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`')
_CALLED = re.compile(r"(?<![\w.$])[a-zA-Z]\w*")


def loaded(path: Path) -> Config:
    return load(path, None, {"MODEL_STORE_KEY": "k"}).config


def rules_of(config: Config) -> list[dict[str, Any]]:
    return [
        rule
        for name, text in generate(config).items()
        if name.startswith("rules/")
        for rule in yaml.safe_load(text)["groups"][0]["rules"]
    ]


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_templates_call_only_what_vmalert_knows(path: Path) -> None:
    called = set()
    for rule in rules_of(loaded(path)):
        for text in (*rule.get("annotations", {}).values(), *rule.get("labels", {}).values()):
            for action in re.findall(r"{{(.*?)}}", _STRING.sub('""', text), re.DOTALL):
                called.update(_CALLED.findall(action))
    assert called - KNOWN == set()
    assert "graphLink" not in KNOWN


@pytest.mark.servers
@pytest.mark.parametrize("path", FILES[:2], ids=[path.name for path in FILES[:2]])
def test_texts_are_the_same_with_the_labels_that_vmalert_adds(path: Path, tmp_path: Path) -> None:
    """promtool renders every text with `alertname`, `alertgroup` and the rule's own labels in `$labels`.

    `ALERTS` then has `alertgroup` too, as vmalert writes it, so the cases that hold an alert show that it matches.
    """
    written(tmp_path, loaded(path))
    for file in (tmp_path / "rules").iterdir():
        document = yaml.safe_load(file.read_text())
        [group] = document["groups"]
        for rule in group["rules"]:
            added = {"alertname": rule["alert"], "alertgroup": group["name"], **rule["labels"]}
            for name, value in added.items():
                rule["expr"] = f'label_replace({rule["expr"]}, "{name}", {quote(value)}, "", "")'
        file.write_text(yaml.safe_dump(document))
        test = tmp_path / "tests" / f"{file.stem}_test.yml"
        cases = yaml.safe_load(test.read_text())
        for case in cases["tests"]:
            for expected in case["alert_rule_test"][0]["exp_alerts"]:
                expected["exp_labels"]["alertgroup"] = group["name"]
        test.write_text(yaml.safe_dump(cases))
    done = tool(tmp_path, "promtool", "test", "rules", files="tests/*.yml")
    assert done.returncode == 0, done.stdout + done.stderr
