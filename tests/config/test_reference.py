"""docs/configuration.md documents every key, as the models have them now."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.config import reference
from exporter.config.load import load
from exporter.config.sections.root import Config


def described(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    for definition in (schema, *root.get("$defs", {}).values()):
        for key, value in definition.get("properties", {}).items():
            yield key, value.get("description")


def test_the_tables_are_up_to_date() -> None:
    page = reference.PAGE.read_text(encoding="utf-8")
    assert page == reference.rewrite(page), "run python -m exporter.config.reference"


def test_every_key_has_a_description_and_a_row() -> None:
    page = reference.PAGE.read_text(encoding="utf-8")
    schema = Config.model_json_schema()
    keys = dict(described(schema, schema))
    assert [key for key, text in keys.items() if not text] == []
    assert [key for key in keys if f"| `{key}` |" not in page and f"`{{{key}: " not in page] == []


def test_the_rewriting_command_changes_only_what_is_between_the_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{reference.BEGIN}\nold\n{reference.END}\nafter\n")
    monkeypatch.setattr("sys.argv", ["reference", str(page)])
    reference.main()
    assert page.read_text() == f"before\n{reference.BEGIN}\n\n{reference.tables()}\n\n{reference.END}\nafter\n"


def test_the_yaml_in_the_page_loads(tmp_path: Path) -> None:
    page = reference.PAGE.read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in page.split("```yaml\n")[1:]]
    assert blocks[0] == (reference.PAGE.parents[1] / "examples" / "anomaly.yml").read_text()
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.yml"
        file.write_text(block if "jobs:" in block or "metrics:" in block else f"jobs: {{a: {{expr: up}}}}\n{block}")
        load(file, None, {})
