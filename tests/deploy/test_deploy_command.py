"""`anomaly-exporter deploy` as a user runs it, against an emulated cluster."""

import os
import subprocess
import sys
from base64 import b64decode
from types import SimpleNamespace

import pytest
import yaml

from tests.deploy.conftest import CANARY
from tests.support.cluster import CONFIG, KINDS, emulated, kubeconfig, resource


@pytest.fixture
def cluster(emulator):
    return emulator


def test_a_dry_run_prints_what_apply_makes_and_needs_no_cluster(deploy, cluster):
    code, printed, _ = deploy(CONFIG, "--dry-run")
    assert code == 0
    assert cluster.asked == []
    wanted = {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(printed)}
    deploy(CONFIG, "--apply")
    kinds = {known.plural: kind for kind, known in KINDS.items()} | {"cluster-namespaces": "Namespace"}
    assert {(kinds[plural], name) for plural, name in cluster.names()} == wanted
    assert "must have these keys: MODEL_STORE_KEY, token. Values are never printed" in printed


def test_applying_twice_changes_nothing_the_second_time(deploy, cluster):
    assert deploy(CONFIG, "--diff")[0] == 3
    code, told, _ = deploy(CONFIG, "--apply")
    assert code == 0
    assert "created Deployment anomaly-exporter" in told
    writes = len(cluster.writes)
    code, told, _ = deploy(CONFIG, "--apply")
    assert (code, told) == (0, f"anomaly-exporter: {writes} objects, {writes} of them unchanged\n")
    assert len(cluster.writes) == writes
    assert deploy(CONFIG, "--diff")[:2] == (0, "")


def test_secrets_reach_the_secret_and_nothing_else__row_53(deploy, cluster):
    """Row 53; the fixture looks for secrets in every output."""
    deploy(CONFIG, "--apply")
    assert cluster.found("Secret", "anomaly-exporter")["data"].keys() == {"token", "MODEL_STORE_KEY"}
    for key, found in cluster.objects.items():
        if key[0].plural != "secrets":
            assert CANARY not in str(found.raw), key


def test_the_difference_shows_that_a_secret_has_changed_and_not_how__row_53(deploy, cluster, monkeypatch):
    deploy(CONFIG, "--apply")
    monkeypatch.setenv("MODEL_STORE_KEY", f"{CANARY}-another")
    code, told, _ = deploy(CONFIG, "--diff")
    assert code == 3
    assert "-  MODEL_STORE_KEY: (not shown, another value)" in told
    assert "+  MODEL_STORE_KEY: (not shown)" in told
    code, told, notes = deploy(CONFIG, "--apply")
    assert "updated Secret anomaly-exporter" in told
    assert "kubectl -n anomaly-exporter rollout restart deployment/anomaly-exporter" in notes


def test_the_difference_shows_what_would_change_and_changes_nothing(deploy, cluster):
    deploy(CONFIG, "--apply")
    writes = len(cluster.writes)
    code, told, _ = deploy(CONFIG.replace("node_load1", "node_load5"), "--diff", "--image", "ours:2")
    assert code == 3
    assert len(cluster.writes) == writes
    lines = [line for line in told.splitlines() if line[:1] in "+-" and "applied" not in line]
    assert {"-      load: {expr: node_load1}", "+      load: {expr: node_load5}"} <= set(lines)
    assert any("ours:2" in line for line in lines)
    assert not any("uid" in line or "resourceVersion" in line or "dnsPolicy" in line for line in lines)


def test_a_secret_that_is_in_the_cluster_alone_is_kept(deploy, cluster, monkeypatch):
    deploy(CONFIG, "--apply")
    before = cluster.found("Secret", "anomaly-exporter")["data"]
    monkeypatch.delenv("MODEL_STORE_KEY")
    assert deploy(CONFIG, "--apply")[0] == 0
    assert cluster.found("Secret", "anomaly-exporter")["data"] == before


def test_secrets_that_are_nowhere_are_named_and_nothing_is_changed(deploy, cluster, monkeypatch):
    monkeypatch.delenv("MODEL_STORE_KEY")
    code, told, error = deploy(CONFIG, "--apply")
    assert (code, told, cluster.writes) == (1, "", [])
    assert error == (
        "Secret anomaly-exporter: secret environment variable MODEL_STORE_KEY is not set or empty. Provide it where "
        "this command runs or as a file in --secret-folder, or name a Secret that has it with --secret\n"
    )
    assert deploy(CONFIG, "--apply", "--secret", "theirs")[0] == 0
    assert cluster.found("Secret", "anomaly-exporter") is None


def test_values_may_come_from_a_folder_of_files_named_as_the_keys(deploy, cluster, tmp_path):
    folder = tmp_path / "values"
    folder.mkdir()
    (folder / "token").write_text(f"{CANARY}-from-folder\n")
    assert deploy(CONFIG, "--apply", "--secret-folder", str(folder))[0] == 0
    data = cluster.found("Secret", "anomaly-exporter")["data"]
    assert b64decode(data["token"]).decode() == f"{CANARY}-from-folder"
    assert b64decode(data["MODEL_STORE_KEY"]).decode() == f"{CANARY}-key"
    assert deploy(CONFIG, "--diff", "--secret-folder", str(folder))[:2] == (0, "")


def test_more_replicas_take_the_place_of_one_and_jobs_that_are_gone_take_their_rules_along(deploy, cluster):
    state_only = CONFIG.replace("models: {path: models, key: {env: MODEL_STORE_KEY}}\n", "")
    deploy(state_only, "--apply")
    fewer = state_only.replace("  load: {expr: node_load1}\n", "")
    assert "PrometheusRule anomaly-exporter-job-load: no longer wanted, would be deleted" in deploy(fewer, "--diff")[1]
    code, told, _ = deploy(fewer, "--apply", "--shards", "3")
    assert code == 0
    assert "deleted Deployment anomaly-exporter" in told
    assert "created StatefulSet anomaly-exporter" in told
    assert ("prometheusrules", "anomaly-exporter-job-load") not in cluster.names()
    assert ("persistentvolumeclaims", "anomaly-exporter-data") in cluster.names(), "claims are never deleted"


def test_deleting_leaves_claims_and_namespace_and_what_is_not_ours(deploy, cluster):
    deploy(CONFIG, "--apply")
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "data": {}}
    cluster.put({**theirs, "metadata": {"name": "theirs", "namespace": "anomaly-exporter"}})
    labels = {"app.kubernetes.io/managed-by": "anomaly-exporter", "app.kubernetes.io/name": "anomaly-exporter"}
    other = {"name": "other", "namespace": "anomaly-exporter", "labels": labels | {"app.kubernetes.io/instance": "b"}}
    cluster.put({**theirs, "metadata": other})
    code, told, notes = deploy(CONFIG, "--delete")
    assert code == 0
    assert "deleted Deployment anomaly-exporter" in told
    assert cluster.names() == [
        ("cluster-namespaces", "anomaly-exporter"),
        ("configmaps", "other"),
        ("configmaps", "theirs"),
        ("persistentvolumeclaims", "anomaly-exporter-data"),
        ("persistentvolumeclaims", "anomaly-exporter-models"),
    ]
    assert "kubectl -n anomaly-exporter delete pvc" in notes
    assert deploy(CONFIG, "--delete")[0] == 0


def test_what_was_replaced_while_it_was_to_be_deleted_is_left(deploy, cluster):
    deploy(CONFIG, "--apply")
    first = "anomaly-exporter-job-api"

    def somebody_replaces():
        found = cluster.found("PrometheusRule", first)
        del cluster.objects[resource("PrometheusRule"), "anomaly-exporter", first]
        cluster.put(found)

    cluster.meanwhile = [somebody_replaces]
    code, _, error = deploy(CONFIG, "--delete")
    assert code == 1
    assert f"PrometheusRule {first}: replaced by another client before it could be deleted; try again" in error
    assert cluster.found("PrometheusRule", first)


def test_somebody_elses_object_stops_everything_before_anything_is_changed(deploy, cluster):
    metadata = {"name": "anomaly-exporter", "namespace": "anomaly-exporter", "labels": {}}
    cluster.put({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}})
    code, told, error = deploy(CONFIG, "--apply")
    assert (code, told, cluster.writes) == (1, "", [])
    assert "Service anomaly-exporter in anomaly-exporter is not labelled as ours and stays as it is" in error


def test_a_namespace_that_others_have_made_is_used_and_left_as_it_is(deploy, cluster):
    cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}})
    assert deploy(CONFIG, "--apply", "--namespace", "monitoring")[0] == 0
    assert "labels" not in cluster.found("Namespace", "monitoring", "")["metadata"]


def test_who_may_work_in_one_namespace_only_can_deploy_there(deploy, cluster):
    cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "anomaly-exporter"}})
    cluster.refused["GET", "cluster-namespaces"] = 403, "no"
    assert deploy(CONFIG, "--apply")[0] == 0


def test_who_may_not_make_the_namespace_is_told_what_to_ask_for(deploy, cluster):
    cluster.refused["POST", "cluster-namespaces"] = 403, 'User "me" cannot create resource "namespaces"'
    code, told, error = deploy(CONFIG, "--apply")
    assert (code, told, error.count("\n")) == (1, "", 1)
    assert "an administrator must create it first: kubectl create namespace anomaly-exporter" in error


def administrator_makes(cluster, printed):
    """Put what --rbac has printed into the cluster, as kubectl would; return the rules of its Role."""
    cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "anomaly-exporter"}})
    made = list(yaml.safe_load_all(printed))
    cluster.put(next(each for each in made if each["kind"] == "ServiceAccount"))
    return next(each for each in made if each["kind"] == "Role")["rules"]


def used(cluster, rules):
    """Return plural and verb of every request; each must be allowed by one of the rules."""
    found = set()
    for request in cluster.asked:
        verb = {"POST": "create", "PUT": "update", "DELETE": "delete"}.get(request.method.value)
        verb = verb or ("get" if request.name else "list")
        plural = request.resource.plural.removeprefix("cluster-")
        if verb == "list" and plural in {"roles", "rolebindings"}:
            continue  # of a pair there was before; where it is forbidden, there was none
        assert any(
            plural in rule["resources"]
            and request.resource.group in rule["apiGroups"]
            and verb in rule["verbs"]
            and (request.name is None or request.name in rule.get("resourceNames", [request.name]))
            for rule in rules
        ), (verb, plural, request.name)
        found.add((plural, verb))
    return found


def test_the_printed_rights_are_those_that_are_used_and_no_more(deploy, cluster):
    """Every request of an apply, a change and a delete is allowed by the printed Role, and nothing is for no use."""
    rules = administrator_makes(cluster, deploy(CONFIG, "--rbac")[1])
    for arguments in (
        (CONFIG, "--apply"),
        (CONFIG.replace("node_load1", "node_load5"), "--apply", "--image", "ours:2"),
        (CONFIG, "--delete"),
    ):
        assert deploy(*arguments)[0] == 0
    granted = {(plural, verb) for rule in rules for plural in rule["resources"] for verb in rule["verbs"]}
    assert {verb for _, verb in granted} == {"get", "list", "create", "update", "delete"}
    assert not {pair for pair in granted - used(cluster, rules) if pair[1] == "list"}


def test_the_rights_of_a_smaller_configuration_suffice_to_take_the_larger_one_back(deploy, cluster):
    smaller = "prometheus: {url: 'http://prometheus.monitoring.svc:9090'}\njobs: {load: {expr: node_load1}}\n"
    rules = administrator_makes(cluster, deploy(smaller, "--rbac")[1])
    deploy(CONFIG, "--apply")
    before = len(cluster.asked)
    assert "deleted CronJob anomaly-exporter-train" in deploy(smaller, "--apply")[1]
    assert deploy(smaller, "--delete")[0] == 0
    asked = cluster.asked[before:]
    assert used(SimpleNamespace(asked=asked), rules)


@pytest.mark.parametrize("mode", ["--apply", "--diff", "--delete"])
def test_without_rights_the_message_says_how_to_see_which_it_takes(deploy, cluster, mode):
    cluster.refused["GET", "secrets"] = 403, 'secrets is forbidden: User "me" cannot list resource "secrets"'
    code, _, error = deploy(CONFIG, mode)
    assert code == 1
    assert 'User "me" cannot list resource "secrets"' in error
    assert "anomaly-exporter deploy --rbac prints the privileges it needs" in error
    assert cluster.writes == []


def test_without_the_operator_its_objects_can_be_left_out(deploy, tmp_path, monkeypatch):
    with emulated(unknown=("ServiceMonitor", "PrometheusRule")) as (emulator, url):
        (tmp_path / "kubeconfig").write_text(kubeconfig(url))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        code, _, error = deploy(CONFIG, "--apply")
        assert (code, emulator.writes) == (1, [])
        assert "install the Prometheus operator, or leave out its objects with --no-operator" in error
        assert deploy(CONFIG, "--apply", "--no-operator")[0] == 0
        assert deploy(CONFIG, "--diff", "--no-operator")[:2] == (0, "")


def test_without_rights_to_the_operators_objects_they_can_be_left_out(deploy, cluster):
    for plural in ("servicemonitors", "prometheusrules"):
        cluster.refused["GET", plural] = 403, "no"
    assert deploy(CONFIG, "--apply", "--no-operator")[0] == 0
    assert "servicemonitors" not in deploy(CONFIG, "--rbac", "--no-operator")[1]


def test_a_cluster_that_is_not_there_is_one_sentence(deploy, tmp_path, monkeypatch, caplog):
    with emulated() as (_, url):
        (tmp_path / "kubeconfig").write_text(kubeconfig(url))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    assert deploy(CONFIG, "--apply") == (
        1,
        "",
        f"{url} cannot be reached: NewConnectionError; does kubectl get pods work?\n",
    )
    assert caplog.records == []
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert deploy(CONFIG, "--apply")[2] == (
        f"no cluster is configured: there is no file {tmp_path / 'none'}; KUBECONFIG names another\n"
    )
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    code, _, error = deploy(CONFIG, "--apply")
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith("the account of this pod: ")
    (tmp_path / "kubeconfig").write_text("contexts: [")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    code, _, error = deploy(CONFIG, "--apply")
    assert (code, error.count("\n")) == (1, 1)
    (tmp_path / "kubeconfig").write_text(kubeconfig(url))
    assert "elsewhere" in deploy(CONFIG, "--apply", "--context", "elsewhere")[2]


def test_exactly_one_thing_is_done_at_a_time(deploy):
    for modes in ([], ["--apply", "--delete"]):
        code, _, error = deploy(CONFIG, *modes)
        assert code == 2
        assert "exactly one of" in error


def test_a_wrong_configuration_is_told_with_every_mistake(deploy):
    code, _, error = deploy("jobs: {load: {expr: node_load1, stepp: 1m}}\n", "--dry-run")
    assert code == 2
    assert "stepp" in error


def test_what_is_set_here_is_not_taken_for_what_is_in_the_pod(deploy, monkeypatch):
    monkeypatch.setenv("ANOMALY_EXPORTER__PROMETHEUS__URL", "http://10.9.8.7:9090")
    code, printed, notes = deploy(CONFIG, "--dry-run")
    assert code == 0
    assert "10.9.8.7" not in printed
    assert "ANOMALY_EXPORTER__PROMETHEUS__URL: set here but not in the pods" in notes


def test_a_dry_run_needs_no_kubernetes_package(tmp_path):
    (tmp_path / "anomaly.yml").write_text(CONFIG)
    program = "import sys; sys.modules['kubernetes'] = None; from exporter.cli.main import main; main()"
    command = [sys.executable, "-c", program, "deploy", "--config", str(tmp_path / "anomaly.yml"), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    assert "kind: Deployment" in done.stdout
