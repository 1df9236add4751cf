"""Where fitted models are kept: `models`."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
)

from exporter.config.secrets import SENSITIVE, FilePath, Secret
from exporter.config.section_base import Conflict, PositiveDuration, Section
from exporter.config.values import Size

_ALSO: Final = re.compile(
    r"connection_string|credential|passphrase|sas_", re.IGNORECASE
)  # names that Azure and Google use


def _reachable(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError("must be the URL of an object store, such as s3://bucket/prefix")
    from fsspec.registry import known_implementations  # not cheap, and most stores are folders

    try:
        parts = urlsplit(value)
        user = parts.username is not None or parts.password is not None
    except ValueError:
        raise ValueError("must be the URL of an object store, such as s3://bucket/prefix") from None
    if user:
        raise ValueError("holds a user name or password; put them into options, by reference to a secret")
    if parts.scheme not in known_implementations or not (parts.netloc + parts.path).strip("/"):
        raise ValueError("must be the URL of an object store, such as s3://bucket/prefix")
    module = known_implementations[parts.scheme]["class"].partition(".")[0]
    if find_spec(module) is None:
        hint = ": pip install 'anomaly-exporter[s3]'" if module == "s3fs" else ""
        raise ValueError(f"{parts.scheme}:// needs the Python module {module}, which is not installed{hint}")
    return value.rstrip("/")


def _referring(value: Any) -> Any:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be names with values")
    return {name: _option(name, each) for name, each in value.items()}


def _option(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        if not value.keys() <= {"env", "file"} or not value:
            return _referring(value)
        try:
            return Secret.model_validate(value)
        except ValidationError:
            raise ValueError(f"{name}: give a secret as exactly one of {{env: NAME}} or {{file: PATH}}") from None
    if (SENSITIVE.search(name) or _ALSO.search(name)) and not isinstance(value, bool | Secret) and value is not None:
        raise ValueError(f"{name} looks like a secret; write {{env: NAME}} or {{file: PATH}} instead of the text")
    return value


StoreUrl = Annotated[str, BeforeValidator(_reachable)]
"""A URL that fsspec can open here, without user and password."""
StoreOptions = Annotated[dict[str, Any], BeforeValidator(_referring)]
"""Options for fsspec. A value whose name looks like a secret is a `Secret`."""


class ModelsConfig(Section):
    """Where fitted models are kept."""

    path: FilePath | None = Field(None, description="folder of the model store")
    url: StoreUrl | None = Field(
        None, description="instead of path an object store, as fsspec writes it: s3://bucket/prefix"
    )
    options: StoreOptions = Field(
        {}, description="options of fsspec for the object store; secrets by reference: secret: {env: NAME}"
    )
    timeout: PositiveDuration = Field(30.0, description="longest wait for one answer of an object store")
    poll: PositiveDuration = Field(30.0, description="how often an object store is asked for a newer model")
    key: Secret | None = Field(
        None, description="HMAC key; without it a digest guards against damage, not against forgery"
    )
    max_size: Size = Field(512 * 2**20, description="a larger model file is refused")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if (self.path is None) == (self.url is None):
            yield ("path", "url"), "give exactly one of path or url"
        if self.options and self.url is None:
            yield ("options", "url"), "options are for url only"
