"""A file of our own in JSON, with its checksum in the first line."""

import hashlib
import json
from typing import TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def encode(content: msgspec.Struct) -> bytes:
    """Return the bytes of such a file."""
    # Not msgspec's own JSON: a label may hold half of a surrogate pair.
    text = json.dumps(msgspec.to_builtins(content)).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def decode(data: bytes, kind: type[S]) -> S:
    """Read what `encode` wrote. Raises ValueError when it is anything else."""
    digest, _, text = data.partition(b"\n")
    if digest.decode("ascii", "replace") != hashlib.sha256(text).hexdigest():
        raise ValueError("does not match its checksum")
    try:
        return msgspec.convert(json.loads(text), kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"has another form: {error}") from None
