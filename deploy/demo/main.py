"""The demo: `anomaly-exporter demo`."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import requests
from rich.console import Console

from deploy.demo.live import MILESTONES, Demo
from deploy.demo.process import ServerError, missing_servers
from deploy.demo.replay import run as replay_demo
from deploy.demo.screen import Screen
from deploy.demo.stack import Stack

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A stop signal was received. Not an Exception, so that no handler on the way catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted at the first stop signal; ignore further ones during the clean-up."""

    def interrupt(number: int, _: FrameType | None) -> None:
        ignore_signals()
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    yield  # after an interruption handlers are not restored: signals stay ignored until the process ends
    for number, handler in before.items():
        signal.signal(number, handler)


def ignore_signals() -> None:
    """Ignore stop signals during the clean-up, which takes bounded time."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def run(duration: float | None, replay: bool) -> int:
    """Run the demo and return its exit code.

    Parameters
    ----------
    duration : float or None
        Seconds until it ends; None: until Ctrl-C.
    replay : bool
        Use recorded series instead of real servers.

    Returns
    -------
    int
        0 when score, flag, alert and message were seen, 1 when not, 128 + signal number when interrupted before.
    """
    console = Console(highlight=False)
    try:
        with interruptible():
            return replay_demo(console, duration) if replay else live(console, duration)
    except Interrupted as interrupted:
        console.print("interrupted, all servers are stopped")
        return 128 + interrupted.number


def live(console: Console, duration: float | None) -> int:
    """Run the demo on real servers; see `run`."""
    if missing := missing_servers():
        console.print(
            "The demo needs real servers; please install them:\n"
            f"    sudo apt-get install --no-install-recommends {' '.join(missing)}\n"
            "Without servers, 'anomaly-exporter demo --replay' shows the same on recorded series.",
            soft_wrap=True,
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="anomaly-exporter-demo-") as folder:
        failure, demo = "", None
        with Screen(console, "anomaly-exporter demo on real servers; Ctrl-C stops everything") as screen:
            stack = Stack(Path(folder), screen.say)
            try:
                with stack:
                    screen.open_at(stack.addresses())
                    demo = Demo(stack, screen, duration)
                    try:
                        demo.run()
                    finally:
                        ignore_signals()
                        screen.say("stopping the servers")
            except Interrupted:
                if duration is not None or demo is None or not demo.story.complete:
                    raise
            except (ServerError, requests.RequestException) as error:
                failure = str(error)
        if demo is not None and demo.story.complete and not failure:
            console.print(f"seen: {', '.join(demo.story.seen)}", soft_wrap=True)
            return 0
        missing = list(MILESTONES) if demo is None else demo.story.missing
        console.print(stack.log_tails(), markup=False, soft_wrap=True)
        if failure:
            console.print(f"The demo failed: {failure}", markup=False, soft_wrap=True)
        console.print(
            f"not seen: {', '.join(missing) or 'nothing is missing, but see above'}", markup=False, soft_wrap=True
        )
        return 1
