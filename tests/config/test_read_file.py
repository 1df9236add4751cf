"""Row 30: whatever the file holds, reading it is bounded, and words mean what they say."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.config.load import ConfigError, load
from exporter.config.nodes import plain
from exporter.config.read_file import MAX_BYTES, parse
from exporter.config.yaml_nodes import MAX_DEPTH, scalar

JOB = "jobs:\n  a: {expr: up}\n"


def value(text: str) -> Any:
    root, mistakes = parse(text, "text")
    assert root is not None
    assert not mistakes
    return plain(root)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "text")
    return str(caught.value)


def laughs(levels: int, width: int) -> str:
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_a_billion_laughs_are_refused_before_they_are_told() -> None:
    began = time.process_time()
    message = refusal(laughs(9, 9))
    assert message == "text:6: far too much content once aliases (*name) are expanded; write fewer of them"
    # Row 30 asks for 0.1 s; the bound here only tells bounded work from the expansion, which would take minutes.
    assert time.process_time() - began < 5


def test_a_bomb_of_merge_keys_is_refused() -> None:
    lines = ["a0: &a0 {k: v}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    assert "far too much content" in refusal("\n".join(lines))


def test_one_long_text_under_many_aliases_is_refused() -> None:
    assert "far too much content" in refusal(f"a: &a {'x' * 500_000}\nb: [{', '.join(['*a'] * 50)}]")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", '{"a":'])
def test_deep_nesting_is_refused_without_a_recursion_error(opening: str) -> None:
    assert refusal(opening * 20_000) == f"text:1: nested deeper than {MAX_DEPTH} levels"


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "large.yml"
    file.write_text(JOB + "#" * MAX_BYTES)
    with pytest.raises(ConfigError, match="is larger than 1 MiB"):
        load(file, None, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((word, word) for word in ("no", "yes", "on", "off", "Y", "n", "No", "1:30", "190:20:30", "2024-01-01")),
        *((word, word) for word in ("1_000", "=", "<<", "nulL", "+.nan", ".", "1e", "e3", "-", "0x", "0o8", "1.2.3")),
        ("1e3", 1000.0), ("1E-3", 0.001), (".5", 0.5), ("1.", 1.0), ("-12", -12), ("+7", 7), ("0123", 123),
        ("0o17", 15), ("0xff", 255), ("-.inf", float("-inf")), ("true", True), ("False", False),
        ("~", None), ("", None), ("null", None), ("9" * 5000, float("inf")),
    ],
)  # fmt: skip
def test_words_and_numbers_are_those_of_yaml_1_2(text: str, expected: object) -> None:
    assert scalar(text) == expected
    assert type(scalar(text)) is type(expected)


def test_quotes_make_text() -> None:
    assert value("{a: '1', b: \"true\", c: !!str 5}") == {"a": "1", "b": "true", "c": "5"}
    assert value("a: |\n  7\nb: >-\n  null\n") == {"a": "7\n", "b": "null"}


def test_keys_are_always_text() -> None:
    assert value("{404: 1, no: 2, null: 3, 1e3: 4}") == {"404": 1, "no": 2, "null": 3, "1e3": 4}


def test_words_for_a_boolean_still_set_a_boolean(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("jobs:\n  a: {expr: up, rate: no}\ndrift_detection: on\n")
    config = load(file, None, {}).config
    assert config.jobs["a"].rate is False
    assert config.drift_detection.method == "adwin"


@pytest.mark.parametrize("encode", [
    lambda text: b"\xef\xbb\xbf" + text.encode(),
    lambda text: text.replace("\n", "\r\n").encode(),
    lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    lambda text: b"---\n" + text.encode() + b"...\n",
    lambda text: b"# caf\xc3\xa9 \xf0\x9f\x98\x80\n" + text.encode(),
], ids=["bom", "crlf", "bom-crlf", "markers", "unicode"])  # fmt: skip
def test_other_ways_to_write_the_same_file_load_the_same(tmp_path: Path, encode: Any) -> None:
    """Row 32: a byte order mark or Windows line ends make no difference."""
    plain_file, other = tmp_path / "plain.yml", tmp_path / "other.yml"
    plain_file.write_text(JOB)
    other.write_bytes(encode(JOB))
    assert load(other, None, {}).config == load(plain_file, None, {}).config


def test_lines_are_right_with_windows_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_bytes(b"\xef\xbb\xbfjobs:\r\n  a: {expr: up}\r\nlogg: 1\r\n")
    with pytest.raises(ConfigError, match=r"a\.yml:3: logg: unknown key"):
        load(file, None, {})


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_loads_as_it_is(tmp_path: Path, indent: int | str | None) -> None:
    content = {"jobs": {"a": {"expr": 'up{job="api"}', "valid_range": [None, 1e3], "rate": False}}}
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content, indent=indent))
    job = load(file, None, {}).config.jobs["a"]
    assert (job.expr, job.valid_range, job.rate) == ('up{job="api"}', (None, 1000.0), False)


def test_anchors_and_merge_keys_save_writing(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(
        "jobs:\n  a: &common {expr: up, step: 30s, window: 2h}\n  b:\n    <<: *common\n    expr: down\n"
        "  c: {<<: [*common, {step: 5m, fill: 7}], expr: x}\n"
    )
    jobs = load(file, None, {}).config.jobs
    assert [(job.expr, job.step, job.window) for job in jobs.values()] == [
        ("up", 30, 7200),
        ("down", 30, 7200),
        ("x", 30, 7200),
    ]
    assert jobs["c"].fill == 7


def test_a_byte_order_mark_does_not_hide_that_it_is_json(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b'\xef\xbb\xbf{"jobs": {"a": 1}\n"b": 2}')
    with pytest.raises(ConfigError, match=r"a\.json:2: neither JSON nor YAML: expecting ',' delimiter at column 1"):
        load(file, None, {})
