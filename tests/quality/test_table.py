"""The comparison of detectors, without the hours it takes to make."""

from tests.quality.table import BEGIN, END, Result, replace_table, table


def result(detector, data, hold=True, **incidents):
    figures = {
        "detector": {"recall@7": 0.5},
        "incidents": {"recall": 0.8, "floor": 0.2, "opened_per_week": 1.25, **incidents},
    }
    return Result(detector, data, hold, figures, 12.3, seconds=30.0)


def test_a_row_per_detector_and_a_dash_where_it_failed():
    text = table(
        [
            result("one", "nab", nab={"standard": 61.23}),
            result("one", "smd"),
            result("one", "smd", hold=False),
            Result("two", "nab", True, error="out of memory"),
        ]
    ).splitlines()
    assert len(text) == 4
    assert text[2] == "| `one` | 0.80 (0.20) at 1.25 | 0.80 (0.20) at 1.25 | 61.2 | 0.50 | 12 | 12 | 1.5 |"
    assert text[3] == "| `two` | - | - | - | - | - | - | 0.0 |"
    assert len({line.count("|") for line in text}) == 1


def test_only_what_stands_between_the_markers_is_replaced():
    once = replace_table("# Detectors\n\ntext\n", "old")
    again = replace_table(once + "\nmore\n", "new")
    assert once.startswith("# Detectors\n\ntext\n")
    assert again == once.replace("old", "new") + "\nmore\n"
    assert again.count(BEGIN) == again.count(END) == 1
