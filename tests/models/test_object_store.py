"""The store in an object store: two at once, torn uploads, no answer, no right to write, damage, forgery."""

import errno
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from exporter.config.sections.models import ModelsConfig
from exporter.models import ModelMissing, ModelRefused, Store, StoreError
from exporter.models.backend_fsspec import POINTERS
from exporter.models.signed_records import Manifest
from tests.support import sockets
from tests.support.waiting import PATIENCE

ASKED = ("api", "robust", {"window": 60}, ("value",))
SAVER = """
import json, sys
import numpy as np
from exporter.config.sections.models import ModelsConfig
from exporter.models.store import Store

config, start, count, size = ModelsConfig.model_validate(json.loads(sys.argv[1])), *map(int, sys.argv[2:])
store = Store(config)
print("ready", flush=True)
sys.stdin.readline()
for value in range(start, start + count):
    state = {"value": np.full(size, float(value))}
    store.save(
        "api", "robust", {"window": 60}, ("value",), state,
        trained_from=0.0, trained_to=float(value), fingerprint="", in_service=value % 3 != 2,
    )
    print(value, flush=True)
"""


def save(store: Store, value: float = 0.0, job: str = "api", **options: bool) -> Manifest:
    state = {"value": np.array([value])}
    return store.save(job, *ASKED[1:], state, trained_from=0.0, trained_to=value, fingerprint="", **options)


def served(store: Store) -> float:
    state, manifest = store.load(*ASKED)
    assert (state["value"] == manifest.trained_to).all()
    return manifest.trained_to


def saver(config: ModelsConfig, start: int, count: int, size: int = 1) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", SAVER, config.model_dump_json(exclude_none=True), str(start), str(count), str(size)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n", child.communicate()[1]
    return child


@pytest.fixture
def memory() -> Store:
    return Store(ModelsConfig(url=f"memory://{os.urandom(8).hex()}/models"))


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_two_trainers_at_once_come_one_after_the_other(
    kind: str, s3: Callable[..., ModelsConfig], tmp_path: Path
) -> None:
    """Row 49: two processes save at the same time; no version is lost, none is half of another."""
    patient = f"{PATIENCE:.0f}s"
    config = s3(timeout=patient) if kind == "s3" else ModelsConfig(path=tmp_path / "models", timeout=patient)
    children = [saver(config, start, 4) for start in (0, 100)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [child.communicate(timeout=PATIENCE)[1] for child in children] == ["", ""]
    assert [child.returncode for child in children] == [0, 0]
    store = Store(config)
    versions = store.versions("api")
    assert sorted(each.manifest.trained_to for each in versions if each.manifest) == [0, 1, 2, 3, 100, 101, 102, 103]
    assert store.verify("api") == {}
    pointer = store.current("api")
    assert pointer is not None
    assert pointer.generation >= 6
    assert len({pointer.version, *pointer.replaced}) == 6  # each switch knew of the one before: none was overwritten
    assert served(store) in {3, 103}


def test_whoever_comes_second_with_a_pointer_tries_again_on_top_of_the_first(
    s3: Callable[..., ModelsConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 49: the conditional put itself, without which the first switch would be lost."""
    config = s3()
    slow, quick = Store(config), Store(config)
    first = save(slow, 1.0)
    create, interrupted = slow._place._create, []

    def overtaken(name: str, data: bytes) -> None:
        if "/current/" in name and not interrupted:
            interrupted.append(save(quick, 2.0).version)
        create(name, data)

    monkeypatch.setattr(slow._place, "_create", overtaken)
    third = save(slow, 3.0)
    pointer = quick.current("api")
    assert pointer is not None
    assert (pointer.version, pointer.replaced) == (third.version, (interrupted[0], first.version))


def test_a_kill_in_mid_upload_leaves_a_model_to_load_each_time(s3: Callable[..., ModelsConfig]) -> None:
    """Row 24."""
    config, chance, at_least = s3(), random.Random(4), 0.0
    save(Store(config), 0.0)
    for kill in range(3):
        child = saver(config, 1 + 1000 * kill, 900, size=200_000)
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.5))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        now = served(Store(config))
        assert now >= at_least
        at_least = now
    assert at_least > 0, "no save came to an end: the test proves nothing"
    assert save(Store(config), 5000.0).generation > at_least % 1000


@pytest.mark.parametrize("file", ["model.joblib", "manifest.json", "/current/"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ConnectionResetError("torn")])
def test_an_upload_that_fails_leaves_the_old_model_in_service(
    file: str, error: OSError, memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 24: at each object in turn; what is left of it is told from a model, and cleared away a day later."""
    first = save(memory, 1.0)
    pipe_file = MemoryFileSystem.pipe_file

    def failing(system: MemoryFileSystem, path: str, data: bytes, **options: str) -> None:
        if file in path:
            raise error
        pipe_file(system, path, data, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "pipe_file", failing)
        with pytest.raises(StoreError, match=r"job api: .*(No space left on device|torn).* what was active stays"):
            save(memory, 2.0)
    assert served(Store(memory._config)) == 1.0
    if file == "manifest.json":
        [torn, _] = memory.versions("api")
        assert torn.refused.endswith("was not saved to its end")
        later = time.time() + 100_000
        monkeypatch.setattr(time, "time", lambda: later)
        save(memory, 3.0)
        assert torn.version not in [each.version for each in memory.versions("api")]
    assert first.version in [each.version for each in memory.versions("api")]


def test_a_flipped_byte_in_any_object_is_refused(memory: Store) -> None:
    """Row 25: every third offset, pointer, manifest and model."""
    version = save(memory, 1.0).version
    chance, tried = random.Random(3), 0
    for name in (memory._place.pointer("api", 10**6)[0], f"api/{version}/manifest.json", f"api/{version}/model.joblib"):
        whole = memory._place.read(name, 10**6)
        for offset in range(chance.randrange(3), len(whole), 3):
            damaged = bytearray(whole)
            damaged[offset] ^= 1 << chance.randrange(8)
            memory._place.write(name, bytes(damaged))
            with pytest.raises((ModelRefused, ModelMissing)):
                Store(memory._config).load(*ASKED)
            tried += 1
        memory._place.write(name, whole)
    assert tried > 300
    assert served(memory) == 1.0


class Evil:
    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.canary,)


def test_nothing_is_unpickled_before_its_digest_was_found_right(store: Store, tmp_path: Path) -> None:
    """Row 26, for each kind of store."""
    version = save(store).version
    canary = tmp_path / "canary"
    store._place.write(f"api/{version}/model.joblib", pickle.dumps({"x": Evil(str(canary))}))
    with pytest.raises(ModelRefused, match="does not match the digest"):
        store.load(*ASKED)
    with pytest.raises(ModelRefused, match="does not match the digest"):
        store.rollback("api", version)
    assert not canary.exists()


def test_the_models_of_another_job_are_refused(store: Store) -> None:
    """Row 26: whole and rightly sealed, for somebody else."""
    mine, other = save(store).version, save(store, job="other").version
    for file in ("model.joblib", "manifest.json"):
        store._place.write(f"api/{mine}/{file}", store._place.read(f"other/{other}/{file}", 10**6))
    with pytest.raises(ModelRefused, match="another job"):
        store.load(*ASKED)
    store._place.write(store._place.pointer("api", 10**6)[0], store._place.pointer("other", 10**6)[1])
    with pytest.raises(ModelRefused, match=r"current.* belongs to another job"):
        store.load(*ASKED)


def test_an_older_pointer_put_back_is_refused(s3: Callable[..., ModelsConfig]) -> None:
    """Row 27: somebody removes the newest pointer, and with it what is active."""
    store = Store(s3())
    save(store, 1.0)
    save(store, 2.0)
    assert served(store) == 2.0
    store._place.remove(store._place.pointer("api", 10**6)[0])
    with pytest.raises(ModelRefused, match="older than one seen before"):
        store.load(*ASKED)


def test_a_file_url_is_a_folder_as_any_other(tmp_path: Path) -> None:
    save(Store(ModelsConfig(url=f"file://{tmp_path}/the%20models")), 1.0)
    assert served(Store(ModelsConfig(path=tmp_path / "the models"))) == 1.0


def test_pointers_do_not_pile_up(memory: Store) -> None:
    one, other = save(memory, 1.0).version, save(memory, 2.0).version
    for _ in range(POINTERS):
        memory.rollback("api", one)
        memory.rollback("api", other)
    assert len(memory._place.names("api/current")) == POINTERS
    assert served(memory) == 2.0


def test_an_object_larger_than_allowed_is_not_fetched(s3: Callable[..., ModelsConfig]) -> None:
    """Row 28."""
    save(Store(s3()), 1.0)
    with pytest.raises(ModelRefused) as caught:
        Store(s3(max_size=100)).load(*ASKED)
    assert caught.value.reason == "too_large"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with sockets.silent() as address:
        yield address


def test_a_store_that_hangs_is_waited_for_no_longer_than_said(s3: Callable[..., ModelsConfig], silent: str) -> None:
    store = Store(s3(silent, timeout="500ms"))
    with pytest.raises(StoreError, match=r"job api: s3://.* gave no answer within 0.5s \(models.timeout\)") as caught:
        store.load(*ASKED)
    assert not isinstance(caught.value, ModelRefused)
    for action in (lambda: save(store), lambda: store.versions("api"), lambda: store.record("api", {})):
        with pytest.raises(StoreError, match="an earlier call still waits"):
            action()
    assert "the-secret" not in str(caught.value)


def test_a_store_that_is_gone_is_one_clear_error_without_secrets(
    s3: Callable[..., ModelsConfig], capfd: pytest.CaptureFixture[str]
) -> None:
    """Row 53."""
    with sockets.refusing() as address:
        store = Store(s3(address))
        with pytest.raises(StoreError, match=r"job api: s3://.* cannot be used: Could not connect") as caught:
            store.load(*ASKED)
    said = f"{caught.value!r} {store._config!r} {store._config.model_dump_json()} {capfd.readouterr()}"
    assert "the-secret-of-the-store" not in said
    assert "AKIA-of-the-store" not in said


def test_a_secret_that_is_not_there_is_named(s3: Callable[..., ModelsConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(s3())
    save(store)
    monkeypatch.delenv("STORE_SECRET")
    with pytest.raises(StoreError, match="environment variable STORE_SECRET is not set"):
        store.load(*ASKED)


class Forbidden(BaseHTTPRequestHandler):
    """Refuses whatever is asked, as S3 does without the right policy."""

    def refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_PUT = do_HEAD = do_POST = refuse  # noqa: N815 - names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_store_that_may_not_be_written_is_one_clear_error(s3: Callable[..., ModelsConfig]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Forbidden) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = Store(s3(f"http://127.0.0.1:{server.server_port}"))
        for action in (lambda: save(store), lambda: store.load(*ASKED), lambda: store.versions("api")):
            with pytest.raises(StoreError, match=r"job api: .*s3://.*(Access Denied|Forbidden)"):
                action()
        server.shutdown()


def test_a_bucket_that_is_not_there_holds_no_model_and_takes_none(s3: Callable[..., ModelsConfig]) -> None:
    config = s3()
    gone = Store(config.model_copy(update={"url": "s3://nobody-made-this-bucket/models"}))
    with pytest.raises(ModelMissing):
        gone.load(*ASKED)
    assert gone.jobs() == ()
    with pytest.raises(StoreError, match=r"cannot be saved in s3://nobody-made-this-bucket/.* bucket does not exist"):
        save(gone)


def test_a_rotated_secret_is_used_from_the_next_call_on(
    s3: Callable[..., ModelsConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(s3())
    used = []
    connect = fsspec.url_to_fs
    monkeypatch.setattr(
        fsspec, "url_to_fs", lambda url, **options: used.append(options["secret"]) or connect(url, **options)
    )
    save(store)
    monkeypatch.setenv("STORE_SECRET", "another-secret")
    assert served(store) == 0.0
    assert set(used) == {"the-secret-of-the-store", "another-secret"}


@pytest.mark.parametrize("change", ["judge", "promote", "rollback", "record", "prune"])
def test_a_full_disk_leaves_the_folder_as_it_was(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 24."""
    store = Store(ModelsConfig(path=tmp_path / "models"))
    versions = [save(store, float(value)).version for value in range(3)]
    changes: dict[str, Callable[[], object]] = {
        "judge": lambda: store.judge("api", versions[0], passed=True, reason="", figures={}),
        "promote": lambda: store.promote("api", versions[0], force=True),
        "rollback": lambda: store.rollback("api"),
        "record": lambda: store.record("api", {"outcome": "promoted"}),
        "prune": lambda: store.prune("api", 1),
    }

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        if change == "prune":
            patch.setattr("exporter.models.backend.Path.rename", full)
        with pytest.raises(StoreError, match=r"job api: .*No space left on device; what was active stays"):
            changes[change]()
    assert served(Store(store._config)) == 2.0
    assert [each.version for each in store.versions("api")] == versions[::-1]
    assert store.recorded("api") is None
    assert not list((tmp_path / "models" / "api").glob(".*.tmp"))
