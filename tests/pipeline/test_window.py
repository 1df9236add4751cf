"""The window holds exactly what a full read of the same range would, at the price of the new samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.pipeline.window import Window
from exporter.source.chunks import fetch
from exporter.source.errors import Unreachable
from tests.support.fake import FakeSource
from tests.support.windows import extend

STEP = 60.0


def window(**options) -> Window:
    return Window(("value",), STEP, options.pop("samples", 10), **options)


def put(source, name, minutes, expr="q", **labels):
    source.put(expr, {"__name__": "m", "i": name, **labels}, {m * STEP: float(m) for m in minutes})


def test_the_first_fill_reads_the_window_and_then_only_what_is_new():
    source, w = FakeSource(), window()
    put(source, "a", range(100))
    batch, _ = extend(w, source, 50 * STEP + 59)
    assert source.asked == [("q", 41 * STEP, 50 * STEP)]
    np.testing.assert_array_equal(batch.values[0, 0], np.arange(41, 51))
    np.testing.assert_array_equal(batch.times, np.arange(41, 51) * STEP)
    batch, (intake,) = extend(w, source, 52 * STEP)
    assert source.asked[-1] == ("q", 51 * STEP, 52 * STEP)
    assert intake.samples == 2
    np.testing.assert_array_equal(batch.values[0, 0], np.arange(43, 53))


def test_of_a_longer_first_fill_no_more_than_a_window_is_kept():
    source, w = FakeSource(), window()
    put(source, "a", range(1000))
    windows = [b for chunk in fetch(source, {"value": "q"}, STEP, 11 * STEP, 900 * STEP) for b in w.append(chunk)]
    assert [len(b.times) for b in windows] == [*range(1, 10), *[10] * 881]
    assert source.asked[0][1:] == (11 * STEP, 20 * STEP)
    assert source.asked[-1][2] == 900 * STEP
    assert w._values.size < 40
    extend(w, source, 901 * STEP, span=40)
    assert source.asked[-1] == ("q", 901 * STEP, 901 * STEP)


def test_a_failed_read_changes_nothing_and_the_gap_is_read_later():
    source, w = FakeSource(), window()
    put(source, "a", range(100))
    extend(w, source, 50 * STEP)
    source.error = Unreachable("down")
    with pytest.raises(Unreachable):
        extend(w, source, 51 * STEP)
    source.error = None
    batch, _ = extend(w, source, 53 * STEP)
    assert source.asked[-1] == ("q", 51 * STEP, 53 * STEP)
    np.testing.assert_array_equal(batch.values[0, 0], np.arange(44, 54))


def test_after_a_gap_longer_than_the_window_one_window_is_read():
    source, w = FakeSource(), window()
    put(source, "a", range(300))
    extend(w, source, 50 * STEP)
    batch, _ = extend(w, source, 250 * STEP)
    assert source.asked[-1] == ("q", 241 * STEP, 250 * STEP)
    np.testing.assert_array_equal(batch.values[0, 0], np.arange(241, 251))


def test_no_new_step_asks_nothing():
    source, w = FakeSource(), window()
    put(source, "a", range(100))
    extend(w, source, 50 * STEP)
    for late in (50 * STEP + 30, 49 * STEP):  # the same minute again, and a clock set back
        batch, intakes = extend(w, source, late)
        assert len(source.asked) == 1
        assert not intakes
        assert batch.times[-1] == 50 * STEP


def test_keys_are_the_same_object_while_the_entities_stay():
    source, w = FakeSource(), window()
    put(source, "a", range(100))
    first = extend(w, source, 50 * STEP)[0].keys
    assert extend(w, source, 51 * STEP)[0].keys is first
    put(source, "b", range(52, 53))
    assert extend(w, source, 52 * STEP)[0].keys == ((("i", "a"),), (("i", "b"),))


def test_channels_are_joined_on_the_entity_labels():
    source = FakeSource()
    source.put("x", {"__name__": "m", "svc": "a", "le": "1"}, {60.0 * n: 1.0 for n in range(20)})
    source.put("y", {"svc": "a", "pod": "p"}, {60.0 * n: 2.0 for n in range(20)})
    w = Window(("one", "two"), STEP, 5, entity=["svc"])
    batch, _ = extend(w, source, 600.0, queries={"one": "x", "two": "y"})
    assert batch.keys == ((("svc", "a"),),)
    np.testing.assert_array_equal(batch.values[0, :, -1], [1.0, 2.0])


def test_two_series_of_one_entity_are_one_and_the_other_is_counted_every_time():  # row 12
    source = FakeSource()
    for pod in ("p1", "p2"):
        source.put("q", {"svc": "a", "pod": pod}, {60.0 * n: float(pod[1]) for n in range(40)})
    w = window(entity=["svc"])
    for minute in (20, 21):
        batch, (*_, intake) = extend(w, source, minute * STEP)
        assert intake.series_dropped == {"duplicate": 1}
        assert batch.values[0, 0, -1] == 1.0
    for minute in range(22, 40):  # the first goes away; the second takes its place
        source.series["q"].pop('{"svc": "a", "pod": "p1"}', None)
        batch, (*_, intake) = extend(w, source, minute * STEP)
    assert batch.values[0, 0, -1] == 2.0
    assert intake.series_dropped == {}


PRESENCE = st.lists(st.lists(st.booleans(), min_size=24, max_size=24), min_size=1, max_size=5)


@settings(max_examples=150)
@given(PRESENCE, st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_any_sequence_of_reads_equals_one_full_read(presence, hops):
    """Entities come, go and return at any time; the window never mixes their samples (row 12)."""
    source, w, size = FakeSource(), window(samples=6), 6
    for name, minutes in enumerate(presence):
        put(source, f"e{name}", [m for m, there in enumerate(minutes) if there])
    minute = 5
    for hop in hops:
        batch, _ = extend(w, source, minute * STEP)
        got = {key[0][1]: batch.values[row, 0, -size:] for row, key in enumerate(batch.keys)}
        alive = {}
        for name, minutes in enumerate(presence):
            row = [float(m) if 0 <= m < 24 and minutes[m] else np.nan for m in range(minute - size + 1, minute + 1)]
            if not np.isnan(row).all():
                alive[f"e{name}"] = row
        assert set(got) == set(alive)
        for name, row in alive.items():
            seen, true = got[name], np.array(row)
            lost = np.isnan(seen) & ~np.isnan(true)  # forgotten meanwhile: older samples are not read again
            np.testing.assert_array_equal(seen[~lost], true[~lost])
            assert not lost[-1]
        minute += hop


def test_memory_does_not_grow_with_entities_that_are_gone():
    source, w = FakeSource(), window()
    for generation in range(30):
        for n in range(20):
            put(source, f"{generation}-{n}", range(generation * 10, generation * 10 + 10))
        extend(w, source, (generation * 10 + 9) * STEP)
    assert len(w.keys) <= 40
    assert len(w._rows_by_label[0]) <= 40
    assert w._values.shape[0] <= 40


def test_a_large_first_fill_comes_in_pieces_and_equals_one_read(monkeypatch):
    monkeypatch.setattr("exporter.source.chunks._AT_ONCE", 21)
    monkeypatch.setattr("exporter.source.chunks._UNSEEN", 1)
    source, w = FakeSource(), window(samples=40)
    for name in "abc":
        put(source, name, [m for m in range(100) if (m + ord(name)) % 5])
    batch, intakes = extend(w, source, 60 * STEP)
    assert [round((end - start) / STEP) + 1 for _, start, end in source.asked] == [10, 7, 7, 7, 7, 2]
    for row, name in enumerate("abc"):
        np.testing.assert_array_equal(
            batch.values[row, 0], [m if (m + ord(name)) % 5 else np.nan for m in range(21, 61)]
        )
    assert sum(intake.samples for intake in intakes) == 96


def test_a_fill_that_breaks_off_goes_on_where_it_was(monkeypatch):
    monkeypatch.setattr("exporter.source.chunks._AT_ONCE", 10)
    monkeypatch.setattr("exporter.source.chunks._UNSEEN", 1)
    source, w = FakeSource(), window(samples=40)
    put(source, "a", range(100))
    answer = source.range

    def breaks(expr, start, end, step, max_series=None):
        if start > 35 * STEP:
            raise Unreachable("down")
        return answer(expr, start, end, step, max_series)

    source.range = breaks
    with pytest.raises(Unreachable):
        extend(w, source, 60 * STEP)
    source.range = answer
    batch, _ = extend(w, source, 61 * STEP)
    assert source.asked[2] == ("q", 41 * STEP, 50 * STEP)
    np.testing.assert_array_equal(batch.values[0, 0], np.arange(22, 62))


def test_after_a_long_gap_no_old_sample_stands_for_a_new_minute():
    source, w = FakeSource(), window()
    put(source, "a", [*range(51), *range(248, 251)])
    extend(w, source, 50 * STEP)
    batch, _ = extend(w, source, 250 * STEP)
    np.testing.assert_array_equal(batch.values[0, 0], [np.nan] * 7 + [248, 249, 250])


def test_entities_share_the_labels_of_few_values_and_no_label_fills_the_memory():
    source, w = FakeSource(), window()
    for row in range(1100):
        put(source, f"i{row}", range(3), zone="eu")
    extend(w, source, 2 * STEP)
    assert len({id(pair) for key in w.keys for pair in key if pair[0] == "zone"}) == 1
    assert len(w._pairs["i"]) == 1000
    assert {dict(key)["i"] for key in w.keys} == {f"i{row}" for row in range(1100)}
