"""Whatever is in the files and the environment: a configuration comes out, or a ConfigError, and nothing else."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.config.load import ConfigError, Loaded, load
from exporter.config.nodes import plain
from exporter.config.read_file import parse
from exporter.config.values import balanced, duration, format_size, size
from exporter.promql import format_duration

WORDS = """
    jobs prometheus web audit models log limits notify expr channels entity group step window detector robust tls env
    file isolation_forest contamination path url bearer headers basic_auth users valid_range publish metrics a b alert
    for slack drift_detection prometheus_url model_path output_csv slack_webhook_url window_minutes listen
"""
KEYS = st.sampled_from(WORDS.split())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["1m", "up", "sum(up", "1 per week", "64 MiB", "robust", "http://x", "http://[", ":9877", "above", "\0"]
    ),
)
VARIABLES = st.lists(KEYS.map(str.upper), min_size=1, max_size=5).map("__".join)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=25,
)
# Integers that a float holds exactly, and no characters that YAML wants escaped.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_categories=["Cc"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", max_size=3), inner),
    max_leaves=10,
)
JOBS = st.dictionaries(st.sampled_from(["a", "b-c"]), st.dictionaries(KEYS, TREES, max_size=5), max_size=2)


def outcome(base: bytes, profile: bytes | None = None, environ: dict[str, str] | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.yml"
        file.write_bytes(base)
        if profile is not None:
            file.with_name("a.p.yml").write_bytes(profile)
        result = attempt(load, file, None if profile is None else "p", environ or {})
    if isinstance(result, Loaded):
        json.loads(result.config.model_dump_json())
    else:
        assert isinstance(result, ConfigError)
        assert result.mistakes
        assert all(line.isprintable() for line in str(result).split("\n"))


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result, or the ConfigError or ValueError raised; any other exception fails the test."""
    try:
        return function(*arguments)
    except (ConfigError, ValueError) as error:
        return error


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_give_a_configuration_or_mistakes(data: bytes) -> None:
    outcome(data)


@given(st.text(alphabet="{}[]:,-#&*!|>'\"%@`?<=~ \n\tab01.e", max_size=60))
@settings(max_examples=600)
@example("&a a: *a")
@example("? \n")
@example("<<: {a: 1}")
@example("- &a [*a]")
@example('"\\ud800": 1')
def test_any_yaml_gives_a_configuration_or_mistakes(text: str) -> None:
    outcome(text.encode())


@given(TREES, TREES, JOBS)
@settings(max_examples=400)
def test_any_tree_gives_a_configuration_or_mistakes(tree: Any, profile: Any, jobs: Any) -> None:
    if isinstance(tree, dict):
        tree.setdefault("jobs", jobs)
    outcome(json.dumps(tree).encode(), json.dumps(profile).encode())


@given(st.dictionaries(VARIABLES, st.text(max_size=20), max_size=4))
@settings(max_examples=300)
def test_any_environment_gives_a_configuration_or_mistakes(variables: dict[str, str]) -> None:
    environ = {f"ANOMALY_EXPORTER__{name}": value for name, value in variables.items()}
    outcome(b"jobs: {a: {expr: up}, b: {channels: {x: up}, detector: {robust: {}}}}\n", None, environ)
    outcome(b"metrics: [up]\n", None, environ)


@given(st.text(alphabet="ab(){}[]\"'`\\#\n ", max_size=40))
def test_balanced_accepts_or_says_why(expr: str) -> None:
    result = attempt(balanced, expr)
    assert result == expr or "character" in str(result) or "is empty" in str(result)


@given(st.integers(0, 10**12))
def test_durations_and_sizes_survive_being_written(number: int) -> None:
    seconds = min(number, 10**9) / 1000
    assert abs(duration(format_duration(seconds)) - seconds) < 1e-6
    assert size(format_size(number + 1)) == number + 1


@given(SCALARS | TREES)
@settings(max_examples=300)
def test_units_raise_nothing_but_value_error(value: Any) -> None:
    for unit in (duration, size):
        result = attempt(unit, value)
        assert isinstance(result, int | float) or len(str(result)) < 200


@given(JSON)
def test_json_is_read_as_json_reads_it(value: Any) -> None:
    root, mistakes = parse(json.dumps({"x": value}, ensure_ascii=False), "text")
    assert root is not None
    assert not mistakes
    assert plain(root) == {"x": value}
