"""Saving, judging, switching and loading the models of jobs."""

import hashlib
import io
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import joblib

from detectors.types import State
from exporter.atomic_files import TooLarge
from exporter.config.secrets import SecretUnavailable
from exporter.config.sections.models import ModelsConfig
from exporter.json_values import finite_values
from exporter.models.backend import place_of
from exporter.models.errors import ModelMissing, ModelRefused, StoreError
from exporter.models.maintenance import ModelVersion, counted, damage, job_of, result_of, stored, tidy
from exporter.models.names import folder_name, generation_of, is_version, version_name
from exporter.models.reader import RECORD_LIMIT, Reader
from exporter.models.signed_records import (
    Manifest,
    Outcome,
    Pointer,
    as_json,
    libraries,
    seal,
    signing_keys,
)

KEPT: Final = 10  # versions per job: a rollback has somewhere to go, and the disk does not fill up

_ATTEMPTS: Final = 10  # an object store has no lock: whoever comes second tries again, with the next number
_SKIPPED: Final = 1000  # generations left out after a pointer that cannot be read: its own may have been higher
_T = TypeVar("_T")


class Store:
    """The models of `config`. Safe for several processes, machines and threads.

    With a key configured every file must be signed with it (the secret may hold several, one a line: the first signs,
    all are accepted, so that keys can be changed). Without, checksums guard against damage but not against forgery.
    """

    def __init__(self, config: ModelsConfig) -> None:
        self._config = config
        self._place = place_of(config)
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def poll(self) -> float:
        """Seconds between two questions for what is active: a folder may be asked all the time."""
        return self._config.poll if self._config.url else 0.0

    def save(
        self,
        job: str,
        detector: str,
        parameters: Mapping[str, Any],
        channels: Sequence[str],
        state: State,
        *,
        trained_from: float,
        trained_to: float,
        fingerprint: str,
        quality: Mapping[str, float] | None = None,
        in_service: bool = True,
    ) -> Manifest:
        """Store a fitted model and activate it. After a kill the previous model or this one is active.

        Parameters
        ----------
        state : State
            What the detector's `state()` returned.
        trained_from, trained_to : float
            Unix seconds of the first and last sample it was fitted on.
        fingerprint : str
            Identifies those samples.
        quality : mapping of str to float
            Figures from a backtest; NaN is stored as null.
        in_service : bool
            False stores a candidate, for the gate to judge: what is active stays.

        Raises
        ------
        StoreError
            The store cannot be written, another process keeps the lock, or the model is larger than allowed.
        """
        buffer = io.BytesIO()
        joblib.dump(state, buffer)
        model = buffer.getvalue()
        if len(model) > self._config.max_size:
            raise StoreError(
                f"job {job}: the model has {len(model)} bytes, more than models.max_size ({self._config.max_size}); "
                "it is not saved: raise the limit or make the model smaller"
            )
        keys, folder = self._keys(job), folder_name(job)

        def add() -> Manifest:
            now = time.time()
            generation = 1 + max([self._before(job)[1], *map(generation_of, self._reader(job).versions())])
            manifest = Manifest(
                job=job,
                version=version_name(generation, now),
                generation=generation,
                detector=detector,
                parameters=as_json(parameters),
                channels=tuple(channels),
                trained_from=trained_from,
                trained_to=trained_to,
                trained_at=now,
                fingerprint=fingerprint,
                quality=finite_values(quality or {}),
                libraries=libraries(),
                size=len(model),
                sha256=hashlib.sha256(model).hexdigest(),
            )
            files = {"model.joblib": model, "manifest.json": seal(manifest, keys)}
            self._place.add(f"{folder}/{manifest.version}", files)
            return manifest

        with self._changing(job, "the model cannot be saved"):
            tidy(self._reader(job), KEPT - 1)
            manifest = _repeated(add)
            if in_service:
                self._switch(job, manifest.version, lambda before: _replaced(before, manifest.version))
        return manifest

    def load(
        self,
        job: str,
        detector: str,
        parameters: Mapping[str, Any],
        channels: Sequence[str],
        version: str | None = None,
    ) -> tuple[State, Manifest]:
        """Return the state of the active model, or of `version`, and its manifest.

        Nothing is unpickled before signature, digest, identity and library versions were found right; and the bytes
        that were checked are the bytes that are unpickled, since every file is read once.

        Raises
        ------
        ModelMissing
            Nothing was saved for the job yet, or no such version.
        ModelRefused
            What is there is damaged, forged, made for something else, or older than what this process has seen.
        StoreError
            The key cannot be read, or the store cannot be reached.
        """
        reader = self._reader(job)
        pointer = reader.pointer() if version is None else None
        manifest = reader.manifest(self._known(job, version) if pointer is None else pointer.version)
        reader.meant_for(manifest, detector, parameters, channels)
        reader.usable(manifest)
        if pointer is not None:
            self._remember(job, pointer, manifest)
        return reader.unpickled(reader.model(manifest), manifest.version), manifest

    def judge(self, job: str, version: str, *, passed: bool, reason: str, figures: Mapping[str, float]) -> Outcome:
        """Store the gate's decision next to a candidate; a later decision replaces an earlier one.

        Raises ModelMissing, ModelRefused, StoreError.
        """
        self._reader(job).manifest(self._known(job, version))
        outcome = Outcome(job, version, passed, reason, finite_values(figures), time.time())
        with self._changing(job, f"the verdict on {version} cannot be written"):
            self._place.write(f"{folder_name(job)}/{version}/gate.json", seal(outcome, self._keys(job)))
        return outcome

    def outcome(self, job: str, version: str) -> Outcome | None:
        """Return what the gate said about a version, None if nothing yet. Raises ModelRefused, StoreError."""
        return self._reader(job).outcome(self._known(job, version))

    def promote(self, job: str, version: str, *, force: bool = False) -> Manifest:
        """Activate a version that the gate has passed; with `force` whatever the gate said.

        Raises ModelMissing, ModelRefused, StoreError; then what was active stays.
        """
        manifest = self._whole(job, version)
        outcome = None if force else self._reader(job).outcome(version)
        if not force and outcome is None:
            raise StoreError(f"job {job}: version {version} was not evaluated by the gate yet; it is not activated")
        if outcome is not None and not outcome.passed:
            raise StoreError(
                f"job {job}: version {version} was rejected by the gate ({outcome.reason}); it is not activated"
            )
        with self._changing(job, f"version {version} cannot be activated"):
            self._switch(job, version, lambda before: _replaced(before, version))
        return manifest

    def rollback(self, job: str, version: str | None = None) -> Manifest:
        """Put the active version that was before, or `version`; return its manifest.

        Raises ModelMissing, ModelRefused, StoreError; then what is active stays.
        """
        if version is None:
            pointer = self.current(job)
            there = self._reader(job).versions()
            version = next((each for each in (pointer.replaced if pointer else ()) if each in there), None)
        if version is None:
            raise StoreError(f"job {job}: no other model was active before; name a version from `models list`")
        chosen = version
        manifest = self._whole(job, chosen)

        def back(before: Pointer | None) -> tuple[str, ...]:
            if before is not None and chosen in before.replaced:
                return before.replaced[before.replaced.index(chosen) + 1 :]
            return _replaced(before, chosen)

        with self._changing(job, f"version {chosen} cannot be activated"):
            self._switch(job, chosen, back)
        return manifest

    def current(self, job: str) -> Pointer | None:
        """Return which version is active, None if none is; cheap. Raises ModelRefused, StoreError."""
        return self._reader(job).current()

    def versions(self, job: str) -> tuple[ModelVersion, ...]:
        """Return what is stored of a job, the newest first; models are not read. Raises StoreError."""
        reader, (pointer, _) = self._reader(job), self._before(job)
        in_service = pointer.version if pointer else ""
        return tuple(stored(reader, version, version == in_service) for version in reader.versions())

    def jobs(self) -> tuple[str, ...]:
        """Return the jobs that have models here, without those whose name cannot be made out. Raises StoreError."""
        with self._reading("the store cannot be listed"):
            found = [job_of(self._place, folder) for folder in sorted(self._place.names(""))]
        return tuple(job for job in found if job is not None)

    def verify(self, job: str) -> dict[str, str]:
        """Read all that is stored of a job; return what is wrong, by version or `current`. Raises StoreError."""
        return damage(self._reader(job))

    def prune(self, job: str, keep: int) -> tuple[str, ...]:
        """Remove the oldest versions beyond `keep`, never the active one nor the one before; return which.

        Raises StoreError.
        """
        with self._changing(job, "old versions cannot be removed"):
            return tidy(self._reader(job), keep)

    def record(self, job: str, result: Mapping[str, Any]) -> None:
        """Leave how a training ended, for the exporter's metrics; `outcome` of it is counted in `totals`.

        Raises StoreError.
        """
        with self._changing(job, "the result of the training cannot be written"):
            self._place.write(f"{folder_name(job)}/last_train.json", counted(self.recorded(job), result))

    def recorded(self, job: str) -> dict[str, Any] | None:
        """Return how the last training ended, None if there was none or it cannot be made out. Raises StoreError."""
        try:
            with self._reading(f"job {job}: the result of the last training cannot be read"):
                return result_of(self._place.read(f"{folder_name(job)}/last_train.json", RECORD_LIMIT))
        except (FileNotFoundError, TooLarge):
            return None

    def _whole(self, job: str, version: str) -> Manifest:
        """Return the manifest of a version that could be loaded."""
        reader = self._reader(job)
        manifest = reader.manifest(self._known(job, version))
        reader.model(manifest)
        return manifest

    def _known(self, job: str, version: str | None) -> str:
        if version is None or not is_version(version):
            raise ModelMissing(f"job {job}: {version!r} is not a version; `models list` shows those there are")
        return version

    def _switch(self, job: str, version: str, replaced: Callable[[Pointer | None], tuple[str, ...]]) -> None:
        def switch() -> None:
            turn = self._place.turn(folder_name(job))
            before, last = self._before(job)
            generation = max(last + 1, generation_of(version))  # a lower one than before would be a replay
            pointer = Pointer(job, version, generation, replaced(before)[:KEPT])
            self._place.point(folder_name(job), turn, seal(pointer, self._keys(job)))

        _repeated(switch)

    def _before(self, job: str) -> tuple[Pointer | None, int]:
        """Return the pointer, None if it is of no use, and the highest generation there may have been of it."""
        seen = self._seen.get(job, 0)
        reader = self._reader(job)
        try:
            pointer = reader.current()
        except ModelRefused:
            return None, max([seen, *map(generation_of, reader.versions())]) + _SKIPPED
        return pointer, max(seen, pointer.generation if pointer else 0)

    def _remember(self, job: str, pointer: Pointer, manifest: Manifest) -> None:
        with self._lock:
            if pointer.generation < max(self._seen.get(job, 0), manifest.generation):
                path = self._place.where(f"{folder_name(job)}/current")
                raise ModelRefused("replayed", f"job {job}: {path} is older than one seen before")
            self._seen[job] = pointer.generation

    def _reader(self, job: str) -> Reader:
        return Reader(self._place, job, self._keys(job), self._config.max_size)

    def _keys(self, job: str) -> list[bytes]:
        try:
            return signing_keys(self._config.key)
        except SecretUnavailable as error:
            raise StoreError(f"job {job}: models cannot be signed or checked: {error}") from None

    @contextmanager
    def _changing(self, job: str, failure: str) -> Iterator[None]:
        hint = "what was active stays so: make room, or make the store writable"
        try:
            with self._place.alone(folder_name(job)):
                yield
        except OSError as error:
            place = self._place.where(folder_name(job))
            raise StoreError(f"job {job}: {failure} in {place}: {error.strerror or error}; {hint}") from None

    @contextmanager
    def _reading(self, failure: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{failure} in {self._place.where('')}: {error.strerror or error}") from None


def _replaced(before: Pointer | None, version: str) -> tuple[str, ...]:
    """Return what was active before `version`, if that takes the place of what `before` names."""
    if before is None:
        return ()
    return tuple(dict.fromkeys(each for each in (before.version, *before.replaced) if each != version))


def _repeated(change: Callable[[], _T]) -> _T:
    """Make a change again that somebody else came before. Raises OSError."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return change()
        except FileExistsError:
            time.sleep(random.uniform(0.0, 0.05))  # noqa: S311 - so that two do not go on in step
    return change()
