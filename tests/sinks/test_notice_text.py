"""What a notice says at three in the morning."""

import numpy as np

from exporter.sinks.notify.delivery import DeliveryState
from exporter.sinks.notify.message import compose
from tests.sinks.test_delivery import judged
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
        lower=[[0.2]], upper=[[0.45]], severity=[12.5], since=[NOW - 1234],
    )  # fmt: skip
    assert text(found) == (
        "ANOMALY in cpu: instance=db-1, job=node\n"
        "is 0.973, expected 0.31 (normal: 0.2 to 0.45); since 07:39 UTC, score 7.25, severity 12.5\n"
        "http://me"
    )


def test_the_channels_that_contribute_most_are_named_the_worst_first_and_what_is_unknown_is_left_out():
    found = judged(
        [True], keys=(key(svc="a"),), channels=("p99", "rps"), contribution=[[0.2, 0.8]], values=[[4.0, N]],
        expected=[[N, 3.0]], lower=[[N, -np.inf]], upper=[[5.0, N]], severity=[N], since=[NOW - 90_000],
    )  # fmt: skip
    assert text(found).splitlines()[1] == (
        "rps is without a value, expected 3, 80% of the deviation; p99 is 4 (normal: at most 5), 20% of the deviation;"
        " since 2027-01-14 07:00 UTC, score 2"
    )


def test_many_incidents_of_a_job_are_one_line_and_the_worst():
    keys = tuple(key(i=str(n)) for n in range(60))
    found = judged([n < 50 for n in range(60)], [2.0] * 60, keys=keys, severity=np.arange(60.0), since=[NOW - 60] * 60)
    lines = text(found).splitlines()
    assert lines[0] == "ANOMALY in cpu: 50 of 60 entities, since 07:59 UTC. The worst:"
    assert [line.split(":")[0] for line in lines[1:-1]] == ["- i=49", "- i=48", "- i=47"]


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
