"""A progress bar on a terminal, nothing anywhere else."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TimeRemainingColumn


class Bar:
    """Context manager that shows how many of `total` points are judged, on standard error."""

    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        columns = (BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress("judging", *columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("judging", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def add(self, entities: int, samples: int) -> None:
        """Count `samples` more of each of `entities` as judged."""
        self._progress.advance(self._task, entities * samples)
