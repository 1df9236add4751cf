"""Incidents of several replicas that share the entities of their jobs (`--shard`): one cause is one joint incident."""

import json
from pathlib import Path

import numpy as np
import pytest

from detectors.types import Key
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.shard import Shard
from exporter.service.replica_watch import ASKED, Mine, ReplicaWatch
from exporter.sinks.joint_elsewhere import RENAMED_WITHIN, Heard
from exporter.sinks.joint_log import JointLog
from exporter.source.errors import Unreachable
from exporter.source.samples import RangeResult
from tests.context.test_joint_incidents import NOW, Exporter, racks
from tests.support.verdicts import key

EVERY = [each for some in racks().values() for each in some]
RACK = racks()["r7"]


class Replicas:
    """Two exporters, each with its share of the services of 25 racks."""

    def __init__(self, folder: Path | None = None) -> None:
        self.shards = [Shard(0, 2), Shard(1, 2)]
        self.mine = [[each for each in EVERY if shard.owns(each)] for shard in self.shards]
        self.exporters = [
            Exporter(None if folder is None else folder / str(n), latency=mine) for n, mine in enumerate(self.mine)
        ]

    def cycle(self, at: float, opened: list[Key], out: list[Key] | None = None) -> None:
        for exporter, mine in zip(self.exporters, self.mine, strict=True):
            exporter.cycle(at, out=set(out or ()), latency=[each for each in opened if each in mine])

    def tell(self, at: float) -> None:
        """Let each hear what both publish."""
        said = [
            [Heard(job, each, member.moved, joint.id) for job in ("latency",) for each, (member, joint) in found.items()
             if member.over is None]
            for found in (exporter.log.joined("latency") for exporter in self.exporters)
        ]  # fmt: skip
        self.exporters[0].log.hear(said[1], 2, NOW + at)
        self.exporters[1].log.hear(said[0], 2, NOW + at)

    @property
    def ids(self) -> list[set[str]]:
        """Ids of what the incidents of each belong to."""
        return [
            {joint.id for member, joint in exporter.log.joined("latency").values() if member.over is None}
            for exporter in self.exporters
        ]


@pytest.mark.parametrize("apart", [0, 60])
def test_a_rack_that_two_replicas_share_has_one_id_and_one_first_mover(apart: int) -> None:
    replicas = Replicas()
    first = next(each for each in RACK if each in replicas.mine[1])
    replicas.cycle(0, [])
    replicas.cycle(60, [], out=[first])
    replicas.cycle(120, [each for each in RACK if apart == 0 or each in replicas.mine[0]])
    replicas.tell(130)
    replicas.cycle(180, RACK)
    for at in (190, 205):
        replicas.tell(at)
    assert replicas.ids[0] == replicas.ids[1]
    assert len(replicas.ids[0]) == 1
    for exporter in replicas.exporters:
        [joint] = exporter.log.open()
        assert {each.key for each in joint.members} == set(RACK)
        assert joint.first.key == first or apart
        labels = next(
            sample.labels for family in exporter.metrics.registry.collect() for sample in family.samples
            if sample.name == "anomaly_exporter_joint_incident_series"
        )  # fmt: skip
        assert exporter.metrics.registry.get_sample_value("anomaly_exporter_joint_incident_series", labels) == len(RACK)
    replicas.cycle(600, [])
    replicas.tell(610)
    assert replicas.ids == [set(), set()]
    assert all(exporter.log.open() == [] for exporter in replicas.exporters)


def test_a_crowd_without_a_common_label_over_two_replicas_is_one() -> None:
    replicas = Replicas()
    some = [services[3] for services in racks().values()]
    assert min(sum(each in mine for each in some) for mine in replicas.mine) >= 6
    replicas.cycle(0, [])
    replicas.cycle(60, some)
    assert [len(exporter.log.open()) for exporter in replicas.exporters] == [1, 1]
    replicas.tell(70)
    replicas.tell(85)
    assert replicas.ids[0] == replicas.ids[1]
    assert [len(exporter.log.open()[0].members) for exporter in replicas.exporters] == [len(some), len(some)]


def test_an_alert_that_was_sent_keeps_its_id() -> None:
    replicas = Replicas()
    replicas.cycle(0, [])
    replicas.cycle(60, RACK)
    before = replicas.ids
    assert before[0] != before[1]
    replicas.cycle(60 + RENAMED_WITHIN + 60, RACK)
    replicas.tell(60 + RENAMED_WITHIN + 70)
    assert replicas.ids == before


def test_unrelated_incidents_of_two_replicas_stay_apart() -> None:
    replicas = Replicas()
    one = next(each for each in racks()["r1"] if each in replicas.mine[0])
    other = next(each for each in racks()["r2"] if each in replicas.mine[1])
    replicas.cycle(0, [])
    replicas.cycle(60, [one, other])
    replicas.tell(70)
    assert len(replicas.ids[0] | replicas.ids[1]) == 2
    assert [len(joint.members) for exporter in replicas.exporters for joint in exporter.log.open()] == [1, 1]


def test_what_was_heard_outlasts_a_restart(tmp_path: Path) -> None:
    replicas = Replicas(tmp_path)
    replicas.cycle(0, [])
    replicas.cycle(60, RACK)
    replicas.tell(70)
    ids = replicas.ids
    for exporter in replicas.exporters:
        exporter.log.save()
        exporter.restart()
    replicas.cycle(120, RACK)
    replicas.tell(130)
    assert replicas.ids == ids
    assert all(len(joint.members) == len(RACK) for exporter in replicas.exporters for joint in exporter.log.open())


def answer(*series: tuple[dict[str, str], float]) -> RangeResult:
    labels = [json.dumps(each).encode() for each, _ in series]
    values = np.array([value for _, value in series])
    return RangeResult(labels, np.ones(len(series), np.int64), np.full(len(series), NOW), values)


class Watching:
    """A watch of the incidents of others that is answered what the test says."""

    def __init__(self, labels: tuple[str, ...] = ("service",)) -> None:
        self.heard: list[Heard] = []
        self.joint, self.metrics, self.answer = JointLog(), SelfMetrics(), answer()
        self.joint.hear = lambda heard, _replicas, _now: self.heard.extend(heard)  # type: ignore[method-assign]
        mine = Mine(lambda each: ("service", "ours") in each, frozenset(labels))
        self.watch = ReplicaWatch(
            self.joint, 2, self._read, lambda job: mine if job == "latency" else None, self.metrics
        )

    def _read(self, expr: str, _now: float) -> RangeResult:
        assert expr == ASKED
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def series(**labels: str) -> dict[str, str]:
    return {"__name__": ASKED, "query": "latency", "detector": "auto", "anomaly_incident": "1f", **labels}


def test_our_own_incidents_and_those_of_unknown_jobs_are_left_out_and_labels_of_the_exporter_too() -> None:
    of = Watching()
    of.answer = answer(
        (series(service="theirs", instance="exporter-1:9877", job="anomaly-exporter"), NOW - 60),
        (series(service="ours", instance="exporter-0:9877", job="anomaly-exporter"), NOW - 60),
        (series(service="theirs", query="elsewhere"), NOW - 60),
        (series(service="theirs", exported_query="select"), NOW - 30),
    )
    of.watch.look(NOW)
    assert of.heard == [
        Heard("latency", key(service="theirs"), NOW - 60, "1f", replica="exporter-1:9877"),
        Heard("latency", key(query="select", service="theirs"), NOW - 30, "1f"),
    ]


def test_a_label_of_the_entities_themselves_stays() -> None:
    of = Watching(("service", "instance"))
    of.answer = answer((series(service="theirs", instance="db-1", job="anomaly-exporter"), NOW))
    of.watch.look(NOW)
    assert [each.key for each in of.heard] == [key(instance="db-1", service="theirs")]


def test_a_source_that_does_not_answer_is_said_once_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    of = Watching()
    of.answer = Unreachable("connection refused")  # type: ignore[assignment]
    of.watch.look(NOW)
    of.watch.look(NOW + 15)
    assert of.heard == []
    assert capsys.readouterr().out.count("replicas_not_asked") == 1
    errors = {"outcome": "error"}
    assert of.metrics.registry.get_sample_value("anomaly_exporter_replica_queries_total", errors) == 2
