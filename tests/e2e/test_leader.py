"""Two exporters of the same jobs: one leads, the other takes over; whoever is killed, nothing is told twice."""

import signal
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import Page
from tests.e2e.test_end_to_end import QUICK, config, history, watching
from tests.sinks.conftest import HOOK, arrived
from tests.support.cluster import NAMESPACE, emulated, kubeconfig
from tests.support.stub import Reply, serve
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.servers

LEVEL = {"level": {"expr": "level", "alert": {"metric": "flag"}, **QUICK, "clear_after": "4s"}}


def text(url: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{url}/", timeout=PATIENCE, headers={"Accept": "text/html"}).text


def leads(server) -> bool:
    return 1 in Page(server.url).get("anomaly_exporter_leader").values()


def shows(server) -> bool:
    return bool(Page(server.url).get("anomaly_score"))


def flagged(server) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        found = session.get(f"{server.url}/api/v1/anomalies?flag=true", timeout=PATIENCE).json()
    return found["total"] == 1


@pytest.fixture
def pair(prometheus, exporter, target, tmp_path):
    """Two exporters that share a state folder, and the messages they have sent."""
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    with serve(Reply(b"ok")) as slack:
        (tmp_path / "hook").write_text(slack.url + HOOK)

        def start(**leader):
            settings = config(
                source,
                LEVEL,
                notify={"slack": {"file": str(tmp_path / "hook")}},
                state={"path": str(tmp_path / "state"), "every": "1s"},
                audit={"path": str(tmp_path / "audit.csv")},
                leader=leader,
            )
            first = exporter(settings)
            eventually(lambda: shows(first))
            second = exporter(settings)
            return first, second

        yield start, slack


def test_the_standby_is_warm_and_shows_who_leads(pair, tmp_path):
    start, _ = pair
    first, second = start(file=str(tmp_path / "leader.lock"))
    assert leads(first)
    assert not leads(second)
    page = Page(second.url)
    assert page.one("anomaly_exporter_series", query="level", detector="auto", state="ready") == 2
    assert not page.get("anomaly_score")
    assert not page.get("anomaly_flag")
    assert [dict(labels)["leader"] for labels in page.get("anomaly_exporter_leader")] == [f"process {first.pid}"]
    assert second.pid != first.pid


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_leader_ends_the_other_goes_on_and_repeats_nothing(pair, target, tmp_path, how):
    """Row 55: an incident that begins under one leader ends under the next: one message each."""
    start, slack = pair
    first, second = start(file=str(tmp_path / "leader.lock"))
    target.series["b"] = 100.0
    arrived(slack, 1, within=PATIENCE)
    eventually(lambda: flagged(second))
    begun = Page(second.url).cycles("level")
    first.kill() if how == signal.SIGKILL else first.stop()
    eventually(lambda: shows(second))
    assert leads(second)
    assert Page(second.url).one("anomaly_flag", name="b") == 1
    eventually(lambda: Page(second.url).cycles("level") >= begun + 5)
    assert len(arrived(slack, 1, within=PATIENCE)) == 1, "what was told is not told again"
    first.start()  # it comes back as the standby, and changes nothing
    assert not leads(first)
    target.series["b"] = 10.0
    assert "OVER in level: instance=target, job=target, name=b" in arrived(slack, 2, within=PATIENCE)[1]
    second.kill()
    eventually(lambda: shows(first))
    target.series["a"] = 100.0
    assert "name=a" in arrived(slack, 3, within=PATIENCE)[2]
    rows = [line for line in Path(tmp_path / "audit.csv").read_text().splitlines()[1:] if line]
    assert len(set(rows)) == len(rows), "no row is doubled"


def test_killing_the_standby_changes_nothing(pair, target, tmp_path):
    start, slack = pair
    first, second = start(file=str(tmp_path / "leader.lock"))
    second.kill()
    target.series["b"] = 100.0
    arrived(slack, 1, within=PATIENCE)
    second.start()
    eventually(lambda: flagged(second))
    assert leads(first)
    assert not shows(second)
    target.series["b"] = 10.0
    arrived(slack, 2, within=PATIENCE)


def test_an_incident_that_begins_while_nobody_leads_is_told_by_the_next(pair, target, tmp_path):
    start, slack = pair
    first, second = start(file=str(tmp_path / "leader.lock"))
    first.kill()
    target.series["b"] = 100.0
    assert "name=b" in arrived(slack, 1, within=PATIENCE)[0]
    assert leads(second)


def test_a_lease_in_kubernetes_chooses_the_leader(pair, target, tmp_path, monkeypatch):
    """The API of Kubernetes is emulated; both processes are real."""
    with emulated() as (cluster, url):
        (tmp_path / "kubeconfig").write_text(kubeconfig(url))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        start, slack = pair
        cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        first, second = start(lease="exporter", namespace=NAMESPACE, duration="5s")
        assert leads(first)
        assert not shows(second)
        first.kill()
        eventually(lambda: shows(second))
        target.series["b"] = 100.0
        arrived(slack, 1, within=PATIENCE)
