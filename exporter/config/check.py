"""`anomaly-exporter check-config`: whether a configuration is good, and what will be done with it."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel

from exporter.config.compare import compare, keys_of
from exporter.config.digest import JobKeys, job_digests
from exporter.config.errors import MOST, dotted
from exporter.config.load import ConfigError, Loaded, load
from exporter.config.nodes import Place
from exporter.config.secrets import Secret, SecretUnavailable
from exporter.config.sections.root import Config
from exporter.config.split_choice import AUTO, split_choice
from exporter.promql import format_duration
from exporter.redact import printable

__all__ = ["check"]


def check(
    path: Path,
    profile: str | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
    running: Callable[[], Mapping[str, JobKeys]] | None = None,
) -> int:
    """Write a summary to `out` and return 0, or every mistake to `err` and return 2.

    Parameters
    ----------
    path, profile, environ
        As for `load`.
    out, err : text file, optional
        Default: standard output and standard error.
    running : callable, optional
        Returns the jobs to say what a reload would cost them, by name. What it raises passes through.
    """
    out, err = out or sys.stdout, err or sys.stderr
    try:
        loaded = load(path, profile, environ)
    except ConfigError as error:
        found = len(error.mistakes)
        print(
            error,
            f"{path}: {_count(found, 'mistake') if found <= MOST else f'more than {MOST} mistakes'}",
            sep="\n",
            file=err,
        )
        return 2
    print(*_summary(loaded), sep="\n", file=out)
    if running is not None:
        lines = list(compare(running(), keys_of(loaded.config)))
        print("a reload from there to here:", *(f"  {line}" for line in lines), sep="\n", file=out)
    return 0


def as_data(path: Path, profile: str | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return for programs what `check` says to people: `good`, and the jobs with what to know, or the mistakes."""
    try:
        loaded = load(path, profile, environ)
    except ConfigError as error:
        mistakes = [
            {"file": each.file, "line": each.line, "key": dotted(each.place), "message": printable(each.message)}
            for each in error.mistakes
        ]
        return {"good": False, "mistakes": mistakes}
    config = loaded.config
    jobs = {
        name: {
            "detector": job.detector_name,
            "step": job.step,
            "window": job.window,
            "queries": dict(job.queries),
            "digest": job_digests(job, config).combined,
        }
        for name, job in config.jobs.items()
    }
    return {
        "good": True,
        "files": [str(file) for file in loaded.files],
        "digest": loaded.digest,
        "jobs": jobs,
        "notes": list(loaded.notes),
        "warnings": list(_unreadable(config)),
    }


def _summary(loaded: Loaded) -> Iterator[str]:
    config = loaded.config
    queries = sum(len(job.queries) for job in config.jobs.values())
    files = " + ".join(str(file) for file in loaded.files)
    yield f"{files}: good; {_count(len(config.jobs), 'job')}, {_count(queries, 'query')}, digest {loaded.digest}"
    for name, job in config.jobs.items():
        every, window = format_duration(job.step), format_duration(job.window)
        beside = "" if job.peers is None else f", peers by {', '.join(job.peers) or 'nothing: all of the job'}"
        digest = job_digests(job, config).combined
        yield f"  {name}: {job.detector_name}, every {every} on {window}{beside}, digest {digest}"
        for channel, expr in job.queries.items():
            yield f"    {channel}: {' '.join(expr.split())}"
        if config.train.shards > 1 or job.shard_by != AUTO:
            choice = split_choice(job)
            how = "each reads all and keeps its share" if choice.label is None else f"split by {choice.label}"
            yield f"    replicas: {how} ({choice.why})"
    if config.jobs:
        yield chance_alerts([job.budget for job in config.jobs.values()])
    if config.discover is not None:
        yield f"declared jobs: at most {config.discover.budget:.3g} alerts per week by chance in each namespace"
    for note in loaded.notes:
        yield f"note: {note}"
    for warning in _unreadable(config):
        yield f"warning: {warning}"


def _unreadable(config: Config) -> Iterator[str]:
    for place, secret in secrets(config, ()):
        try:
            secret.read()
        except SecretUnavailable as error:
            yield f"{dotted(place)}: {error}"


def chance_alerts(budgets: Sequence[float]) -> str:
    """Say how many alerts a week come by chance, of jobs with these budgets."""
    least, most = f"{min(budgets):.2g}", f"{max(budgets):.2g}"
    each = f"{most} of each" if least == most else f"{least} to {most} of each"
    return f"alerts by chance: at most {sum(budgets):.3g} per week of all jobs together, {each}; budget sets it"


def _count(number: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number} {noun if number == 1 else plural}"


def secrets(value: object, place: Place) -> Iterator[tuple[Place, Secret]]:
    """Yield every reference to a secret within a part of the configuration, with its place."""
    if isinstance(value, Secret):
        yield place, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets(getattr(value, name), (*place, name))
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from secrets(child, (*place, key))
