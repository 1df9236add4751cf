"""The YAML of a job that is tried, and what `check-config` says to it."""

from typing import Any, Final

import yaml

from exporter.config.compare import compare, keys_of
from exporter.config.defaults import with_defaults
from exporter.config.errors import ConfigError, Mistake
from exporter.config.load import notes
from exporter.config.nodes import Node, Origin, node_of
from exporter.config.read_file import parse
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.config.validation import validate
from exporter.promql import format_duration
from exporter.web.ui.bench import Question, Refused

SOURCE: Final = "the new job"
"""What the text is called in messages, as a file would be."""
_KEPT: Final = {"prometheus", "limits", "defaults", "jobs", "models", "alerting", "drift_detection"}
"""Sections of the running configuration that a job has to agree with."""
_ASKED: Final = frozenset({"expr", "channels", "step", "direction", "least_deviation", "budget"})
"""What the question itself says."""
_ORIGIN: Final = Origin("the running configuration")


def text_of(question: Question, running: Config | None = None) -> str:
    """Return a job as it is written in a configuration file: what differs from the defaults.

    What is not asked for is as in the job of the running configuration that the question names. Raises Refused where
    there is none.
    """
    choice, kept = question.choice, _kept(question.job, running)
    job: dict[str, Any] = {"channels": dict(question.channels)} if question.channels else {"expr": question.expr}
    if question.step != 60.0:
        job["step"] = format_duration(question.step)
    if choice.direction != "both":
        job["direction"] = choice.direction
    if choice.least_deviation:
        job["least_deviation"] = choice.least_deviation
    job["budget"] = f"{choice.budget:g} per week"
    job |= {name: value for name, value in kept.items() if name not in _ASKED}
    return yaml.safe_dump({"jobs": {question.name: job}}, sort_keys=False, allow_unicode=True, width=10_000)


def _kept(job: str, running: Config | None) -> dict[str, Any]:
    """Return the settings of a job of the running configuration."""
    if not job:
        return {}
    if running is None or job not in running.jobs:
        raise Refused(f"There is no job {job!r} in the configuration now; reload the page.")
    known: dict[str, Any] = running.jobs[job].model_dump(
        mode="json", by_alias=True, exclude_unset=True, exclude_defaults=True
    )
    return known


def checked(text: str, running: Config) -> tuple[JobConfig, str]:
    """Return the job of `text` as the running configuration would have it, and what `check-config` says.

    The text is checked by the code that loads configuration files, together with the jobs that run. Raises ConfigError.
    """
    root, mistakes = parse(text, SOURCE)
    if mistakes:
        raise ConfigError(*mistakes)
    if root is None or not isinstance(root.value, dict) or "jobs" not in root.value:
        raise ConfigError(Mistake(SOURCE, None, (), "there is no job in it"))
    new = root.value["jobs"].value
    assert isinstance(new, dict)
    (name,) = new
    dumped = running.model_dump(mode="json", by_alias=True, exclude_unset=True, include=_KEPT)
    for job in dumped.get("jobs", {}).values():
        job.pop("alert", None)  # of a job that runs it is good; a declared one may have receivers nobody names here
    running_jobs = node_of(dumped, _ORIGIN)
    assert isinstance(running_jobs.value, dict)
    jobs = running_jobs.value["jobs"].value
    assert isinstance(jobs, dict)
    whole = Node({**running_jobs.value, "jobs": Node({**jobs, **new}, _ORIGIN)}, _ORIGIN)
    config = validate(with_defaults(whole), Config)
    told = next(line for line in compare(keys_of(running), keys_of(config)) if line.startswith(f"{name}: "))
    lines = ["good", f"a reload with it: {told}", *(f"note: {note}" for note in notes(config))]
    return config.jobs[name], "\n".join(lines)


def only(running: Config, name: str) -> Config:
    """Return a configuration without its other jobs: what a job is checked against again when it has changed a little.

    Of 500 jobs that takes half a second, and the others have nothing to do with direction, least deviation and budget.
    """
    return running.model_copy(update={"jobs": {each: job for each, job in running.jobs.items() if each == name}})
