"""Objects in an emulated cluster, through the real client: made, changed, left alone."""

import copy
import socket
import sys

import pytest

from deploy import create_or_update_configmap, create_or_update_cronjob, create_or_update_secret
from deploy.kubernetes import DeployError, create_or_update, objects
from deploy.kubernetes import cluster as cluster_module
from deploy.kubernetes.objects import config_map
from tests.support.cluster import CONFIG, client, emulated


def test_what_is_missing_is_created_what_has_changed_updated_and_the_rest_left_alone(cluster, planned):
    emulator, there = cluster
    assert create_or_update_configmap(planned(), there) == "created"
    assert create_or_update_configmap(planned(), there) == "unchanged"
    changed = planned(CONFIG.replace("node_load1", "node_load5"))
    assert create_or_update_configmap(changed, there) == "updated"
    assert create_or_update_configmap(changed, there) == "unchanged"
    assert [method for method, *_ in emulator.writes] == ["POST", "PUT"]
    assert "node_load5" in emulator.found("ConfigMap", "anomaly-exporter")["data"]["anomaly.yml"]


def test_a_file_that_is_gone_from_the_configuration_is_gone_from_the_configmap(cluster, planned, tmp_path):
    emulator, there = cluster
    (tmp_path / "anomaly.prod.yml").write_text("jobs: {load: {budget: 2 per week}}\n")
    create_or_update_configmap(planned(profile="prod"), there)
    assert emulator.found("ConfigMap", "anomaly-exporter")["data"].keys() == {"anomaly.yml", "anomaly.prod.yml"}
    assert create_or_update_configmap(planned(), there) == "updated"
    assert emulator.found("ConfigMap", "anomaly-exporter")["data"].keys() == {"anomaly.yml"}


def test_a_secret_has_the_values_it_was_given_and_no_others(cluster, planned):
    emulator, there = cluster
    assert create_or_update_secret(planned(), {"token": "one", "old": "two"}, there) == "created"
    assert create_or_update_secret(planned(), {"token": "one", "old": "two"}, there) == "unchanged"
    assert create_or_update_secret(planned(), {"token": "other"}, there) == "updated"
    assert emulator.found("Secret", "anomaly-exporter")["data"] == {"token": "b3RoZXI="}


def test_a_cronjob_follows_its_schedule_and_a_removed_field_is_removed(cluster, planned):
    emulator, there = cluster
    assert create_or_update_cronjob(planned(time_zone="Europe/Berlin"), there) == "created"
    assert create_or_update_cronjob(planned(time_zone="Europe/Berlin"), there) == "unchanged"
    assert create_or_update_cronjob(planned(schedule="5 4 * * *"), there) == "updated"
    spec = emulator.found("CronJob", "anomaly-exporter-train")["spec"]
    assert spec["schedule"] == "5 4 * * *"
    assert "timeZone" not in spec


@pytest.mark.parametrize("shards", [1, 3])
def test_every_object_is_unchanged_by_a_second_run_for_all_that_the_cluster_has_added(cluster, planned, shards):
    emulator, there = cluster
    made = [each for each in objects(planned(shards=shards)) if each["kind"] != "Namespace"]
    assert {create_or_update(each, there) for each in made} == {"created"}
    writes = len(emulator.writes)
    assert {create_or_update(each, there) for each in made} == {"unchanged"}
    assert len(emulator.writes) == writes


def test_what_somebody_changed_by_hand_is_put_right_and_what_they_added_stays(cluster, planned):
    emulator, there = cluster
    (service,) = [each for each in objects(planned()) if each["kind"] == "Service"]
    create_or_update(service, there)
    found = emulator.found("Service", "anomaly-exporter")
    found["metadata"]["annotations"]["team"] = "observability"
    emulator.put(found)
    assert create_or_update(service, there) == "unchanged"
    found["spec"]["ports"][0]["port"] = 1
    emulator.put(found)
    assert create_or_update(service, there) == "updated"
    mended = emulator.found("Service", "anomaly-exporter")
    assert mended["spec"]["ports"][0]["port"] == 9877
    assert mended["spec"]["clusterIPs"] == ["None"]
    assert mended["metadata"]["annotations"]["team"] == "observability"


def test_quantities_are_compared_by_what_they_mean(cluster, planned):
    emulator, there = cluster
    (claim, *_) = [each for each in objects(planned(state_size="2048Mi")) if each["kind"] == "PersistentVolumeClaim"]
    create_or_update(claim, there)
    found = emulator.found("PersistentVolumeClaim", "anomaly-exporter-data")
    found["spec"]["resources"]["requests"]["storage"] = "2Gi"
    emulator.put(found)
    assert create_or_update(claim, there) == "unchanged"


@pytest.mark.parametrize("owner", ["Helm", None])
def test_an_object_of_somebody_else_stays_as_it_is(cluster, planned, owner):
    emulator, there = cluster
    foreign = config_map(planned())
    foreign["data"] = {"theirs": "1"}
    foreign["metadata"]["labels"] = {"app.kubernetes.io/managed-by": owner} if owner else {}
    emulator.put(foreign)
    with pytest.raises(DeployError) as refusal:
        create_or_update_configmap(planned(), there)
    whose = f"managed by {owner}" if owner else "not labelled as ours"
    assert str(refusal.value) == (
        f"ConfigMap anomaly-exporter in anomaly-exporter is {whose} "
        "and stays as it is: use another --name or --namespace, or hand it over: kubectl -n anomaly-exporter label "
        "configmap/anomaly-exporter app.kubernetes.io/managed-by=anomaly-exporter --overwrite"
    )
    assert emulator.found("ConfigMap", "anomaly-exporter")["data"] == {"theirs": "1"}
    assert emulator.writes == []


def test_a_conflict_is_resolved_with_what_is_there_now(cluster, planned):
    emulator, there = cluster
    create_or_update_configmap(planned(), there)

    def somebody_annotates():
        found = emulator.found("ConfigMap", "anomaly-exporter")
        found["metadata"]["annotations"]["seen"] = "yes"
        emulator.put(found)

    emulator.meanwhile = [somebody_annotates, somebody_annotates]
    assert create_or_update_configmap(planned(CONFIG.replace("node_load1", "node_load5")), there) == "updated"
    found = emulator.found("ConfigMap", "anomaly-exporter")
    assert "node_load5" in found["data"]["anomaly.yml"]
    assert found["metadata"]["annotations"]["seen"] == "yes"


def test_who_is_beaten_to_creating_it_compares_again(cluster, planned):
    emulator, there = cluster
    emulator.meanwhile = [lambda: emulator.put(copy.deepcopy(config_map(planned())))]
    assert create_or_update_configmap(planned(), there) == "updated"


def test_an_object_that_was_made_by_somebody_else_meanwhile_stays_theirs(cluster, planned):
    emulator, there = cluster
    foreign = config_map(planned()) | {"data": {}}
    foreign["metadata"]["labels"] = {}
    emulator.meanwhile = [lambda: emulator.put(foreign)]
    with pytest.raises(DeployError, match="not labelled as ours"):
        create_or_update_configmap(planned(), there)


def test_what_is_being_deleted_is_waited_for(cluster, planned, monkeypatch):
    emulator, there = cluster
    create_or_update_configmap(planned(), there)
    found = emulator.found("ConfigMap", "anomaly-exporter")
    found["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/wait"]}
    emulator.put(found)
    with monkeypatch.context() as patch:
        patch.setattr("deploy.kubernetes.client._GONE_WITHIN", 0.01)
        with pytest.raises(DeployError, match=r"is being deleted \(finalizers: example.com/wait\); apply again when"):
            create_or_update_configmap(planned(), there)
    asked = iter(range(9))
    emulator.asking["GET", "configmaps"] = lambda _: (
        next(asked) == 1 and emulator.finalize("ConfigMap", found["metadata"]["name"])
    )
    assert create_or_update_configmap(planned(), there) == "created"


def test_endless_conflicts_end(cluster, planned, monkeypatch):
    monkeypatch.setattr("deploy.kubernetes.client._PAUSE", 0.001)
    emulator, there = cluster
    create_or_update_configmap(planned(), there)
    changed = planned(CONFIG.replace("node_load1", "node_load5"))
    emulator.meanwhile = [lambda: emulator.put(emulator.found("ConfigMap", "anomaly-exporter"))] * 20
    with pytest.raises(DeployError, match="changed by another client at every one of 6 attempts"):
        create_or_update_configmap(changed, there)


def test_what_can_never_be_changed_is_explained_with_the_command_that_helps(cluster, planned):
    _, there = cluster
    for each in objects(planned()):
        if each["kind"] != "Namespace":
            create_or_update(each, there)
    (claim,) = [each for each in objects(planned(shards=2)) if each["kind"] == "PersistentVolumeClaim"]
    with pytest.raises(DeployError) as refusal:
        create_or_update(claim, there)
    assert "can never be changed on an object that exists" in str(refusal.value)
    assert "kubectl -n anomaly-exporter delete persistentvolumeclaim/anomaly-exporter-models" in str(refusal.value)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "does not accept the login (401): log in to the cluster"),
        (403, "refuses it (403): cannot create configmaps; anomaly-exporter deploy --rbac prints the privileges"),
        (422, "ConfigMap anomaly-exporter: the cluster refuses it (422): cannot create configmaps"),
        (500, "ConfigMap anomaly-exporter: the cluster answered 500: cannot create configmaps"),
    ],
)
def test_what_the_cluster_refuses_is_one_sentence(cluster, planned, status, told):
    emulator, there = cluster
    emulator.refused["POST", "configmaps"] = status, "cannot create configmaps"
    with pytest.raises(DeployError) as refusal:
        create_or_update_configmap(planned(), there)
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_cluster_that_cannot_be_reached_is_one_sentence(planned):
    with emulated() as (_, url):
        pass
    with pytest.raises(DeployError) as refusal:
        create_or_update_configmap(planned(), client(url))
    assert str(refusal.value) == f"{url} cannot be reached: NewConnectionError; does kubectl get pods work?"


def test_a_cluster_that_never_answers_is_given_up(planned, monkeypatch):
    monkeypatch.setitem(cluster_module._LIMITS, "_request_timeout", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DeployError, match=f"{url} cannot be reached: ReadTimeoutError"):
            create_or_update_configmap(planned(), client(url))


def test_what_is_no_api_server_is_told_apart(planned, cluster):
    emulator, there = cluster
    emulator.refused["GET", "configmaps"] = 200, "<html>Please log in</html>"
    with pytest.raises(DeployError, match=r"is no Kubernetes API server .* is there a proxy or login in between"):
        create_or_update_configmap(planned(), there)


def test_without_the_package_the_message_says_what_to_install(planned, monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] == "kubernetes":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(DeployError, match=r"pip install 'anomaly-exporter\[kubernetes\]', or use --dry-run"):
        create_or_update_configmap(planned())
