"""The model store: what is saved comes back, what was changed never does (docs/reliability.md, rows 25 to 29)."""

import hashlib
import io
import json
import os
import pickle
import random
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.atomic_files import Lock
from exporter.config.secrets import Secret
from exporter.config.sections.models import ModelsConfig
from exporter.models import KEPT, ModelMissing, ModelRefused, Store, StoreError, folder_name
from exporter.models import signed_records as manifests
from exporter.models.signed_records import Manifest, Pointer, seal
from tests.support.waiting import PATIENCE

JOB, DETECTOR, PARAMETERS, CHANNELS = "node-cpu", "robust", {"window": 60, "band": (1.0, 2.0)}, ("value",)
STATE = {"center": np.arange(12.0).reshape(3, 4), "keys": np.array(["a", "b", "ü"])}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with a key: the strictest kind."""
    monkeypatch.setenv("MODEL_KEY", "first-key-of-the-store")
    return Store(ModelsConfig(path=tmp_path / "models", key=Secret(env="MODEL_KEY")))


@pytest.fixture
def open_store(tmp_path: Path) -> Store:
    """A store without a key."""
    return Store(ModelsConfig(path=tmp_path / "open-models"))


def save(store: Store, job: str = JOB, value: float = 0.0) -> Manifest:
    return store.save(
        job, DETECTOR, PARAMETERS, CHANNELS, STATE | {"value": np.array([value])},
        trained_from=1.0, trained_to=2.5, fingerprint="f00d", quality={"f1": 0.5, "auc": float("nan")},
    )  # fmt: skip


def load(store: Store, job: str = JOB) -> tuple[dict[str, np.ndarray], Manifest]:
    return store.load(job, DETECTOR, PARAMETERS, CHANNELS)


def refused(store: Store, reason: str, job: str = JOB) -> str:
    with pytest.raises(ModelRefused) as caught:
        load(store, job)
    assert caught.value.reason == reason, str(caught.value)
    return str(caught.value)


def files(store: Store, job: str = JOB) -> tuple[Path, Path, Path]:
    """Return the paths of pointer, manifest and active model."""
    folder = store._config.path / folder_name(job)
    version = json.loads((folder / "current").read_bytes())["version"]
    return folder / "current", folder / version / "manifest.json", folder / version / "model.joblib"


def forge(store: Store, model: bytes, keys: list[bytes]) -> None:
    """Replace the active model and write a manifest to match, sealed with `keys`."""
    _, path, model_path = files(store)
    fields = json.loads(path.read_bytes())
    record = Manifest(**{name: fields[name] for name in Manifest.__slots__})
    record = replace(record, size=len(model), sha256=hashlib.sha256(model).hexdigest())
    path.write_bytes(seal(record, keys))
    model_path.write_bytes(model)


class Evil:
    """Leaves a mark when unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("kind", ["store", "open_store"])
def test_what_was_saved_is_loaded_with_all_that_is_known_of_it(kind: str, request: pytest.FixtureRequest) -> None:
    store = request.getfixturevalue(kind)
    saved = save(store)
    state, manifest = load(Store(store._config))
    assert manifest == saved
    assert (manifest.trained_from, manifest.trained_to, manifest.fingerprint) == (1.0, 2.5, "f00d")
    assert manifest.quality == {"f1": 0.5, "auc": None}
    assert manifest.parameters == {"window": 60, "band": [1.0, 2.0]}
    assert all((state[name] == STATE[name]).all() and state[name].dtype == STATE[name].dtype for name in STATE)


def test_the_newest_save_is_in_service_and_only_so_many_are_kept(store: Store) -> None:
    for value in range(KEPT + 3):
        save(store, value=value)
    state, manifest = load(store)
    assert (state["value"][0], manifest.generation) == (KEPT + 2, KEPT + 3)
    folder = files(store)[0].parent
    assert sum(path.is_dir() for path in folder.iterdir()) == KEPT


def test_an_empty_store_says_that_the_model_is_missing(store: Store) -> None:
    with pytest.raises(ModelMissing, match=r"job node-cpu: there is no .*current"):
        load(store)


@pytest.mark.parametrize("kind", ["store", "open_store"])
def test_a_flipped_byte_anywhere_is_refused(kind: str, request: pytest.FixtureRequest) -> None:
    """Row 25: every offset of pointer and manifest, the first 4 KiB of the model, and random ones beyond."""
    store = request.getfixturevalue(kind)
    store.save(
        JOB, DETECTOR, PARAMETERS, CHANNELS, STATE | {"more": np.zeros(5000)},
        trained_from=1, trained_to=2, fingerprint="",
    )  # fmt: skip
    chance = random.Random(7)
    accepted, tried = [], 0
    for path in files(store):
        whole = path.read_bytes()
        offsets = [*range(min(len(whole), 4096)), *(chance.randrange(len(whole)) for _ in range(1000))]
        for offset in offsets:
            damaged = bytearray(whole)
            damaged[offset] ^= 1 << chance.randrange(8)
            path.write_bytes(damaged)
            tried += 1
            try:
                load(store)
                accepted.append((path.name, offset))
            except (ModelRefused, ModelMissing):
                pass
        path.write_bytes(whole)
    assert tried > 7000
    assert accepted == []
    load(store)


def test_a_truncated_file_is_refused(open_store: Store) -> None:
    """Row 25."""
    save(open_store)
    for path in files(open_store):
        whole = path.read_bytes()
        for length in {0, 1, len(whole) // 2, len(whole) - 1}:
            path.write_bytes(whole[:length])
            refused(open_store, "damaged")
        path.write_bytes(whole)


@pytest.mark.parametrize("attack", ["wrong key", "no signature", "old key", "no manifest change", "other job"])
def test_an_evil_pickle_never_runs(attack: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 26: nothing is unpickled before the signature was found right."""
    canary = tmp_path / "canary"
    buffer = io.BytesIO()
    joblib.dump({"x": Evil(canary)}, buffer)
    save(store)
    match attack:
        case "wrong key":
            forge(store, buffer.getvalue(), [b"guessed"])
        case "no signature":
            forge(store, buffer.getvalue(), [])
        case "old key":
            monkeypatch.setenv("MODEL_KEY", "the-next-key\nfirst-key-of-the-store")
            save(store)
            forge(store, buffer.getvalue(), [b"first-key-of-the-store"])
            monkeypatch.setenv("MODEL_KEY", "the-next-key")
        case "no manifest change":
            files(store)[2].write_bytes(buffer.getvalue())
        case "other job":  # rightly signed, for another job: the name is part of what is signed
            save(store, "other")
            forge(store, buffer.getvalue(), [b"first-key-of-the-store"])
            shutil.rmtree(files(store, "other")[0].parent)
            shutil.copytree(files(store)[0].parent, store._config.path / "other")
    with pytest.raises(ModelRefused):
        load(store, "other" if attack == "other job" else JOB)
    assert not canary.exists()


def test_the_canary_of_these_tests_is_able_to_die(store: Store, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    joblib.dump({"x": Evil(tmp_path / "canary")}, buffer)
    save(store)
    forge(store, buffer.getvalue(), [b"first-key-of-the-store"])  # an attacker who has the key
    assert "something else than named arrays" in refused(store, "damaged")
    assert (tmp_path / "canary").exists()


def test_an_unsigned_model_is_refused_once_there_is_a_key(open_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 26."""
    save(open_store)
    monkeypatch.setenv("MODEL_KEY", "a-key")
    refused(Store(ModelsConfig(path=open_store._config.path, key=Secret(env="MODEL_KEY"))), "unsigned")


def test_keys_can_be_changed_without_losing_models(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 26: the first key signs, all are accepted, a key that is gone is not."""
    save(store)
    monkeypatch.setenv("MODEL_KEY", "the-next-key\n\n first-key-of-the-store \n")
    load(store)
    save(store)
    monkeypatch.setenv("MODEL_KEY", "the-next-key")
    load(store)
    monkeypatch.setenv("MODEL_KEY", "first-key-of-the-store")
    refused(store, "wrong_signature")


def test_an_unreadable_key_is_named_not_shown(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_KEY")
    for action in (save, load):
        with pytest.raises(StoreError, match=r"job node-cpu: .*environment variable MODEL_KEY is not set"):
            action(store)


@pytest.mark.parametrize(
    "asked",
    [
        ("isolation_forest", PARAMETERS, CHANNELS),
        (DETECTOR, PARAMETERS | {"window": 61}, CHANNELS),
        (DETECTOR, PARAMETERS, ("value", "second")),
    ],
)
def test_a_model_of_something_else_is_refused(
    asked: tuple[str, dict[str, float], tuple[str, ...]], store: Store
) -> None:
    save(store)
    with pytest.raises(ModelRefused, match="another detector, channels or job") as caught:
        store.load(JOB, *asked)
    assert caught.value.reason == "wrong_model"


def test_an_old_model_put_back_is_refused(store: Store) -> None:
    """Row 27: a replay of files that were once rightly signed."""
    save(store)
    folder = files(store)[0].parent
    shutil.copytree(folder, folder.with_name("stolen"))
    save(store)
    load(store)
    shutil.rmtree(folder)
    folder.with_name("stolen").rename(folder)
    refused(store, "replayed")


def test_an_old_model_under_the_name_of_a_new_one_is_refused(store: Store) -> None:
    """Row 27, after a restart too: the version is part of what is signed."""
    save(store)
    old = files(store)[1].parent
    save(store)
    new = files(store)[1].parent
    shutil.rmtree(new)
    shutil.copytree(old, new)
    refused(Store(store._config), "wrong_model")


def test_a_newer_switch_may_point_to_an_older_model(store: Store) -> None:
    """Row 27 refuses replays, not a rollback: that is a new, signed pointer."""
    first = save(store)
    save(store)
    load(store)
    pointer = files(store)[0]
    pointer.write_bytes(seal(Pointer(JOB, first.version, 3), [b"first-key-of-the-store"]))
    assert load(store)[1] == first
    assert save(store).generation == 4


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_symbolic_link_is_not_followed(which: int, store: Store, tmp_path: Path) -> None:
    """Row 27."""
    save(store)
    path = files(store)[which]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert "cannot be read" in refused(store, "unreadable")


def test_what_was_checked_is_what_is_loaded_however_fast_files_are_swapped(store: Store, tmp_path: Path) -> None:
    """Row 27: a thread swaps the model for an evil one all the time."""
    canary = tmp_path / "canary"
    save(store)
    model = files(store)[2]
    good, evil = tmp_path / "good", tmp_path / "evil"
    shutil.copy(model, good)
    with evil.open("wb") as file:
        pickle.dump({"x": Evil(canary)}, file)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for content in (evil, good):
                draft = tmp_path / "draft"
                os.link(content, draft)
                draft.rename(model)

    thread = threading.Thread(target=swap)
    thread.start()
    outcomes = {"loaded": 0, "refused": 0}
    try:
        while min(outcomes.values()) < 50 and sum(outcomes.values()) < 20_000:
            try:
                state, _ = load(store)
                assert (state["center"] == STATE["center"]).all()
                outcomes["loaded"] += 1
            except ModelRefused:
                outcomes["refused"] += 1
    finally:
        stop.set()
        thread.join()
    assert min(outcomes.values()) >= 50
    assert not canary.exists()


@pytest.mark.parametrize("method", ["zlib", "gzip", "bz2", "lzma", "xz"])
def test_a_compressed_model_is_refused_even_if_signed(method: str, store: Store) -> None:
    """Row 28: 63 KiB would become 64 MiB, or as much as the signer likes."""
    save(store)
    buffer = io.BytesIO()
    joblib.dump({"x": np.zeros(2**20)}, buffer, compress=(method, 3))
    forge(store, buffer.getvalue(), [b"first-key-of-the-store"])
    assert "compressed" in refused(store, "damaged")


def test_a_huge_file_is_refused_before_it_is_read(store: Store) -> None:
    """Row 28: the file is sparse, so reading it would take what it claims."""
    save(store)
    for path in files(store):
        whole = path.read_bytes()
        os.truncate(path, 2**42)
        refused(store, "too_large")
        path.write_bytes(whole)


def test_a_model_larger_than_the_limit_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"job node-cpu: .* more than models.max_size \(100\)"):
        save(Store(ModelsConfig(path=tmp_path, max_size=100)))


@pytest.mark.parametrize("library", ["python", "numpy", "joblib", "scikit-learn"])
def test_another_library_version_means_a_new_fit(library: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 29: a pickle of another version may load and score differently, silently."""
    old = manifests.libraries() | {library: "0.1"}
    monkeypatch.setattr("exporter.models.store.libraries", lambda: old)
    save(store)
    monkeypatch.undo()
    monkeypatch.setenv("MODEL_KEY", "first-key-of-the-store")
    assert f"saved by {library} 0.1" in refused(store, "other_versions")


def test_two_jobs_never_share_a_folder() -> None:
    names = ["api", "API", "a/b", "a-b", "a.b", "..", ".", "", "a" * 500, "a" * 501, "ünï", "a\nb", "\0", "api~1", "~"]
    assert len({folder_name(name) for name in names}) == len(names)


@given(st.text(), st.text())
def test_any_job_name_becomes_one_safe_folder_name(one: str, other: str) -> None:
    name = folder_name(one)
    assert Path(name).name == name not in {"", ".", ".."}
    assert name.isascii()
    assert len(name) <= 80
    assert not name.startswith((".", "-"))
    assert (name.lower() == folder_name(other).lower()) == (one == other)


def test_a_job_with_an_odd_name_keeps_its_own_model(store: Store) -> None:
    for value, job in enumerate(["../../etc", "ns/api", "ns-api", "NS/API"]):
        save(store, job, value)
    assert [load(store, job)[0]["value"][0] for job in ["../../etc", "ns/api", "ns-api", "NS/API"]] == [0, 1, 2, 3]
    assert len(list(store._config.path.iterdir())) == 4
    assert list(store._config.path.parent.iterdir()) == [store._config.path]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, not a folder")
    with pytest.raises(
        StoreError, match=r"job node-cpu: the model cannot be saved in .*: Not a directory; .*make room"
    ):
        save(Store(ModelsConfig(path=tmp_path / "models")))


def test_a_failed_save_leaves_the_model_in_service_and_no_rubbish(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 24: the disk is full at each step in turn."""
    first = save(store)
    folder = files(store)[0].parent
    for step in range(4):
        count = iter(range(100))

        def full(_fd: int, step: int = step, count: Iterator[int] = count) -> None:
            if next(count) == step:
                raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StoreError, match="No space left on device"):
                save(store)
        assert load(Store(store._config))[1] == first
        assert not list(folder.glob(".*.tmp"))


def test_a_save_waits_for_the_one_before_and_gives_up_in_the_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 49: two trainings of one job at once."""
    save(store)
    asked = threading.Event()

    def lock(path: Path, wait: float) -> Lock:
        asked.set()
        return Lock(path, wait)

    with Lock(files(store)[0].with_name("lock")):
        with monkeypatch.context() as patch:
            patch.setattr("exporter.models.backend.LOCK_WAIT", 0.05)
            with pytest.raises(StoreError, match=f"process {os.getpid()} holds .*another training"):
                save(store)
        monkeypatch.setattr("exporter.models.backend.Lock", lock)
        thread = threading.Thread(target=save, args=(store,))
        thread.start()
        assert asked.wait(PATIENCE)
        thread.join(0.1)
        assert thread.is_alive()
    thread.join(PATIENCE)
    assert load(store)[1].generation == 2
