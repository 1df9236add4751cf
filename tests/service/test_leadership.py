"""Row 55: there is at most one leader at any moment, and whoever cannot know that it leads does not."""

import os

import pytest

from exporter.config.sections.leader import LeaderConfig
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.shard import Shard
from exporter.service import election
from exporter.service.election import ElectionError, FileElection, Leadership, LeaseElection, election_of
from exporter.service.standby import Standby
from tests.support.cluster import NAMESPACE, emulated, kubeconfig
from tests.support.waiting import eventually

LEASE = LeaderConfig(lease="exporter", namespace=NAMESPACE, duration=6.0)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with emulated() as (cluster, url):
        file = tmp_path / "kubeconfig"
        file.write_text(kubeconfig(url))
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield cluster


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(election, "time", clock)
    return clock


def candidate(name: str) -> LeaseElection:
    made = LeaseElection("exporter", LEASE)
    made.identity = made._lock.identity = name
    return made


def test_one_of_two_has_the_file(tmp_path):
    one, other = (Leadership(FileElection(tmp_path / "deep" / "lock")) for _ in range(2))
    assert one.attempt()
    assert not other.attempt()
    assert other.election.holder() == f"process {os.getpid()}"
    one.release()
    assert not one.leads
    assert other.attempt()
    assert not one.attempt()


def test_a_deleted_file_ends_a_leadership_unless_it_is_taken_again(tmp_path):
    one, other = (Leadership(FileElection(tmp_path / "lock")) for _ in range(2))
    assert one.attempt()
    (tmp_path / "lock").unlink()
    assert other.attempt()
    assert not one.attempt()


def test_shards_have_leaders_of_their_own(tmp_path):
    config = LeaderConfig(file=tmp_path / "lock")
    leaders = [Leadership(election_of(config, Shard(index, 2))) for index in range(2)]
    assert all(each.attempt() for each in leaders)


def test_one_of_two_has_the_lease_and_gives_it_back(cluster):
    one, other = (Leadership(candidate(name)) for name in ("one", "other"))
    assert one.attempt()
    assert not other.attempt()
    assert other.election.holder() == "one"
    lease = cluster.found("Lease", "exporter")["spec"]
    assert (lease["holderIdentity"], lease["leaseDurationSeconds"]) == ("one", 6)
    assert one.attempt(), "renewed"
    one.release()
    assert other.attempt(), "at once, not when it has run out"
    assert not one.attempt()


def test_who_cannot_renew_stops_to_lead_before_another_one_begins(cluster, clock):
    one = Leadership(candidate("one"))
    assert one.attempt()
    cluster.refused["PUT", "leases"] = 500, "etcd is down"
    clock.now += 3.9
    assert one.attempt(), "the lease lasts"
    clock.now += 0.2
    assert not one.leads, "even if nobody asks: a process that slept is no leader when it wakes up"
    assert not one.attempt()
    del cluster.refused["PUT", "leases"]
    assert one.attempt()


def test_an_answer_that_is_none_is_told_and_ends_nothing_at_once(cluster, clock):
    one = Leadership(candidate("one"))
    assert one.attempt()
    cluster.refused["GET", "leases"] = 200, "<html>a login page</html>"
    assert one.attempt()
    assert one.trouble
    clock.now += LEASE.duration
    assert not one.attempt()


def test_two_that_ask_at_the_same_time_are_told_apart_by_the_cluster(cluster):
    """Both have read the lease of a leader that is gone; the one that writes second is refused."""
    first, one = candidate("first"), candidate("one")
    assert first.attempt()
    first.release()
    theirs = {"kind": "Lease", **cluster.found("Lease", "exporter")}
    theirs["spec"]["holderIdentity"], theirs["metadata"]["namespace"] = "other", NAMESPACE
    cluster.meanwhile.append(lambda: cluster.put(theirs))
    assert not one.attempt()
    assert cluster.found("Lease", "exporter")["spec"]["holderIdentity"] == "other"


def test_without_a_cluster_it_is_said_what_is_needed(monkeypatch, tmp_path):
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(ElectionError, match=r"no access to Kubernetes: .*; in a pod it needs the token"):
        LeaseElection("exporter", LEASE)


def test_a_take_over_that_fails_is_tried_again(tmp_path):
    """The audit file of the leader before may still be locked."""
    holder = Leadership(FileElection(tmp_path / "lock"))
    assert holder.attempt()
    calls: list[bool] = []

    def take_over() -> None:
        calls.append(True)
        if len(calls) < 3:
            raise OSError("in use")

    metrics = SelfMetrics()
    standby = Standby(Leadership(FileElection(tmp_path / "lock")), metrics, take_over, lambda: None)
    assert not standby.leads
    standby.start()
    holder.release()
    eventually(lambda: standby.leads and len(calls) == 3)
    standby.stop(5.0)
    assert holder.attempt(), "whoever stops lets another one lead"
