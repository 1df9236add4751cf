"""What a sink is: something that takes verdicts. One kind needs every verdict, the other shows the newest.

A new sink is one file here and one line in `registry.SINKS`. Sinks are the same as long as the exporter runs: one that
the configuration does not ask for does nothing.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.pipeline.verdict import Verdict


class SinkError(Exception):
    """A sink cannot work as it is configured. The message says what to change."""


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """Another configuration of a sink, ready to be used. One of the two functions is called once.

    Parameters
    ----------
    commit : callable
        Puts the new configuration into use. All that can fail was done before.
    discard : callable
        Closes what was prepared; the sink goes on as before.
    """

    commit: Callable[[], None] = _nothing
    discard: Callable[[], None] = _nothing


class Sink(Protocol):
    """What both kinds have in common."""

    def prepare(self, config: Config) -> Change:
        """Prepare another configuration without using it. Raises SinkError, and then nothing is left open."""
        del config
        return Change()

    def start(self) -> None:
        """Start what runs next to the cycles; called once, after the first configuration is in use."""
        return

    def close(self, timeout: float) -> None:
        """Finish what is pending, within `timeout` seconds. No verdict comes after it."""
        del timeout


@runtime_checkable
class EveryVerdict(Sink, Protocol):
    """A sink that needs every verdict, also those of samples that were backfilled after an outage."""

    @abstractmethod
    def record(self, verdict: Verdict) -> None:
        """Take one verdict; the verdicts of a job come in the order of their samples. Never waits."""


@runtime_checkable
class NewestVerdict(Sink, Protocol):
    """A sink that shows how each job stands: it gets the newest verdict of a cycle."""

    @abstractmethod
    def show(self, verdict: Verdict, config: JobConfig) -> None:
        """Show a verdict in place of the job's verdict before; `config` is how its job is configured now."""

    def show_again(self, verdict: Verdict, config: JobConfig) -> None:
        """Show the verdict from before a restart, in which nothing is new, until there is a newer one."""
        self.show(verdict, config)

    def show_first(self, verdict: Verdict, config: JobConfig) -> None:
        """Show the verdict of a first look at a job that is still replaying its history. By default not at all.

        What its history makes of it comes later: incidents may begin earlier then, or be none.
        """
        del verdict, config

    def warm(self, job: str, detector: str, entities: int) -> None:
        """Note that a job without a verdict yet is replaying its history, for so many entities."""
        del job, detector, entities

    @abstractmethod
    def withdraw(self, job: str) -> None:
        """Show nothing of a job any more: its verdict is too old, or the job is gone."""

    def flush(self) -> None:
        """Note that a verdict was shown, or that a cycle has ended, whatever came of it: what is shown is complete."""
        return
