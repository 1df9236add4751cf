"""How a configuration names an object store: a URL and options of fsspec, secrets in them by reference."""

import re
from importlib.util import find_spec
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ValidationError

from exporter.config.secrets import SENSITIVE, Secret

_ALSO: Final = re.compile(r"connection_string|credential|passphrase|sas_", re.IGNORECASE)  # as Azure's and Google's say


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
        raise ValueError(f"{parts.scheme}:// needs the Python module {module}, which is not installed")
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
"""What fsspec is told besides the URL; whatever is called like a secret is a `Secret`."""
