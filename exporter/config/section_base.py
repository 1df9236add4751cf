"""What every part of the configuration is: closed, immutable, checked as a whole."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from exporter.config.values import Duration


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def _http(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        valid = False
    if not valid or " " in url:
        raise ValueError("must be an http:// or https:// address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name or password; use basic_auth with a secret reference instead")
    if parts.query or parts.fragment:
        raise ValueError("must end with the path; leave out what begins with ? or #")
    return url.rstrip("/")


def _label_name(name: str) -> str:
    if not name or not name.isprintable():  # lone surrogates, which are no UTF-8, are not printable either
        raise ValueError("is not a label name: it is empty, or holds what cannot be printed")
    return name


ClassicName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
LabelName = Annotated[str, AfterValidator(_label_name)]
"""Prometheus 3 takes every name; where a server knows only classic ones, no series has another."""
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
SourceUrl = Annotated[str, AfterValidator(_http)]
Conflict = tuple[tuple[str, ...], str]
"""Keys that do not go together, and why."""


def require(module: str, extra: str, package: str = "", needs: str = "needs") -> None:
    """Raise ValueError, with what to install, where an optional package is not there.

    It is found, not imported: that would take the exporter's memory and time.
    """
    try:
        found = find_spec(module)
    except ModuleNotFoundError:  # the package around it
        found = None
    if found is None:
        raise ValueError(
            f"{needs} the Python package {package or module}, which is not installed: "
            f"pip install 'anomaly-exporter[{extra}]'"
        )


class Section(BaseModel):
    """A closed, immutable part of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys, each right by itself, do not go together."""
        yield from ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if found := tuple(self.conflicts()):
            text = "; ".join(message for _, message in found)
            raise PydanticCustomError("conflicts", "{text}", {"text": text, "found": found})
        return self
