"""What the commands of `anomaly-exporter models` do."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from exporter.cli.models_output import described, table_of
from exporter.config.load import ConfigError, load
from exporter.config.sections.service import LogConfig
from exporter.models import ModelVersion, Store, StoreError
from exporter.models.comparison import differences
from exporter.models.signed_records import Manifest
from exporter.observe.logs import configure
from exporter.redact import masked


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command: data for `--json`, lines for people, and the exit code."""

    data: Any
    lines: Sequence[Any]
    code: int = 0


def run(config: Path, profile: str | None, as_json: bool, ask: Callable[["ModelsCommand"], Answer]) -> int:
    """Run a command on the model store and print its answer; return the exit code: 2 configuration, 1 store."""
    configure(LogConfig(format="console", level="warning"))
    try:
        settings = load(config, profile).config
        if settings.models is None:
            sys.stderr.write(f"{config}: no model store is configured; add models: {{path: …}} or models: {{url: …}}\n")
            return 2
        answer = ask(ModelsCommand(Store(settings.models), tuple(settings.jobs)))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except StoreError as error:
        sys.stderr.write(f"{masked(str(error))}\n")
        return 1
    if as_json:
        sys.stdout.write(json.dumps(answer.data, indent=2) + "\n")
    else:
        console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, emoji=False)
        for line in answer.lines:
            console.print(line, soft_wrap=isinstance(line, str), markup=False)
    return answer.code


class ModelsCommand:
    """A store and the configured jobs. The name of a job without a shard means all its shards."""

    def __init__(self, store: Store, configured: Sequence[str]) -> None:
        self._store, self._configured = store, configured

    def listed(self, jobs: Sequence[str] | None) -> Answer:
        """List the versions of jobs."""
        found = {job: self._store.versions(job) for job in self._jobs(jobs)}
        return Answer([_data(job, each) for job in found for each in found[job]], table_of(found))

    def shown(self, job: str, version: str | None) -> Answer:
        """Describe one version of each shard of a job, and its last training."""
        data: list[dict[str, Any]] = []
        lines: list[str] = []
        for name in self._jobs([job]):
            versions = self._store.versions(name)
            chosen = self._one(name, versions, version, "active")
            trained = self._store.recorded(name)
            data.append({**_data(name, chosen), "last_train": trained})
            lines += described(name, chosen, trained)
        return Answer(data, lines)

    def compared(self, job: str, one: str | None, other: str | None) -> Answer:
        """Compare two versions of each shard of a job."""
        data: list[dict[str, Any]] = []
        lines: list[str] = []
        for name in self._jobs([job]):
            versions = self._store.versions(name)
            first = self._one(name, versions, one, "active")
            rest = [each for each in versions if each.version != first.version]
            second = self._one(name, rest if other is None else versions, other, "other")
            rows = differences(first, second)
            data.append({"job": name, "versions": [first.version, second.version], "differences": rows})
            lines.append(f"{name}: {first.version} and {second.version}")
            lines += [f"  {field}: {mine} / {theirs}" for field, (mine, theirs) in rows.items()] or ["  no difference"]
        return Answer(data, lines)

    def rolled_back(self, job: str, version: str | None) -> Answer:
        """Go back to the previous version, or to `version`."""
        data: list[dict[str, Any]] = []
        lines: list[str] = []
        for name in self._jobs([job]):
            before = _version_of(self._store, name)
            manifest = self._store.rollback(name, version)
            data.append({"job": name, "version": manifest.version, "before": before})
            lines.append(
                f"{name}: {manifest.version} is active instead of {before or 'an unreadable pointer'}; "
                "exporters load it at their next cycle"
            )
        return Answer(data, lines)

    def verified(self, jobs: Sequence[str] | None) -> Answer:
        """Check all versions of jobs."""
        wrong = {job: self._store.verify(job) for job in self._jobs(jobs)}
        lines = [f"{job}, {what}: {why}" for job, found in wrong.items() for what, why in found.items()]
        good = [f"{job}: all models are valid" for job, found in wrong.items() if not found]
        return Answer(wrong, [*lines, *good], code=int(bool(lines)))

    def pruned(self, jobs: Sequence[str] | None, keep: int) -> Answer:
        """Remove old versions of jobs."""
        gone = {job: self._store.prune(job, keep) for job in self._jobs(jobs)}
        lines = [f"{job}: removed {', '.join(versions)}" if versions else f"{job}: nothing to remove"
                 for job, versions in gone.items()]  # fmt: skip
        return Answer({job: list(versions) for job, versions in gone.items()}, lines)

    def _jobs(self, asked: Sequence[str] | None) -> Iterable[str]:
        stored = self._store.jobs()
        if asked is None:
            return sorted({*stored, *(job for job in self._configured if not _shards(job, stored))})
        found: dict[str, None] = {}
        for job in asked:
            names = [name for name in stored if name == job] or _shards(job, stored)
            if not names and job not in self._configured:
                raise StoreError(f"job {job}: neither configured nor stored; stored are {', '.join(stored) or 'none'}")
            found |= dict.fromkeys(names or [job])
        return found

    @staticmethod
    def _one(job: str, versions: Sequence[ModelVersion], version: str | None, which: str) -> ModelVersion:
        if version is None:
            found = [each for each in versions if each.in_service or which == "other"]
        else:
            found = [each for each in versions if each.version == version]
        if not found:
            there = ", ".join(each.version for each in versions) or "none"
            missing = f"no {which} model" if version is None else f"no model {version}"
            raise StoreError(f"job {job}: {missing}; stored are {there}")
        return found[0]


def _shards(job: str, stored: Iterable[str]) -> list[str]:
    return [name for name in stored if name.startswith(f"{job}@")]


def _version_of(store: Store, job: str) -> str:
    try:
        pointer = store.current(job)
    except StoreError:
        return ""
    return pointer.version if pointer else ""


def _data(job: str, stored: ModelVersion) -> dict[str, Any]:
    manifest: Manifest | None = stored.manifest
    fields = {name: getattr(manifest, name) for name in Manifest.__slots__} if manifest else {}
    outcome = stored.outcome
    gate = {name: getattr(outcome, name) for name in ("passed", "reason", "figures", "judged_at")} if outcome else None
    return {
        **fields,
        "job": job,
        "version": stored.version,
        "in_service": stored.in_service,
        "refused": stored.refused or None,
        "gate": gate,
    }
