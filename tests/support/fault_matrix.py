"""The tests of each row of docs/reliability.md; `python -m tests.support.fault_matrix` writes them into the page."""

import re
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
PAGE: Final = TESTS.parent / "docs" / "reliability.md"
_MENTION: Final = re.compile(r"(?:\b|_)[Rr]ows?[ _](\d+(?:(?:, | and | to )\d+)*)")
_ROW: Final = re.compile(r"^\| (\d+) \|(.*)\|[^|]*\|$", re.MULTILINE)


def rows_named(text: str) -> set[int]:
    """Return the numbers of the rows that a text names.

    >>> sorted(rows_named("Rows 2 and 3; rows 22 to 24"))
    [2, 3, 22, 23, 24]
    """
    named: set[int] = set()
    for mention in _MENTION.findall(text):
        for part in re.split(r", | and ", mention):
            first, _, last = part.partition(" to ")
            named.update(range(int(first), int(last or first) + 1))
    return named


def covering() -> dict[int, list[str]]:
    """Return the test files that name each row, by row."""
    found: dict[int, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for row in rows_named(path.read_text()):
            found.setdefault(row, []).append(path.relative_to(TESTS).as_posix().removesuffix(".py"))
    return found


def with_tests(page: str) -> str:
    """Return the page with the tests of every row in its last column."""
    tests = covering()

    def row(match: re.Match[str]) -> str:
        files = ", ".join(f"`{name}`" for name in tests.get(int(match[1]), [])) or "none"
        return f"| {match[1]} |{match[2]}| {files} |"

    return _ROW.sub(row, page)


if __name__ == "__main__":
    PAGE.write_text(with_tests(PAGE.read_text()))
