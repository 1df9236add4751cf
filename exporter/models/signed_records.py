"""What the model store writes about a model, sealed against damage and, with a key, against forgery."""

import hashlib
import hmac
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, Literal, TypeVar

import msgspec

from exporter.config.secrets import Secret

Reason = Literal[
    "unreadable", "too_large", "damaged", "unsigned", "wrong_signature", "wrong_model", "replayed", "other_versions"
]


class SealError(Exception):
    """A sealed record is not what was written, or not by us."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a stored model is and how it came about. Times are Unix seconds."""

    job: str
    version: str
    generation: int
    detector: str
    parameters: dict[str, Any]
    channels: tuple[str, ...]
    trained_from: float
    trained_to: float
    trained_at: float
    fingerprint: str
    quality: dict[str, float | None]
    libraries: dict[str, str]
    size: int
    sha256: str

    def identity(self) -> tuple[object, ...]:
        """Return what must agree between the model and whoever wants to use it."""
        return self.job, self.version, self.detector, self.parameters, self.channels


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which version of a job's model is active.

    `generation` counts switches: a rollback gets a higher one than the model it points to. `replaced` are the versions
    that were active before, the last one first; a rollback goes back to the first of them.
    """

    job: str
    version: str
    generation: int
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the gate said about a candidate. `judged_at` is in Unix seconds, a figure without a value is None."""

    job: str
    version: str
    passed: bool
    reason: str
    figures: dict[str, float | None]
    judged_at: float


@dataclass(frozen=True, slots=True)
class StateHeader:
    """What stands before a job's saved state. `judged` is the Unix time of the last judged sample."""

    job: str
    digest: str
    judged: float
    libraries: dict[str, str]
    size: int
    sha256: str


_Record = TypeVar("_Record", Manifest, Pointer, Outcome, StateHeader)


def signing_keys(secret: Secret | None) -> list[bytes]:
    """Return the keys in a secret, one a line: the first signs, all are accepted. Raises SecretUnavailable."""
    return [] if secret is None else [line.strip().encode() for line in secret.read().splitlines() if line.strip()]


def seal(record: Manifest | Pointer | Outcome | StateHeader, keys: Sequence[bytes]) -> bytes:
    """Write `record` with a checksum and, signed by the first of `keys`, a signature."""
    return seal_fields(type(record).__name__, asdict(record), keys)


def seal_fields(kind: str, record: Mapping[str, Any], keys: Sequence[bytes] = ()) -> bytes:
    """Write plain data with its kind and a checksum and, signed by the first of `keys`, a signature."""
    fields: dict[str, Any] = {"kind": kind, **record}
    fields["signature"] = hmac.digest(keys[0], _canonical(fields), "sha256").hex() if keys else None
    fields["checksum"] = hashlib.sha256(_canonical(fields)).hexdigest()
    return _render(fields)


def unseal(data: bytes, kind: type[_Record], keys: Sequence[bytes]) -> _Record:
    """Read what `seal` wrote. Any other byte, or with `keys` a signature by none of them, raises SealError."""
    fields = unseal_fields(data, kind.__name__, keys)
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise SealError("damaged", f"has another form: {error}") from None


def unseal_fields(data: bytes, kind: str, keys: Sequence[bytes] = ()) -> dict[str, Any]:
    """Read what `seal_fields` wrote. Any other byte, or with `keys` a signature by none of them, raises SealError."""
    fields = decoded(data)
    # Written again it must be the same: so no byte can change without notice, not even white space.
    if _render(fields) != data:
        raise SealError("damaged", "is not as it was written")
    checksum = str(fields.pop("checksum", ""))
    if not _same(checksum, hashlib.sha256(_canonical(fields)).hexdigest()):
        raise SealError("damaged", "does not match its checksum")
    signature = fields.pop("signature", None)
    if keys:
        if not signature:
            raise SealError("unsigned", "is not signed, and models.key demands it")
        wanted = [hmac.digest(key, _canonical(fields), "sha256").hex() for key in keys]
        if not any([_same(str(signature), each) for each in wanted]):  # noqa: C419 - all are compared: equal time
            raise SealError("wrong_signature", "is signed by none of the keys in models.key")
    if fields.pop("kind", None) != kind:
        raise SealError("wrong_model", f"is no {kind.lower()}")
    return fields


def decoded(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`, whatever it holds. Raises SealError."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise SealError("damaged", "is not readable as JSON") from None
    if not isinstance(fields, dict):
        raise SealError("damaged", "is not as it was written")
    return fields


def as_json(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return `parameters` as they come back from a manifest: tuples become lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(parameters), default=str))
    return plain


@cache
def libraries() -> dict[str, str]:
    """Return the versions on which a pickled state depends.

    scikit-learn to the last digit, since it vouches for no other; of the rest a patch release changes no format.
    """
    found = {"python": platform.python_version(), "numpy": version("numpy"), "joblib": version("joblib")}
    minor = {name: ".".join(text.split(".")[:2]) for name, text in found.items()}
    return minor | {"scikit-learn": version("scikit-learn")}


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _canonical(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _render(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, indent=2).encode() + b"\n"
