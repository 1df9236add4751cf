"""What is told once, and what is not over until somebody knows it is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.pipeline.worst_readings import ENDINGS, Readings
from exporter.sinks.notify import delivery as ledger_module
from exporter.sinks.notify.delivery import DeliveryState
from tests.support.verdicts import key, verdict

N = np.nan
A, B = key(instance="a"), key(instance="b")


def judged(alert, score=None, flag=None, at=0.0, keys=(A, B), job="cpu", **more):
    """Return a verdict at minute `at`; an alert is a flag, unless said otherwise."""
    found = verdict(
        keys, job=job, alert=alert, flag=alert if flag is None else flag, score=score or [2.0] * len(keys), **more
    )
    object.__setattr__(found, "time", 60.0 * at)
    return found


def told(ledger):
    """Tell all there is, return it as (job, instance) opened, over, and the number that passed."""
    news = ledger.pending()
    ledger.mark_sent(news)
    opened = [each.labels["instance"] for some in news.opened.values() for each in some]
    over = [(each.labels["instance"], each.ending) for some in news.over.values() for each in some]
    return opened, over, sum(news.passed.values())


NOTHING = ([], [], 0)


def test_an_incident_is_told_once_when_it_opens_and_once_when_it_is_over():
    ledger = DeliveryState()
    for minute in range(3):
        ledger.take(judged([True, False], at=minute), "alert")
        assert told(ledger) == ((["a"], [], 0) if minute == 0 else NOTHING)
    ledger.take(judged([False, False], [0.2, 0.2], at=3), "alert")
    assert told(ledger) == ([], [("a", "recovered")], 0)
    ledger.take(judged([False, False], [0.2, 0.2], at=4), "alert")
    assert told(ledger) == NOTHING
    assert ledger.size == 0


def test_no_verdict_is_not_over_until_an_hour_has_passed():
    """Rows 45 and 46."""
    ledger = DeliveryState()
    ledger.take(judged([True, True]), "alert")
    told(ledger)
    for minute in (1, 30, 59):
        ledger.take(judged([False], [N], at=minute, keys=(A,)), "alert")  # no verdict on a; b is not there at all
        assert told(ledger) == NOTHING
    ledger.take(judged([False], [N], at=60, keys=(A,)), "alert")
    assert sorted(told(ledger)[1]) == [("a", "no data"), ("b", "no data")]


def test_an_alert_that_is_gone_while_its_flag_stays_is_not_over():
    """After a restart without saved state the severity begins anew."""
    ledger = DeliveryState()
    ledger.take(judged([True, False]), "alert")
    told(ledger)
    ledger.take(judged([False, False], flag=[True, False], at=1), "alert")
    assert told(ledger) == NOTHING


def test_what_was_adopted_is_told_as_that():
    ledger = DeliveryState()
    ledger.take(judged([True, False]), "alert")
    told(ledger)
    ledger.take(judged([False, False], [3.0, 0.1], at=1), "alert")
    assert told(ledger) == ([], [("a", "adopted")], 0)


def test_what_an_operator_accepted_is_told_as_that_with_the_time_of_its_end():
    """Not as max_hold, although the score is above 1 in both cases; a later verdict knows it as well."""
    ledger = DeliveryState()
    ledger.take(judged([True, False]), "alert")
    told(ledger)
    one, nothing = np.array([60.0]), np.full((1, 1), N)
    readings = Readings(
        np.array([0]), one, 3 * one, one, one, np.array([ENDINGS.index("accepted")], np.int8), *[nothing] * 5
    )
    later = replace(judged([False, False], [3.0, 0.1], at=5), readings=readings)
    ledger.take(later, "alert")
    [over] = ledger.pending().over["cpu"]
    assert (over.ending, over.over) == ("accepted", 180.0)
    assert told(ledger) == ([], [("a", "accepted")], 0)
    ledger.take(later, "alert")
    assert told(ledger) == NOTHING


def test_what_comes_back_before_its_end_was_told_is_the_same_incident():
    ledger = DeliveryState()
    ledger.take(judged([True, False]), "alert")
    told(ledger)
    ledger.take(judged([False, False], [0.1, 0.1], at=1), "alert")
    ledger.take(judged([True, False], at=2), "alert")
    assert told(ledger) == NOTHING


def test_what_was_over_before_it_could_be_told_is_counted():
    ledger = DeliveryState()
    ledger.take(judged([True, True]), "alert")
    assert ledger.take(judged([False, False], [0.1, 0.1], at=1), "alert") == 2
    assert ledger.pending_count() == 2
    assert told(ledger) == ([], [], 2)
    assert ledger.pending_count() == 0


def test_a_job_may_have_every_flag_told():
    ledger = DeliveryState()
    ledger.take(judged([False, False], flag=[True, False]), "flag")
    assert told(ledger)[0] == ["a"]


def test_the_incidents_of_a_job_that_is_gone_are_ended():
    ledger = DeliveryState()
    ledger.take(judged([True, False], job="old"), "alert")
    ledger.take(judged([True, True], job="new"), "alert")
    told(ledger)
    assert ledger.keep({"new"}, 60.0) == 0
    assert told(ledger) == ([], [("a", "removed")], 0)


def test_it_never_grows_beyond_its_bound(monkeypatch):
    """Row 48: those beyond are counted, once."""
    monkeypatch.setattr(ledger_module, "MOST", 10)
    ledger, many = DeliveryState(), tuple(key(instance=str(n)) for n in range(25))
    assert [ledger.take(judged([True] * 25, keys=many, at=n), "alert") for n in range(3)] == [15, 0, 0]
    assert ledger.size == 10


def test_a_restart_repeats_nothing_and_forgets_no_end():
    before = DeliveryState()
    before.take(judged([True, True]), "alert")
    told(before)
    before.sent = [1.0, 2.0]
    after = DeliveryState.decode(before.encode())
    assert after.sent == [1.0, 2.0]
    after.take(judged([True, False], [2.0, N], at=600), "alert")  # ten hours down; b is warming up
    assert told(after) == NOTHING
    after.take(judged([True, False], [2.0, 0.3], at=601), "alert")
    assert told(after) == ([], [("b", "recovered")], 0)


def test_a_damaged_file_is_refused_whatever_byte_it_is():
    """Row 25."""
    ledger = DeliveryState()
    ledger.take(judged([True, True]), "alert")
    good = ledger.encode()
    for at in range(len(good)):
        for data in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            with pytest.raises(ValueError, match="does not match its checksum"):
                DeliveryState.decode(data)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 2.0, N])), min_size=2, max_size=2),
            st.booleans(),
            st.booleans(),
        ),
        max_size=30,
    ),
    st.text(max_size=5),
)
def test_whatever_happens_openings_and_ends_alternate(steps, label):
    """Also with restarts and silence in between, and labels of any text: never two openings without an end between."""
    keys = (key(instance="a" + label), key(instance="b" + label))
    ledger, is_open = DeliveryState(), dict.fromkeys((dict(k)["instance"] for k in keys), False)
    for minute, (entities, speak, restart) in enumerate(steps):
        alert = [flag and np.isfinite(score) for flag, score in entities]
        ledger.take(judged(alert, [score for _, score in entities], at=minute, keys=keys), "alert")
        if restart:
            ledger = DeliveryState.decode(ledger.encode())
        if speak:
            opened, over, _ = told(ledger)
            for name, _ in over:
                assert is_open[name]
                is_open[name] = False
            for name in opened:
                assert not is_open[name]
                is_open[name] = True
            assert ledger.pending_count() == 0
