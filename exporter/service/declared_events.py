"""Events in Kubernetes: what teams see with `kubectl describe` of that which they declare."""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from exporter.config.declared import Declared
from exporter.config.declared_objects import RULE, Declaration
from exporter.config.sections.discover import BETWEEN
from exporter.redact import masked
from exporter.service.kubernetes_access import ANSWER_WITHIN, CONNECT_WITHIN, NoAccess, new_client, of_client

log = structlog.get_logger()

SAY_AGAIN: Final = 1800.0
"""Seconds after which what still holds is said again: Kubernetes forgets events after an hour."""
MOST: Final = 500
"""Events that are kept up at the same time."""
_LONGEST: Final = 1000
"""Characters of a message; Kubernetes takes 1024."""
_CONFLICT: Final = 409
Event = tuple[Declaration, str, str, str]
"""On which object, type, reason and message."""


def events(found: Declared) -> Iterator[Event]:
    """Yield what is to be said of what is declared: what was refused, then what is in force."""
    wrong: dict[Declaration, list[str]] = {}
    for each in found.refused:
        wrong.setdefault(each.declaration, []).append(f"{each.job}: {each.text}" if each.job else each.text)
    for on, texts in wrong.items():
        yield on, "Warning", "JobsRefused", "; ".join(" ".join(text.split()) for text in texts)
    jobs: dict[Declaration, list[str]] = {}
    for name, on in found.owners.items():
        jobs.setdefault(on, []).append(name.partition(BETWEEN)[2])
    for on, names in jobs.items():
        told = ", ".join(f'{name} (query="{on.namespace}{BETWEEN}{name}")' for name in names)
        yield on, "Normal", "JobsInForce", f"in force: {told}"


def event(on: Declaration, kind: str, reason: str, message: str, now: float) -> Mapping[str, Any]:
    """Return the Event; the same one has the same name, so that it is not said twice."""
    message = masked(message)
    message = message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…"
    digest = hashlib.sha256(f"{on.uid} {reason} {message}".encode(errors="replace")).hexdigest()[:16]
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{on.name[:200]}.{digest}", "namespace": on.namespace},
        "involvedObject": {
            "apiVersion": "monitoring.coreos.com/v1" if on.kind == RULE else "v1",
            "kind": on.kind,
            "namespace": on.namespace,
            "name": on.name,
            **({"uid": on.uid} if on.uid else {}),
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": "anomaly-exporter"},
        "reportingComponent": "anomaly-exporter",
        "reportingInstance": socket.gethostname(),
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


class Events:
    """Says what holds in Events, in a thread of its own; where that does not work, the log says so once.

    Parameters
    ----------
    speaks : callable
        Whether this exporter is the one of several that says it.
    """

    def __init__(self, speaks: Callable[[], bool]) -> None:
        self._speaks = speaks
        self._wanted: Sequence[Event] = ()
        self._said: dict[Event, float] = {}
        self._trouble = ""
        self._stopping, self._news = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def tell(self, found: Declared) -> None:
        """Say from now on what holds now."""
        self._wanted = list(events(found))[:MOST]
        self._news.set()
        if self._thread is None and self._wanted:
            self._thread = threading.Thread(target=self._run, name="declared events", daemon=True)
            self._thread.start()

    def stop(self, timeout: float) -> None:
        """Say no more; wait for a request under way for so many seconds at most."""
        self._stopping.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        client: Any = None
        while not self._stopping.is_set():
            self._news.wait(60.0)
            self._news.clear()
            if not self._speaks():
                continue
            wanted, now = self._wanted, time.monotonic()
            self._said = {each: at for each, at in self._said.items() if each in wanted}
            for each in wanted:
                if self._stopping.is_set() or now - self._said.get(each, -SAY_AGAIN) < SAY_AGAIN:
                    continue
                try:
                    client = client or _client()
                    _write(client, event(*each, time.time()))
                except Exception as error:  # whatever it is: metrics, log and pages say the same
                    self._failed(error)
                    break
                self._said[each] = now
                self._trouble = ""

    def _failed(self, error: Exception) -> None:
        trouble = (
            str(error) if isinstance(error, NoAccess) else f"{type(error).__name__} {getattr(error, 'status', '')}"
        )
        if trouble != self._trouble:
            self._trouble = trouble
            hint = "teams do not see in their namespace what was refused; may the account create events?"
            log.warning("event_not_written", why=masked(trouble.strip()), hint=hint)


def _client() -> Any:
    return of_client("client").CoreV1Api(new_client())


def _write(client: Any, made: Mapping[str, Any]) -> None:
    try:
        client.create_namespaced_event(
            made["metadata"]["namespace"], made, _request_timeout=(CONNECT_WITHIN, ANSWER_WITHIN)
        )
    except of_client("client").ApiException as error:
        if error.status != _CONFLICT:  # it was said already, by the exporter before a restart
            raise
