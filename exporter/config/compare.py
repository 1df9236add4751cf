"""What a new configuration costs the jobs of a running one: a fresh start, other decisions, or nothing."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from exporter.config.digest import JobKeys, job_keys
from exporter.config.sections.root import Config

_JOBS: Final = TypeAdapter(dict[str, JobKeys])


def keys_of(config: Config) -> dict[str, JobKeys]:
    """Return the digests of every job's keys, by the name of the job."""
    return {name: job_keys(job, config) for name, job in config.jobs.items()}


def encode_jobs(jobs: Mapping[str, JobKeys]) -> dict[str, Any]:
    """Return the digests of `jobs` as `GET /api/v1/config` answers them: of every job and of every key, no value."""
    return {
        name: {
            part: {"digest": digest, "keys": keys}
            for part, digest, keys in zip(JobKeys._fields, job.digests, job, strict=True)
        }
        for name, job in jobs.items()
    }


def decode_jobs(answer: Any) -> dict[str, JobKeys]:
    """Return what `encode_jobs` was given. Raises ValueError."""
    try:
        return _JOBS.validate_python(
            {name: {part: job[part]["keys"] for part in JobKeys._fields} for name, job in answer.items()}
        )
    except (AttributeError, KeyError, TypeError, ValidationError):
        raise ValueError("these are not the digests of jobs") from None


def compare(running: Mapping[str, JobKeys], new: Mapping[str, JobKeys]) -> Iterator[str]:
    """Yield a line for every job of either: what a reload with the new configuration would do to it."""
    for name, job in new.items():
        if name not in running:
            yield f"{name}: is added"
            continue
        learning, deciding = (
            sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
            for before, after in zip(running[name], job, strict=True)
        )
        if learning:
            also = f"; other decisions: {', '.join(deciding)}" if deciding else ""
            yield f"{name}: FRESH START, its history and open incidents are lost: {', '.join(learning)}{also}"
        elif deciding:
            yield f"{name}: other decisions, it keeps what it has learnt: {', '.join(deciding)}"
        else:
            yield f"{name}: unchanged"
    yield from (f"{name}: is removed" for name in running if name not in new)
