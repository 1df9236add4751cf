"""Peers in the cycle: who has none is told, replicas get whole groups, and a backtest is the live job to the bit."""

import json

import numpy as np
import pytest
from structlog.testing import capture_logs

from exporter.backtest.past_incidents import PastIncidents
from exporter.backtest.replay import Columns, replay
from exporter.config.sections.job import JobConfig
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import ALL, JobSettings
from exporter.pipeline.peer_groups import PeerCount
from exporter.pipeline.shard import Shard
from exporter.sinks.audit_rows import streams_of_cell
from exporter.sinks.notify.notification import incident_of
from exporter.source.samples import RangeResult
from tests.pipeline.test_cycle import Bench
from tests.support.cycles import MONDAY, STEP
from tests.support.runners import runner_of

SAMPLES, FAULT = 700, 640
FIRST = round(MONDAY / STEP)


class Pods:
    """Two services with six pods each, of which one becomes slow while the load of its service doubles."""

    def __init__(self) -> None:
        rng, at = np.random.default_rng(5), np.arange(SAMPLES)
        self.keys = [{"service": f"s{n // 6}", "pod": f"p{n}"} for n in range(12)]
        common = 0.12 * (1 + 0.4 * np.sin(at / 150)) * np.where(at >= FAULT - 30, 2.0, 1.0)
        values = common * rng.lognormal(0, 0.2, (12, 1)) * (1 + 0.04 * rng.standard_t(6, (12, SAMPLES)))
        values[4, FAULT:] *= 3.0
        self.columns = Columns([json.dumps(key).encode() for key in self.keys], values, FIRST, STEP)

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
        return self.columns.frame(start, end)

    def metric_types(self, names) -> dict[str, str]:
        return {}


def job_of(shard: Shard = ALL, **settings) -> Job:
    config = JobConfig.model_validate(
        {"expr": "latency_seconds", "peers": ["service"], "deploys": {"presets": []}, "history": "1h"} | settings
    )
    return Job(JobSettings("pods", config, shard=shard), Pods())


def verdicts(job: Job, first: int = 0) -> list:
    return list(replay(job, FIRST + first, FIRST + SAMPLES - 1, lambda _: None))


@pytest.mark.parametrize("detector", ["auto", "peers"])
def test_the_pod_that_differs_is_told_beside_the_others(detector):
    found = verdicts(job_of(detector=detector))
    row = found[-1].keys.index((("pod", "p4"), ("service", "s0")))
    opened = next(each for each in found if each.flag[row] and each.time >= MONDAY + FAULT * STEP)
    assert opened.time <= MONDAY + (FAULT + 10) * STEP
    told = incident_of(found[-1], row, {"value": "seconds"})
    [stream] = [each for each in told.streams if each.name == "value beside its peers"]
    assert stream.peers.others == 5
    assert " x the other 5 of s0 (they: " in stream.text
    assert " ms, usual difference " in stream.text
    if detector == "peers":
        assert found[-1].flag.sum() == 1  # that the load has doubled is no concern of peers
        assert stream.peers.own / stream.peers.usual == pytest.approx(3, rel=0.5)


@pytest.mark.parametrize("detector", ["auto", "peers"])
def test_a_job_that_begins_again_from_its_state_goes_on_to_the_bit(detector):
    job = job_of(detector=detector)
    whole = verdicts(job)
    first, second = job_of(detector=detector), job_of(detector=detector)
    list(replay(first, FIRST, FIRST + 500, lambda _: None))
    second.restore(first.state())
    later = list(replay(second, FIRST + 501, FIRST + SAMPLES - 1, lambda _: None))
    for one, other in zip(whole[-len(later) :], later, strict=True):
        assert one.time == other.time
        np.testing.assert_array_equal(one.score, other.score)
        np.testing.assert_array_equal(one.flag, other.flag)


def test_replicas_get_whole_groups():
    keys = [(("pod", f"p{n}"), ("service", f"s{n // 3}")) for n in range(60)]
    for settings in ({}, {"group": ["service", "pod"]}):
        owners: dict[str, set[int]] = {}
        for index in range(4):
            owned = job_of(Shard(index, 4), **settings).settings
            for key in keys:
                if owned.owns(key):
                    owners.setdefault(key[1][1], set()).add(index)
        assert len(owners) == 20
        assert all(len(each) == 1 for each in owners.values())
        assert len(set().union(*owners.values())) == 4
    for settings in ({"peers": []}, {"group": ["pod"]}):  # nothing in common: one replica has all
        replicas = [job_of(Shard(index, 4), **settings).settings for index in range(4)]
        assert sorted(sum(each.owns(key) for key in keys) for each in replicas) == [0, 0, 0, 60]


def test_the_verdicts_of_a_replica_are_those_of_a_single_exporter():
    whole = verdicts(job_of(detector="peers"))[-1]
    for index in range(2):
        part = verdicts(job_of(Shard(index, 2), detector="peers"))[-1]
        for row, key in enumerate(part.keys):
            assert part.score[row] == whole.score[whole.keys.index(key)]


def text(keys: list[tuple], **job) -> str | None:
    found = PeerCount(JobConfig.model_validate({"expr": "up", "peers": ["service"]} | job)).take(tuple(keys))
    return None if found is None else found.text


def test_who_has_no_peers_is_told():
    three = [(("pod", f"p{n}"), ("service", "a")) for n in range(3)]
    assert text(three) is None
    assert text([*three, (("pod", "x"), ("service", "b")), (("pod", "y"),)]) == (
        "2 of 5 series have fewer than 2 peers and are not compared: a group of one or two tells nothing; 1 of them "
        "lack a label of peers."
    )
    assert text(three, peers=["servize"]) == (
        "no series has the label servize of peers, so none is compared: see the labels of the query."
    )
    assert text(three, peers=["pod"], detector="peers") == (
        "3 of 3 series have fewer than 2 peers and are not compared: a group of one or two tells nothing; they have no "
        "score."
    )
    assert text(three[:1], peers=None) is None


def test_past_incidents_tell_it_too_and_the_audit_file_keeps_it(tmp_path):
    from exporter.sinks.audit_rows import _reasons

    job = job_of(detector="peers")
    past, last = PastIncidents("pods", job.config), None
    for verdict in replay(job, FIRST, FIRST + SAMPLES - 1, lambda _: None):
        past.add(verdict, job.learnt.budget)
        last = verdict
    [incident] = [each for each in past.found if dict(each.key)["pod"] == "p4"][-1:]
    assert any("the other 5 of s0" in each.text for each in incident.streams)
    row = last.keys.index(incident.key)
    cell = _reasons(last)[row].split(",", 3)[3].strip('"').replace('""', '"')
    [kept] = [each for each in streams_of_cell(cell) if each.name == "value beside its peers"]
    assert (kept.peers.others, kept.peers.group) == (5, "s0")
    assert kept.peers.theirs == pytest.approx(float(last.streams.theirs[np.searchsorted(last.streams.rows, row)]), 1e-4)


def test_the_log_says_once_who_has_no_peers():
    bench = Bench(peers=["service"], detector="auto")
    bench.put("a", range(46))
    runner = runner_of(bench)
    with capture_logs() as lines:
        for minute in range(40, 45):
            runner.cycle(minute * STEP + 1)
    [said] = [line for line in lines if line["event"] == "without_peers"]
    assert said["text"].startswith("no series has the label service of peers")
