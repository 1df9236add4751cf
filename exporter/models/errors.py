"""What can be wrong with a model store."""

from exporter.models.signed_records import Reason


class StoreError(Exception):
    """The store cannot be read or written. The message names job, file, cause and what to do."""


class ModelMissing(StoreError):
    """The job has no such model in the store."""


class ModelRefused(StoreError):
    """There is a model and it must not be used; `reason` is from a closed list."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{message}; it is not used")
        self.reason = reason


class Unreachable(OSError):
    """An object store does not answer, or not in time."""
