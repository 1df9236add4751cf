"""Servers that speak Prometheus' API in their own way."""

import json

import numpy as np
import pytest

from exporter.source import prometheus
from exporter.source.chunks import fetch
from exporter.source.errors import NoNumbers
from exporter.source.samples import RangeResult
from tests.support.stub import Reply, Request, matrix, serve

STEP = 15.0
SERIES = [{"__name__": "load", "i": str(number)} for number in range(3)]


def columns(request: Request) -> list[float]:
    start, end, step = (float(request.form[name]) for name in ("start", "end", "step"))
    return [start + step * column for column in range(round((end - start) / step) + 1)]


def test_victoriametrics_gives_the_newest_samples_at_a_short_step(connect):
    """It leaves the last 30 s out, or repeats what is older, unless it is told not to; it refuses 0s."""

    def answer(request: Request) -> Reply:
        offset = request.form.get("latency_offset", "30s")
        assert offset != "0s"
        newest = 600.0 if offset == "1ms" else 570.0
        return Reply(matrix(({"i": "a"}, [(at, "1") for at in columns(request) if at <= newest])))

    with serve(answer) as stub:
        source = connect(stub.url)
        assert source.range("q", 600.0, 600.0, STEP).values.tolist() == [1.0]
        assert source.range("q", 540.0, 600.0, STEP).counts.tolist() == [5]


def spelt(at: float, values: list[str], before: str = "", within: str = "", after: str = "", head: str = "") -> bytes:
    series = ",".join(
        '{{"metric":{},"values":[[{},"{}"]]}}'.format(json.dumps(labels, separators=(",", ":")), f"{at:g}", value)
        for labels, value in zip(SERIES, values, strict=True)
    )
    data = f'{{{head}"resultType":"matrix","result":[{series}]{within}}}'
    return (f'{{"status":"success",{before}"data":{data}{after}}}').encode()


STATS = ',"stats":{"seriesFetched": "3","executionTimeMsec":62}'
AROUND = [
    {},
    {"after": STATS},
    {"within": ',"stats":{"timings":{"evalTotalTime":0.1}}'},
    {"after": ',"infos":["PromQL info: might not be a counter"]'},
    {"after": STATS + ',"isPartial":false,"trace":{"message":"\\"]]}]","children":[]}'},
    {"before": '"isPartial":false,', "after": STATS},
    {"head": '"analysis":{},', "after": ',"warnings":[]'},
    {"after": ',"warnings":null,"infos":null'},
]


@pytest.mark.parametrize("around", AROUND, ids=str)
def test_members_around_the_series_do_not_take_the_long_way(connect, monkeypatch, around):
    bodies = [spelt(15.0 * number, [str(number), "NaN", f"{number}.5"], **around) for number in range(1, 4)]
    with serve(*map(Reply, bodies)) as stub:
        source = connect(stub.url)
        frames = [source.range("q", 15.0, 15.0, STEP)]
        decoded: list[int] = []
        real = prometheus._part
        monkeypatch.setattr(prometheus, "_part", lambda *args, **more: decoded.append(1) or real(*args, **more))
        frames += [source.range("q", 15.0 * number, 15.0 * number, STEP) for number in (2, 3)]
    if '"]]}]' not in around.get("after", "").replace("\\", ""):
        assert not decoded
    for number, frame in enumerate(frames, 1):
        np.testing.assert_array_equal(frame.values, [number, np.nan, number + 0.5])
        assert frame.notes == frames[0].notes


@pytest.mark.parametrize(
    "around",
    [
        {"after": ',"warnings":["a store is missing"]'},
        {"before": '"isPartial":true,'},
        {"after": ',"isPartial":true' + STATS},
    ],
    ids=str,
)
def test_the_shortcut_still_sees_that_an_answer_is_partial(connect, around):
    bodies = [spelt(15.0, ["1", "2", "3"]), spelt(30.0, ["1", "2", "3"], **around)]
    with serve(*map(Reply, bodies)) as stub:
        source = connect(stub.url)
        assert not source.range("q", 15.0, 15.0, STEP).warnings
        assert source.range("q", 30.0, 30.0, STEP).warnings


@pytest.mark.parametrize(
    "body",
    [
        spelt(30.0, ["1", "2", "3"])[:-1],
        spelt(30.0, ["1", "2", "3"], after=',"data":{"resultType":"matrix","result":[]}'),
        spelt(30.0, ["1", "2", "3"]).replace(b'"success"', b'"error","error":"no"'),
        spelt(30.0, ["1", "2", "3"]).replace(b'"matrix"', b'"vector"'),
        spelt(30.0, ["1", "2", "3"], within=',"stats":{"a":"]]}]'),
    ],
    ids=["cut", "two results", "error", "vector", "open end"],
)
def test_the_shortcut_never_takes_what_the_long_way_would_not(connect, fast_retries, body):
    def outcome(source, at: float) -> RangeResult | str:
        try:
            return source.range("q", at, at, STEP)
        except Exception as error:
            return type(error).__name__

    def same(one, other) -> bool:
        return one == other if isinstance(one, str) else one.labels == other.labels

    with serve(Reply(spelt(15.0, ["1", "2", "3"])), Reply(body)) as known, serve(Reply(body)) as unknown:
        warm = connect(known.url, retries=0)
        warm.range("q", 15.0, 15.0, STEP)
        assert same(outcome(warm, 30.0), outcome(connect(unknown.url, retries=0), 30.0))


def instants(request: Request) -> Reply:
    """Answer as a query frontend that gives nothing where start equals end."""
    at = columns(request)
    return Reply(matrix(*[] if len(at) == 1 else [({"i": "a"}, [(time, str(time)) for time in at])]))


def test_a_frontend_that_answers_nothing_for_one_time_is_asked_for_two(connect):
    with serve(instants) as stub:
        source = connect(stub.url)
        for number in range(1, 4):
            frame = source.range("q", 15.0 * number, 15.0 * number, STEP)
            assert (frame.times.tolist(), frame.values.tolist()) == ([15.0 * number], [15.0 * number])
        assert [len(columns(request)) for request in stub.requests] == [1, 2, 2, 2]
        chunks = list(fetch(source, {"q": "q"}, STEP, 0.0, 15.0 * 11))
        assert np.concatenate([chunk.answers[0][1][0] for chunk in chunks]).tolist() == [15.0 * n for n in range(12)]


def test_a_server_that_answers_one_time_is_never_asked_for_two(connect):
    there = [True]

    def answer(request: Request) -> Reply:
        return Reply(matrix(*[({"i": "a"}, [(time, "1") for time in columns(request)])] * there[0]))

    with serve(answer) as stub:
        source = connect(stub.url)
        source.range("q", 15.0, 15.0, STEP)
        there[0] = False
        assert not source.range("q", 30.0, 30.0, STEP).labels
        assert [len(columns(request)) for request in stub.requests] == [1, 1]


def test_a_series_that_has_just_gone_is_not_taken_for_such_a_frontend(connect):
    def answer(request: Request) -> Reply:
        there = [time for time in columns(request) if time <= 15.0]
        return Reply(matrix(*[({"i": "a"}, [(time, "1") for time in there])] * bool(there)))

    with serve(answer) as stub:
        source = connect(stub.url)
        for _ in range(2):
            frame = source.range("q", 30.0, 30.0, STEP)
            assert (frame.labels, frame.values.size) == ([], 0)


def histograms(request: Request, numbers_until: float = 0.0) -> Reply:
    """Answer with native histograms, and with numbers before a time."""
    times = columns(request)
    found = [[at, {"count": "5", "sum": "3", "buckets": [[0, "0.5", "1", "5"]]}] for at in times if at > numbers_until]
    series: dict[str, object] = {"metric": {"i": "a"}}
    if found:
        series["histograms"] = found
    if values := [[at, "1"] for at in times if at <= numbers_until]:
        series["values"] = values
    return Reply(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [series]}}).encode())


@pytest.mark.parametrize(
    ("expr", "instead"),
    [
        ("latency", "histogram_quantile(0.99, rate(latency[5m]))"),
        ('latency{a="b"}', 'histogram_quantile(0.99, rate(latency{a="b"}[5m]))'),
        ('{"http.latency"}', 'histogram_quantile(0.99, rate({"http.latency"}[5m]))'),
        ("sum by (job) (rate(latency[1m]))", "histogram_quantile(0.99, sum by (job) (rate(latency[1m])))"),
        ("latency * 2", "histogram_quantile(0.99, …)"),
    ],
)
def test_a_query_for_native_histograms_is_refused_and_told_what_to_ask(connect, expr, instead):
    with serve(histograms) as stub:
        source = connect(stub.url)
        with pytest.raises(NoNumbers) as refused:
            source.range(expr, 600.0, 600.0, STEP)
        assert refused.value.reason == "query_rejected"
        assert not refused.value.retryable
        assert not refused.value.shorter_helps
        assert "native histograms, which have no single value to judge" in str(refused.value)
        assert instead in str(refused.value)
        past = source.range(expr, 540.0, 600.0, STEP)
        assert past.series_dropped == {"histogram": 1}
        assert instead in past.notes[-1]


def test_a_series_that_became_a_histogram_keeps_its_past_and_is_refused_from_then_on(connect):
    with serve(lambda request: histograms(request, numbers_until=570.0)) as stub:
        source = connect(stub.url)
        past = source.range("latency", 540.0, 600.0, STEP)
        assert (past.times.tolist(), past.series_dropped) == ([540.0, 555.0, 570.0], {"histogram": 1})
        assert source.range("latency", 570.0, 570.0, STEP).values.tolist() == [1.0]
        with pytest.raises(NoNumbers):
            source.range("latency", 585.0, 585.0, STEP)


READ = ',"stats":{"timings":{"evalTotalTime":0.1},"samples":{"totalQueryableSamples":40,"peakSamples":3}}'


@pytest.mark.parametrize(
    ("within", "read"),
    [
        (READ, 40),
        ("", 0),
        (',"stats":{"seriesFetched":"3"}', 0),
        (',"stats":{"samples":{"totalQueryableSamples":-1}}', 0),
        (',"stats":{"samples":{"totalQueryableSamples":"many"}}', 0),
        (',"stats":[]', 0),
        (',"stats":null', 0),
    ],
)
def test_what_a_source_has_read_is_known_where_it_tells(connect, within, read):
    """An answer is as good without statistics, or with others; those of Prometheus stay on the short way too."""
    with serve(lambda request: Reply(spelt(float(request.form["end"]), ["1", "2", "3"], within=within))) as stub:
        source = connect(stub.url)
        frames = [source.range("q", at, at, 60.0) for at in (600.0, 660.0, 720.0)]
    assert [frame.samples_read for frame in frames] == [read] * 3
    assert [frame.values.tolist() for frame in frames] == [[1.0, 2.0, 3.0]] * 3
    assert frames[1].labels is frames[2].labels, "the labels were not decoded again"
