"""Loading the configuration: base file, profile file, environment; then everything is checked at once."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exporter.config.defaults import where_written, with_defaults
from exporter.config.digest import config_digest
from exporter.config.environment import with_environment
from exporter.config.errors import ConfigError, Mistake, in_order
from exporter.config.known_keys import known_keys
from exporter.config.legacy import FlatConfig, is_flat, refuse_mixture, to_config
from exporter.config.nodes import Node, overlay
from exporter.config.read_file import read
from exporter.config.section_base import Section
from exporter.config.sections.job import drift_settings
from exporter.config.sections.root import Config
from exporter.config.validation import validate
from exporter.config.watch import contents
from exporter.config.web_file import with_web_file

__all__ = ["ConfigError", "Loaded", "Mistake", "load"]

PROFILE_VARIABLE = "ANOMALY_EXPORTER_PROFILE"
_CHANGED: Final = "changed while it was read"
"""Content that no files have."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that was found good.

    Parameters
    ----------
    config : Config
        The effective configuration.
    files : tuple of Path
        The files it was read from, base first; the last one is `web.config_file` where there is one.
    digest : str
        12 hexadecimal digits of the effective configuration; secrets do not go in.
    notes : tuple of str
        Warnings about settings without effect.
    content : str or None
        `watch.contents` of the files from just before they were read.
    """

    config: Config
    files: tuple[Path, ...]
    digest: str
    notes: tuple[str, ...]
    content: str | None = None


def load(path: Path, profile: str | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Load a configuration.

    Parameters
    ----------
    path : Path
        The base file, YAML or JSON.
    profile : str, optional
        `dev` lays `anomaly.dev.yml` over `anomaly.yml`. Default: the environment variable ANOMALY_EXPORTER_PROFILE.
    environ : mapping of str to str
        The environment.

    Raises
    ------
    ConfigError
        With every mistake found, in the order of files and lines.
    """
    profile = profile or environ.get(PROFILE_VARIABLE) or None
    files = (path,) if profile is None else (path, _beside(path, profile))
    content = contents(files)
    mistakes: list[Mistake] = []
    trees: list[Node] = []
    for file in files:
        try:
            tree, found = read(file) if file is path else _read_profile(file, path)
        except ConfigError as error:
            mistakes += error.mistakes
        else:
            trees.append(tree)
            mistakes += found
    if len(trees) < len(files):
        raise ConfigError(*in_order(mistakes, files))
    flat = is_flat(trees[0])
    model: type[Section] = FlatConfig if flat else Config
    tree = trees[0]
    for over in trees[1:]:
        tree = overlay(tree, over, lambda place: known_keys(model, place))
    tree, found = with_environment(tree, model, environ)
    mistakes += found
    tree, found = refuse_mixture(tree, flat)
    mistakes += found
    whole = with_defaults(tree)
    try:
        checked = validate(whole, model)
    except ConfigError as error:
        mistakes += where_written(error.mistakes, whole, tree)
    if mistakes:
        raise ConfigError(*in_order(mistakes, files))
    config = to_config(checked) if isinstance(checked, FlatConfig) else checked
    assert isinstance(config, Config)
    said: tuple[str, ...] = ()
    if config.web.config_file is not None:
        watched = (*files, config.web.config_file)
        before = contents(watched)
        content = before if contents(files) == content else _CHANGED
        web, said = with_web_file(config.web, config.web.config_file)
        config, files = config.model_copy(update={"web": web}), watched
    return Loaded(config, files, config_digest(config), (*notes(config), *said), content)


def _beside(path: Path, profile: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", profile):
        message = f"{profile!r} is not a profile name: letters, digits, _ and - only"
        raise ConfigError(Mistake(str(path), None, (), message))
    return path.with_name(f"{path.stem}.{profile}{path.suffix}")


def _read_profile(file: Path, base: Path) -> tuple[Node, list[Mistake]]:
    if not file.exists():
        others = {other.name for other in base.parent.glob(f"*{base.suffix}") if other.name.startswith(f"{base.stem}.")}
        siblings = ", ".join(sorted(others - {base.name})) or "none"
        message = f"there is no such file, but the profile asks for it; profile files next to {base.name}: {siblings}"
        raise ConfigError(Mistake(str(file), None, (), message))
    return read(file)


def notes(config: Config) -> tuple[str, ...]:
    """Return one sentence for each."""
    found = []
    if config.alerting.receivers and config.notify.names and not config.notify.beside_alertmanager:
        found.append(
            "notify has no effect when alerting.receivers is set: Alertmanager notifies them; "
            "notify.beside_alertmanager lets both notify"
        )
    watched = any(drift_settings(job.drift_detection, config.drift_detection) for job in config.jobs.values())
    if watched and not (config.models or config.state):
        found.append("drift_detection: drift is only counted and logged; with models or state it also asks to retrain")
    return tuple(found)
