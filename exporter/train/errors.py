"""Errors of a training."""

from collections.abc import Iterator
from contextlib import contextmanager

from exporter.errors import InputError
from exporter.source.errors import SourceError


class TrainError(Exception):
    """A model cannot be trained or evaluated now; the current model stays. The message says why and what to do."""


class Unneeded(TrainError):
    """There is nothing to train or to promote, and nothing is wrong. The message says why."""


class TooFew(TrainError):
    """There are too few samples to learn from, or to evaluate by."""


@contextmanager
def excused(*, young: bool) -> Iterator[None]:
    """Turn TooFew into Unneeded where the samples are only young: time will help, and nothing else has to."""
    try:
        yield
    except TooFew as error:
        if not young:
            raise
        raise Unneeded(f"{error}; its samples begin within the training window, so this comes by itself") from None


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors of reading and replaying samples into a TrainError."""
    try:
        yield
    except SourceError as error:
        raise TrainError(f"{error}; train again when the source is well") from None
    except InputError as error:
        raise TrainError(str(error)) from None
