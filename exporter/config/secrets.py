"""Secrets by reference: a configuration names where a secret is, never the secret itself."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator


class SecretUnavailable(Exception):
    """A secret's reference leads nowhere. The message names the reference, never the content."""


class Secret(BaseModel):
    """A reference to a secret: `{env: NAME}` or `{file: PATH}`.

    It is read at every use, so a rotated token file takes effect at the next request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one_reference(self) -> "Secret":
        if (self.env is None) == (self.file is None):
            raise ValueError("give a secret as exactly one of {env: NAME} or {file: PATH}")
        return self

    def read(self) -> str:
        """Return the secret, without surrounding white space. Raises SecretUnavailable."""
        if self.env is not None:
            text = os.environ.get(self.env, "")
            where = f"environment variable {self.env}"
        else:
            assert self.file is not None
            where = f"file {self.file}"
            try:
                text = self.file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise SecretUnavailable(f"secret {where} cannot be read: {type(error).__name__}") from None
        if not text.strip():
            raise SecretUnavailable(f"secret {where} is not set or empty")
        return text.strip()
