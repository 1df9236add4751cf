"""What this process does while the source computes an answer, instead of waiting for its first byte."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_work: ContextVar[Callable[[], None] | None] = ContextVar("work", default=None)


@contextmanager
def meanwhile(work: Callable[[], None] | None) -> Iterator[None]:
    """Have `work` done, once, when the next question that this thread asks in the block has been sent.

    Nothing is done where no question goes out over HTTP. What `work` raises, whoever asks gets.
    """
    token = _work.set(work)
    try:
        yield
    finally:
        _work.reset(token)


def question_sent() -> None:
    """Do what was left for the time until the answer comes."""
    work = _work.get()
    if work is not None:
        _work.set(None)
        work()
