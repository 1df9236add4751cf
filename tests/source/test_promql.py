"""What is quoted stays one literal; what is no bare counter is left alone."""

import json
import re

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.promql import as_rate, bare_selector, metrics, quote, selector
from tests.source.conftest import BEGIN, ODD_VALUES

LAST = BEGIN + 59 * 60.0

BARE = {
    "http_requests_total": "http_requests_total",
    "  up\n": "up",
    "up{}": "up",
    'up{job="a"}': "up",
    'up { job = "a" , }': "up",
    'job:errors:rate5m{a!="b",c=~"x|y",d!~"{}"}': "job:errors:rate5m",
    'up{a="} or vector(1) #"}': "up",
    'up{a="\\"}"}': "up",
    "up{a='it is \"so\"'}": "up",
    "up{a=`\\`}": "up",
    '{__name__="up",job="a"}': "up",
    'sum{a="b"}': "sum",
}
NOT_BARE = [
    "",
    "{}",
    '{job="a"}',
    '{__name__=~"up.*"}',
    '{__name__!="up"}',
    'up{__name__="up"}',
    "rate(up[5m])",
    "rate(up{a='}'}[5m])",
    "up[5m]",
    "up offset 5m",
    "up offset -5m",
    "up @ 1700000000",
    "up @ end()",
    "-up",
    "up + up",
    "up-up",
    "up or up{}",
    "up > 1",
    "sum by (job) (up)",
    "sum(up)",
    "(up)",
    "time()",
    "1",
    "1e3",
    "NaN",
    "inf",
    '"up"',
    'up{a="b" c="d"}',
    'up{a="b}',
    "up{a=b}",
    'up{a="b"',
    "up{,}",
    "up # comment",
    "up{a=\"b\\\"}",
]  # fmt: skip


@pytest.mark.parametrize(("expr", "metric"), BARE.items())
def test_a_bare_selector_is_recognised_and_rated(expr, metric):
    assert bare_selector(expr) == metric
    assert as_rate(expr, 300.0) == f"rate({expr.strip()}[5m])"


@pytest.mark.parametrize("expr", NOT_BARE)
def test_everything_else_is_left_alone(expr):
    assert bare_selector(expr) is None
    assert as_rate(expr, 300.0) == expr


@given(st.text(max_size=40))
def test_any_text_is_left_alone_or_a_selector(expr):
    if (metric := bare_selector(expr)) is None:
        assert as_rate(expr, 60.0) == expr
    else:
        assert metric in expr


def test_a_long_hopeless_expression_is_refused_quickly():
    """Row 30's sister: no backtracking to the end of days. pytest's time-out is the limit."""
    for hopeless in (
        'up{a="b",' * 20_000,
        "up{" + " " * 50_000,
        'up{a="' + "\\" * 50_000,
        'up{a="b"' + " ," * 30_000 + "!",
    ):
        assert bare_selector(hopeless) is None


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=50))
def test_a_quoted_value_is_one_line_and_one_literal(value):
    """Row 20."""
    quoted = quote(value)
    assert quoted.isprintable()
    assert re.fullmatch(r'"(?:[^"\\]|\\["\\ntr]|\\U[0-9a-f]{8})*"', quoted)
    assert bare_selector(f"up{{a={quoted}}}") == "up"


def test_what_is_no_unicode_is_refused():
    with pytest.raises(ValueError, match="surrogates"):
        quote("\ud800")


@pytest.mark.parametrize("label", ["", "\ud800"])
def test_an_impossible_label_name_is_refused(label):
    with pytest.raises(ValueError, match=r"is not a label name|surrogates"):
        selector("up", **{label: "x"})


def test_names_that_only_prometheus_3_knows_are_quoted_and_read_back():
    text = selector("http.dur", **{"service.name": "x", "1a": "y", 'a="b",c': "z", "job": "j"})
    assert text == '{__name__="http.dur","service.name"="x","1a"="y","a=\\"b\\",c"="z",job="j"}'
    parsed = promql_parser.parse(text)
    assert {(each.name, each.value) for each in parsed.matchers.matchers} >= {("service.name", "x"), ('a="b",c', "z")}
    assert bare_selector(text) == "http.dur"
    assert bare_selector('{"http.dur", "service.name"="x"}') == "http.dur"
    assert metrics('sum by ("a)b", job) ({"http.dur", "service.name"="x", job="j"}) / on ("x.y") up{"z.z"!="1"}') == {
        "http.dur": {"service.name": "x", "job": "j"},
        "up": {},
    }


@pytest.mark.servers
def test_a_quoted_selector_returns_its_series_and_no_other(connect, filled):
    """Row 20: 300 odd values, stored or not, each in the middle of a query."""
    source = connect(filled.url)
    values = list(
        dict.fromkeys([*ODD_VALUES, *(a + b for a in ODD_VALUES[:20] for b in ODD_VALUES[2:18]), "\0", "a\0b"])
    )
    assert len(values) > 300
    found = []
    for first in range(0, len(values), 40):
        asked = [
            f'label_replace({selector("odd", value=value)}, "asked", "{first + number}", "", "")'
            for number, value in enumerate(values[first : first + 40])
        ]
        frame = source.range(" or ".join(asked), LAST, LAST, 60.0)
        found += [(int(labels["asked"]), labels.get("value", "")) for labels in map(json.loads, frame.labels)]
    assert sorted(found) == [(number, value) for number, value in enumerate(values) if value in ODD_VALUES]


@pytest.mark.servers
def test_every_selector_and_every_rate_is_accepted_by_prometheus(connect, filled):
    """Also for metrics named like PromQL's own words, and for what only looks like a metric's name."""
    words = (
        *("sum", "avg", "group", "topk", "quantile", "count_values", "by", "without", "on", "ignoring", "group_left"),
        *(
            "group_right",
            "bool",
            "offset",
            "and",
            "or",
            "unless",
            "atan2",
            "start",
            "end",
            "inf",
            "NaN",
            "rate",
            "time",
        ),
    )
    exprs = [selector(name) for name in [*words, "a-b", "ü", "x~y", "1a"]] + [selector(w, job="a\n") for w in words]
    for expr in [*exprs, *BARE]:
        source = connect(filled.url)
        assert source.range(expr, LAST, LAST, 60.0) is not None
        rated = as_rate(expr, 90.0)
        assert rated.startswith("rate(")
        assert source.range(rated, LAST, LAST, 60.0).labels == []


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("up", {"up": {}}),
        ("sum by (job, le) (rate(a_bucket[5m:1m] offset 5m))", {"a_bucket": {}}),
        ("count without (x) (a) / on (y) group_left (z) b", {"a": {}, "b": {}}),
        ("sum (a) by (b) unless c and bool", {"a": {}, "c": {}}),
        ('a{b="c",d!="e",f=~"g"} or a{b="c",f="h"}', {"a": {"b": "c"}}),
        ('{__name__="a:b",c="d"} + {"e.f",g="h"}', {"a:b": {"c": "d"}, "e.f": {"g": "h"}}),
        ('{__name__=~"a.*"} or {job="b"}', {}),
        ("a{b='\\'}', c=`\\`} > 1e6 # d or e", {"a": {"b": "'}", "c": "\\"}}),
        ('label_replace(a, "b", "$1", "c", "d(.+)") == bool NaN', {"a": {}}),
        ("time() - a @ end() > inf", {"a": {}}),
        ("rate(rate_total[5m]) * sum_total", {"rate_total": {}, "sum_total": {}}),
    ],
)
def test_the_metrics_of_an_expression_are_found_with_what_all_their_selectors_ask_for(
    expr: str, expected: dict[str, dict[str, str]]
) -> None:
    assert metrics(expr) == expected
