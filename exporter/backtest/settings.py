"""The settings of a backtest: a job of a configuration or the defaults, and what the command line changes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from exporter.config.errors import ConfigError, Mistake
from exporter.config.load import load
from exporter.config.nodes import Node, Origin, node_of
from exporter.config.read_file import parse
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.config.validation import validate
from exporter.config.yaml_nodes import scalar
from exporter.errors import InputError

DEFAULT_NAME: Final = "backtest"
_WINDOW: Final = 60
"""Samples in the window when neither a configuration nor the command line sets it."""
_OF_THE_SOURCE: Final = ("expr", "channels", "entity", "group", "rate", "lag", "max_series")


class Settings:
    """Makes the job's settings for a step; the same mistakes and messages as in a configuration file.

    Parameters
    ----------
    name : str
        Name of the job.
    base : JobConfig or None
        The configured job; None: defaults, with a window of 60 samples.
    changes : sequence of str
        `key=value`, the value as in YAML.
    detector : str or None
        Name or YAML.

    Raises
    ------
    ConfigError, InputError
    """

    def __init__(self, name: str, base: JobConfig | None, changes: Sequence[str], detector: str | None) -> None:
        self.name, self._base = name, base
        self._changes: dict[str, Node] = {}
        for change in changes:
            key, equals, value = change.partition("=")
            if not equals or not key.strip():
                raise InputError(f"--set {change}: write KEY=VALUE, for example --set open_after=2")
            self._changes[key.strip()] = _node(value, f"--set {key.strip()}")
        if detector is not None:
            self._changes["detector"] = _node(detector, "--detector")

    @property
    def step(self) -> float | None:
        """The step that the command line sets, in seconds."""
        return None if "step" not in self._changes else self.job(None).step

    def job(self, step: float | None, files: bool = True) -> JobConfig:
        """Return the settings at `step` (None: what is set); of a job on `files` without what is the source's."""
        origin = Origin(f"job {self.name}")
        tree: dict[str, Node] = {}
        if self._base is not None:
            dumped = self._base.model_dump(mode="json", by_alias=True, exclude_unset=True)
            tree = {key: node_of(value, origin) for key, value in dumped.items()}
        if files:
            tree = {key: node for key, node in tree.items() if key not in _OF_THE_SOURCE}
            tree["expr"] = Node("value", origin)
        tree |= self._changes
        if step is not None:
            tree["step"] = Node(step, origin)
            if "window" not in tree and self._base is None:
                tree["window"] = Node(_WINDOW * step, origin)
        root = Node({"jobs": Node({self.name: Node(dict(tree), origin)}, origin)}, origin)
        return validate(root, Config).jobs[self.name]


def configured(path: Path, profile: str | None, wanted: Sequence[str]) -> tuple[Config, list[str]]:
    """Return a configuration and its jobs `wanted`, all of them if that is empty. Raises ConfigError, InputError."""
    config = load(path, profile).config
    for name in wanted:
        if name not in config.jobs:
            raise InputError(f"--job {name}: {path} has no such job, only {', '.join(config.jobs) or 'declared ones'}")
    if not config.jobs:
        raise InputError(f"{path}: has no jobs of its own; those that teams declare are known to the running exporter")
    return config, list(dict.fromkeys(wanted)) or list(config.jobs)


def share(job: JobConfig, part: int, whole: int) -> JobConfig:
    """Return settings with the budget of `part` entities out of `whole`, as replicas share it out."""
    return job.model_copy(update={"budget": job.budget * part / whole})


def _node(text: str, source: str) -> Node:
    text = text.strip()
    if not text.startswith(("[", "{", '"', "'")) and ": " not in text:
        return Node(scalar(text), Origin(source))
    try:
        root, mistakes = parse(text, source)
    except ConfigError as error:
        raise ConfigError(*(Mistake(source, None, (), each.message) for each in error.mistakes)) from None
    if mistakes:
        raise ConfigError(*mistakes)
    return node_of(None, Origin(source)) if root is None else root
