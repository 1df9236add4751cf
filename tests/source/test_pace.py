"""The share of the time that questions about the past may take, and reading ahead of what is judged."""

import threading

import numpy as np
import pytest

from exporter.source import pace as pace_module
from exporter.source.chunks import fetch
from exporter.source.errors import Unreachable
from exporter.source.pace import Pace, Unwanted
from tests.support.memory_source import FIRST, STEP, Memory
from tests.support.waiting import PATIENCE, eventually


class Clock:
    """Time that passes by waiting alone."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


class Waits(threading.Event):
    """Notes for how long it was waited for, and lets that time pass."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.waited = clock, []

    def wait(self, timeout=None):
        self.waited.append(timeout)
        self.clock.now += timeout
        return self.is_set()


@pytest.mark.parametrize(("share", "pause"), [(1.0, 0.0), (0.5, 4.0), (0.2, 16.0)])
def test_a_question_is_followed_by_a_pause_in_proportion(monkeypatch, share, pause):
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    monkeypatch.setattr(pace_module, "_AT_ONCE", 0.0)
    pace, unwanted = Pace(share), Waits(clock)
    for _ in range(3):
        with pace.turn(unwanted):
            clock.now += 4.0
    assert unwanted.waited == pytest.approx([0.0, pause, pause])
    assert 12.0 / clock.now >= share  # and no less than it could have: the last pause is still to come


def test_the_pauses_of_a_short_past_are_put_off_and_made_when_it_is_long(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    pace, unwanted = Pace(0.5), Waits(clock)
    for _ in range(100):
        with pace.turn(unwanted):
            clock.now += 4.0
    assert unwanted.waited[:8] == [0.0] * 8  # 32 s in one go
    assert unwanted.waited[10:] == [4.0] * 90
    assert 0.5 * (clock.now + 30.0) + 4.0 >= 400.0
    clock.now += 1000.0  # nobody asks: the pauses are over, but none are saved up beyond those 30 s
    unwanted.waited.clear()
    for _ in range(20):
        with pace.turn(unwanted):
            clock.now += 4.0
    assert unwanted.waited[:8] == [0.0] * 8
    assert unwanted.waited[10:] == [4.0] * 10


def test_one_question_is_asked_at_a_time_whoever_asks():
    pace, inside, most = Pace(1.0), [], []

    def ask():
        for _ in range(50):
            with pace.turn(threading.Event()):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(most) == 200
    assert set(most) == {1}


def test_whoever_is_not_wanted_any_longer_does_not_wait(monkeypatch):
    monkeypatch.setattr(pace_module, "_AT_ONCE", 0.0)
    pace, unwanted = Pace(1e-6), threading.Event()
    with pace.turn(unwanted):
        pass
    unwanted.set()
    with pytest.raises(Unwanted), pace.turn(unwanted):
        pass
    with pace._asking, pytest.raises(Unwanted), pace.turn(unwanted):
        pass


def chunks_of(source, columns=400, **more):
    return fetch(source, {"value": "value"}, STEP, FIRST * STEP, (FIRST + columns - 1) * STEP, series=3, **more)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("exporter.source.chunks._AT_ONCE", 120)  # 40 columns of three series


@pytest.mark.usefixtures("small")
def test_the_next_chunk_is_asked_for_while_one_is_dealt_with_and_no_more():
    source = Memory(value=np.arange(1200.0).reshape(3, 400))
    chunks = chunks_of(source, pace=Pace(1.0))
    next(chunks)
    eventually(lambda: source.asked == 2)
    next(chunks)
    eventually(lambda: source.asked == 3)
    chunks.close()
    assert source.asked == 3


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("past", [100, 10**6])
def test_read_ahead_or_not_the_samples_are_the_same(monkeypatch, past):
    monkeypatch.setattr("exporter.source.chunks.PAST", past)
    values = np.random.default_rng(1).normal(size=(3, 400))
    values[1, 50:130] = np.nan
    counted = []
    found = list(chunks_of(Memory(value=values), pace=Pace(1.0), done=counted.append))
    whole = np.concatenate([chunk.answers[0][1] for chunk in found if len(chunk.answers[0][0]) == 3], axis=1)
    assert [chunk.first for chunk in found] == sorted(chunk.first for chunk in found)
    assert sum(chunk.count for chunk in found) == 400
    assert np.isin(whole[np.isfinite(whole)], values).all()
    assert sum(stats.samples for stats in counted) == np.isfinite(values).sum()


@pytest.mark.usefixtures("small")
def test_what_goes_wrong_ahead_is_raised_where_it_would_have_been():
    source = Memory(value=np.zeros((3, 400)))
    answer = source.range

    def failing(*asked, **more):
        if source.asked >= 3:
            raise Unreachable("nobody is there", "look after it")
        return answer(*asked, **more)

    source.range = failing
    read = chunks_of(source, pace=Pace(1.0))
    assert sum(next(read).count for _ in range(3)) == 120
    with pytest.raises(Unreachable):
        next(read)


@pytest.mark.usefixtures("small")
def test_closing_does_not_wait_for_the_pause_of_what_was_to_come(monkeypatch):
    monkeypatch.setattr(pace_module, "_AT_ONCE", 0.0)
    source = Memory(value=np.zeros((3, 400)))
    pace = Pace(1e-9)  # after the first question: years
    chunks = chunks_of(source, pace=pace)
    next(chunks)
    closing = threading.Thread(target=chunks.close)
    closing.start()
    closing.join(PATIENCE)
    assert not closing.is_alive()
