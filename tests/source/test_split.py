"""Replicas ask for their shares of an answer: together they get every series of it, and none twice."""

from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo.servers import openmetrics
from exporter.config.sections.source import LimitsConfig, PrometheusConfig
from exporter.pipeline.shard import Shard
from exporter.pipeline.window import Window
from exporter.promql_split import LONGEST_PATTERN, escape, labels_named, matchers, patterns, splits_by, with_matcher
from exporter.source.prometheus import Prometheus
from exporter.source.samples import RangeResult
from exporter.source.split_source import SplitSource
from tests.source.conftest import BEGIN, ODD_VALUES
from tests.support.stub import Reply, Stub, matrix, serve
from tests.support.waiting import PATIENCE
from tests.support.windows import extend

HOUR = 60
PODS = (*ODD_VALUES, *(f"pod-{number}.x" for number in range(20)))
"""Values of `pod`; a series whose pod is "" has no such label."""

SPLIT = (
    "load",
    "-load",
    "60 - load > 20",
    "(load + zone_weight * 0) or load",
    'load{zone!="b"}',
    r"load{pod=~`pod-\d+\.x`}",
    'load{pod!="plain"} # it is not "',
    "load offset 10m",
    "load - load offset 10m",
    "rate(load[5m])",
    "max_over_time(rate(load[5m])[20m:1m])",
    "avg_over_time(load[5m] offset 5m) > bool 3",
    "sum by (pod) (load)",
    "sum by (pod, zone) (load) / on (pod, zone) count by (pod, zone) (load)",
    "sum without (zone) (load)",
    "topk by (pod) (1, load)",
    'count_values by (pod) ("value", load)',
    "load / on (pod) group_left () sum by (pod) (load)",
    "load / ignoring (zone) group_left () sum without (zone) (load)",
    'load and on (pod) load{zone="a"}',
    "load unless on (pod) (load > 10)",
    'label_replace(load, "area", "$1", "zone", "(.*)")',
    "clamp_max(load, 12)",
    "quantile by (pod) (0.9, load)",
    '{__name__="load"}',
    "sort_desc(load)",
)
WHOLE = (
    "sum(load)",
    "sum by (zone) (load)",
    "sum without (pod) (load)",
    "topk(3, load)",
    "load / on (zone) group_left () sum by (zone) (load)",
    "load - scalar(sum(load))",
    "absent(load)",
    'label_replace(load, "pod", "$1", "zone", "(.*)")',
    'count_values by (pod) ("pod", load)',
    "load @ 1700000040",
    "vector(1)",
    "time()",
    "rollup(load[5m])",
    "load /",
)


@pytest.fixture(scope="module")
def source(servers, tmp_path_factory):
    """A Prometheus with an hour of `load` of every pod in two zones, and of a series that all pods share a weight."""
    from deploy.demo.servers import PrometheusServer, backfill

    times = [BEGIN + 60.0 * minute for minute in range(HOUR)]
    lines = []
    for number, pod in enumerate(PODS):
        for zone in "ab" if number % 3 else "a":
            labels = {"pod": pod, "zone": zone} if pod else {"zone": zone}
            lines += openmetrics("load", labels, times, [number + 1 + 0.1 * (minute % 7) for minute in range(HOUR)])
            lines += openmetrics("zone_weight", labels, times, [2.0] * HOUR)
    directory = tmp_path_factory.mktemp("split")
    backfill(directory, sorted(lines, key=lambda line: line.partition("{")[0]))
    config = PrometheusConfig(url="http://unused", deadline=PATIENCE)
    with (
        PrometheusServer(directory, scrape={}) as server,
        closing(Prometheus(config.model_copy(update={"url": server.url}), LimitsConfig())) as connected,
    ):
        yield connected


def shares(source, label, count) -> list[SplitSource]:
    return [SplitSource(source, "job", label, Shard(index, count).owns_value) for index in range(count)]


def by_series(frame: RangeResult) -> dict[bytes, list[tuple[float, float]]]:
    ends = np.cumsum(frame.counts).tolist()
    samples = list(zip(frame.times.tolist(), frame.values.round(9).tolist(), strict=True))
    return {label: samples[a:b] for label, (a, b) in zip(frame.labels, pairwise([0, *ends]), strict=True)}


@pytest.mark.parametrize("minutes", [1, 7])
@pytest.mark.parametrize("expr", SPLIT)
def test_the_shares_of_an_answer_are_the_answer(source, expr, minutes):
    """Every label value, whatever is in it, is in the share of exactly one replica; numbers are those of the whole."""
    assert splits_by(expr, "pod")
    end = BEGIN + 50 * 60.0
    asked = end - (minutes - 1) * 60.0, end, 60.0
    whole = by_series(source.range(expr, *asked))
    assert whole
    for count in (2, 3):
        found = [by_series(share.range(expr, *asked)) for share in shares(source, "pod", count)]
        assert sum(map(len, found)) == len(whole)
        assert {series: samples for each in found for series, samples in each.items()} == whole
        assert max(map(len, found)) < len(whole), "each reads a part"


@pytest.mark.parametrize("expr", WHOLE)
def test_what_mixes_the_series_of_several_values_is_not_split(expr):
    assert not splits_by(expr, "pod")


def test_the_labels_that_a_query_groups_by_are_found():
    assert labels_named("sum by (namespace, pod) (rate(load[5m]))") == ("namespace", "pod")
    assert labels_named("topk by (job) (3, sum by (namespace, job) (load))") == ("job",)
    assert labels_named("load") == labels_named("sum(load)") == ()


@given(st.lists(st.sampled_from(("load", "zone_weight")), min_size=1, max_size=3), st.data())
def test_expressions_put_together_at_random_are_split_only_where_it_is_sound(source, metrics, data):
    exprs = list(metrics)
    labels = st.sampled_from(("pod", "zone", "pod, zone"))
    for _ in range(data.draw(st.integers(1, 4))):
        one = data.draw(st.sampled_from(exprs))
        other = data.draw(st.sampled_from(exprs))
        kind = data.draw(st.sampled_from(("by", "without", "on", "ignoring", "and", "call")))
        on = data.draw(labels)
        made = {
            "by": f"sum by ({on}) ({one})",
            "without": f"max without ({on}) ({one})",
            "on": f"sum by ({on}) ({one}) + on ({on}) sum by ({on}) ({other})",
            "ignoring": f"({one}) or ignoring ({on}) ({other})",
            "and": f"({one}) unless on ({on}) ({other} > 9)",
            "call": f"abs({one})",
        }[kind]
        exprs.append(made)
    expr, at = exprs[-1], (BEGIN + 1800.0, BEGIN + 1800.0, 60.0)
    for label in ("pod", "zone"):
        if splits_by(expr, label):
            found = [by_series(share.range(expr, *at)) for share in shares(source, label, 2)]
            whole = by_series(source.range(expr, *at))
            assert sum(map(len, found)) == len(whole)
            assert {series: samples for each in found for series, samples in each.items()} == whole


@given(st.sets(st.text(max_size=12), min_size=1, max_size=60), st.integers(30, 200))
def test_patterns_are_bounded_and_choose_each_value_once(values, longest):
    import re

    found = patterns(values, longest)
    assert all(len(each) <= longest or "|" not in each.replace("\\|", "") for each in found)
    for value in values:
        assert sum(re.fullmatch(each, value, re.DOTALL) is not None for each in found) == 1
    for each in found:
        assert re.fullmatch(each, "no value of these") is None


def test_long_lists_become_several_queries_of_bounded_length():
    values = [f"node-{number:05}.cluster.example.com:9100" for number in range(3000)]
    expr = "sum by (instance) (rate(a_total[5m])) / on (instance) b"
    queries = [with_matcher(expr, each) for each in matchers("instance", values, LONGEST_PATTERN // 2)]
    assert max(map(len, queries)) < 16 * 1024
    assert sum(query.count("node-") for query in queries) == 2 * len(values)
    more = [with_matcher(expr, each) for each in matchers("instance", [*values, "node-new"], LONGEST_PATTERN // 2)]
    assert len(set(more) - set(queries)) == 1, "a new value changes one query"


def test_the_text_of_a_value_is_what_its_pattern_matches():
    assert escape("a.b|c") == r"a\.b\|c"
    assert matchers("pod", ["", 'a"b', "x.y"], 100) == ['pod=""', r'pod=~"a\"b|x\\.y"']


def test_values_come_and_go_and_every_series_is_judged_once(prometheus):
    """Row 56: replicas never talk, one of them pauses: each series is in one window from its first sample on."""
    born = {number: BEGIN + 60.0 * (number // 4) for number in range(160)}
    lines = []
    for number, first in born.items():
        times = [first + 60.0 * minute for minute in range(20)]
        lines += openmetrics("level", {"pod": f"p{number}", "job": "x"}, times, [float(number)] * 20)
    server = prometheus(scrape={}, history=lines)
    count = 3
    settings = PrometheusConfig(url=server.url, deadline=PATIENCE)
    connected = [Prometheus(settings, LimitsConfig()) for _ in range(count)]
    split = [SplitSource(each, "job", "pod", Shard(i, count).owns_value) for i, each in enumerate(connected)]
    windows = [
        Window(("value",), 60.0, 5, owns=lambda key, i=i: Shard(i, count).owns_value(dict(key)["pod"]))
        for i in range(count)
    ]
    asked = {"value": "level"}
    owner: dict[str, int] = {}
    for minute in range(8, 36):
        now = BEGIN + 60.0 * minute
        there = {f"p{number}" for number, first in born.items() if first <= now <= first + 19 * 60.0}
        seen: dict[str, int] = {}
        for index, (window, source) in enumerate(zip(windows, split, strict=True)):
            if index == 2 and minute % 4:
                continue  # this one is slow: it has older lists, and catches up
            batch, _ = extend(window, source, now, queries=asked)
            for row in np.flatnonzero(np.isfinite(batch.values[:, 0, -1])).tolist():
                name = dict(batch.keys[row])["pod"]
                assert name not in seen
                seen[name] = index
                assert owner.setdefault(name, index) == index, "no series moves when others come and go"
        mine = {name for name in there if not (Shard(2, count).owns_value(name) and minute % 4)}
        assert {name for name in seen if name in there} >= mine
    assert not any(each.whole for each in split)
    for each in connected:
        each.close()
    assert min(np.bincount(list(owner.values()))) > 10


def test_adding_a_replica_moves_only_what_it_takes_over():
    values = [f"pod-{number}" for number in range(3000)]
    for count in (1, 2, 5, 9):
        before = [next(i for i in range(count) if Shard(i, count).owns_value(value)) for value in values]
        after = [next(i for i in range(count + 1) if Shard(i, count + 1).owns_value(value)) for value in values]
        moved = [new for old, new in zip(before, after, strict=True) if old != new]
        assert set(moved) == {count}
        assert len(moved) == pytest.approx(len(values) / (count + 1), rel=0.25)


def test_a_source_without_label_values_is_read_whole():
    """Row 56, an old proxy: each replica reads all, the window keeps its share, and the log says so once."""

    def answer(request):
        if "/label/" in request.path:
            return Reply(b"404 page not found", status=404)
        return Reply(matrix(*(({"__name__": "a", "pod": f"p{n}"}, [(60.0, "1")]) for n in range(4))))

    with serve(answer) as stub:
        frame, split = _ask(stub)
        assert len(frame.labels) == 4
        assert split.whole
        assert [request.form["query"] for request in stub.requests if "/label/" not in request.path] == ["a"]


def test_a_source_that_lists_nothing_is_read_whole():
    """Its list may be late: that no value is known proves nothing."""

    def answer(request):
        if "/label/" in request.path:
            return Reply(b'{"status":"success","data":[]}')
        return Reply(matrix(({"__name__": "a"}, [(60.0, "1")])))

    with serve(answer) as stub:
        frame, split = _ask(stub)
        assert len(frame.labels) == 1
        assert split.whole
        assert not split.seen


def test_a_list_that_may_have_been_cut_is_not_trusted():
    """VictoriaMetrics ends it at 100,000 values and does not say so."""
    values = ",".join(f'"p{number}"' for number in range(100_000)).encode()

    def answer(request):
        if "/label/" in request.path:
            return Reply(b'{"status":"success","data":[%s]}' % values)
        return Reply(matrix(({"__name__": "a", "pod": "last"}, [(60.0, "1")])))

    with serve(answer) as stub:
        frame, split = _ask(stub)
        assert len(frame.labels) == 1
        assert split.whole


def test_queries_that_are_no_longer_asked_leave_nothing_behind():
    values = ["p0"]

    def answer(request):
        if "/label/" in request.path:
            return Reply(b'{"status":"success","data":[%s]}' % ",".join(f'"{v}"' for v in values).encode())
        return Reply(matrix(*(({"__name__": "a", "pod": v}, [(60.0, "1")]) for v in values)))

    with serve(answer) as stub, closing(_source(stub)) as connected:
        split = SplitSource(connected, "job", "pod", lambda _value: True)
        for number in range(50):
            values[:] = [f"p{number}"]
            split.range("a", 60.0, 60.0, 60.0)
        assert len(connected._steady._known) <= 2
        assert len(connected._answers_alone) <= 2


def _source(stub: Stub) -> Prometheus:
    return Prometheus(PrometheusConfig(url=stub.url, deadline=PATIENCE), LimitsConfig())


def _ask(stub: Stub) -> tuple[RangeResult, SplitSource]:
    with closing(_source(stub)) as connected:
        split = SplitSource(connected, "job", "pod", Shard(0, 2).owns_value)
        return split.range("a", 60.0, 60.0, 60.0), split


def test_what_nests_as_deep_as_is_allowed_is_walked() -> None:
    deep = "+".join(["a"] * 101) + "+" + "(" * 99 + "a" + ")" * 99
    assert splits_by(deep, "pod")
    assert not splits_by(f"{deep} + a", "pod")


@pytest.mark.parametrize(
    "expr", ["(" * 20_000 + "a" + ")" * 20_000, "+".join(["a"] * 20_000), "-" * 20_000 + "a", "(" * 20_000]
)
def test_what_would_end_the_process_is_not_given_to_the_parser(expr: str) -> None:
    """It recurses in native code, without a limit: the exporter would be gone, with all other jobs."""
    assert not splits_by(expr, "pod")
    assert labels_named(expr) == ()
