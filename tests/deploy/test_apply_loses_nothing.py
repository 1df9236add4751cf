"""`--apply` asks for everything before it changes anything, shows what it would take away, and deletes only its own."""

import pytest
import yaml

from deploy.kubernetes import client as client_module
from tests.support.cluster import CONFIG

STATELESS = CONFIG.replace("models: {path: models, key: {env: MODEL_STORE_KEY}}\n", "")
NAME = "anomaly-exporter"


def test_the_account_to_deploy_with_is_neither_stale_nor_deleted(deploy, emulator):
    """Also one that an earlier version has printed, with our label on it."""
    _, printed, _ = deploy(CONFIG, "--rbac")
    emulator.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}})
    account = next(each for each in yaml.safe_load_all(printed) if each["kind"] == "ServiceAccount")
    assert "app.kubernetes.io/managed-by" not in account["metadata"]["labels"]
    for label in ({}, {"app.kubernetes.io/managed-by": NAME}):
        account["metadata"]["labels"] |= label
        emulator.put(account)
        emulator.refused["DELETE", "serviceaccounts"] = 403, 'cannot delete resource "serviceaccounts"'
        assert deploy(CONFIG, "--apply")[0] == 0
        assert deploy(CONFIG, "--diff")[:2] == (0, "")
        del emulator.refused["DELETE", "serviceaccounts"]
        assert deploy(CONFIG, "--delete")[0] == 0
        assert emulator.found("ServiceAccount", f"{NAME}-deploy")


def test_what_somebody_made_with_our_labels_is_not_taken_for_a_leftover(deploy, emulator):
    deploy(CONFIG, "--apply")
    backup = emulator.found("ConfigMap", NAME)
    backup["metadata"] = {"name": "backup", "namespace": NAME, "labels": backup["metadata"]["labels"]}
    emulator.put(backup)
    assert deploy(CONFIG, "--diff")[:2] == (0, "")
    deploy(CONFIG, "--apply")
    assert emulator.found("ConfigMap", "backup")


@pytest.mark.parametrize("refused", ["quota", "claim"])
def test_nothing_is_deleted_when_what_follows_is_refused(deploy, emulator, refused):
    text = CONFIG if refused == "claim" else STATELESS
    deploy(text, "--apply")
    before = emulator.names()
    writes = len(emulator.writes)
    if refused == "quota":
        said = 'statefulsets.apps "anomaly-exporter" is forbidden: exceeded quota: small, used: count/statefulsets=1'
        emulator.refused["POST", "statefulsets"] = 403, said
    for mode in ("--diff", "--apply"):
        code, _, error = deploy(text, "--shards", "2", mode)
        assert code == 1
        assert ("exceeded quota" if refused == "quota" else "can never be changed") in error
        assert "--rbac" not in error
    assert emulator.names() == before
    assert len(emulator.writes) == writes


def test_nothing_is_deleted_when_one_deletion_is_refused(deploy, emulator):
    deploy(CONFIG, "--apply")
    writes = len(emulator.writes)
    emulator.refused["DELETE", "configmaps"] = 403, 'User "me" cannot delete resource "configmaps"'
    code, told, error = deploy(CONFIG, "--delete")
    assert (code, told, len(emulator.writes)) == (1, "", writes)
    assert "--rbac prints the privileges" in error


@pytest.mark.parametrize("secret", [NAME, "theirs"])
def test_a_secret_is_never_deleted_because_another_is_named(deploy, emulator, secret):
    deploy(CONFIG, "--apply")
    before = emulator.found("Secret", NAME)["data"]
    code, told, notes = deploy(CONFIG, "--apply", "--secret", secret)
    assert code == 0
    assert "Secret" not in told
    assert emulator.found("Secret", NAME)["data"] == before
    note = (
        "Secret anomaly-exporter is not used any more, and is kept, since what it holds cannot be made again: kubectl"
    )
    assert (note in notes) == (secret == "theirs")


def test_a_configuration_without_secrets_leaves_the_secret_that_was(deploy, emulator):
    deploy(CONFIG, "--apply")
    plain = "jobs: {load: {expr: node_load1}}\nprometheus: {url: 'http://prometheus.monitoring.svc:9090'}\n"
    code, told, notes = deploy(plain, "--apply")
    assert code == 0
    assert "deleted CronJob anomaly-exporter-train" in told
    assert emulator.found("Secret", NAME)
    assert "Secret anomaly-exporter is not used any more" in notes


def pod_of(emulator, kind="Deployment"):
    return emulator.found(kind, NAME)["spec"]["template"]


@pytest.mark.parametrize(
    ("kind", "name", "change", "shown"),
    [
        ("Deployment", NAME, ("spec", "template", "spec", "nodeSelector", {"disk": "ssd"}), "nodeSelector"),
        ("Deployment", NAME, ("spec", "template", "spec", "hostNetwork", True), "hostNetwork: true"),
        ("PrometheusRule", f"{NAME}-job-load", ("spec", "groups", 0, "rules", 0, "for", "99m"), "for: 99m"),
        ("ServiceMonitor", NAME, ("spec", "jobLabel", "team"), "jobLabel: team"),
        ("NetworkPolicy", NAME, ("spec", "egress", [{}]), "{}"),
        ("ConfigMap", NAME, ("data", "more.yml", "jobs: {}"), "more.yml"),
    ],
)
def test_what_others_added_is_shown_by_diff_and_taken_away_by_apply(deploy, emulator, kind, name, change, shown):
    """Whether or not anything else in the object changes."""
    deploy(CONFIG, "--apply")
    before = emulator.found(kind, name)
    found = emulator.found(kind, name)
    place = found
    *path, last, value = change
    for key in path:
        place = place[key]
    place[last] = value
    emulator.put(found)
    code, told, _ = deploy(CONFIG, "--diff")
    assert code == 3
    assert any(line.startswith("-") and shown in line for line in told.splitlines()), told
    assert f"updated {kind} {name}" in deploy(CONFIG, "--apply")[1]
    after = emulator.found(kind, name)
    assert {key: after[key] for key in after if key != "metadata"} == {
        key: before[key] for key in before if key != "metadata"
    }
    assert deploy(CONFIG, "--diff")[:2] == (0, "")


def test_an_added_rule_of_a_network_policy_is_the_only_thing_that_its_diff_shows(deploy, emulator):
    deploy(CONFIG, "--apply")
    more = CONFIG + "notify: {slack: {file: /run/secrets/prometheus/token}}\n"
    told = deploy(more.replace("/prometheus/token}}\n", "/slack/hook}}\n"), "--diff", "--secret", "theirs")[1]
    part = told[told.index("--- cluster NetworkPolicy") :].split("\n--- ")[0]
    changed = [line for line in part.splitlines()[2:] if line[:1] in "+-"]
    assert changed
    assert all(line.startswith("+") for line in changed), part


def test_labels_and_annotations_of_others_stay_and_ours_go_with_their_cause(deploy, emulator):
    deploy(CONFIG + "alerting: {rule_labels: {release: main}}\n", "--apply")
    monitor = emulator.found("ServiceMonitor", NAME)
    monitor["metadata"]["labels"]["team"] = "observability"
    emulator.put(monitor)
    workload = emulator.found("Deployment", NAME)
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    workload["spec"]["template"]["metadata"]["annotations"] |= restarted
    emulator.put(workload, manager="kubectl-rollout")
    assert deploy(CONFIG + "alerting: {rule_labels: {release: main}}\n", "--diff")[:2] == (0, "")
    assert "updated ServiceMonitor" in deploy(CONFIG, "--apply", "--image", "ours:2")[1]
    labels = emulator.found("ServiceMonitor", NAME)["metadata"]["labels"]
    assert "release" not in labels
    assert labels["team"] == "observability"
    template = pod_of(emulator)
    assert template["spec"]["containers"][0]["image"] == "ours:2"
    assert restarted.items() <= template["metadata"]["annotations"].items()


def test_what_kubectl_noted_of_a_secret_is_not_shown(deploy, emulator):
    deploy(CONFIG, "--apply")
    found = emulator.found("Secret", NAME)
    found["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = str(found["data"])
    found["data"]["token"] = "bmV3"
    emulator.put(found)
    code, told, _ = deploy(CONFIG, "--diff")  # the fixture looks for the values
    assert code == 3
    assert "last-applied" not in told


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(client_module, "_GONE_WITHIN", 0.05)


def deleted(emulator, kind, name, namespace=NAME):
    found = emulator.found(kind, name, namespace)
    found["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["kubernetes.io/pvc-protection"]}
    emulator.put(found)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("CronJob", f"{NAME}-train"),
        ("PersistentVolumeClaim", f"{NAME}-data"),
        ("Deployment", NAME),
        ("Namespace", NAME),
    ],
)
def test_what_is_being_deleted_does_not_count_as_there(deploy, emulator, impatient, kind, name):
    deploy(CONFIG, "--apply")
    deleted(emulator, kind, name)
    writes = len(emulator.writes)
    code, told, error = deploy(CONFIG, "--apply")
    assert (code, told, len(emulator.writes)) == (1, "", writes)
    waits = f"{kind} {name} is being deleted (finalizers: kubernetes.io/pvc-protection)"
    assert error == f"{waits}; apply again when it is gone\n"
    code, told, _ = deploy(CONFIG, "--diff")
    assert code == 3
    assert waits in told


def test_what_is_gone_in_time_is_made_anew(deploy, emulator):
    deploy(CONFIG, "--apply")
    deleted(emulator, "CronJob", f"{NAME}-train")
    asked = []

    def gone_when_asked_twice(request):
        asked.append(request)
        if len(asked) == 2:
            emulator.finalize("CronJob", f"{NAME}-train")

    emulator.asking["GET", "cronjobs"] = gone_when_asked_twice
    code, told, _ = deploy(CONFIG, "--apply")
    assert code == 0
    assert "created CronJob anomaly-exporter-train" in told
    assert "deletionTimestamp" not in emulator.found("CronJob", f"{NAME}-train")["metadata"]


def test_what_finalizers_keep_is_not_told_as_deleted(deploy, emulator):
    deploy(CONFIG, "--apply")
    found = emulator.found("CronJob", f"{NAME}-train")
    found["metadata"]["finalizers"] = ["example.com/wait"]
    emulator.put(found)
    for _ in range(2):
        code, told, notes = deploy(CONFIG, "--delete")
        assert code == 0
        assert f"deleting CronJob {NAME}-train" in told
        assert f"CronJob {NAME}-train is being deleted (finalizers: example.com/wait)" in notes


def test_a_webhook_that_cannot_rehearse_is_no_obstacle(deploy, emulator):
    deploy(CONFIG, "--apply")
    emulator.unrehearsed |= {"configmaps", "deployments", "statefulsets", "cronjobs"}
    changed = STATELESS.replace("node_load1", "node_load5")
    assert "node_load5" in deploy(changed, "--diff")[1]
    code, told, _ = deploy(changed, "--apply", "--shards", "2")
    assert code == 0
    assert {"updated ConfigMap anomaly-exporter", "created StatefulSet anomaly-exporter"} <= set(told.splitlines())
    assert deploy(changed, "--delete")[0] == 0


def test_deleting_says_that_the_models_which_stay_need_their_key(deploy, emulator):
    deploy(CONFIG, "--apply")
    assert "can be loaded only with the same key" in deploy(CONFIG, "--delete")[2]


def test_the_cluster_notes_us_as_who_has_written(deploy, emulator):
    deploy(CONFIG, "--apply")
    deploy(CONFIG, "--apply", "--image", "ours:2")
    for kind, name in (("Deployment", NAME), ("ConfigMap", NAME)):
        assert [each["manager"] for each in emulator.found(kind, name)["metadata"]["managedFields"]] == [NAME]
    assert {request.headers["User-Agent"].partition("/")[0] for request in emulator.asked} == {NAME}
