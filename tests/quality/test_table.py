"""The tables of docs/detectors.md, without the time it takes to measure what stands in them."""

import pytest

from tests.quality.table import begin, end, markdown, merged, read_table, replace_table

HEADS = ("found", "cost")
PAGE = f"# Detectors\n\n{begin('quality')}\nold\n{end('quality')}\nmore\n"


def test_a_table_is_read_back_as_it_was_written():
    rows = {"`one`": {"found": "0.80 (0.20) at 1.25", "cost": "3.1"}, "random": {"found": "-", "cost": "-"}}
    page = replace_table(PAGE, "quality", markdown(rows, HEADS))
    assert read_table(page, "quality") == rows
    assert page.startswith("# Detectors\n\n")
    assert page.endswith(f"{end('quality')}\nmore\n")
    assert len({line.count("|") for line in markdown(rows, HEADS).splitlines()}) == 1


def test_what_was_not_measured_now_keeps_what_stood_there():
    old = {"`one`": {"found": "0.8", "cost": "3"}, "`two`": {"found": "0.5", "cost": "9"}, "gone": {"found": "1"}}
    rows = merged(old, {"`one`": {"found": "0.9"}, "`new`": {"cost": "1"}}, ["`one`", "`two`", "`new`"], HEADS)
    assert rows == {
        "`one`": {"found": "0.9", "cost": "3"},
        "`two`": {"found": "0.5", "cost": "9"},
        "`new`": {"found": "-", "cost": "1"},
    }


def test_a_page_without_a_place_for_the_table_is_refused():
    with pytest.raises(ValueError, match="no place for the table"):
        replace_table("# Detectors\n", "quality", "text")


def test_an_empty_place_has_no_rows():
    assert read_table(PAGE, "quality") == {}
