"""What a notice says at three in the morning."""

from dataclasses import replace

import numpy as np

from detectors.streams import STREAMS
from exporter.pipeline.worst_readings import Readings
from exporter.sinks.notify.delivery import DeliveryState
from exporter.sinks.notify.message import compose, normal_instead
from exporter.sinks.notify.notification import Channel, Incident
from tests.sinks.test_delivery import judged
from tests.support.streams import streams
from tests.support.verdicts import key

N = np.nan
NOW = 1_800_000_000.0  # 08:00 UTC


def text(*verdicts, now=NOW, told=False):
    ledger = DeliveryState()
    for each in verdicts:
        ledger.take(each, "alert")
    if told:
        ledger.mark_sent(ledger.pending())
    return compose(ledger.pending(), "http://me", now)


def test_one_incident_says_what_where_how_much_and_since_when():
    found = judged(
        [True], [7.25], keys=(key(instance="db-1", job="node"),), values=[[0.973]], expected=[[0.31]],
        lower=[[0.2]], upper=[[0.45]], severity=[12.5], since=[NOW - 1234], at=(NOW - 1100) / 60,
    )  # fmt: skip
    assert text(found) == (
        "ANOMALY in cpu: instance=db-1, job=node\n"
        "worst at 07:41 UTC: observed 0.973, expected 0.31 (normal: 0.2 to 0.45), score 7.25 (above 1 is anomalous); "
        "since 07:39 UTC (20 min)\n"
        "http://me"
    )


def test_the_channels_that_contribute_most_are_named_the_worst_first_and_what_is_unknown_is_left_out():
    found = judged(
        [True], keys=(key(svc="a"),), channels=("p99", "rps"), contribution=[[0.2, 0.8]], values=[[6.0, N]],
        expected=[[N, 3.0]], lower=[[N, -np.inf]], upper=[[5.0, N]], severity=[N], since=[NOW - 90_000],
        at=(NOW - 60) / 60,
    )  # fmt: skip
    assert text(found).splitlines()[1] == (
        "worst at 2027-01-15 07:59 UTC: rps: no value, expected 3, 80% of the deviation; p99: observed 6 (normal: at "
        "most 5), 20% of the deviation, score 2 (above 1 is anomalous); since 2027-01-14 07:00 UTC (1 d 1 h)"
    )


def test_many_incidents_of_a_job_are_one_line_and_the_worst():
    keys = tuple(key(i=str(n)) for n in range(60))
    found = judged([n < 50 for n in range(60)], [2.0] * 60, keys=keys, severity=np.arange(60.0), since=[NOW - 60] * 60)
    lines = text(found).splitlines()
    assert lines[0] == "ANOMALY in cpu: 50 of 60 entities, since 07:59 UTC (1 min). The worst:"
    assert [line.split(":")[0] for line in lines[1:-2]] == ["- i=49", "- i=48", "- i=47"]
    assert lines[-2] == "and 47 more"


def test_what_is_new_is_told_from_what_was_told():
    keys = tuple(key(i=str(n)) for n in range(9))
    ledger = DeliveryState()
    ledger.take(judged([n < 2 for n in range(9)], [2.0] * 9, keys=keys, since=[NOW - 300] * 9), "alert")
    ledger.mark_sent(ledger.pending())
    ledger.take(judged([True] * 9, [2.0] * 9, keys=keys, since=[NOW - 60] * 9), "alert")
    lines = compose(ledger.pending(), "", NOW).splitlines()
    assert lines[0] == "ANOMALY in cpu: 9 of 9 entities, 7 of them new, since 07:59 UTC (1 min). The worst:"
    assert lines[-1] == "and 4 more"


def test_what_is_left_out_of_a_long_message_is_counted_in_incidents():
    """Forty lines at most: 17 jobs have one incident of two lines, two have 12, of which three are named."""
    ledger = DeliveryState()
    for job in range(17):
        ledger.take(judged([True], keys=(key(i="0"),), job=f"one{job:02}"), "alert")
    many = tuple(key(i=str(n)) for n in range(12))
    for job in ("more", "most"):
        ledger.take(judged([True] * 12, [2.0] * 12, keys=many, job=job), "alert")
    lines = compose(ledger.pending(), "", NOW).splitlines()
    assert (len(lines), lines[-2], lines[-1]) == (40, "and 9 more", "… and 12 more incidents (see the log)")


def test_the_end_of_an_incident_tells_its_worst_reading_and_from_when_to_when_it_was():
    values = [0.5, 0.9, 0.4, 0.3]
    found = []
    for minute, value in enumerate(values):
        rows = np.array([0])
        figures = {name: np.array([[number]]) for name, number in (("value", 0.9), ("expected", 0.3), ("upper", 0.45))}
        missing = {name: np.array([[N]]) for name in ("lower", "contribution")}
        readings = Readings(
            rows, np.array([NOW - 180]), np.array([N if minute < 3 else NOW]), np.array([NOW - 120]), np.array([7.0]),
            np.array([0], np.int8), **figures, **missing,
        )  # fmt: skip
        judgement = judged(
            [minute < 3], [2.0 if minute < 3 else 0.1], keys=(key(i="a"),), values=[[value]], since=[NOW - 180],
            at=NOW / 60 - 3 + minute,
        )  # fmt: skip
        found.append(replace(judgement, readings=readings))
    ledger = DeliveryState()
    ledger.take(found[0], "alert")
    ledger.mark_sent(ledger.pending())
    for each in found[1:]:
        ledger.take(each, "alert")
    assert compose(ledger.pending(), "", NOW).splitlines() == [
        "OVER in cpu: i=a: back to normal",
        "worst at 07:58 UTC: observed 0.9, expected 0.3 (normal: at most 0.45), score 7 (above 1 is anomalous); "
        "from 07:57 to 08:00 UTC (3 min)",
    ]


def test_no_label_can_call_everybody_break_the_line_or_fill_the_channel():
    names = ("<!channel>", "a\nOVER in cpu", "x" * 10_000, "\u202eevil", "\ud800")
    for name in names:
        found = text(judged([True], keys=(key(i=name),)))
        assert len(found.splitlines()) == 3
        assert len(found) < 1000
        assert found.splitlines()[2] == "http://me"
        assert all(char.isprintable() for char in found.replace("\n", ""))


def test_an_entity_without_labels_has_a_name():
    assert "ANOMALY in cpu: its only series" in text(judged([True], keys=((),)))


def test_the_strongest_evidence_is_one_sentence_and_a_channel_is_named():
    found = judged([True], [7.25], keys=(key(i="a"),), since=[NOW - 60], at=NOW / 60)
    size, period = {"value now": 2.4, "volatility": -5.0}, {"value now": 5e4, "volatility": 2e6}
    assert "since 07:59 UTC (1 min); volatility 5.0 standard deviations below usual; by chance once in 3 weeks" in text(
        replace(found, streams=streams([0], size, period))
    )
    several = judged([True], [7.25], keys=(key(i="a"),), channels=("p99", "rps"), since=[NOW - 60], at=NOW / 60)
    told = streams([0], {"broken correlation": 6.0}, {"broken correlation": 1e12})
    told.channel[:, STREAMS.index("broken correlation")] = 1
    assert (
        "; broken correlation (rps) 6.0 standard deviations from usual; by chance less than once in 100 years"
        in text(replace(several, streams=told))
    )


def test_what_would_have_been_normal_is_told_on_the_side_of_the_value_and_of_the_hour_only_where_it_is():
    channels = [Channel("rps", 5.0, 5.0, 4.0, 6.0, 0.6), Channel("p99", 2.5, 0.3, 0.1, 0.412, 0.4, "seconds")]
    incident = Incident("api", {}, NOW, 4.0, 9.0, channels, of_channels=2, by_hour=True)
    assert normal_instead(incident) == "up to 412 ms of p99 this hour would have been normal"
    low = Incident("api", {}, NOW, 4.0, 9.0, [Channel("rps", 3.0, 5.0, 4.0, 6.0, 1.0)], over=NOW, by_hour=True)
    assert normal_instead(low) == "down to 4 at that hour would have been normal"
    low.by_hour = False
    assert normal_instead(low) == "down to 4 would have been normal"
    within = Incident("api", {}, NOW, 4.0, 9.0, channels[:1])
    assert normal_instead(within) == ""
