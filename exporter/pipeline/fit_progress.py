"""What a job has read of its history for a first model; the source may fail on the way."""

from collections import deque
from dataclasses import dataclass, field

from exporter.pipeline.window import Window
from exporter.source.chunks import Chunk


@dataclass(slots=True)
class FitProgress:
    """Samples read so far, kept from one cycle to the next until the model is fitted.

    Parameters
    ----------
    held : deque of Chunk
        The history, as long as it is short enough to hold; it is judged after the fit.
    window : Window or None
        What the model is fitted on, as far as it has been put together.
    whole : bool
        False: the source said of a part of it that it was not all.
    """

    held: deque[Chunk] = field(default_factory=deque)
    window: Window | None = None
    whole: bool = True
