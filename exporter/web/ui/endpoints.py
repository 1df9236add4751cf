"""What the pages and their API have in common: where they look, their turn, and how a refusal becomes an answer."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from starlette.responses import Response
from starlette.routing import Route

from exporter.redact import masked
from exporter.sinks.latest import UnknownJob
from exporter.source.errors import SourceError
from exporter.web.api import BadParameter
from exporter.web.same_origin import Foreign, TooLong
from exporter.web.ui import bench
from exporter.web.ui.facts import Running
from exporter.web.ui.history import History
from exporter.web.ui.not_answered import NotAnswered
from exporter.web.ui.rights import Rights
from exporter.web.ui.series import NoSuchSeries
from exporter.web.ui.turns import MANY, Busy, Turn


class Refused(NamedTuple):
    """Why a request cannot be answered: a heading, a sentence with what to do, and the status."""

    title: str
    text: str
    status: int


def retry(status: int) -> dict[str, str]:
    """Return the headers that tell a program to come back, where it should."""
    return {"Retry-After": "5"} if status == 503 else {}


NO_JOB = "There is no job of that name now: it was renamed or removed. Status lists those there are (/api/v1/jobs)."


def refusal_of(error: Exception) -> Refused | None:  # noqa: PLR0911 - a return for each refusal
    """Return what is answered where making an answer raised `error`, None for a fault of our own."""
    match error:
        case Busy():
            return Refused("Busy", MANY, 503)
        case BadParameter():
            return Refused("This address cannot be understood", f"{error}.", 400)
        case UnknownJob():
            return Refused("Unknown job", NO_JOB, 404)
        case NotAnswered():
            return Refused("Not answered", str(error), error.status)
        case NoSuchSeries():
            return Refused("Unknown series", str(error), 404)
        case Foreign():
            return Refused("Not sent", str(error), 403)
        case TooLong():
            return Refused("This is too long", "What was sent is too long: shorten what is in it.", 413)
        case bench.Off():
            return Refused("The workbench is off", str(error), 403)
        case bench.Gone():
            return Refused("This replay has ended", str(error), 404)
        case bench.Refused():
            return Refused("That cannot be tried", masked(str(error)), 409)
        case SourceError():
            return Refused("The source did not answer", f"The source did not answer: {masked(str(error))}", 502)
    return None


class Endpoints(ABC):
    """Endpoints that look at the running exporter.

    Parameters
    ----------
    running : Running
    history : History
    quick, slow : Turn
        For answers from memory, and for those that may wait for the source.
    rights : Rights
    """

    def __init__(self, running: Running, history: History, quick: Turn, slow: Turn, rights: Rights) -> None:
        self._running, self._history, self._quick, self._slow = running, history, quick, slow
        self._rights = rights

    @abstractmethod
    def routes(self) -> list[Route]:
        """Return all of them."""

    @abstractmethod
    def _refuse(self, refused: Refused) -> Response:
        """Return the answer to a request that cannot be answered."""

    async def _run(self, call: Callable[[], Response], turn: Turn) -> Response:
        """Return what `call`, which is made in its turn, returns; or a refusal."""
        try:
            return await turn.run(call)
        except Exception as error:
            return self._refused(error)

    def _refused(self, error: Exception) -> Response:
        """Return the answer where making one raised `error`; raise a fault of our own again."""
        if (refused := refusal_of(error)) is None:
            raise error
        return self._refuse(refused)
