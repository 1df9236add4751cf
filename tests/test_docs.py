"""The documentation says what is there."""

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from detectors import DETECTORS
from exporter.config.renamed import RENAMED
from tests.support import fault_matrix

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
TEXT = (ROOT / "docs" / "detectors.md").read_text()


def written(default):
    if isinstance(default, tuple):
        return ", ".join(default)
    return f"{default:g}" if isinstance(default, int | float) else str(default or "none")


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_every_detector_and_parameter_is_documented_with_its_default(name):
    section = TEXT.split(f"\n## {name}", 1)[1].split("\n## ", 1)[0]
    module, _, attribute = DETECTORS[name].partition(":")
    for field in fields(getattr(import_module(module), attribute)):
        if not field.name.startswith("_"):
            default = "the job's" if field.name in {"window", "peers"} else written(field.default)
            assert f"| `{field.name}` | {default} |" in section


def test_the_configuration_in_the_readme_loads(tmp_path):
    from exporter.config.load import load

    block = (ROOT / "README.md").read_text().split("Write `anomaly.yml`:")[1].split("```yaml\n")[1].split("```")[0]
    (tmp_path / "anomaly.yml").write_text(block)
    assert set(load(tmp_path / "anomaly.yml", environ={}).config.jobs) == set(yaml.safe_load(block)["jobs"])


def test_every_renamed_key_is_in_the_migration_table() -> None:
    page = (ROOT / "docs" / "migration.md").read_text()
    section = page.partition("## Configuration")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip(" `") for cell in line.split("|")[1:4]) for line in section.splitlines() if "`" in line]
    assert rows == [(".".join(entry.old), entry.new, entry.note) for entry in RENAMED]


def test_every_row_of_the_fault_matrix_names_its_tests() -> None:
    """Change the page with `python -m tests.support.fault_matrix`."""
    page = fault_matrix.PAGE.read_text()
    assert page == fault_matrix.with_tests(page)
    listed = [int(line.split("|")[1]) for line in page.splitlines() if re.match(r"\| \d+ \|", line)]
    assert listed == list(range(1, 57))
    assert set(fault_matrix.covering()) <= set(listed)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """As `make docs` checks it, without the packages for the site, and for the pages outside it too."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if ":" not in link:
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(
        path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")
    )


def test_every_file_that_contributing_and_the_architecture_name_is_there() -> None:
    for page in (ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"):
        for name in re.findall(r"`([\w/.-]+/[\w-]+\.\w+)`", page.read_text()):
            if "NAME" not in name:
                assert any((ROOT / folder / name).exists() for folder in (".", "exporter")), f"{page.name}: {name}"
