"""Output of the demo: a live table on a terminal, plain lines elsewhere."""

import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.demo.story import Reading

PLAIN_EVERY: Final = 10.0
"""Seconds between status lines without a terminal."""


class Screen:
    """Shows readings and events; a context manager.

    Parameters
    ----------
    console : Console
    headline : str
        First line of the live view.
    """

    def __init__(self, console: Console, headline: str) -> None:
        self._console, self._headline = console, headline
        self._events: list[Text] = []
        self._addresses: Mapping[str, str] = {}
        self._readings: Sequence[Reading] = ()
        self._next_plain = 0.0
        self._live = (
            Live(console=console, get_renderable=self._view, refresh_per_second=4) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        else:
            self._console.print(Text(self._headline))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """Show an event."""
        line = Text.assemble((time.strftime("%H:%M:%S "), "dim"), (text, style))
        self._events.append(line)
        if not self._live:
            self._console.print(line, soft_wrap=True)

    def open_at(self, addresses: Mapping[str, str]) -> None:
        """Show addresses to open in a browser."""
        self._addresses = addresses
        if not self._live:
            self._console.print(self._links(), soft_wrap=True)

    def show(self, readings: Sequence[Reading]) -> None:
        """Show the newest readings."""
        self._readings = readings
        now = time.monotonic()
        if not self._live and now >= self._next_plain:
            self._next_plain = now + PLAIN_EVERY
            for reading in readings:
                if reading.broken:
                    self._console.print(Text("         " + in_words(reading)), soft_wrap=True)

    def _links(self) -> Text:
        width = max(map(len, self._addresses), default=0)
        return Text("\n").join(
            Text.assemble((f"  {name:{width}}  ", "bold"), (address, f"link {address}"))
            for name, address in self._addresses.items()
        )

    def _view(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("series")
        for name in ("observed", "expected", "anomaly_score", "anomaly_flag", "anomaly_alert"):
            table.add_column(name, justify="right")
        for reading in self._readings:
            style = "bold red" if reading.flag == 1 else ""
            numbers = (reading.value, reading.expected, reading.score, reading.flag, reading.alert)
            table.add_row(f"{reading.job} {reading.entity}", *map(number, numbers), style=style)
        return Group(Text(self._headline, "bold"), self._links(), Text(), table, Text(), *self._events[-14:])


def number(value: float) -> str:
    """Format with three digits; NaN is a dash."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def in_words(reading: Reading) -> str:
    """Return one line for a reading."""
    return (
        f"{reading.entity}: observed {number(reading.value)}, expected {number(reading.expected)}, "
        f"anomaly_score {number(reading.score)}, anomaly_flag {number(reading.flag)}, "
        f"anomaly_alert {number(reading.alert)}"
    )
