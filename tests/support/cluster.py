"""An emulated Kubernetes API server, as strict as a real one where deploying depends on it."""

import asyncio
import copy
import itertools
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kmock
from aiohttp import web
from kubernetes.client import ApiClient, Configuration

from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.parts import KINDS as DEPLOYED
from deploy.kubernetes.parts import Kind
from tests.support.waiting import PATIENCE

NAMESPACE = "anomaly-exporter"
KINDS = {**DEPLOYED, "Lease": Kind("leases", "coordination.k8s.io/v1"), "Event": Kind("events", "v1")}
"""What is deployed, and what the exporter makes itself."""
CONFIG = """
prometheus: {url: "http://prometheus.monitoring.svc:9090", bearer: {file: /run/secrets/prometheus/token}}
models: {path: models, key: {env: MODEL_STORE_KEY}}
state: {path: state}
audit: {path: anomalies.csv}
jobs:
  load: {expr: node_load1}
  api: {expr: "rate(requests_total[5m])", group: [job], entity: [job]}
"""


def resource(kind: str) -> kmock.resource:
    known = KINDS[kind]
    return kmock.resource(known.group, known.api_version.rpartition("/")[2], _plural(kind))


def _plural(kind: str) -> str:
    return "cluster-namespaces" if kind == "Namespace" else KINDS[kind].plural


class Emulator(kmock.KubernetesEmulator):
    """Fills in defaults, counts versions, replaces whole objects, and refuses what a real server refuses."""

    def __init__(self, unknown: tuple[str, ...] = ()) -> None:
        super().__init__()
        for kind in KINDS.keys() - set(unknown):
            self.resources[resource(kind)] = {"namespaced": KINDS[kind].namespaced}
        self.refused: dict[tuple[str, str], tuple[int, str]] = {}
        """(status, message) by method and plural."""
        self.asking: dict[tuple[str, str], Callable[[Any], None]] = {}
        """What others do when a method of a plural is asked."""
        self.unrehearsed: set[str] = set()
        """Plurals with an admission webhook that cannot be asked with `dryRun`."""
        self.meanwhile: list[Callable[[], None]] = []
        """What others do just before our next write arrives, one after the other."""
        self.writes: list[tuple[str, str, str]] = []
        """Method, plural and name of all that was written; what was only tried (`dryRun`) is not among them."""
        self._versions = itertools.count(100)
        self._newest = 99
        self.happened: list[tuple[int, str, str, dict[str, Any]]] = []
        """Version, type, kind and object of every change: what watches tell."""
        self.compacted = 0
        """Versions up to this one are forgotten: a watch from there on is told that they are gone (410)."""
        self.away = False
        """Whether nothing is answered but that the server is not there, and watches end."""

    def put(self, made: dict[str, Any], manager: str = "kubectl-edit") -> None:
        """Make or change an object as somebody else would."""
        key = self._key(made["kind"], made["metadata"].get("namespace"), made["metadata"]["name"])
        there = self._there(key) is not None
        self.objects[key] = self._completed(made["kind"], copy.deepcopy(made), manager)
        self._happens("MODIFIED" if there else "ADDED", made["kind"], self.objects[key].raw)

    def take_away(self, kind: str, name: str, namespace: str = NAMESPACE) -> None:
        """Delete an object as somebody else would."""
        key = self._key(kind, namespace, name)
        gone = copy.deepcopy(self.objects[key].raw)
        self.objects[key].delete()
        gone["metadata"]["resourceVersion"] = self._version()
        self._happens("DELETED", kind, gone)

    def _version(self) -> str:
        self._newest = next(self._versions)
        return str(self._newest)

    def _happens(self, what: str, kind: str, made: dict[str, Any]) -> None:
        self.happened.append((int(made["metadata"]["resourceVersion"]), what, kind, copy.deepcopy(made)))

    async def _serve_list(self, request: Any) -> Any:
        made = await super()._serve_list(request)
        items = [each for each in made["items"] if _selected(request, each)]
        return {"metadata": {"resourceVersion": str(self._newest)}, "items": items}

    async def _serve_watch(self, request: Any) -> AsyncIterator[Any]:
        yield b""
        seen = int(request.params.get("resourceVersion") or 0)
        end = time.monotonic() + float(request.params.get("timeoutSeconds") or 3600)
        while time.monotonic() < end and not self.away:
            if seen < self.compacted:
                gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": f"too old: {seen}"}
                yield {"type": "ERROR", "object": gone}
                return
            for version, what, kind, made in list(self.happened):
                if version > seen:
                    seen = version
                    if resource(kind) == request.resource and _selected(request, made):
                        yield {"type": what, "object": made}
            await asyncio.sleep(0.02)

    def finalize(self, kind: str, name: str, namespace: str = NAMESPACE) -> None:
        """Let what an object that is being deleted has waited for be done: now it is gone."""
        self.objects[self._key(kind, namespace, name)].delete()

    def found(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any] | None:
        """Return an object as it is in the cluster."""
        found = self._there((resource(kind), namespace if KINDS[kind].namespaced else None, name))
        return copy.deepcopy(found)

    @property
    def asked(self) -> list[Any]:
        """Return every request as kmock understood it."""
        return list(self._requests)

    def names(self) -> list[tuple[str, str]]:
        """Return plural and name of all that is there."""
        return sorted((key[0].plural, key[2]) for key, found in self.objects.items() if not found.deleted)

    def _there(self, key: Any) -> dict[str, Any] | None:
        return None if key not in self.objects or self.objects[key].deleted else self.objects[key].raw

    @staticmethod
    def _key(kind: str, namespace: str | None, name: str) -> Any:
        return resource(kind), namespace if KINDS[kind].namespaced else None, name

    def _completed(self, kind: str, made: dict[str, Any], manager: str) -> dict[str, Any]:
        """Return an object as a real server would keep it."""
        metadata = made["metadata"]
        before = self._there(self._key(kind, metadata.get("namespace"), metadata["name"]))
        metadata["resourceVersion"] = self._version()
        metadata["uid"] = before["metadata"]["uid"] if before else f"uid-{metadata['resourceVersion']}"
        metadata["managedFields"] = _managed(made, before, manager)
        return _canonical({**made, **_defaults(kind, made)})

    async def __call__(self, raw_request: web.BaseRequest) -> web.StreamResponse:
        # kmock takes what follows /namespaces for a kind, and has none of its own for namespaces.
        if found := re.fullmatch(r"/api/v1/namespaces(/[^/]+)?", raw_request.path):
            raw_request = raw_request.clone(
                rel_url=raw_request.rel_url.with_path(f"/api/v1/cluster-namespaces{found[1] or ''}", keep_query=True)
            )
        return await super().__call__(raw_request)

    async def _handle(self, request: Any) -> web.StreamResponse:
        kinds = [kind for kind in KINDS if resource(kind) == request.resource]
        method, plural = request.method.value, request.resource.plural if request.resource else ""
        if asking := self.asking.get((method, plural)):
            asking(request)
        if self.away:
            return _status(503, "the server is away")
        if refused := self.refused.get((method, plural)):
            return _status(*refused)
        if method == "GET" or not kinds or request.resource not in self.resources:
            return await super()._handle(request)
        body = copy.deepcopy(request.data) if isinstance(request.data, dict) else {}
        dry_run = request.params.get("dryRun") == "All" or body.get("dryRun") == ["All"]
        if dry_run and plural in self.unrehearsed:
            return _status(400, 'admission webhook "old.example.com" does not support dry run')
        if self.meanwhile and not dry_run:
            self.meanwhile.pop(0)()
        manager = request.params.get("fieldManager") or request.headers["User-Agent"].partition("/")[0]
        key = self._key(kinds[0], request.namespace, request.name or body["metadata"]["name"])
        return self._write(method, kinds[0], key, body, manager, dry_run=dry_run)

    def _write(
        self, method: str, kind: str, key: Any, body: dict[str, Any], manager: str, *, dry_run: bool
    ) -> web.Response:
        found, (_, namespace, name) = self._there(key), key
        if not dry_run:
            self.writes.append((method, KINDS[kind].plural, name))
        if method == "POST" and namespace and self._there(self._key("Namespace", None, namespace)) is None:
            return _status(404, f'namespaces "{namespace}" not found')
        if (refusal := _refusal(method, kind, body, found)) is not None:
            return _status(*refusal)
        if method != "DELETE":
            made = self._completed(kind, body, manager)
            if not dry_run:
                self.objects[key] = made
            return web.json_response(made, status=201 if method == "POST" else 200)
        if found is not None and found["metadata"].get("finalizers"):
            waiting = copy.deepcopy(found)
            waiting["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            if not dry_run:
                self.objects[key] = waiting
            return web.json_response(waiting)
        if not dry_run:
            self.objects[key].delete()
        return web.json_response({"kind": "Status", "status": "Success"})


def _selected(request: Any, made: dict[str, Any]) -> bool:
    """Tell whether an object is in the namespace and has the labels that a list or watch asks for."""
    metadata = made["metadata"]
    if request.namespace is not None and metadata.get("namespace") != request.namespace:
        return False
    asked = [each.partition("=") for each in (request.params.get("labelSelector") or "").split(",") if each]
    labels = metadata.get("labels") or {}
    return all(name in labels and (not equal or labels[name] == value) for name, equal, value in asked)


def _managed(made: dict[str, Any], before: dict[str, Any] | None, manager: str) -> list[dict[str, Any]]:
    """Return who has set which label and annotation: who changes or adds one has it."""
    owners = {
        each["manager"]: copy.deepcopy(each["fieldsV1"])
        for each in ((before or {}).get("metadata") or {}).get("managedFields") or ()
    }
    for path in (("metadata", "labels"), ("metadata", "annotations"), ("spec", "template", "metadata", "annotations")):
        new, old = _at(made, path), _at(before or {}, path)
        for name in {*new, *old}:
            if new.get(name) == old.get(name):
                continue
            for fields in owners.values():
                _fields(fields, path).pop(f"f:{name}", None)
            if name in new:
                _fields(owners.setdefault(manager, {}), path)[f"f:{name}"] = {}
    owners.setdefault(manager, {})
    return [{"manager": name, "operation": "Update", "fieldsV1": fields} for name, fields in owners.items()]


def _fields(fields: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        fields = fields.setdefault(f"f:{name}", {})
    return fields


def _refusal(method: str, kind: str, body: dict[str, Any], found: dict[str, Any] | None) -> tuple[int, str] | None:
    """Return status and message where a real server would not do it."""
    if method == "POST":
        return (409, f"{kind} already exists") if found else None
    if found is None:
        return 404, f"{kind} not found"
    seen = body["preconditions"] if method == "DELETE" else body["metadata"]
    if any(seen[key] != found["metadata"][key] for key in {"uid", "resourceVersion"} & seen.keys()):
        return 409, f"Operation cannot be fulfilled on {kind}: the object has been modified"
    for path in _IMMUTABLE.get(kind, ()) if method == "PUT" else ():
        if _at(body, path) != _at(found, path):
            return 422, f"{kind} is invalid: {'.'.join(path)}: field is immutable"
    return None


_IMMUTABLE = {
    "PersistentVolumeClaim": (("spec", "accessModes"), ("spec", "volumeName"), ("spec", "storageClassName")),
    "Service": (("spec", "clusterIP"), ("spec", "clusterIPs")),
    "Deployment": (("spec", "selector"),),
    "StatefulSet": (("spec", "selector"), ("spec", "serviceName")),
}


def _defaults(kind: str, made: dict[str, Any]) -> dict[str, Any]:
    """Return the parts that a real server, or a controller, completes."""
    spec = made.get("spec", {})
    match kind:
        case "PersistentVolumeClaim":
            return {"spec": {"volumeMode": "Filesystem", "volumeName": "pv-1", **spec}, "status": {"phase": "Bound"}}
        case "Service":
            return {"spec": {"clusterIPs": ["None"], "sessionAffinity": "None", "type": "ClusterIP", **spec}}
        case "Deployment" | "StatefulSet":
            return {"status": {"observedGeneration": 1}, "spec": _with_defaults(spec)}
        case "ServiceAccount":
            return {"secrets": [{"name": "token-1"}]}
    return {}


def _with_defaults(spec: dict[str, Any]) -> dict[str, Any]:
    spec = copy.deepcopy(spec)
    pod = spec["template"]["spec"]
    pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"}
    for container in pod["containers"]:
        container["terminationMessagePath"] = "/dev/termination-log"
    return spec


def _canonical(made: Any, key: str = "") -> Any:
    """Return a part of an object as a real server writes it: without empty lists, and quantities in one form."""
    if isinstance(made, dict):
        # An empty ingress list is left out of what the server answers; an emptyDir is not.
        return {name: _canonical(value, name) for name, value in made.items() if value != []}
    if isinstance(made, list):
        return [_canonical(each) for each in made]
    if key in {"memory", "storage", "sizeLimit"} and (found := re.fullmatch(r"(\d+)([KMGT])i", made)):
        number, unit = int(found[1]), "KMGT".index(found[2])
        while number % 1024 == 0 and unit < 3:
            number, unit = number // 1024, unit + 1
        return f"{number}{'KMGT'[unit]}i"
    return made


def _at(made: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        made = made.get(key) or {}
    return made


def _status(code: int, message: str) -> web.Response:
    if code == 200:  # what a proxy answers instead
        return web.Response(text=message, content_type="text/html")
    body = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": message}
    return web.json_response(body, status=code)


@contextmanager
def emulated(unknown: tuple[str, ...] = ()) -> Iterator[tuple[Emulator, str]]:
    """Run an emulator in a thread; yield it with its address. Kinds in `unknown` have no definition there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server: kmock.Server | None = None

    async def start() -> tuple[Emulator, str]:
        nonlocal server
        emulator = await Emulator(unknown).__aenter__()
        server = await kmock.Server(emulator).__aenter__()
        return emulator, str(server.url).rstrip("/")

    async def stop() -> None:
        assert server is not None
        await server.__aexit__(None, None, None)
        await emulator.__aexit__(None, None, None)

    emulator, url = asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE)
    try:
        yield emulator, url
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


def client(url: str) -> Cluster:
    """Return the cluster at an address."""
    configuration = Configuration()
    configuration.host = url
    configuration.retries = 0
    return Cluster(ApiClient(configuration))


def kubeconfig(url: str, token: str = "") -> str:
    """Return the text of a kubeconfig for an address."""
    return f"""
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
clusters: [{{name: here, cluster: {{server: "{url}"}}}}]
users: [{{name: me, user: {{token: "{token or "none"}"}}}}]
"""
