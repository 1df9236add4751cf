"""A frame holds exactly what the source sent, within the limits, or there is no frame."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.source.decode import Limits, decode
from exporter.source.errors import BadAnswer, LimitExceeded, QueryRejected, SourceError
from exporter.source.samples import merge
from tests.support.stub import ONE, matrix

WIDE = Limits(series=10_000, samples=1_000_000, points=11_000)


def frame(*bodies, series=10_000, samples=1_000_000):
    limits = Limits(series, samples, 11_000)
    return merge([decode(body, limits) for body in bodies], limits)


def rows(frame):
    """The frame as {labels: [(time, value)]}, with NaN as text so that rows can be compared."""
    ends = np.cumsum(frame.counts)
    pairs = [
        (t, "NaN" if math.isnan(v) else v) for t, v in zip(frame.times.tolist(), frame.values.tolist(), strict=True)
    ]
    return {label: pairs[end - count : end] for label, end, count in zip(frame.labels, ends, frame.counts, strict=True)}


labels = st.dictionaries(st.sampled_from(["__name__", "job", "pod"]), st.text(max_size=8), max_size=3)
numbers = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.sampled_from(
    ["NaN", "+Inf", "-Inf", "0", "-0", "1e+300", "0.1", "9007199254740993"]
)
series = st.lists(
    st.tuples(labels, st.lists(numbers, max_size=6)), max_size=6, unique_by=lambda pair: json.dumps(pair[0])
)


@given(series)
def test_a_frame_holds_what_was_sent(sent):
    """Row 11: NaN stays NaN, infinite values are left out and counted, the order is the server's."""
    sent = [(keys, [(60.0 * n, value) for n, value in enumerate(values)]) for keys, values in sent]
    got = frame(matrix(*sent))
    expected = {
        json.dumps(keys, separators=(",", ":")).encode(): [
            (t, "NaN" if v == "NaN" else float(v)) for t, v in values if "Inf" not in v
        ]
        for keys, values in sent
    }
    assert rows(got) == expected
    assert got.labels == list(expected)
    infinite = sum("Inf" in value for _, values in sent for _, value in values)
    assert got.samples_dropped == ({"infinite": infinite} if infinite else {})
    assert got.times.flags.c_contiguous


written = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.from_regex(
    r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?(e[+-]?[0-9]{1,2})?", fullmatch=True
)


@given(st.lists(st.lists(written, min_size=1, max_size=4), min_size=1, max_size=4))
@example([["-0", "9007199254740993", "18446744073709551616", "-9223372036854775809"]])
def test_plain_numbers_are_the_same_to_the_bit_however_they_are_decoded(texts):
    """A series with a NaN takes the other way, and Python reads a third time."""
    plain = [({"n": str(at)}, [(n, text) for n, text in enumerate(one)]) for at, one in enumerate(texts)]
    quick = frame(matrix(*plain)).values
    slow = frame(matrix(*plain, ({"n": "other"}, [(0, "NaN")]))).values[:-1]
    assert quick.tobytes() == slow.tobytes()
    assert np.array_equal(quick, np.array([float(text) for one in texts for text in one]))


def test_an_empty_answer_is_an_empty_frame():
    got = frame(matrix())
    assert (got.labels, got.counts.tolist(), got.times.size, got.series_dropped) == ([], [], 0, {})


BROKEN = {
    "empty": b"",
    "blank": b" \n",
    "html": b"<!DOCTYPE html><html>login</html>",
    "text": b"ok",
    "null": b"null",
    "list": b"[]",
    "no data": b'{"status":"success"}',
    "null data": b'{"status":"success","data":null}',
    "no result": b'{"status":"success","data":{"resultType":"matrix"}}',
    "null result": b'{"status":"success","data":{"resultType":"matrix","result":null}}',
    "no status": b'{"data":{"resultType":"matrix","result":[]}}',
    "other status": b'{"status":"fine","data":{"resultType":"matrix","result":[]}}',
    "vector": b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}',
    "empty vector": b'{"status":"success","data":{"resultType":"vector","result":[]}}',
    "scalar": b'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}',
    "string": b'{"status":"success","data":{"resultType":"string","result":[1,"a"]}}',
    "series without values": b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{}}]}}',
    "trailing": ONE + b"x",
    "twice": ONE + ONE,
    "broken utf-8": ONE.replace(b"node", b"\xff\xfe"),
    "control character": ONE.replace(b"node", b"a\0b"),
    "labels no object": ONE.replace(b'{"__name__":"up","job":"node"}', b'"up"'),
    "label no text": ONE.replace(b'"node"', b"17"),
    "NaN literal": ONE.replace(b'"1"', b"NaN"),
    "Infinity literal": ONE.replace(b'"1"', b"Infinity"),
    "no number": ONE.replace(b'"1"', b'"one"'),
    "empty number": ONE.replace(b'"1"', b'""'),
    "hexadecimal": ONE.replace(b'"1"', b'"0x1"'),
    "beyond a double": ONE.replace(b'"1"', b'"1e999"'),
    "400 digits": ONE.replace(b'"1"', b'"' + b"9" * 400 + b'"'),
    "null value": ONE.replace(b'"1"', b"null"),
    "triple": ONE.replace(b'"1"', b'"1",2'),
    "single": ONE.replace(b',"1"', b""),
    "flat values": ONE.replace(b'[[60.0,"1"]]', b'[60.0,"1"]'),
    "values no list": ONE.replace(b'[[60.0,"1"]]', b"{}"),
    "deep values": ONE.replace(b'[[60.0,"1"]]', b"[" * 100_000),
    "deep labels": ONE.replace(b'"node"', b'{"a":' * 100_000),
    "deep": b"[" * 1_000_000,
    "infinite time": ONE.replace(b"60.0", b'"Inf"'),
    "time NaN": ONE.replace(b"60.0", b'"NaN"'),
    "times descend": matrix(({"a": "b"}, [(120, "1"), (60, "1")])),
    "time twice": matrix(({"a": "b"}, [(60, "1"), (60, "2")])),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_what_prometheus_does_not_send_is_a_bad_answer(body):
    """Row 16."""
    with pytest.raises(BadAnswer) as caught:
        decode(body, WIDE)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_the_bad_answer_says_what_came():
    for body, words in {
        b"": "an empty body",
        b"<html>": "an HTML page",
        b"{": "broken JSON",
        b"[]": "not a query result",
    }.items():
        with pytest.raises(BadAnswer, match=words):
            decode(body, WIDE)


@pytest.mark.parametrize(
    ("kind", "text", "error"),
    [
        ("bad_data", "parse error", QueryRejected),
        ("execution", "query processing would load too many samples into memory", LimitExceeded),
    ],
)
def test_an_error_with_status_200_is_still_an_error(kind, text, error):
    body = json.dumps({"status": "error", "errorType": kind, "error": text}).encode()
    with pytest.raises(error, match=text):
        decode(body, WIDE)


def test_an_answer_cut_anywhere_is_refused():
    """Row 4: there is no prefix of an answer that passes for one."""
    body = matrix(({"a": "b"}, [(60, "1"), (120, "NaN")]), ({"a": "c"}, [(60, "+Inf")]), warnings=["w"])
    for end in range(len(body)):
        with pytest.raises(BadAnswer):
            decode(body[:end], WIDE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_any_bytes_give_a_sound_frame_or_a_source_error(data):
    """Row 16: damaged bytes, and other JSON at any place of an answer."""
    good = matrix(({"a": "b"}, [(60, "1"), (120, "NaN")]), ({"a": "c"}, [(60, "+Inf"), (120, "7.5")]))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(good)))
        body = good[:at] + data.draw(st.binary(max_size=6)) + good[at + data.draw(st.integers(0, 6)) :]
    else:
        tree = json.loads(good)
        place = data.draw(
            st.sampled_from(["status", "data", "result", "metric", "values", "value", "extra", "warnings"])
        )
        other = data.draw(json_values)
        match place:
            case "status" | "data" | "extra" | "warnings":
                tree[place] = other
            case "result":
                tree["data"]["result"] = other
            case "metric" | "values":
                tree["data"]["result"][0][place] = other
            case "value":
                tree["data"]["result"][0]["values"][0] = other
        body = json.dumps(tree).encode()
    try:
        got = frame(body)
    except SourceError as error:
        assert str(error).isprintable()  # noqa: PT017  # either outcome is right, each in its own way
        return
    assert len(got.labels) == len(got.counts) == len(set(got.labels))
    assert got.times.shape == got.values.shape == (got.counts.sum(),)
    assert np.isfinite(got.times).all()
    assert not np.isinf(got.values).any()
    for label in got.labels:
        assert all(isinstance(text, str) for pair in json.loads(label).items() for text in pair)


def numbered(count, samples=1, first=0):
    return [({"n": f"{n:04}"}, [(60.0 * (1 + m), str(n)) for m in range(samples)]) for n in range(first, first + count)]


def test_over_the_series_limit_the_same_series_are_kept_whatever_the_order():
    """Row 13."""
    sent = numbered(50, samples=2)
    got = [frame(matrix(*order), series=20) for order in (sent, sent[::-1], sent[25:] + sent[:25])]
    for each in got:
        assert rows(each) == rows(frame(matrix(*sent[:20])))
        assert each.series_dropped == {"limit": 30}
        assert each.samples_dropped == {"limit": 60}


def test_over_the_sample_limit_whole_series_are_left_out():
    got = frame(matrix(*numbered(10, samples=3)), samples=10)
    assert rows(got) == rows(frame(matrix(*numbered(3, samples=3))))
    assert (got.series_dropped, got.samples_dropped) == ({"limit": 7}, {"limit": 21})


def test_native_histograms_are_left_out_and_counted():
    body = json.loads(matrix(*numbered(2)))
    histogram = [60, {"count": "1", "sum": "2", "buckets": [[0, "1", "2", "1"]]}]
    body["data"]["result"] += [{"metric": {"n": "h"}, "histograms": [histogram]}]
    body["data"]["result"][1]["histograms"] = [histogram]
    got = frame(json.dumps(body, separators=(",", ":")).encode())
    assert got.series_dropped == {"histogram": 2}
    assert rows(got) == rows(frame(matrix(*numbered(2)))), "a series that has become a histogram keeps its numbers"


@pytest.mark.parametrize("nothing", ["[]", "null"])
def test_a_server_that_names_histograms_without_having_any_is_read_as_others(nothing):
    body = json.loads(matrix(*numbered(2)))
    for series in body["data"]["result"]:
        series["histograms"] = json.loads(nothing)
    got = frame(json.dumps(body, separators=(",", ":")).encode())
    assert (rows(got), got.series_dropped) == (rows(frame(matrix(*numbered(2)))), {})


def test_a_series_sent_twice_counts_once():
    first, second = numbered(2)
    twice = (first[0], [(60.0, "17")])
    got = frame(matrix(first, second, twice))
    assert rows(got) == rows(frame(matrix(first, second)))
    assert got.series_dropped == {"duplicate": 1}


def test_a_series_sent_twice_hides_no_drop():
    first, second, third = numbered(3)
    got = frame(matrix(first, first, second, third), series=2)
    assert got.labels == [b'{"n":"0000"}']
    assert got.series_dropped == {"limit": 2, "duplicate": 1}


def test_more_samples_than_were_asked_for_are_a_bad_answer():
    with pytest.raises(BadAnswer, match="sent 3 samples in one series where 2 were asked for"):
        decode(matrix(*numbered(1, samples=3)), Limits(10, 10, points=2))


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), unique_by=lambda p: p[0]), min_size=1, max_size=4
    ),
    st.integers(1, 12),
    st.integers(0, 30),
)
@example([[(0, 1)], [(1, 1), (0, 1)]], 1, 30)
@example([[(0, 2), (1, 4)], [(1, 1)]], 10, 4)
def test_limits_apply_to_the_union_of_the_parts(parts, most_series, most_samples):
    """Row 8: a series is whole or left out, and the split does not change which ones are kept."""
    bodies, truth = [], {}
    for number, part in enumerate(parts):
        sent = [({"n": str(n)}, [(1000.0 * number + m, str(m)) for m in range(samples)]) for n, samples in part]
        bodies.append(matrix(*sent))
        for keys, values in sent:
            truth.setdefault(json.dumps(keys, separators=(",", ":")).encode(), []).extend(
                (t, float(v)) for t, v in values
            )
    kept, total = {}, 0
    for label in sorted(truth):
        total += len(truth[label])
        if len(kept) == most_series or total > most_samples:
            break
        kept[label] = truth[label]
    got = frame(*bodies, series=most_series, samples=most_samples)
    assert rows(got) == kept
    assert got.series_dropped.get("limit", 0) == len(truth) - len(kept)
    lost = sum(map(len, truth.values())) - sum(map(len, kept.values()))
    assert got.samples_dropped.get("limit", 0) == lost


def test_warnings_mark_a_partial_answer_and_remarks_on_the_query_do_not():
    """Row 6: as Thanos (put together after its source), VictoriaMetrics and Prometheus 3 put it."""
    thanos = (
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[60,"1"]]}],'
        b'"analysis":{}},"warnings":["No StoreAPIs matched for this query","receive series from Addr: 10.0.0.7:10901 '
        b'LabelSets: {} MinTime: 0 MaxTime: 1: rpc error: code = Unavailable desc = connection refused"]}'
    )
    assert len(frame(thanos).warnings) == 2
    assert "rpc error: code = Unavailable" in frame(thanos, thanos).warnings[1]
    assert len(frame(thanos, thanos).warnings) == 2
    assert frame(matrix(isPartial=True)).warnings == ("the answer is partial",)
    assert frame(matrix(isPartial=False)).warnings == ()
    remarks = frame(matrix(warnings=["PromQL warning: no le label"], infos=["PromQL info: might be no counter\n"]))
    assert remarks.warnings == ()
    assert remarks.notes == ("PromQL warning: no le label", "PromQL info: might be no counter")


MILLION = """
from pathlib import Path
from exporter.source.decode import Limits, decode
from exporter.source.samples import merge
head, tail = b'{"status":"success","data":{"resultType":"matrix","result":[', b']}}'
series = b'{"metric":{"__name__":"bomb","instance":"10.0.0.1:9100","id":"%07d"},"values":[[1700000000,"1"]]}'
body = head + b",".join([series % n for n in range(1_000_000)]) + tail
limits = Limits(10_000, 50_000_000, 61)
frame = merge([decode(body, limits)], limits)
# Not getrusage: it counts what the parent had in memory when it forked.
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(len(frame.labels), frame.series_dropped["limit"], int(peak) // 1024)
"""


def test_a_million_series_do_not_fill_the_memory():
    """Row 13: within 512 MiB, the 93 MiB of the body and of what it is made of here included."""
    ran = subprocess.run(
        [sys.executable, "-c", MILLION], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    kept, dropped, mebibytes = map(int, ran.stdout.split())
    assert (kept, dropped) == (10_000, 990_000)
    assert mebibytes < 512
