"""Names of jobs and versions in a model store."""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime

_PLAIN_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,79}")
_VERSION = re.compile(r"(\d{6,})-(\d{8}T\d{6})Z")


def folder_name(job: str) -> str:
    """Return a folder name for a job: its own name where that is plain, else a likeness and a digest, never shared."""
    if _PLAIN_NAME.fullmatch(job):
        return job
    likeness = re.sub(r"[^a-z0-9_-]+", "-", job.lower())[:40].strip("-")
    return f"{likeness or 'job'}~{hashlib.sha256(job.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def version_name(generation: int, at: float) -> str:
    """Return the name of the version saved at `at` (Unix seconds): names sort as they were saved."""
    return f"{generation:06d}-{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"


def is_version(name: str) -> bool:
    """Tell whether `name` is one that `version_name` gives."""
    return _VERSION.fullmatch(name) is not None


def newest_first(names: Iterable[str]) -> list[str]:
    """Return the versions among `names`, the newest first."""
    return sorted(filter(is_version, names), key=lambda name: (generation_of(name), name), reverse=True)


def generation_of(version: str) -> int:
    """Return the generation in a version's name."""
    return int(version.partition("-")[0])


def saved_at(version: str) -> float:
    """Return when a version was begun to be saved, Unix seconds."""
    text = version.partition("-")[2].removesuffix("Z")
    return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()
