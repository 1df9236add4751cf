"""The Helm chart: rendered by the real library, it is what the builders make."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError

from deploy import generate
from deploy.helm import chart
from deploy.helm.values import values
from deploy.kubernetes.discover_roles import discover_roles
from deploy.kubernetes.manifests import default
from deploy.kubernetes.objects import objects
from deploy.kubernetes.plan import settings_of as planned
from deploy.kubernetes.settings import Settings
from deploy.pack_chart import package
from exporter import __version__
from exporter.config.load import load

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / chart.FOLDER
FULL = replace(
    default(),
    image="registry.example:5000/team/anomaly-exporter:1.2",
    profile="prod",
    secret="theirs",
    make_secret=False,
    secret_env=("MODEL_STORE_KEY", "true"),
    secret_files=("/run/secrets/a/token", "/run/secrets/a/ca.crt", "/run/secrets/b/key"),
    https=True,
    storage_class="fast",
    time_zone="Europe/Berlin",
    scrape_namespace="monitoring",
    scrape_secret="login",
    monitor_labels={"release": "prometheus", "yes": "no"},
)
"""All that there can be, with text that YAML would take for something else."""
CHANGES: dict[str, dict[str, Any]] = {
    "shards": {"shards": 3},
    "lease": {"lease": "exporter"},
    "declared": {"discover": ("configmaps",)},
    "declared rules": {"discover": ("configmaps", "prometheusrules"), "discover_namespaces": ("shop", "bank")},
    "profile": {"profile": ""},
    "secret": {"secret": "anomaly-exporter", "make_secret": True},
    "env": {"secret_env": ()},
    "files": {"secret_files": ()},
    "http": {"https": False},
    "mtls": {"client_certificates": True},
    "state": {"keep_state": False},
    "models": {"models_path": ""},
    "class": {"storage_class": ""},
    "train": {"train": False},
    "zone": {"time_zone": ""},
    "egress": {"egress": ()},
    "namespace": {"scrape_namespace": ""},
    "login": {"scrape_secret": ""},
    "labels": {"monitor_labels": {}},
    "operator": {"operator": False},
    "rules": {"rules": {}},
    "restart": {"restart_on": ""},
    "digest": {"image": "registry.example/anomaly-exporter@sha256:" + "0" * 64},
    "names": {"name": "other", "namespace": "elsewhere", "port": 9999, "train_deadline": 60},
}


@pytest.fixture(scope="module")
def loaded() -> Iterator[Chart]:
    with Chart.load(FOLDER) as opened:
        yield opened


def rendered(loaded: Chart, given: dict, **options: Any) -> list[dict]:
    made = loaded.render(given, **{"name": "release", "namespace": "anomaly-exporter", **options})
    texts = [text for name, text in made.items() if name.endswith(".yaml")]
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def ordered(made: list[dict]) -> list[dict]:
    return sorted(made, key=lambda one: (one["kind"], one["metadata"]["name"], one["metadata"].get("namespace", "")))


def built(settings: Settings) -> list[dict]:
    by_helm = replace(settings, managed_by="Helm")
    return [one for one in (*objects(by_helm), *discover_roles(by_helm)) if one["kind"] != "Namespace"]


def alike(loaded: Chart, settings: Settings) -> None:
    made = rendered(loaded, values(settings), namespace=settings.namespace)
    assert ordered(made) == ordered(json.loads(json.dumps(built(settings))))


def valid(made: list[dict]) -> None:
    for one in made:
        if not one["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes_validate.validate(one, "1.31", strict=True)


CASES = {
    "all": FULL,
    "default": default(),
    **{name: replace(FULL, **change) for name, change in CHANGES.items()},
    "nothing": replace(
        FULL, **{k: v for name, c in CHANGES.items() if name not in {"shards", "digest"} for k, v in c.items()}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_chart_makes_what_the_builders_make(loaded: Chart, name: str) -> None:
    alike(loaded, CASES[name])


@pytest.mark.slow
def test_any_two_values_together_make_what_the_builders_make(loaded: Chart) -> None:
    for one, two in combinations(CHANGES, 2):
        alike(loaded, replace(FULL, **CHANGES[one], **{k: v for k, v in CHANGES[two].items() if k not in CHANGES[one]}))


@pytest.mark.parametrize("name", CASES)
def test_every_object_passes_the_strict_schema_and_the_chart_its_lint(loaded: Chart, name: str) -> None:
    """Row 52: nothing the schema does not know, whatever the values."""
    given = values(CASES[name])
    valid(rendered(loaded, given))
    report = lint(FOLDER, given, strict=True)
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]


def test_every_pod_is_restricted_whatever_the_values(loaded: Chart) -> None:
    """Row 52: no token but to renew a Lease or to find what teams declare, no rights, nothing to write but volumes."""
    for case in CASES.values():
        pods = [(one["kind"], pod) for one in rendered(loaded, values(case)) if (pod := pod_of(one))]
        assert pods
        for kind, pod in pods:
            [container] = pod["containers"]
            assert pod["automountServiceAccountToken"] is (case.asks_kubernetes and kind != "CronJob")
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert {"requests", "limits"} == set(container["resources"])


@pytest.mark.parametrize("name", CASES)
def test_helm_leaves_what_cannot_be_made_again(loaded: Chart, name: str) -> None:
    """State, models and their key outlive `helm uninstall` and any change of the values; nothing else does."""
    kept = {
        (one["kind"], one["metadata"]["name"])
        for one in rendered(loaded, values(CASES[name]))
        if one["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    all_of_them = {
        (one["kind"], one["metadata"]["name"])
        for one in rendered(loaded, values(CASES[name]))
        if one["kind"] in {"PersistentVolumeClaim", "Secret"}
    }
    assert kept == all_of_them
    plain = [one for one in objects(CASES[name]) if "annotations" in one["metadata"]]
    assert plain == [], "only Helm reads it"


def pod_of(made: dict) -> dict | None:
    spec = made.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return spec.get("template", {}).get("spec")


def test_a_configuration_becomes_values_that_helm_merges_over_its_own(loaded: Chart, tmp_path: Path) -> None:
    """`deploy --values`: what has another name in the user's configuration does not stay behind."""
    file = tmp_path / "mine.yml"
    file.write_text("jobs: {mine: {expr: up}}\nnotify: {slack: {env: SLACK}}\n")
    settings = planned(load(file, environ={}), shards=2, image="team/anomaly-exporter:7")
    given = yaml.safe_load(chart.overrides(settings))
    made = rendered(loaded, given)
    assert ordered(made) == ordered(json.loads(json.dumps(built(settings))))
    [config] = [one for one in made if one["kind"] == "ConfigMap"]
    assert set(config["data"]) == {"mine.yml"}
    assert {one["metadata"]["name"] for one in made if one["kind"] == "PrometheusRule"} == {
        "anomaly-exporter-exporter",
        "anomaly-exporter-job-mine",
        "anomaly-exporter-targets",
    }


def test_helm_reads_the_file_of_values_as_it_was_meant(tmp_path: Path) -> None:
    """Text that YAML 1.2 takes for a number stays text: Helm's reader is not ours."""
    settings = replace(FULL, restart_on="12345678e101", profile="1e3", image="repository:0o17", operator=True)
    shutil.copytree(FOLDER, tmp_path / "chart")
    (tmp_path / "chart/values.yaml").write_text(chart.overrides(settings))
    with Chart.load(tmp_path / "chart") as opened:
        assert ordered(rendered(opened, {})) == ordered(json.loads(json.dumps(built(settings))))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"shards": 0}, "shards"),
        ({"shards": "3"}, "shards"),
        ({"page": {"port": 70_000}}, "port"),
        ({"replicas": 2}, "replicas"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"image": {"repository": ""}}, "repository"),
        ({"state": {"size": "2 gigabytes"}}, "size"),
        ({"fullnameOverride": "Not_A_Name"}, "fullnameOverride"),
        ({"profile": 'prod"\nevil: true'}, "profile"),
        ({"secret": {"files": [{"folder": "relative", "keys": ["a"]}]}}, "folder"),
        ({"secret": {"files": [{"folder": "/run/x", "keys": []}]}}, "keys"),
        ({"operator": {"rules": [{"name": "mine"}]}}, "groups"),
        ({"train": {"enabled": "yes"}}, "enabled"),
        ({"resources": {"limits": {"gpu": "1"}}}, "gpu"),
        ({"pod": {"hostNetwork": True}}, "hostNetwork"),
    ],
)
def test_wrong_values_are_refused_and_named(loaded: Chart, given: dict, told: str) -> None:
    with pytest.raises(HelmError, match=told):
        loaded.validate_schema(given)
    with pytest.raises(HelmError, match=told):
        loaded.render(given, name="release", namespace="anomaly-exporter")


def test_values_of_the_secret_go_into_the_secret_and_nowhere_else(loaded: Chart) -> None:
    """Row 53."""
    canary = "c4n4ry"
    made = rendered(loaded, {"secret": {"values": {"MODEL_STORE_KEY": canary}}})
    assert [one["kind"] for one in made if canary in json.dumps(one)] == ["Secret"]
    valid(made)
    [text] = [
        text
        for name, text in loaded.render({"secret": {"values": {"MODEL_STORE_KEY": canary}}}).items()
        if "NOTES" in name
    ]
    assert canary not in text


def test_every_pod_gets_what_a_cluster_wants_of_it(loaded: Chart) -> None:
    """A registry with a login, nodes of one kind: nothing that loosens what a pod may do."""
    wanted = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "priorityClassName": "high",
    }
    for shards in (1, 3):
        made = rendered(loaded, {"pod": wanted, "shards": shards})
        valid(made)
        pods = [pod for one in made if (pod := pod_of(one))]
        assert [wanted.items() <= pod.items() for pod in pods] == [True, True]


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("anomaly-exporter", "anomaly-exporter"),
        ("team", "team-anomaly-exporter"),
        ("a" * 53, "a" * 23 + "-anomaly-exporter"),
        ("anomaly-exporter-" + "b" * 36, "anomaly-exporter-" + "b" * 23),
    ],
)
def test_every_release_has_names_that_kubernetes_accepts(loaded: Chart, release: str, name: str) -> None:
    made = rendered(loaded, {}, name=release)
    assert {one["metadata"]["name"].removesuffix(end) for one in made for end in ("-data", "-models", "-train")} >= {
        name
    }
    assert all(one["metadata"]["name"].startswith(name) for one in made)
    valid(made)


def test_the_notes_say_what_is_still_to_do(loaded: Chart) -> None:
    def notes(given: dict) -> str:
        [text] = [text for name, text in loaded.render(given, name="r", namespace="n").items() if "NOTES" in name]
        return text

    assert "--set operator.enabled=true" in notes({})
    assert "MODEL_STORE_KEY" in notes({})
    ready = notes({"operator": {"enabled": True}, "secret": {"create": False, "name": "theirs"}})
    assert "MODEL_STORE_KEY" not in ready
    assert "operator" not in ready
    assert "ReadWriteMany" in notes({"shards": 3})
    assert "delete pvc,secret --selector app.kubernetes.io/instance=r-anomaly-exporter" in ready


def test_the_chart_has_the_version_of_the_program(loaded: Chart) -> None:
    assert (loaded.version, loaded.metadata["appVersion"]) == (__version__, __version__)


def test_it_is_packed_whole(loaded: Chart, tmp_path: Path) -> None:
    archive = package(tmp_path / "dist")
    assert archive.name == f"anomaly-exporter-{__version__}.tgz"
    with Chart.load(archive) as packed:
        assert packed.render({}, name="r", namespace="n") == loaded.render({}, name="r", namespace="n")


def test_what_is_generated_is_up_to_date_and_nothing_else_is_there() -> None:
    """A change of the values without `python -m deploy.generate` fails here, and in `make chart`."""
    assert generate.outdated() == {}
    there = {str(path.relative_to(ROOT)) for path in FOLDER.rglob("*") if path.is_file()}
    kinds = {one["kind"].lower() for case in CASES.values() for one in built(case)}
    templates = {f"templates/{name}" for name in ("_helpers.tpl", "NOTES.txt", *(f"{kind}.yaml" for kind in kinds))}
    by_hand = {f"{chart.FOLDER}/{name}" for name in (".helmignore", *templates)}
    assert there == by_hand | set(chart.files())


def test_drift_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in {**chart.files(), **{name: make() for name, make in generate.OUTPUTS.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert generate.main(["--check"], tmp_path) == 0
    changed = tmp_path / "deploy" / "manifests" / "anomaly-exporter.yaml"
    changed.write_text(changed.read_text().replace("runAsNonRoot: true", "runAsNonRoot: false"))
    (tmp_path / chart.FOLDER / "values.schema.json").unlink()
    assert generate.main(["--check"], tmp_path) == 1
    told = capsys.readouterr().err
    assert "manifests/anomaly-exporter.yaml: out of date" in told
    assert "values.schema.json: out of date" in told


def test_the_schema_knows_every_value_and_nothing_else() -> None:
    tree = yaml.safe_load((FOLDER / "values.yaml").read_text())
    made = json.loads((FOLDER / "values.schema.json").read_text())
    assert set(made["properties"]) == {*tree, "global"}
    assert made["additionalProperties"] is False
