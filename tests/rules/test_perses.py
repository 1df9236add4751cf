"""The dashboards for Perses show what those for Grafana do, in the words of its schemas."""

import json
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from jsonschema import Draft202012Validator

from exporter.config.sections.root import Config
from rules.generate import generate
from tests.support.dashboards import SHOWN, asked, dashboard, targets

SCHEMA = json.loads(Path(__file__).with_name("perses.schema.json").read_text())


def perses(name: str) -> dict[str, Any]:
    config = Config.model_validate({"jobs": {"cpu": {"expr": "up"}}})
    made: dict[str, Any] = json.loads(generate(config)[f"perses/{name}.json"])
    return made


def queries(board: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (panel["spec"]["display"]["name"], query["spec"]["plugin"]["spec"]["query"])
        for panel in board["spec"]["panels"].values()
        for query in panel["spec"]["queries"]
    ]


@pytest.mark.parametrize("name", SHOWN)
def test_it_keeps_to_the_schemas(name: str) -> None:
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(perses(name))] == []


def test_the_schema_finds_what_it_does_not_know() -> None:
    board = perses("anomalies")
    next(iter(board["spec"]["panels"].values()))["spec"]["plugin"]["spec"]["colour"] = "red"
    assert list(Draft202012Validator(SCHEMA).iter_errors(board))


@pytest.mark.parametrize("name", SHOWN)
def test_it_has_the_panels_and_as_many_queries_as_grafanas(name: str) -> None:
    panels = [title for title, _ in targets(dashboard(name)) if not title.startswith("annotation ")]
    assert [title for title, _ in queries(perses(name))] == panels


@pytest.mark.parametrize("name", SHOWN)
def test_every_panel_is_shown_once_and_none_lies_upon_another(name: str) -> None:
    board = perses(name)
    shown = [item["content"]["$ref"] for layout in board["spec"]["layouts"] for item in layout["spec"]["items"]]
    assert sorted(shown) == sorted(f"#/spec/panels/{key}" for key in board["spec"]["panels"])
    for layout in board["spec"]["layouts"]:
        taken: set[tuple[int, int]] = set()
        for item in layout["spec"]["items"]:
            cells = {
                (x, y)
                for x in range(item["x"], item["x"] + item["width"])
                for y in range(item["y"], item["y"] + item["height"])
            }
            assert not cells & taken
            assert item["x"] + item["width"] <= 24
            taken |= cells


@pytest.mark.parametrize("name", SHOWN)
def test_every_query_is_promql_once_its_variables_are_chosen(name: str) -> None:
    for title, expr in queries(perses(name)):
        assert "${" not in expr, f"{title}: a variable that only Grafana knows"
        assert promql_parser.parse(asked(expr))


def test_grafanas_ids_follow_from_the_headings_alone() -> None:
    """A link to a panel (`viewPanel=…`) still leads there when others come or go."""
    for name in SHOWN:
        panels = [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]
        numbers = [panel["id"] for panel in panels]
        assert len(set(numbers)) == len(numbers)
        assert all(0 < number < 2**31 for number in numbers)
    [score] = [panel["id"] for panel in dashboard("anomalies")["panels"] if panel["title"] == "Score"]
    assert score == 1100150633
