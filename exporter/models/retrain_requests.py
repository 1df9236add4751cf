"""Requests to retrain a job's model: one small file per job, written where drift is found, removed by the training."""

from typing import Final

import msgspec
import structlog

from exporter.atomic_files import TooLarge
from exporter.config.sections.root import Config
from exporter.models.backend import Backend
from exporter.models.exchange import Exchange, shared_place
from exporter.models.signed_records import SealError

log = structlog.get_logger()

_FOLDER: Final = ".retrain"


class RetrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Why a model should be retrained.

    Parameters
    ----------
    job, detector, method : str
        Who asks: the job, its detector, and what has found the drift.
    reason : str
        A sentence for people.
    time : float
        Unix seconds of the sample that decided.
    model_version : str
        The current model, "" where there is none from the store.
    statistics : dict of str to float
        Numbers behind the reason.
    """

    job: str
    detector: str
    method: str
    reason: str
    time: float
    model_version: str = ""
    statistics: dict[str, float] = {}


class RetrainFolder:
    """The requests next to models or saved states. A later request of a job replaces its earlier one."""

    def __init__(self, place: Backend) -> None:
        self._files = Exchange(place, _FOLDER, RetrainRequest)

    @classmethod
    def of(cls, config: Config) -> "RetrainFolder | None":
        """Return the folder of a configuration; None without models and saved states."""
        place = shared_place(config)
        return None if place is None else cls(place)

    def write(self, request: RetrainRequest) -> str:
        """Leave a request; return where it is. Raises OSError."""
        return self._files.write(request)

    def read(self, job: str) -> RetrainRequest | None:
        """Return the request of a job, None where there is none that can be read."""
        try:
            return self._files.read(job)
        except (OSError, TooLarge, SealError) as error:
            hint = "delete it; the job is trained when it is due anyway"
            log.warning("retrain_request_unreadable", job=job, file=self._files.where(job), error=str(error), hint=hint)
            return None

    def consume(self, request: RetrainRequest) -> bool:
        """Remove a request that was dealt with; return False, and leave it, if a newer one has replaced it."""
        if self.read(request.job) != request:
            return False
        self._files.remove(request.job)
        return True
