"""A progress bar on a terminal, nothing anywhere else."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Bar:
    """Context manager that shows on standard error how many of `total` are done; not `shown` where another one is."""

    def __init__(self, total: int, doing: str = "judging", shown: bool = True) -> None:
        console = Console(stderr=True)
        text = TextColumn("{task.description}", markup=False)
        columns = (text, BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(
            *columns, console=console, transient=True, disable=not (shown and console.is_terminal)
        )
        self._task = self._progress.add_task(doing, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def add(self, units: int, times: int = 1) -> None:
        """Count `units` more as done, so many `times`."""
        self._progress.advance(self._task, units * times)

    def describe(self, doing: str) -> None:
        """Show that something else is being done now."""
        self._progress.update(self._task, description=doing)
