"""What teams declare in a cluster runs, changes and goes without disturbing anything else."""

import json
import time

import kmock
import kubernetes_validate
import pytest

from exporter.config.declared import Declared, Refused
from exporter.config.declared_objects import Declaration
from exporter.service import active as service
from exporter.service import discovery, object_watch
from exporter.service.app import App
from exporter.service.declared_events import Events, event
from exporter.sinks.metrics_page import Page
from exporter.web.ui.now import jobs_answer, now_answer
from tests.support.cluster import emulated, kubeconfig
from tests.support.declared import config_map, grafana_rule, prometheus_rule
from tests.support.fake import FakeSource
from tests.support.waiting import PATIENCE, eventually

SHOP = "jobs: {a: {expr: up, detector: robust, window: 30m}}"
QUERY = 'up{namespace="shop"}'


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(object_watch, "_SHORTEST", 0.05)
    monkeypatch.setattr(discovery, "REST", 0.0)
    with emulated() as (cluster, url):
        file = tmp_path / "kubeconfig"
        file.write_text(kubeconfig(url))
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        for name in ("shop", "bank"):
            cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield cluster
        cluster.away = True  # watches end


class Service:
    """An application whose source is in memory, and whose housekeeping is done by the test."""

    def __init__(self, folder, **config):
        self.path = folder / "anomaly.yml"
        self.settings = {"jobs": {"own": {"expr": "q", "detector": "robust", "window": "30m"}}, "discover": {}}
        self.write(**config)
        self.app = App(self.path, listen="127.0.0.1:0")

    def write(self, **config):
        self.settings |= config
        self.path.write_text(json.dumps(self.settings))

    def keep_house(self):
        if self.app._discovery.changed():
            self.app.exchange.take_declared()

    def jobs(self, *expected):
        def there():
            self.keep_house()
            return sorted(self.app.active.runners) == sorted(expected)

        eventually(there)

    def metric(self, family, **labels):
        return self.app.metrics.registry.get_sample_value(f"anomaly_exporter_{family}", labels)

    def unseen(self):
        return [each.text for each in now_answer(self.app._running, time.time()).unseen if each.kind == "declared"]


@pytest.fixture
def start(tmp_path, monkeypatch):
    source = FakeSource()
    source.close = lambda: None
    for query in ("q", QUERY):
        source.put(query, {"i": "x"}, {m * 60.0: 10 + m % 3 for m in range(130)})
    monkeypatch.setattr(service, "Prometheus", lambda *_: source)
    started: list[Service] = []

    def start(**config):
        started.append(Service(tmp_path, **config))
        return started[-1]

    yield start
    for each in started:
        each.app._discovery.stop(PATIENCE)


def test_a_config_map_becomes_a_job_on_the_page_and_goes_with_it(cluster, start):
    there = start()
    there.jobs("own")
    cluster.put(config_map("shop", SHOP))
    there.jobs("own", "shop:a")
    there.app.active.runners["shop:a"].stop()
    there.app.active.runners["shop:a"].cycle(100 * 60.0)
    assert "shop:a" in [job.job for job in jobs_answer(there.app._running, time.time()).jobs]
    page = there.app.sinks.one(Page)
    page.render()
    assert b'query="shop:a"' in page.current.body
    assert there.metric("discovered_jobs", namespace="shop") == 1.0
    assert there.metric("discovered_job_info", query="shop:a", severity="ticket", receivers="") == 1.0
    cluster.take_away("ConfigMap", "jobs", "shop")
    there.jobs("own")
    assert there.metric("discovered_jobs", namespace="shop") is None
    assert there.metric("discovered_job_info", query="shop:a", severity="ticket", receivers="") is None


def test_a_change_touches_no_other_job(cluster, start):
    cluster.put(config_map("shop", SHOP))
    cluster.put(config_map("bank", SHOP))
    there = start()
    there.jobs("own", "shop:a", "bank:a")
    before = dict(there.app.active.runners)
    cluster.put(config_map("shop", SHOP.replace("30m", "40m")))
    eventually(lambda: (there.keep_house(), there.app.active.runners["shop:a"] is not before["shop:a"])[1])
    assert there.app.active.runners["own"] is before["own"]
    assert there.app.active.runners["bank:a"] is before["bank:a"]
    after = there.app.active.runners["shop:a"]
    cluster.put(config_map("shop", SHOP.replace("30m", "40m").replace("up,", "up, direction: above,")))
    eventually(lambda: (there.keep_house(), after.config.direction == "above")[1])
    assert there.app.active.runners["shop:a"] is after, "what shapes deciding is exchanged in place"


def test_a_broken_one_is_said_everywhere_and_stops_nothing(cluster, start):
    cluster.put(config_map("bank", SHOP))
    there = start()
    cluster.put(config_map("shop", "jobs: {a: {expr: 'up{namespace=\"bank\"}'}}"))
    eventually(lambda: (there.keep_house(), there.unseen())[1])
    (told,) = there.unseen()
    assert told.startswith("Refused: the job a in ConfigMap jobs of the namespace shop: ")
    assert 'asks for namespace="bank"' in told
    there.jobs("own", "bank:a")
    assert there.metric("discovery_refused", namespace="shop", kind="ConfigMap", name="jobs") == 1.0
    found = eventually(lambda: [each for each in written(cluster) if each["metadata"]["namespace"] == "shop"])
    assert (found[0]["type"], found[0]["reason"]) == ("Warning", "JobsRefused")
    assert 'asks for namespace="bank"' in found[0]["message"]
    assert found[0]["involvedObject"]["name"] == "jobs"
    cluster.put(config_map("shop", SHOP))
    there.jobs("own", "bank:a", "shop:a")
    eventually(lambda: (there.keep_house(), there.unseen() == [])[1])
    eventually(lambda: [each for each in written(cluster) if "shop:a" in each["message"]])


def written(cluster):
    return [cluster.found("Event", name, namespace) for kind, namespace, name in keys(cluster) if kind == "events"]


def keys(cluster):
    return [(key[0].plural, key[1], key[2]) for key in list(cluster.objects)]


def test_an_event_keeps_to_the_schema_of_kubernetes():
    long = Declaration("", "ConfigMap", "shop", "jobs" * 60, uid="1-2")
    made = event(long, "Warning", "JobsRefused", "x" * 5000, 1_764_000_000.0)
    kubernetes_validate.validate(made, "1.27", strict=True)
    assert len(made["metadata"]["name"]) <= 253
    assert len(made["message"]) <= 1024


def test_events_are_written_by_one_exporter_alone(cluster):
    silent = Events(lambda: False)
    on = Declaration("", "ConfigMap", "shop", "jobs")
    silent.tell(Declared({}, {}, (Refused(on, "a", "no"),), {}))
    loud = Events(lambda: True)
    loud.tell(Declared({}, {}, (Refused(on, "b", "no"),), {}))
    (one,) = eventually(lambda: written(cluster))
    assert one["message"] == "b: no"
    for each in (silent, loud):
        each.stop(PATIENCE)


def test_while_the_api_server_is_away_the_known_jobs_go_on_and_it_is_said(cluster, start):
    cluster.put(config_map("shop", SHOP))
    there = start()
    there.jobs("own", "shop:a")
    runner = there.app.active.runners["shop:a"]
    cluster.away = True
    eventually(lambda: (there.keep_house(), there.unseen())[1])
    assert there.unseen() == [
        "Kubernetes answered 503 to a list of ConfigMap. The jobs declared until then go on; what teams declare or "
        "change is not seen."
    ]
    eventually(lambda: (there.keep_house(), there.metric("discovery_up", kind="ConfigMap", namespace="") == 0.0)[1])
    assert there.app.active.runners["shop:a"] is runner
    there.write(reload_poll="20s")
    assert there.app.reload() is None, "a reload keeps them too"
    assert there.app.active.runners["shop:a"] is runner
    cluster.put(config_map("bank", SHOP))
    cluster.away = False
    there.jobs("own", "shop:a", "bank:a")
    assert there.unseen() == []
    eventually(lambda: (there.keep_house(), there.metric("discovery_up", kind="ConfigMap", namespace="") == 1.0)[1])


def test_a_start_without_the_api_server_goes_by_what_was_declared_before(cluster, start, tmp_path):
    cluster.put(config_map("shop", SHOP))
    cluster.put(prometheus_rule("bank", grafana_rule("requests", "adaptive")))
    state = {"path": str(tmp_path / "state")}
    discover = {"anomaly_names": True}
    first = start(state=state, discover=discover)
    first.jobs("own", "shop:a", "bank:requests")
    first.app._discovery.stop(PATIENCE)
    cluster.away = True
    again = start(state=state, discover=discover)
    assert sorted(again.app.active.runners) == ["bank:requests", "own", "shop:a"]
    assert again.unseen()
    (tmp_path / "state" / "declared.json").write_text("[{")
    assert sorted(start(state=state).app.active.runners) == ["own"]


def test_a_watch_that_is_too_old_is_listed_again(cluster, start):
    cluster.put(config_map("shop", SHOP))
    there = start()
    there.jobs("own", "shop:a")
    lists = sum(each.action == kmock.action.LIST for each in cluster.asked)
    cluster.put(config_map("bank", SHOP))
    cluster.compacted = cluster.happened[-1][0]
    cluster.happened.clear()
    there.jobs("own", "shop:a", "bank:a")
    assert sum(each.action == kmock.action.LIST for each in cluster.asked) > lists - 1
    assert there.unseen() == []


def test_only_the_namespaces_that_are_named_are_read(cluster, start):
    for namespace in ("shop", "bank"):
        cluster.put(config_map(namespace, SHOP))
    there = start(discover={"namespaces": ["bank"]})
    there.jobs("own", "bank:a")
    there.write(discover={"namespaces": ["bank", "shop"]})
    before = there.app.active.runners["bank:a"]
    assert there.app.reload() is None
    there.jobs("own", "bank:a", "shop:a")
    assert there.app.active.runners["bank:a"] is before
    there.write(discover=None)
    assert there.app.reload() is None
    assert list(there.app.active.runners) == ["own"]


def test_config_maps_without_the_label_are_not_read(cluster, start):
    other = config_map("shop", SHOP)
    other["metadata"]["labels"] = {}
    cluster.put(other)
    cluster.put(config_map("bank", SHOP))
    start().jobs("own", "bank:a")


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (403, "Kubernetes does not let this account list and watch PrometheusRule in all namespaces (403)"),
        (404, "Kubernetes does not know PrometheusRule (404): install the Prometheus operator, or leave out its keys"),
    ],
)
def test_what_may_not_be_read_is_said_and_the_others_are_read(cluster, start, status, told):
    cluster.refused["GET", "prometheusrules"] = status, "no"
    cluster.put(config_map("shop", SHOP))
    there = start(discover={"rules": True})
    there.jobs("own", "shop:a")
    eventually(there.unseen)
    assert there.unseen()[0].startswith(told)


def test_a_broken_file_and_what_is_declared_do_not_wait_for_each_other(cluster, start):
    there = start()
    there.write(jobs={"own": {"expr": "("}})
    assert there.app.reload()
    cluster.put(config_map("shop", SHOP))
    there.jobs("own", "shop:a")
    assert there.app._facts.facts().refused, "the file is still wrong"


def test_an_exporter_may_have_no_jobs_of_its_own(cluster, start):
    there = start(jobs={})
    assert not there.app.active.runners
    cluster.put(config_map("shop", SHOP))
    there.jobs("shop:a")


def test_declared_jobs_that_cannot_come_into_service_stop_nothing_and_are_tried_again(cluster, start, monkeypatch):
    cluster.put(config_map("bank", SHOP))
    there = start()
    there.jobs("own", "bank:a")
    prepare, fails = there.app._preparation.prepare, [True]

    def failing(loaded, before):
        if fails and "shop:a" in loaded.config.jobs:
            raise RuntimeError("no")
        return prepare(loaded, before)

    monkeypatch.setattr(there.app._preparation, "prepare", failing)
    cluster.put(config_map("shop", SHOP))
    eventually(lambda: (there.keep_house(), there.unseen())[1])
    assert there.unseen() == ["What teams declare now does not come into force, what runs goes on: no."]
    runner = there.app.active.runners["bank:a"]
    there.write(jobs={**there.settings["jobs"], "more": {"expr": "q", "detector": "robust", "window": "30m"}})
    assert there.app.reload() is None, "the file is not stopped either"
    assert sorted(there.app.active.runners) == ["bank:a", "more", "own"]
    assert there.app.active.runners["bank:a"] is runner
    fails.clear()
    monkeypatch.setattr(there.app._discovery, "_again_at", 0.0)
    there.jobs("own", "more", "bank:a", "shop:a")
    assert there.unseen() == []


def test_a_reload_is_compared_with_what_the_file_said(cluster, start):
    cluster.put(config_map("shop", SHOP))
    there = start()
    there.jobs("own", "shop:a")
    assert list(there.app._configuration()["jobs"]) == ["own"]


def test_a_namespace_with_too_many_objects_takes_no_memory_and_stops_no_other(cluster, start, monkeypatch):
    monkeypatch.setattr(object_watch, "MOST_OBJECTS", 2)
    for at in range(5):
        cluster.put(config_map("shop", SHOP.replace("a:", f"a{at}:"), name=f"jobs-{at}"))
    there = start()
    there.jobs("own", "shop:a0", "shop:a1")
    cluster.put(config_map("bank", SHOP))
    cluster.put(config_map("shop", SHOP.replace("a:", "a5:"), name="jobs-5"))
    there.jobs("own", "shop:a0", "shop:a1", "bank:a")
    (watch,) = there.app._discovery._watches
    assert sorted(each.name for each in watch.declarations if each.namespace == "shop") == [
        "jobs-0",
        "jobs-1",
        "jobs-2",
    ]
    (told,) = there.unseen()
    assert "jobs-2" in told
    assert "this one and later ones are not read" in told
    cluster.take_away("ConfigMap", "jobs-0", "shop")
    there.jobs("own", "shop:a1", "shop:a2", "bank:a")


def test_teams_that_change_their_jobs_all_the_time_do_not_take_all_time(cluster, start, monkeypatch):
    monkeypatch.setattr(discovery, "REST", 9.0)
    there = start()
    there.app._discovery.look_again()
    there.app._discovery.took(60.0)
    assert not there.app._discovery.changed()
    there.app._discovery.took(0.0)
    assert there.app._discovery.changed()
    monkeypatch.setattr(discovery, "REST", 1e9)
    there.app.exchange.take_declared()
    there.app._discovery.look_again()
    assert not there.app._discovery.changed(), "the time that a change takes is followed by rest"
