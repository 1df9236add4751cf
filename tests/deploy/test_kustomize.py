"""deploy/manifests as kubectl reads it."""

import shutil
import subprocess

import pytest
import yaml

from deploy.generate import ROOT

MANIFESTS = ROOT / "deploy" / "manifests"
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl (Debian: kubernetes-client)")


def kustomized(folder):
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_kubectl_reads_every_object_of_the_manifests():
    whole = list(yaml.safe_load_all((MANIFESTS / "anomaly-exporter.yaml").read_text()))
    made = kustomized(MANIFESTS)

    def identity(each):
        return each["kind"], each["metadata"]["name"]

    assert sorted(map(identity, made)) == sorted(map(identity, whole))
    assert {"Namespace", "ConfigMap", "Secret", "CronJob", "Deployment"} <= {each["kind"] for each in whole}


def test_an_overlay_changes_namespace_image_and_configuration(tmp_path):
    shutil.copytree(MANIFESTS, tmp_path / "base")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "anomaly.yml").write_text("jobs: {load: {expr: node_load1}}\n")
    (tmp_path / "mine" / "kustomization.yaml").write_text(
        "namespace: observability\n"
        "resources: [../base]\n"
        "images: [{name: anomaly-exporter, newName: registry.example.com/judge, newTag: '2'}]\n"
        "configMapGenerator: [{name: anomaly-exporter, namespace: anomaly-exporter, behavior: replace, "
        "files: [anomaly.yml], options: {disableNameSuffixHash: true}}]\n"
    )
    made = {(each["kind"], each["metadata"]["name"]): each for each in kustomized(tmp_path / "mine")}
    pod = made["Deployment", "anomaly-exporter"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example.com/judge:2"
    config = made["ConfigMap", "anomaly-exporter"]
    assert config["data"] == {"anomaly.yml": "jobs: {load: {expr: node_load1}}\n"}
    assert {each["metadata"].get("namespace", "observability") for each in made.values()} == {"observability"}
