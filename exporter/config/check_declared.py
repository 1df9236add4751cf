"""`anomaly-exporter check-config --declared`: whether what a team declares would come into force."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import yaml

from exporter.config.declared import Declared, declared
from exporter.config.declared_objects import CONFIG_MAP, RULE, Declaration, declaration
from exporter.config.errors import ConfigError, Mistake
from exporter.config.load import load
from exporter.config.sections.discover import JOBS, DiscoverConfig
from exporter.config.sections.root import Config
from exporter.promql import format_duration
from exporter.redact import printable

_LARGEST: Final = 16 * 2**20
_NAMESPACE: Final = "default"
"""Where an object is applied that names no namespace, and nobody says another one."""


def found_in(
    file: Path, namespace: str | None, config: Path | None, profile: str | None, environ: Mapping[str, str] = os.environ
) -> Declared:
    """Return what the objects of a file declare.

    Parameters
    ----------
    file : Path
        Manifests as for kubectl: ConfigMaps and PrometheusRules, other kinds are left out.
    namespace : str or None
        That of objects which name none.
    config : Path or None
        The configuration of the exporter, with its limits and defaults; None: where nobody has changed any.
    profile, environ
        As for `load`.

    Raises
    ------
    ConfigError
        The file declares nothing, or the configuration is wrong.
    """
    if config is None:
        settings = Config(discover=DiscoverConfig(rules=True, anomaly_names=True))
    else:
        settings = load(config, profile, environ).config
        if settings.discover is None:
            raise ConfigError(Mistake(str(config), None, ("discover",), "is missing: no object is read"))
    assert settings.discover is not None
    found = list(_declarations(file, namespace or _NAMESPACE, settings.discover))
    if not found:
        raise ConfigError(Mistake(str(file), None, (), _none(settings.discover)))
    return declared(found, settings)


def check(found: Declared, file: Path, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Write the jobs to `out` and what is refused to `err`; return 0 where nothing is refused, else 2."""
    out, err = out or sys.stdout, err or sys.stderr
    jobs = len(found.jobs)
    if not found.refused:
        print(f"{file}: good; {jobs} {'job' if jobs == 1 else 'jobs'}", file=out)
    for name, job in found.jobs.items():
        print(
            f"  {name}: {job.detector_name}, every {format_duration(job.step)}, {job.budget:.3g} alerts per week by "
            "chance",
            file=out,
        )
        for channel, expr in job.queries.items():
            print(f"    {channel}: {' '.join(expr.split())}", file=out)
    for each in found.refused:
        where = f"{each.declaration.path}: {each.job}: " if each.job else f"{each.declaration.path}: "
        print(printable(f"{where}{each.text}"), file=err)
    if found.refused:
        print(f"{file}: {len(found.refused)} refused; the other jobs come into force", file=err)
    return 2 if found.refused else 0


def as_data(found: Declared) -> dict[str, Any]:
    """Return for programs what `check` says to people."""
    return {
        "good": not found.refused,
        "jobs": {
            name: {"detector": job.detector_name, "step": job.step, "queries": dict(job.queries), "budget": job.budget}
            for name, job in found.jobs.items()
        },
        "refused": [
            {"object": each.declaration.path, "job": each.job, "message": printable(each.text)}
            for each in found.refused
        ],
    }


def _declarations(file: Path, namespace: str, discover: DiscoverConfig) -> Iterator[Declaration]:
    for made in _objects(file):
        if made.get("kind") not in {CONFIG_MAP, RULE}:
            continue
        metadata = made.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name"):
            raise ConfigError(Mistake(str(file), None, ("metadata", "name"), "is missing in one of the objects"))
        if made["kind"] == CONFIG_MAP and not _chosen(metadata.get("labels") or {}, discover.config_maps):
            continue
        read = declaration({**made, "metadata": {"namespace": namespace, **metadata}}, discover)
        if read is not None:
            yield read


def _chosen(labels: Mapping[str, Any], selector: str | None) -> bool:
    """Tell whether the selector chooses a ConfigMap. What is not just equality is left to Kubernetes."""
    if selector is None:
        return False
    for each in selector.split(","):
        name, equal, value = (part.strip() for part in each.replace("==", "=").partition("="))
        if equal and not name.endswith("!") and " " not in name and str(labels.get(name)) != value:
            return False
    return True


def _objects(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ConfigError(Mistake(str(file), None, (), "is larger than 16 MiB; is it really a manifest?"))
        made: Sequence[Any] = list(yaml.safe_load_all(data))
    except OSError as error:
        raise ConfigError(Mistake(str(file), None, (), f"cannot be read: {error.strerror}")) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        raise ConfigError(
            Mistake(str(file), line, (), "not valid YAML; does kubectl apply --dry-run take it?")
        ) from None
    for each in made:
        if isinstance(each, dict):
            items = each.get("items")
            yield from (one for one in items if isinstance(one, dict)) if isinstance(items, list) else (each,)


def _none(discover: DiscoverConfig) -> str:
    ways = []
    if discover.config_maps is not None:
        ways.append(f"a ConfigMap with the label {discover.config_maps}")
    if discover.rules:
        ways.append(f"a PrometheusRule with the annotation {JOBS}")
    if discover.anomaly_names:
        ways.append("a recording rule with the label anomaly_name")
    return f"declares no jobs: there must be {' or '.join(ways)}"
