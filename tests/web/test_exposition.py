"""Label texts and numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exposition import (
    MAX_LABEL_BYTES,
    TARGET_LABELS,
    Lines,
    bit_lines,
    blanks,
    label_text,
    number_lines,
    numbers,
    present_lines,
)
from exporter.label_names import SCHEMES, published_names

RESERVED = frozenset({"query", "detector"})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, b"1.0"),
        (0.1, b"0.1"),
        (-0.0, b"-0.0"),
        (1e308, b"1e308"),
        (5e-324, b"5e-324"),
        (math.nan, b"NaN"),
        (math.inf, b"+Inf"),
        (-math.inf, b"-Inf"),
    ],
)
def test_numbers_are_written_as_prometheus_reads_them(value: float, text: bytes) -> None:
    assert numbers(np.array([value, 2.5])) == text + b",2.5"


@given(st.lists(st.floats(), min_size=1, max_size=50))
def test_every_number_reads_back_as_the_same_number(values: list[float]) -> None:
    array = np.array(values, np.float64)
    assert np.array_equal(np.array([float(text) for text in numbers(array).split(b",")]), array, equal_nan=True)


def test_a_label_of_ours_moves_the_source_label_aside_as_prometheus_does() -> None:
    assert published_names(("detector", "instance", "query"), RESERVED) == (
        "exported_detector",
        "instance",
        "exported_query",
    )
    assert published_names(("exported_query", "query"), RESERVED) == ("exported_query", "exported_exported_query")
    assert published_names(("__name__",), RESERVED) == ("exported___name__",)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_name_that_ends_in_a_line_break_is_written_in_every_form(scheme):
    """Row 14: found by fuzzing. It was looked for without an end, and the cycle never came back."""
    (name,) = published_names(("job\n",), RESERVED, scheme)
    assert "job" in name
    assert "\n" not in name or scheme == "allow-utf-8"


def test_a_name_only_prometheus_3_knows_is_written_for_all_others() -> None:
    assert published_names(("service.name", "0a", "", "ä", "le"), RESERVED) == (
        "service_name",
        "_a",
        "_",
        "exported__",
        "le",
    )


def test_a_rewritten_name_never_takes_the_place_of_another_label() -> None:
    assert published_names(("a.b", "a_b"), RESERVED) == ("exported_a_b", "a_b")


names = st.text(alphabet=st.sampled_from("aq0_.é"), max_size=4) | st.sampled_from(
    ["query", "exported_query", "exported_exported_query", "detector", "__name__", "qu.ery", "a.b", "a_b"]
)


@given(st.lists(names, unique=True, max_size=8).map(tuple))
def test_published_names_are_valid_different_and_not_ours(given_names: tuple[str, ...]) -> None:
    published = published_names(given_names, RESERVED)
    assert len(set(published)) == len(given_names)
    assert not RESERVED & set(published)
    assert all(name.isascii() and name.isidentifier() and not name.startswith("__") for name in published)
    valid = [name for name in given_names if name.isascii() and name.isidentifier() and not name.startswith("__")]
    assert set(valid) - RESERVED <= set(published), "a name that is fine stays as it is"


def test_special_characters_are_escaped_and_what_utf8_cannot_say_is_replaced() -> None:
    text = label_text((("a", 'x"\\\n\0\r'), ("b", "\ud800")), 'query="q"', RESERVED)
    assert text is not None
    assert text.startswith(b'a="x\\"\\\\\\n\0\r",b="?",query="q",')


def test_an_empty_label_is_no_label() -> None:
    assert label_text((("a", ""),), 'query="q"', RESERVED) == label_text((), 'query="q"', RESERVED)


def test_a_label_that_scraping_would_add_is_blank_where_the_series_has_none() -> None:
    """`honor_labels` leaves a blank label as it is, and Prometheus then drops it."""
    every = ",".join(f'{name}=""' for name in TARGET_LABELS)
    assert label_text((), 'query="q"', RESERVED) == f'query="q",{every}}} '.encode()
    theirs = tuple((name, "theirs") for name in TARGET_LABELS)
    assert b'""' not in (label_text(theirs, 'query="q"', RESERVED) or b'""')
    assert blanks(("pod", "zone")) == "".join(f',{name}=""' for name in TARGET_LABELS if name != "pod")


def test_monstrous_labels_are_refused() -> None:
    """Row 14."""
    assert label_text((("a", "x" * MAX_LABEL_BYTES),), "", RESERVED) is None
    assert label_text(tuple((f"l{n}", "0123456789") for n in range(5_000)), "", RESERVED) is None
    assert label_text((("a", "x" * (MAX_LABEL_BYTES - 1)),), "", RESERVED) is not None


@pytest.mark.parametrize("count", [0, 1, 2047, 2048, 2049, 5000])
def test_lines_have_the_size_that_is_told_before_they_are_written(count: int) -> None:
    rng = np.random.default_rng(count)
    labels = [b'pod="p%d"} ' % number for number in range(count)]
    lengths = np.array([len(label) for label in labels], np.int64)
    values = np.where(rng.random(count) < 0.3, np.nan, rng.normal(size=count))
    flags = rng.random(count) < 0.5
    there = ~np.isnan(values)
    for known in (None, lengths):
        for lines, expected in (
            (number_lines(b"a{", labels, np.nan_to_num(values), known), np.nan_to_num(values)),
            (bit_lines(b"a{", labels, flags, known), flags.astype(float)),
            (present_lines(b"a{", labels, values, known), values[there]),
        ):
            text = bytes(lines)
            assert len(lines) == lines.size == len(text) == sum(map(len, lines.pieces()))
            assert bool(lines) == bool(text)
            read = [float(line.rpartition(b" ")[2]) for line in text.split(b"\n")[1:]]
            assert read == expected.tolist()
    shown = bytes(present_lines(b"a{", labels, values, lengths)).split(b"\n")[1:]
    assert [line.rpartition(b" ")[0] + b" " for line in shown] == [
        b"a{" + label for label, there in zip(labels, there, strict=True) if there
    ]


def test_lines_of_several_families_are_read_one_after_the_other() -> None:
    some = [
        number_lines(b"a{", [b"x} ", b"y} "], np.array([1.0, math.nan])),
        Lines(),
        bit_lines(b"b{", [b"x} "], np.ones(1, np.bool_)),
    ]
    assert bytes(Lines.joined(some)) == b"\na{x} 1.0\na{y} NaN\nb{x} 1"
    assert len(Lines.joined(some)) == 25
    assert not Lines.joined([Lines(), Lines()])
