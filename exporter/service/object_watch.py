"""Objects of one kind in Kubernetes, kept up to date: listed once, then followed by a watch."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from exporter.config.declared_objects import CONFIG_MAP, MOST_OBJECTS, RULE, Declaration, without_content
from exporter.redact import masked
from exporter.service.kubernetes_access import ANSWER_WITHIN, CONNECT_WITHIN, new_client, of_client

log = structlog.get_logger()

_PAGE: Final = 100
"""Objects in one answer of a list."""
_FOLLOWED: Final = 120.0
"""Seconds after which the server ends a watch, and another one goes on where it ended."""
_SHORTEST: Final = 1.0
_LONGEST: Final = 60.0
"""Seconds between two attempts while the server is away; doubled from the first to the last."""
_GONE: Final = 410
_KINDS: Final = {
    CONFIG_MAP: ("api", "", "v1", "configmaps"),
    RULE: ("apis", "monitoring.coreos.com", "v1", "prometheusrules"),
}
Name = tuple[str, str]
"""Namespace and name of an object."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one watch follows.

    Parameters
    ----------
    kind : str
    namespace : str
        "" for all.
    selector : str
        Of labels; "" for all objects.
    """

    kind: str
    namespace: str
    selector: str = ""


class ObjectWatch:
    """Follows the objects of one kind in a thread of its own. While the server is away, the last known ones stay.

    Parameters
    ----------
    wanted : Wanted
    read : callable
        Returns what an object declares, None for nothing.
    known : iterable of Declaration
        From before: what counts until the first list.
    changed : callable
        Called when a declaration has come, changed or gone.
    """

    def __init__(
        self,
        wanted: Wanted,
        read: Callable[[Mapping[str, Any]], Declaration | None],
        known: Iterable[Declaration],
        changed: Callable[[], None],
    ) -> None:
        self.wanted = wanted
        self._read, self._changed = read, changed
        self._known: Mapping[Name, Declaration] = {(each.namespace, each.name): each for each in known}
        self.synced = threading.Event()
        """Whether the objects have been listed."""
        self.trouble = ""
        """Why the server does not tell what is there now, "" where it does."""
        self.since = time.time()
        """Unix seconds since when that is so."""
        self._stopping = threading.Event()
        self._watcher: Any = None
        where = wanted.namespace or "all"
        self._thread = threading.Thread(target=self._run, name=f"watch {wanted.kind} {where}", daemon=True)

    @property
    def declarations(self) -> list[Declaration]:
        """What is declared, as far as is known."""
        return list(self._known.values())

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no more; an answer under way is not waited for."""
        self._stopping.set()
        if (watcher := self._watcher) is not None:
            watcher.stop()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end, for so many seconds at most."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        version, pause, client = "", _SHORTEST, None
        while not self._stopping.is_set():
            try:
                client = client or _client()
                version = version or self._list(client)
                self._up()
                pause = _SHORTEST
                version = self._follow(client, version)
            except Exception as error:  # whatever it is: what is known goes on, and the next attempt may work
                if self._stopping.is_set():
                    return
                if getattr(error, "status", None) == _GONE:  # too much has happened since: listed again
                    version = ""
                    self._stopping.wait(random.uniform(0, _SHORTEST))  # noqa: S311 - not all exporters at once
                    continue
                version = ""
                self._lost(error)
                self._stopping.wait(random.uniform(pause / 2, pause))  # noqa: S311 - as above
                pause = min(2 * pause, _LONGEST)

    def _list(self, client: Any) -> str:
        """Read all objects, page by page; return the version from which on they are followed."""
        found: dict[Name, Declaration] = {}
        counts: Counter[str] = Counter()
        more: str | None = None
        while True:
            answer = self._ask(client, limit=_PAGE, _continue=more)
            page = json.loads(answer.data)
            for made in page.get("items") or ():
                self._put(found, counts, {"kind": self.wanted.kind, **made})  # items of a list have no kind
            metadata = page["metadata"]
            more = metadata.get("continue") or None
            if more is None or self._stopping.is_set():
                break
        self._exchange(found)
        self.synced.set()
        return str(metadata["resourceVersion"])

    def _follow(self, client: Any, version: str) -> str:
        """Take what changes, until the server ends the watch; return the newest version."""
        watcher = self._watcher = of_client("watch").Watch()
        events = watcher.stream(
            self._ask, client, resource_version=version, timeout_seconds=round(_FOLLOWED), allow_watch_bookmarks=True
        )
        for event in events:
            if event is None:
                continue
            made = event["raw_object"]
            version = str(made["metadata"]["resourceVersion"])
            if event["type"] == "BOOKMARK":
                continue
            found = dict(self._known)
            if event["type"] == "DELETED":
                namespace = str(made["metadata"].get("namespace"))
                found.pop((namespace, str(made["metadata"]["name"])), None)
                if any(each.size < 0 and each.namespace == namespace for each in found.values()):
                    return ""  # listed again: there is room for what was one too many
            else:
                self._put(found, Counter(space for space, _ in found), {"kind": self.wanted.kind, **made})
            self._exchange(found)
            if self._stopping.is_set():
                break
        return version

    def _ask(self, client: Any, **options: Any) -> Any:
        prefix, group, version, plural = _KINDS[self.wanted.kind]
        resource = of_client("dynamic").Resource(
            prefix=prefix, group=group, api_version=version, kind=self.wanted.kind, namespaced=True, name=plural,
            client=client,
        )  # fmt: skip
        options.pop("_preload_content", None)  # this client never does
        within = ANSWER_WITHIN + (_FOLLOWED if "watch" in options else 0.0)
        return client.get(
            resource,
            namespace=self.wanted.namespace or None,
            label_selector=self.wanted.selector or None,
            serialize=False,
            _request_timeout=(CONNECT_WITHIN, within),
            **options,
        )

    def _put(self, found: dict[Name, Declaration], counts: Counter[str], made: Mapping[str, Any]) -> None:
        """Keep what an object declares; of a namespace with too many objects, that there are more."""
        metadata = made["metadata"]
        name = str(metadata.get("namespace")), str(metadata["name"])
        try:
            read = None if metadata.get("deletionTimestamp") else self._read(made)
        except Exception as error:  # a defect: one object must not end the watch of all others
            log.error("declaration_not_read", kind=self.wanted.kind, name="/".join(name), exc_info=error)
            read = None
        if read is None:
            found.pop(name, None)
        elif name in found or counts[read.namespace] <= MOST_OBJECTS:
            too_many = name not in found and counts[read.namespace] == MOST_OBJECTS
            counts[read.namespace] += name not in found
            found[name] = without_content(read) if too_many else read

    def _exchange(self, found: Mapping[Name, Declaration]) -> None:
        if found != self._known:
            self._known = found
            self._changed()

    def _up(self) -> None:
        if self.trouble:
            log.info("discovery_back", kind=self.wanted.kind, namespace=self.wanted.namespace or "all")
            self.trouble, self.since = "", time.time()
            self._changed()

    def _lost(self, error: Exception) -> None:
        trouble = _said(error, self.wanted)
        if not self.trouble:
            self.since = time.time()
        if trouble != self.trouble:
            hint = "the jobs declared until now go on; it is tried again"
            log.warning("discovery_lost", kind=self.wanted.kind, why=trouble, hint=hint)
            self.trouble = trouble
            self._changed()


def _client() -> Any:
    """Return a client. Raises NoAccess.

    Without discovery: that asks every API group, and keeps the answers in a file that others may write.
    """
    return of_client("dynamic").DynamicClient(new_client(), discoverer=lambda *_: None)


def _said(error: Exception, wanted: Wanted) -> str:
    """Return why the server was not understood, in one line without secrets."""
    status = getattr(error, "status", None)
    where = f"the namespace {wanted.namespace}" if wanted.namespace else "all namespaces"
    if status in {401, 403}:
        return (
            f"Kubernetes does not let this account list and watch {wanted.kind} in {where} ({status}): give it the "
            "role that the chart and the manifests have for discover"
        )
    if status == 404:
        return f"Kubernetes does not know {wanted.kind} (404): install the Prometheus operator, or leave out its keys"
    if status is not None:
        return f"Kubernetes answered {status} to a list of {wanted.kind}"
    reason = getattr(error, "reason", None) or error
    return masked(" ".join(f"Kubernetes does not answer: {type(reason).__name__}: {reason}".split()))[:300]
