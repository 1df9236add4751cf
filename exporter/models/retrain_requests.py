"""Requests to train a job's model anew: one small file a job, written where drift is seen, taken by the training."""

from typing import Final

import msgspec
import structlog

from exporter.atomic_files import TooLarge
from exporter.config.sections.root import Config
from exporter.models import folder_name
from exporter.models.backend import Backend, FolderBackend, place_of

log = structlog.get_logger()

_FOLDER: Final = ".retrain"  # no job can have this name, so it may stand among the folders of the models
_LARGEST: Final = 64 * 1024


class RetrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Why a model should be trained anew.

    Parameters
    ----------
    job, detector, method : str
        Who asks: the job, its detector, and what has found the drift.
    reason : str
        A sentence for people.
    time : float
        Unix seconds of the sample that decided.
    model_version : str
        The model in service, "" where there is none from the store.
    statistics : dict of str to float
        Figures behind the reason.
    """

    job: str
    detector: str
    method: str
    reason: str
    time: float
    model_version: str = ""
    statistics: dict[str, float] = {}


class RetrainFolder:
    """The requests beside models or states. A later request of a job takes the place of its earlier one."""

    def __init__(self, place: Backend) -> None:
        self._place = place

    @classmethod
    def of(cls, config: Config) -> "RetrainFolder | None":
        """Return the folder of a configuration: beside the models, else beside the saved states; None without both."""
        if config.models:
            return cls(place_of(config.models))
        return cls(FolderBackend(config.state.path)) if config.state else None

    def write(self, request: RetrainRequest) -> str:
        """Leave a request; return where it is. Raises OSError."""
        file = self._file(request.job)
        self._place.write(file, msgspec.json.format(msgspec.json.encode(request)) + b"\n")
        return self._place.where(file)

    def read(self, job: str) -> RetrainRequest | None:
        """Return the request of a job, None where there is none that can be read."""
        try:
            request = msgspec.json.decode(self._place.read(self._file(job), _LARGEST), type=RetrainRequest)
        except FileNotFoundError:
            return None
        except (OSError, TooLarge, msgspec.DecodeError, UnicodeDecodeError) as error:
            hint = "delete it; the job is trained when it is due anyway"
            log.warning(
                "retrain_request_unreadable",
                job=job,
                file=self._place.where(self._file(job)),
                error=str(error),
                hint=hint,
            )
            return None
        return request if request.job == job else None

    def consume(self, request: RetrainRequest) -> bool:
        """Take a request away that was dealt with; return False, and leave it, if a newer one has taken its place."""
        if self.read(request.job) != request:
            return False
        self._place.remove(self._file(request.job))
        return True

    def _file(self, job: str) -> str:
        return f"{_FOLDER}/{folder_name(job)}.json"
