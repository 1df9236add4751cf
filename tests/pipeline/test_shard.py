"""Every entity belongs to exactly one replica, for ever and everywhere the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pipeline.shard import Shard
from exporter.pipeline.window import Window
from tests.support.batches import keys
from tests.support.fake import FakeSource
from tests.support.windows import extend

KEYS = st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=4).map(lambda d: tuple(sorted(d.items())))


@given(KEYS, st.integers(1, 9))
def test_exactly_one_replica_owns_an_entity(key, count):
    assert sum(Shard(index, count).owns(key) for index in range(count)) == 1


def test_the_share_of_an_entity_never_changes():
    """A change here would move every entity to another replica at an update: state and incidents would be lost."""
    assert "".join(str(int(Shard(0, 3).owns(key))) for key in keys(12)) == "110001110000"


def test_shares_are_even():
    share = np.array([[Shard(index, 4).owns(key) for key in keys(4000)] for index in range(4)]).mean(axis=1)
    assert (abs(share - 0.25) < 0.03).all()


@given(KEYS, KEYS, st.integers(2, 5))
def test_the_members_of_a_group_stay_together(one, other, count):
    rack = ("rack", "r1")
    a, b = (tuple(sorted({*(p for p in key if p[0] != "rack"), rack})) for key in (one, other))
    assert [Shard(i, count).owns(a, ["rack"]) for i in range(count)] == [
        Shard(i, count).owns(b, ["rack"]) for i in range(count)
    ]


@pytest.mark.parametrize(
    ("text", "host", "shard"),
    [
        ("0/1", "", Shard(0, 1)),
        (" 2/3 ", "", Shard(2, 3)),
        ("auto/3", "anomaly-exporter-1", Shard(1, 3)),
        ("auto/3", "anomaly-exporter-2.anomaly.svc.cluster.local", Shard(2, 3)),
    ],
)
def test_a_shard_is_read_from_text_or_host_name(text, host, shard):
    assert Shard.parse(text, host) == shard


@pytest.mark.parametrize(
    ("text", "host", "message"),
    [
        ("3/3", "", "the last of 3 is 2"),
        ("0/0", "", "numbered from 0"),
        ("one", "", "use for example 0/3"),
        ("-1/3", "", "use for example 0/3"),
        ("auto/3", "laptop", "does not end in a number"),
        ("auto/3", "exporter-7", "the last of 3 is 2"),
    ],
)
def test_what_is_no_shard_is_refused(text, host, message):
    with pytest.raises(ValueError, match=message):
        Shard.parse(text, host)


def test_windows_of_all_replicas_hold_every_entity_once_and_keep_no_memory_of_the_others():
    source = FakeSource()
    names = [f"e{n}" for n in range(30)]
    for name in names:
        source.put("q", {"i": name}, {60.0 * m: 1.0 for m in range(100)})
    windows = [Window(("value",), 60.0, 10, owns=Shard(index, 3).owns) for index in range(3)]
    for minute in (20, 21, 22):
        for w in windows:
            batch, intakes = extend(w, source, minute * 60.0)
            assert not any(intake.series_dropped for intake in intakes)
            assert np.isfinite(batch.values).all()
        assert sorted(key[0][1] for w in windows for key in w.keys) == sorted(names)
    source.series["q"] = {label: s for label, s in source.series["q"].items() if int(label[8:-2]) < 3}
    for w in windows:
        extend(w, source, 40 * 60.0)
        assert len(w._rows_by_label[0]) <= 3
    assert sum(len(w.keys) for w in windows) == 3


def test_entities_of_others_that_are_gone_leave_nothing_behind():
    source = FakeSource()
    source.put("q", {"i": "ours"}, {60.0 * m: 1.0 for m in range(100)})
    w = Window(("value",), 60.0, 10, owns=lambda key: key == (("i", "ours"),))
    for minute in range(20, 60):
        source.series["q"] = {label: s for label, s in source.series["q"].items() if "ours" in label}
        for n in range(100):
            source.put("q", {"i": f"{minute}-{n}"}, {60.0 * minute: 1.0})
        extend(w, source, minute * 60.0)
    assert len(w._rows_by_label[0]) < 1300
