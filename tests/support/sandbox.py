"""Runs a pod's container without an engine: its user, its mounts, a root that cannot be written, no capabilities."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from deploy.generate import ROOT
from deploy.kubernetes.settings import UID

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
_DEVICES = ("null", "zero", "urandom", "random")


@cache
def missing() -> str:
    """Return why it cannot be done here; empty when it can."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "chroot"))):
        return "needs root, unshare and setpriv"
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True
    )
    return "" if tried.returncode == 0 else "no mount namespaces here"


class Sandbox:
    """The container of a pod.

    Parameters
    ----------
    folder : Path
        Holds the volumes, by their names; what is put there before is found in them.
    pod : mapping
        Its specification.
    """

    def __init__(self, folder: Path, pod: Mapping[str, Any]) -> None:
        self.folder, self.pod = folder, pod
        (self.container,) = pod["containers"]
        self.uid = pod["securityContext"]["runAsUser"]
        assert self.uid == UID
        for volume in pod["volumes"]:
            self.volume(volume["name"])

    def volume(self, name: str) -> Path:
        """Return the folder of a volume, which belongs to the group that the pod asks for."""
        path = self.folder / name
        path.mkdir(exist_ok=True, parents=True)
        os.chown(path, 0, self.pod["securityContext"]["fsGroup"])
        path.chmod(0o2775)
        return path

    def popen(self, *command: str, secrets: Mapping[str, str] = {}, **options: Any) -> subprocess.Popen[str]:
        """Start a command, by default the container's, in the container."""
        env = {each["name"]: each.get("value", secrets.get(each["name"], "")) for each in self.container["env"]}
        command = command or (*self.container["command"], *self.container["args"])
        program = ["unshare", "--mount", "--ipc", "--propagation", "private", "sh", "-euc", self._script(), "sh"]
        path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        return subprocess.Popen(
            [*program, *command], env={"PATH": path, "PYTHONPATH": str(ROOT), **env}, text=True, **options
        )

    def _script(self) -> str:
        root = shlex.quote(str(self.folder / "root"))
        lines = [f"mkdir -p {root}", f"mount -t tmpfs -o mode=755 none {root}", f"cd {root}"]
        lines += ["mkdir -p dev/shm proc", "mount --rbind /proc proc", "mount -t tmpfs -o size=64m none dev/shm"]
        lines += [f"touch dev/{name}; mount --bind /dev/{name} dev/{name}" for name in _DEVICES]
        for mount in sorted(self.container["volumeMounts"], key=lambda each: each["mountPath"]):
            source, target = shlex.quote(str(self.folder / mount["name"])), f".{mount['mountPath']}"
            lines += [f"mkdir -p {target}", f"mount --bind {source} {target}"]
            lines += [f"mount -o remount,bind,ro {target}"] if mount.get("readOnly") else []
        binaries = {*_SYSTEM, sys.prefix, sys.base_prefix, str(ROOT)}
        for path in sorted(each for each in binaries if Path(each).exists()):  # last: we may live below the pod's /tmp
            lines += [f"mkdir -p .{path}", f"mount --bind {path} .{path}", f"mount -o remount,bind,ro .{path}"]
        lines.append("mount -o remount,bind,ro .")
        lines.append(
            f"exec chroot . /usr/bin/setpriv --reuid={self.uid} --regid={self.pod['securityContext']['runAsGroup']} "
            f"--groups={self.pod['securityContext']['fsGroup']} --bounding-set=-all --inh-caps=-all --no-new-privs "
            f'/bin/sh -c \'cd {self.container["workingDir"]} && exec "$@"\' sh "$@"'
        )
        return "\n".join(lines)
