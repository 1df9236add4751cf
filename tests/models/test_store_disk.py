"""A real disk that is full, and one that is read-only (docs/reliability.md, row 24), below the model store."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE

TMPFS = """
import subprocess, sys
from pathlib import Path
import numpy as np
from exporter.config.sections.models import ModelsConfig
from exporter.models.store import Store; from exporter.models.errors import StoreError

folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], check=True)
store, asked = Store(ModelsConfig(path=folder / "models")), ("api", "robust", {}, ("value",))

def save(size):
    state = {"value": np.full(size, 1.0)}
    return store.save(*asked, state, trained_from=0, trained_to=1, fingerprint="").version

first, second = save(1000), save(1000)
def attempt(*changes):
    for change in changes:
        try:
            change()
            print("done")
        except StoreError as error:
            print(str(error).partition("models/api: ")[2])

attempt(lambda: save(30_000))
try:
    with open(folder / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
except OSError:
    pass
attempt(lambda: save(10), lambda: store.rollback("api"), lambda: store.record("api", {"outcome": "promoted"}))
assert Store(store._config).load(*asked)[1].version == second
assert not list(folder.glob("models/api/.*.tmp"))
(folder / "filler").unlink()
attempt(lambda: store.rollback("api"))
subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
attempt(lambda: save(10), lambda: store.rollback("api", second), lambda: store.prune("api", 1))
assert Store(store._config).load(*asked)[1].version == first
assert [each.version for each in store.versions("api")] == [second, first]
"""


@pytest.mark.skipif(
    shutil.which("unshare") is None or bool(os.system("unshare -m true 2>/dev/null")), reason="cannot mount here"
)
def test_a_full_or_read_only_disk_leaves_the_model_in_service(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", TMPFS, str(tmp_path)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    hint = "what was active stays so: make room, or make the store writable"
    full, read_only = f"No space left on device; {hint}", f"Read-only file system; {hint}"
    assert done.stdout.splitlines() == [full, full, full, full, "done", read_only, read_only, read_only]
