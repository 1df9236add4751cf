"""A file of our own in JSON, with its checksum in the first line."""

import hashlib
import json
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from exporter.atomic_files import TooLarge, read_once, write_atomically
from exporter.json_values import from_json

log = structlog.get_logger()

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
        return msgspec.convert(from_json(text), kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"has another form: {error}") from None


def load(file: Path, largest: int, kind: type[S], event: str, hint: str) -> S:
    """Read such a file of at most `largest` bytes; an empty `kind` where there is none, or it is refused and logged."""
    try:
        return decode(read_once(file, largest), kind)
    except FileNotFoundError:
        pass
    except (OSError, TooLarge, ValueError) as error:
        log.warning(event, file=str(file), error=str(error), hint=hint)
    return kind()


def keep(file: Path, content: msgspec.Struct, before: str, event: str, hint: str) -> str:
    """Write such a file; return what is wrong, "" where it worked. What was wrong `before` is not logged again."""
    try:
        data = encode(content)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
    except OSError as error:
        if str(error) != before:
            log.error(event, file=str(file), error=str(error), hint=hint)
        return str(error)
    return ""
