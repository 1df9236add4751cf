"""Which of several exporters leads: whoever holds a file's lock, or renews a Lease in Kubernetes."""

import logging
import math
import os
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from exporter.atomic_files import Lock, LockHeld
from exporter.config.sections.leader import LeaderConfig
from exporter.pipeline.shard import Shard
from exporter.service.kubernetes_access import NoAccess, log_in, of_client

_RETRY: Final = 1.0
"""Seconds between two attempts to lead or to go on leading."""
_PARTS: Final = (
    "leaderelection.resourcelock.leaselock",
    "leaderelection.leaderelection",
    "leaderelection.electionconfig",
)
_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Election(Protocol):
    """A way to be the only leader."""

    retry: float
    """Seconds between two attempts."""
    lasts: float
    """Seconds from an attempt that worked within which nobody else can lead."""

    def attempt(self) -> bool:
        """Begin or go on to lead; return whether we do. Whatever it raises, we do not."""
        ...

    def holder(self) -> str:
        """Return who leads, "" where nobody is known to."""
        ...

    def release(self) -> None:
        """Let another one lead at once."""
        ...


def election_of(config: LeaderConfig, shard: Shard) -> Election:
    """Return how the leader of a shard is found. Raises ElectionError."""
    suffix = f"-{shard.index}" if shard.count > 1 else ""
    if config.file is not None:
        return FileElection(config.file.with_name(config.file.name + suffix))
    return LeaseElection(f"{config.lease}{suffix}", config)


class ElectionError(Exception):
    """No leader can be found with this configuration. The message says what to change."""


class NotRenewed(Exception):
    """The Lease is still ours, for how long is not known."""


class FileElection:
    """The leader holds a lock on a file, which ends with its process, however that ends.

    Parameters
    ----------
    path : Path
        On a disk that all share; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.retry, self.lasts = _RETRY / 2, float("inf")
        self._path, self._lock, self._holder = path, Lock(path), ""

    def attempt(self) -> bool:
        """Take the lock, or find that we still have it. Raises OSError."""
        if self._lock.held():
            return True
        self._lock.release()  # somebody has deleted the file
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except LockHeld as error:
            self._holder = str(error).partition(" holds ")[0]
            return False
        self._holder = socket.gethostname()
        return True

    def holder(self) -> str:
        """Return this host's name, or the process that holds the lock."""
        return self._holder

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


class LeaseElection:
    """The leader renews a Lease; who has not done so for its duration is replaced.

    The rules are those of the Kubernetes client library, one attempt at a time: its own loop can neither be stopped nor
    gives the Lease back, and its requests have no time limit.

    Parameters
    ----------
    name : str
        Name of the Lease.
    config : LeaderConfig

    Raises
    ------
    ElectionError
        There is no access to a cluster.
    """

    def __init__(self, name: str, config: LeaderConfig) -> None:
        logging.getLogger("leaderelection").setLevel(logging.WARNING)  # it tells of every attempt
        leases, client, rules = map(of_client, _PARTS)
        try:
            log_in()
        except NoAccess as error:
            raise ElectionError(f"leader.lease: {error}") from None
        self.retry, self.lasts = max(_RETRY, config.duration / 4), config.duration * 2 / 3
        # In a container the number is always 1: one that starts again in its pod goes on at once.
        self.identity = f"{socket.gethostname()}_{os.getpid()}"
        self._lock = leases.LeaseLock(name, config.namespace or _own_namespace(), self.identity)
        self._lock.api_instance = _Timed(self._lock.api_instance, self.retry)
        self._election = client.LeaderElection(
            rules.Config(self._lock, math.ceil(config.duration), self.lasts, self.retry, _nothing, _nothing)
        )

    def attempt(self) -> bool:
        """Take or renew the Lease. Raises where it is ours and was not renewed, and what the client raises."""
        leads = bool(self._election.try_acquire_or_renew())
        if not leads and self.holder() == self.identity:
            raise NotRenewed("the cluster did not take the renewal of the Lease; may the account update it?")
        return leads

    def holder(self) -> str:
        """Return the name of the pod that leads, as far as is known."""
        record = self._election.observed_record
        return "" if record is None else str(record.holder_identity or "")

    def release(self) -> None:
        """Leave the Lease to whoever asks next."""
        found, record = self._lock.get(self._lock.name, self._lock.namespace)
        if found and record.holder_identity == self.identity:
            lease = self._lock.lease_reference
            lease.spec.holder_identity = ""
            self._lock.api_instance.replace_namespaced_lease(
                name=self._lock.name, namespace=self._lock.namespace, body=lease
            )


class _Timed:
    """The API of leases with a time limit on every request."""

    def __init__(self, api: Any, seconds: float) -> None:
        self._api, self._seconds = api, seconds

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self._api, name), _request_timeout=self._seconds)


def _own_namespace() -> str:
    try:
        return _NAMESPACE.read_text("utf-8").strip()
    except OSError:
        return "default"


def _nothing() -> None:
    """Do nothing."""


class Leadership:
    """Whether this exporter leads, at any moment; from any thread.

    Parameters
    ----------
    election : Election
    """

    def __init__(self, election: Election) -> None:
        self.election = election
        self._until = float("-inf")
        self.trouble = ""
        """Why the last attempt failed, "" where it did not."""

    @property
    def leads(self) -> bool:
        """Whether we lead; False as soon as somebody else may, even if this process slept meanwhile."""
        return time.monotonic() < self._until

    def attempt(self) -> bool:
        """Begin or go on to lead. Never raises."""
        began = time.monotonic()
        try:
            leads, self.trouble = self.election.attempt(), ""
        except Exception as error:  # whatever it is: who cannot ask does not lead for long
            self.trouble = f"{type(error).__name__}: {error}"
            return self.leads
        self._until = began + self.election.lasts if leads else float("-inf")
        return self.leads

    def release(self) -> None:
        """Let another one lead. Never raises."""
        self._until = float("-inf")
        try:
            self.election.release()
        except Exception as error:
            self.trouble = f"{type(error).__name__}: {error}"
