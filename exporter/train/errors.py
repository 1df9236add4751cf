"""What goes wrong in a training."""

from collections.abc import Iterator
from contextlib import contextmanager

from exporter.errors import InputError
from exporter.source.errors import SourceError


class TrainError(Exception):
    """A model cannot be trained or judged now. The message says why and what to do; what is in service stays so."""


class Unneeded(TrainError):
    """There is nothing to train or to put in service, and nothing is wrong. The message says why."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn what goes wrong while samples are read and replayed into a TrainError."""
    try:
        yield
    except SourceError as error:
        raise TrainError(f"{error}; train again when the source is well") from None
    except InputError as error:
        raise TrainError(str(error)) from None
