"""How the answers of people reach the jobs that run."""

from collections.abc import Callable

from exporter.service.active import Active
from exporter.sinks.feedback import Feedback
from exporter.sinks.feedback_book import FeedbackBook


class Heeding:
    """Has every job heed what people answered to its incidents.

    Parameters
    ----------
    book : FeedbackBook
        Says when something has changed.
    active : callable returning Active
        What runs now.
    """

    def __init__(self, book: FeedbackBook, active: Callable[[], Active]) -> None:
        self._book, self._active = book, active
        book.heed = self._changed

    def all(self) -> None:
        """Hand every job the answers that there are: at the start, and after a reload before new jobs begin."""
        for name, runner in self._active().runners.items():
            runner.job.heed(self._book.of(name))

    def _changed(self, feedback: Feedback) -> None:
        self.all()
        runner = self._active().runners.get(feedback.job)
        if feedback.kind == "normal" and runner is not None:
            runner.note_accepted([feedback.key])
