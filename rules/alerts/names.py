"""Stable names of alerts, files and Kubernetes objects."""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

STORM: Final = "AnomalyStorm"
VANISHED: Final = "AnomalySeriesVanished"
LIMIT: Final = "AnomalyLimitNear"
STALE: Final = "AnomalyScoresStale"
DOWN: Final = "AnomalyExporterDown"
TARGET_DOWN: Final = "AnomalyTargetDown"
FAILING: Final = "AnomalyCycleFailing"
LIMITED: Final = "AnomalyQueryLimited"
EMPTY: Final = "AnomalyJobEmpty"
OLD_MODEL: Final = "AnomalyModelTooOld"
NOT_TAKEN: Final = "AnomalyModelNotTaken"
TRAINING: Final = "AnomalyTrainingFailed"
COVERAGE: Final = "AnomalyBandCoverageLow"
DRIFT: Final = "AnomalyDrift"
DECLARED: Final = "AnomalyInDeclaredJob"
DECLARED_VANISHED: Final = "AnomalyDeclaredSeriesVanished"
REFUSED: Final = "AnomalyDeclarationRefused"
UNDISCOVERED: Final = "AnomalyDiscoveryLost"
RELOAD: Final = "AnomalyConfigReloadFailed"
WRITING: Final = "AnomalyRemoteWriteFailing"
WATCHDOG: Final = "Watchdog"
RESERVED: Final = frozenset(
    {
        STORM,
        VANISHED,
        LIMIT,
        STALE,
        DOWN,
        TARGET_DOWN,
        FAILING,
        LIMITED,
        EMPTY,
        OLD_MODEL,
        NOT_TAKEN,
        TRAINING,
        COVERAGE,
        DRIFT,
        RELOAD,
        WRITING,
        DECLARED,
        DECLARED_VANISHED,
        REFUSED,
        UNDISCOVERED,
    }
)

_USUAL: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")
_SLUG: Final = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")
_LONGEST: Final = 60


def alert_names(jobs: Iterable[str]) -> dict[str, str]:
    """Return the name of each job's alert, such as `AnomalyNodeCpu` for `node-cpu`; no two are equal.

    If jobs differ only in punctuation, `a-b` keeps the plain name and the others get a digest of their name. The order
    in the file does not matter.
    """
    wanted = {job: _alert_name(job) for job in jobs}
    alike: dict[str, list[str]] = {}
    for job, name in wanted.items():
        alike.setdefault(name, []).append(job)
    return {
        job: name if _is_plain(job, alike[name]) and name not in RESERVED else f"{name}_{_digest(job)}"
        for job, name in wanted.items()
    }


def slug(job: str) -> str:
    """Return a name of a file and a Kubernetes object for a job: lower-case letters, digits, `-` and `.`."""
    if len(job) <= _LONGEST and _SLUG.fullmatch(job):
        return job
    words = "-".join(re.findall(r"[a-z0-9]+", job.lower()))[:_LONGEST].strip("-")
    return f"{words}-{_digest(job)}".lstrip("-")


def _is_plain(job: str, alike: list[str]) -> bool:
    usual = [name for name in alike if _USUAL.fullmatch(name)]
    return alike == [job] or usual == [job]


def _alert_name(job: str) -> str:
    return "Anomaly" + "".join(word[0].upper() + word[1:] for word in re.findall(r"[^\W_]+", job))


def _digest(job: str) -> str:
    return hashlib.sha256(job.encode("utf-8", "surrogatepass")).hexdigest()[:8]
