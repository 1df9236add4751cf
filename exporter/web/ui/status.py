"""The exporter itself: versions, configuration in force, how the cycles go."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import yaml

from exporter import __version__
from exporter.config.secrets import SENSITIVE
from exporter.context.deploy_book import Standing
from exporter.json_values import utc
from exporter.redact import MASK, masked
from exporter.web.ui.facts import Running
from exporter.web.ui.now import jobs_answer
from exporter.web.ui.status_answers import DeployQuestions, Status

_PACKAGES: Final = ("numpy", "scipy", "scikit-learn", "starlette", "uvicorn", "prometheus-client")


def status_answer(running: Running, now: float) -> Status:
    """Return the state of the exporter at `now` (Unix seconds)."""
    facts = running.facts()
    return Status(
        at=utc(now),
        started=utc(facts.started),
        loaded=utc(facts.loaded),
        refused=masked(facts.refused),
        digest=facts.digest,
        versions={
            "anomaly-exporter": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        jobs=jobs_answer(running, now).jobs,
        deploys=_deploys(facts.deploys),
        config=configuration(facts.config.model_dump(mode="json", exclude_defaults=True)),
    )


def _deploys(standing: Standing) -> DeployQuestions:
    return DeployQuestions(
        found=None if standing.has is None else list(standing.has),
        trouble=[f"{name or 'expr'}: {text}" for name, text in standing.trouble.items()],
        queries=standing.queries,
        failures=standing.failures,
        seconds=round(standing.seconds, 3),
        cut=standing.cut,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def configuration(config: dict[str, Any]) -> str:
    """Write a configuration as YAML without its secrets: only what differs from the defaults."""
    return masked(yaml.safe_dump(_without_secrets(config), sort_keys=False, allow_unicode=True, width=110))


def _without_secrets(value: Any, name: str = "") -> Any:
    """Return `value` with everything masked whose name says that it is secret; a reference to a secret is none."""
    if isinstance(value, dict):
        if value.keys() in ({"env"}, {"file"}, {"env", "file"}):
            return {key: each for key, each in value.items() if each is not None}
        return {key: _without_secrets(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_secrets(each, name) for each in value]
    return MASK if isinstance(value, str) and SENSITIVE.search(name) else value
