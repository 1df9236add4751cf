"""What is made of a configuration: valid, locked down, and true to what the exporter really offers."""

import copy
import json
import subprocess

import kubernetes_validate
import pytest
import yaml
from starlette.routing import Route

from deploy.kubernetes import objects
from deploy.kubernetes.errors import DeployError
from deploy.kubernetes.manifests import default, documents
from deploy.kubernetes.objects import secret
from deploy.kubernetes.rbac import rbac
from tests.support.cluster import CONFIG

TLS = CONFIG + "web: {tls: {cert_file: /run/secrets/web/cert.pem, key_file: /run/secrets/web/key.pem}}\n"
MUTUAL = TLS.replace("key.pem}", "key.pem, client_ca_file: /run/secrets/web/ca.pem}")
SMALL = 'prometheus: {url: "https://mimir.example.com/prometheus"}\njobs: {load: {expr: node_load1}}\n'
VARIANTS = {
    "the default": (CONFIG, {}),
    "sharded": (CONFIG, {"shards": 3}),
    "a pair": (CONFIG + "leader: {lease: exporter}\n", {}),
    "declared jobs": (CONFIG + "discover: {anomaly_names: true}\n", {}),
    "declared jobs of two namespaces, sharded": (CONFIG + "discover: {namespaces: [shop, bank]}\n", {"shards": 2}),
    "another name, secret and class": (CONFIG, {"name": "judge", "secret": "theirs", "storage_class": "fast"}),
    "TLS": (TLS, {"scrape_namespace": "monitoring", "scrape_secret": "login"}),
    "client certificates": (MUTUAL, {"shards": 2}),
    "nothing kept": (SMALL, {"operator": False}),
    "nothing kept, sharded": (SMALL, {"shards": 2, "time_zone": "Europe/Berlin"}),
}


def pod_specs(made):
    for each in made:
        match each["kind"]:
            case "Deployment" | "StatefulSet":
                yield each["spec"]["template"]["spec"]
            case "CronJob":
                yield each["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def made_of(made, kind, name="anomaly-exporter"):
    return next(each for each in made if each["kind"] == kind and each["metadata"]["name"] == name)


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def variant(request, planned):
    text, choices = request.param
    return planned(text, **choices)


@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_every_object_keeps_strictly_to_the_schema(variant, version):
    custom = []
    for each in [*objects(variant), secret(variant, {"key": "value"}), *rbac(variant)]:
        if version == "1.28" and each["kind"] == "CronJob":
            # The schema of 1.28 demands a field that the server has never demanded, and drops when it is empty.
            each = copy.deepcopy(each)  # noqa: PLW2901 - the same object
            each["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"] = []
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            custom.append(each["kind"])
    assert set(custom) == ({"ServiceMonitor", "PrometheusRule"} if variant.operator else set())


def empty_parts(made, path=""):
    """Yield the paths of what a real server leaves out of its answer: `kubectl diff` would show it for ever."""
    if made in ([], None) or (made == {} and not path.endswith(".emptyDir")):
        yield path
    for key, value in made.items() if isinstance(made, dict) else enumerate(made) if isinstance(made, list) else ():
        yield from empty_parts(value, f"{path}.{key}")


def test_no_object_has_a_part_that_the_cluster_leaves_out(variant):
    for each in objects(variant):
        assert list(empty_parts(each)) == [], each["kind"]


def test_every_object_is_labelled_as_ours_and_lives_in_the_namespace(variant):
    for each in objects(variant):
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "anomaly-exporter"
        assert each["metadata"].get("namespace", variant.namespace) == variant.namespace
        assert ("namespace" in each["metadata"]) == (each["kind"] != "Namespace")


def test_every_pod_keeps_to_the_restricted_pod_security_standard_and_more__row_52(variant):
    pods = list(pod_specs(objects(variant)))
    assert pods
    for pod in pods:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        asks = variant.asks_kubernetes and pod["containers"][0]["name"] == "exporter"
        assert pod["automountServiceAccountToken"] is asks, "a token only to renew a Lease or to find declared jobs"
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        allowed = {"name", "configMap", "secret", "emptyDir", "persistentVolumeClaim"}
        assert all(volume.keys() <= allowed for volume in pod["volumes"])
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys() == {"cpu", "memory"}


def test_only_volumes_can_be_written_and_secrets_cannot__row_52(planned):
    made = list(objects(planned()))
    for pod in pod_specs(made):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for mount in pod["containers"][0]["volumeMounts"]:
            readable_only = not {"emptyDir", "persistentVolumeClaim"} & volumes[mount["name"]].keys()
            assert mount.get("readOnly", False) == readable_only
    assert made_of(made, "ServiceAccount")["automountServiceAccountToken"] is False


def test_what_the_configuration_writes_lies_on_volumes_that_outlive_the_pod(planned):
    pod = made_of(objects(planned()), "Deployment")["spec"]["template"]["spec"]
    claims = {
        mount["mountPath"]: volume["persistentVolumeClaim"]["claimName"]
        for mount in pod["containers"][0]["volumeMounts"]
        for volume in pod["volumes"]
        if volume["name"] == mount["name"] and "persistentVolumeClaim" in volume
    }
    assert claims == {
        "/var/lib/anomaly-exporter": "anomaly-exporter-data",
        "/var/lib/anomaly-exporter/models": "anomaly-exporter-models",
    }
    assert pod["containers"][0]["workingDir"] == "/var/lib/anomaly-exporter"


def test_probes_ask_pages_that_are_there_and_need_no_login(variant):
    from exporter.config.sections.service import WebConfig
    from exporter.observe.metrics import SelfMetrics
    from exporter.sinks.metrics_page import Page
    from exporter.web.basic_auth import OPEN_PATHS
    from exporter.web.routes import Callbacks, build

    served = []
    hooks = Callbacks(lambda: True, lambda: None)
    build(Page(SelfMetrics()), hooks, WebConfig(), lambda app: served.extend(app.routes) or app)
    paths = {route.path for route in served if isinstance(route, Route)}
    workload = made_of(objects(variant), "StatefulSet" if variant.sharded else "Deployment", variant.name)
    container = workload["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if variant.client_certificates:
            assert container[probe]["tcpSocket"] == {"port": "metrics"}
        else:
            asked = container[probe]["httpGet"]
            assert asked["path"] in paths & OPEN_PATHS
            assert asked.get("scheme", "HTTP") == ("HTTPS" if variant.https else "HTTP")


def test_arguments_are_understood_by_the_command(variant):
    from typer.testing import CliRunner

    from exporter.cli.main import cli

    for pod in pod_specs(objects(variant)):
        command, *options = pod["containers"][0]["args"]
        text = CliRunner().invoke(cli, [command, "--help"], env={"COLUMNS": "200"}).output
        assert all(option in text for option in options if option.startswith("--")), command


def test_one_training_runs_at_a_time_and_ends__row_50(planned):
    job = made_of(objects(planned()), "CronJob", "anomaly-exporter-train")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    assert job["startingDeadlineSeconds"] >= 10
    assert job["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 4 * 3600
    assert job["successfulJobsHistoryLimit"] > 0
    assert job["failedJobsHistoryLimit"] > 0
    (refused, moved) = job["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert refused["onExitCodes"]["values"] == [2]
    assert moved["action"] == "Ignore"


def test_a_hundred_missed_trainings_are_never_counted__row_50(planned):
    """Kubernetes gives a CronJob up for good when more than 100 starts lie within its starting deadline."""
    job = made_of(objects(planned(schedule="* * * * *")), "CronJob", "anomaly-exporter-train")["spec"]
    assert job["startingDeadlineSeconds"] / 60 < 100


def test_a_training_runs_where_the_volume_of_the_models_is(planned):
    single = made_of(objects(planned()), "CronJob", "anomaly-exporter-train")
    spec = single["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (beside,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    pod = made_of(objects(planned()), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert beside["labelSelector"]["matchLabels"].items() <= pod.items()
    made = list(objects(planned(shards=2)))
    assert "affinity" not in next(pod_specs([made_of(made, "CronJob", "anomaly-exporter-train")]))
    assert made_of(made, "PersistentVolumeClaim", "anomaly-exporter-models")["spec"]["accessModes"] == ["ReadWriteMany"]


def test_shards_get_names_that_the_exporter_finds_its_share_by__row_49(planned):
    from exporter.pipeline.shard import Shard

    made = made_of(objects(planned(shards=3)), "StatefulSet")
    spec = made["spec"]
    _, option, share = spec["template"]["spec"]["containers"][0]["args"]
    assert option == "--shard"
    hosts = [f"{made['metadata']['name']}-{number}" for number in range(spec["replicas"])]
    assert [Shard.parse(share, host) for host in hosts] == [Shard(0, 3), Shard(1, 3), Shard(2, 3)]
    (claim,) = spec["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == "/var/lib/anomaly-exporter"


def test_one_replica_stops_before_its_successor_starts__row_49(planned):
    assert made_of(objects(planned()), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_pods_are_found_by_service_budget_policy_and_monitor(variant):
    made = list(objects(variant))
    workload = made_of(made, "StatefulSet" if variant.sharded else "Deployment", variant.name)
    labels = workload["spec"]["template"]["metadata"]["labels"]
    service = made_of(made, "Service", variant.name)
    assert service["spec"]["selector"].items() <= labels.items()
    for kind, key in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        assert made_of(made, kind, variant.name)["spec"][key]["matchLabels"].items() <= labels.items()
    if variant.operator:
        monitor = made_of(made, "ServiceMonitor", variant.name)["spec"]
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        (endpoint,) = monitor["endpoints"]
        assert endpoint["port"] == service["spec"]["ports"][0]["name"]
        assert endpoint["honorLabels"] is True


def test_pods_connect_to_dns_and_the_source_only__row_52(planned):
    inside, outside, address = (
        made_of(
            objects(planned(f'prometheus: {{url: "{url}"}}\njobs: {{load: {{expr: node_load1}}}}\n')), "NetworkPolicy"
        )
        for url in ("http://prometheus.monitoring.svc:9090", "https://mimir.example.com/x", "http://10.1.2.3:9090")
    )
    assert inside["spec"]["egress"][1:] == [
        {
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "ports": [{"port": 9090, "protocol": "TCP"}],
        }
    ]
    assert outside["spec"]["egress"][1:] == [{"ports": [{"port": 443, "protocol": "TCP"}]}]
    assert address["spec"]["egress"][1]["to"] == [{"ipBlock": {"cidr": "10.1.2.3/32"}}]
    assert all(policy["spec"]["policyTypes"] == ["Ingress", "Egress"] for policy in (inside, outside, address))


@pytest.mark.servers
def test_the_groups_of_every_prometheus_rule_pass_promtool(servers, variant, tmp_path):
    for number, each in enumerate(objects(variant)):
        if each["kind"] == "PrometheusRule":
            (tmp_path / f"{number}.yml").write_text(yaml.safe_dump(each["spec"]))
            checked = subprocess.run(
                ["promtool", "check", "rules", f"{number}.yml"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert checked.returncode == 0, checked.stderr


def test_secrets_are_mounted_and_named_never_written(planned):
    made = list(objects(planned()))
    pod = made_of(made, "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert {
        "name": "MODEL_STORE_KEY",
        "valueFrom": {"secretKeyRef": {"name": "anomaly-exporter", "key": "MODEL_STORE_KEY"}},
    } in container["env"]
    assert {"name": "secrets-0", "mountPath": "/run/secrets/prometheus", "readOnly": True} in container["volumeMounts"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "secrets-0"]
    assert volume["secret"]["items"] == [{"key": "token", "path": "token"}]
    assert made_of(made, "Secret").keys() == {"apiVersion", "kind", "metadata", "type"}
    theirs = list(objects(planned(secret="theirs")))
    assert not [each for each in theirs if each["kind"] == "Secret"]
    assert '"theirs"' in json.dumps(theirs)


def test_pods_are_replaced_for_what_a_reload_does_not_change_and_for_nothing_else(planned):
    def template(text):
        return made_of(objects(planned(text)), "Deployment")["spec"]["template"]

    assert template(CONFIG) == template(CONFIG.replace("node_load1", "node_load5"))
    assert template(CONFIG) != template(CONFIG + "web: {max_connections: 9}\n")


def test_every_string_of_the_settings_may_be_a_placeholder():
    """The chart is made of the same builders."""
    from dataclasses import fields, replace

    plain = default()
    strings = [field.name for field in fields(plain) if isinstance(getattr(plain, field.name), str)]
    filled = replace(plain, **{name: f"{{{{ .Values.{name} }}}}" for name in strings}, shards="{{ .Values.shards }}")
    text = documents(objects(filled)) + documents(objects(replace(filled, shards=1)))  # a pair is not sharded
    missing = [name for name in strings if f".Values.{name}" not in text]
    assert missing == []
    assert ".Values.shards" in text


def test_a_pair_may_do_nothing_but_renew_its_lease(planned):
    """Row 55: two pods on two nodes, volumes that both mount, and rights on one Lease."""
    made = list(objects(planned(CONFIG + "leader: {lease: exporter}\n")))
    workload = made_of(made, "Deployment")
    assert workload["spec"]["replicas"] == 2
    assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert workload["spec"]["template"]["spec"]["topologySpreadConstraints"]
    claims = [each for each in made if each["kind"] == "PersistentVolumeClaim"]
    assert [each["spec"]["accessModes"] for each in claims] == [["ReadWriteMany"]] * 2
    role = made_of(made, "Role", "anomaly-exporter-leader")
    create, renew = role["rules"]
    assert create["verbs"] == ["create"]
    assert renew == {**create, "verbs": ["get", "update"], "resourceNames": ["exporter"]}
    assert made_of(made, "RoleBinding", "anomaly-exporter-leader")["roleRef"]["name"] == role["metadata"]["name"]


@pytest.mark.parametrize(
    ("leader", "shards", "why"),
    [("{lease: exporter}", 2, "several shards"), ("{file: leader.lock}", 1, r"a file: use leader\.lease")],
)
def test_other_leaders_are_not_deployed(planned, leader, shards, why):
    with pytest.raises(DeployError, match=why):
        planned(CONFIG + f"leader: {leader}\n", shards=shards)


def test_who_finds_declared_jobs_may_list_and_watch_them_and_no_more(planned):
    made = list(rbac(planned(CONFIG + "discover: {anomaly_names: true, namespaces: [shop]}\n")))
    (role, binding) = [each for each in made if each["metadata"]["name"].endswith("-discover")]
    assert (role["kind"], role["metadata"]["namespace"], binding["kind"]) == ("Role", "shop", "RoleBinding")
    assert {(*each["resources"], *each["verbs"]) for each in role["rules"]} == {
        ("configmaps", "list", "watch"), ("prometheusrules", "list", "watch"), ("events", "create")
    }  # fmt: skip
    assert binding["subjects"][0]["namespace"] == "anomaly-exporter"
    everywhere = list(rbac(planned(CONFIG + "discover: {}\n")))
    assert [each["kind"] for each in everywhere[3:]] == ["ClusterRole", "ClusterRoleBinding"]
    assert len(list(rbac(planned(CONFIG)))) == 3


def test_who_finds_declared_jobs_may_reach_the_api_server(planned):
    policy = made_of(objects(planned(CONFIG + "discover: {}\n")), "NetworkPolicy")
    ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert {443, 6443} <= set(ports)
