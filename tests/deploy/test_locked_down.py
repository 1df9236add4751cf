"""The exporter as its pods run it: no user of note, no rights, a root folder that cannot be written."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from deploy.demo.servers import PrometheusServer, Server, get
from deploy.kubernetes.parts import pod
from deploy.kubernetes.settings import UID, Settings

ROOT = Path(__file__).parents[2]
DATA = "/mnt"
# Reading is allowed everywhere, since the interpreter of the tests may lie in somebody's home; writing is not.
LOCKED = """
set -eu
mount --bind "$VOLUME" "$DATA"
mount --options remount,bind,ro /
if touch "$PROBE" 2>/dev/null; then echo "the root folder can be written" >&2; exit 97; fi
exec setpriv --reuid "$ID" --regid "$ID" --clear-groups --no-new-privs \
    --inh-caps -all,+dac_read_search --ambient-caps -all,+dac_read_search --bounding-set -all,+dac_read_search "$@"
"""


class LockedExporter(Server):
    """`anomaly-exporter run` in its volume, in a mount namespace where all else is read-only."""

    name = "exporter"
    ready_path = "/-/ready"

    def __init__(self, directory: Path, volume: Path) -> None:
        super().__init__(directory)
        self.volume = volume

    def executable(self) -> list[str]:
        variables = {
            "VOLUME": self.volume,
            "DATA": DATA,
            "PROBE": self.directory / "probe",
            "ID": UID,
            "HOME": DATA,
            "PYTHONPATH": ROOT,
            "PYTHONDONTWRITEBYTECODE": 1,
        }
        shell = ["sh", "-c", LOCKED, "locked", sys.executable, "-m", "exporter", "run"]
        return ["env", *(f"{name}={value}" for name, value in variables.items()), "unshare", "--mount", *shell]

    def arguments(self) -> list[str]:
        return ["--config", f"{DATA}/anomaly.yml", "--listen", self.address]


@pytest.mark.servers
def test_it_runs_with_a_read_only_root_and_writes_to_its_volume_alone(
    shared_prometheus: PrometheusServer, tmp_path: Path
) -> None:
    """Row 52: judged, audited and saved, without an error of the file system."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mount namespaces are not allowed here")
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    config = {
        "prometheus": {"url": shared_prometheus.url},
        "state": {"path": f"{DATA}/state", "every": "1s"},
        "audit": {"path": f"{DATA}/anomalies.csv", "all_samples": True},
        "jobs": {"up": {"expr": "up", "step": "1s", "window": "5s", "detector": "robust"}},
    }
    (volume / "anomaly.yml").write_text(yaml.safe_dump(config))
    with LockedExporter(tmp_path / "run", volume) as exporter:
        status = Path(f"/proc/{exporter.pid}/status").read_text()
        assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}" in status
        assert "NoNewPrivs:\t1" in status
        end = time.monotonic() + 30
        while not (volume / "anomalies.csv").exists() and time.monotonic() < end:
            time.sleep(0.1)
        assert "anomaly_score" in get(f"{exporter.url}/metrics").text
    log = exporter.log.read_text()
    assert "Read-only file system" not in log
    assert "Permission denied" not in log
    assert (volume / "anomalies.csv").read_text().count("\n") > 1
    assert list((volume / "state").iterdir())
    assert {path.stat().st_uid for path in volume.rglob("*") if path.name != "anomaly.yml"} == {UID}


def test_the_pods_are_as_locked_down_as_this() -> None:
    made = pod(Settings(), {"name": "exporter"}, {"emptyDir": {}})
    [container] = made["containers"]
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/var/lib/anomaly-exporter", "/var/lib/anomaly-exporter/models", "/tmp"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert made["securityContext"]["runAsUser"] == UID
