"""Secrets by reference: a configuration names where a secret is, never the secret itself."""

import os
import re
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    model_validator,
)

from exporter.redact import mask

SENSITIVE: Final = re.compile(r"auth|token|key|secret|cookie|password", re.IGNORECASE)
"""Names of settings whose value is a secret, as likely as not."""


class SecretUnavailable(Exception):
    """A secret's reference leads nowhere. The message names the reference, never the content."""


def _usable(path: Path) -> Path:
    if "\0" in str(path) or path == Path():
        raise ValueError("is not the path of a file")
    return path


FilePath = Annotated[Path, AfterValidator(_usable)]
"""A path the operating system can be asked for."""


class Secret(BaseModel):
    """A reference to a secret: `{env: NAME}` or `{file: PATH}`.

    It is read at every use, so a rotated token file takes effect at the next request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="environment variable")
    file: FilePath | None = Field(None, description="file, read again at every use")

    @model_validator(mode="after")
    def _one_reference(self) -> "Secret":
        if (self.env is None) == (self.file is None):
            raise ValueError("give a secret as exactly one of {env: NAME} or {file: PATH}")
        return self

    def __str__(self) -> str:
        return f"environment variable {self.env}" if self.env is not None else f"file {self.file}"

    def read(self) -> str:
        """Return the secret, without surrounding white space; from now on no log shows it. Raises SecretUnavailable."""
        if self.env is not None:
            text = os.environ.get(self.env, "")
        else:
            assert self.file is not None
            try:
                text = self.file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise SecretUnavailable(f"secret {self} cannot be read: {type(error).__name__}") from None
        if not text.strip():
            raise SecretUnavailable(f"secret {self} is not set or empty")
        mask(text.strip())
        return text.strip()


class UserOfFile(Secret):
    """A reference to the bcrypt hash of one user in a `web.yml`."""

    user: str

    def read(self) -> str:
        """Return the hash; a user who was taken out of the file has none. Raises SecretUnavailable."""
        try:
            users = yaml.safe_load(super().read())["basic_auth_users"]
            text = users[self.user]
        except (yaml.YAMLError, LookupError, TypeError):
            raise SecretUnavailable(f"{self} has no user {self.user!r} any more, or is broken") from None
        mask(str(text))
        return str(text).strip()


def _held(value: object) -> str:
    # Only the original flat file may hold a secret as text; every other file needs a reference.
    return "text" if isinstance(value, SecretStr) else "reference"


HeldSecret = Annotated[Annotated[SecretStr, Tag("text")] | Annotated[Secret, Tag("reference")], Discriminator(_held)]
"""A reference to a secret, or the secret itself where the original flat file holds it."""
