"""The jobs that `check-config --against` compares with: of a running exporter, or of another file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import urllib3

from exporter.cli.accept_client import NotAccepted, password
from exporter.config.compare import decode_jobs, keys_of
from exporter.config.digest import JobKeys
from exporter.config.load import load
from exporter.json_values import from_json

PATH: Final = "/api/v1/config"
_WITHIN: Final = urllib3.Timeout(connect=5.0, read=30.0)
_LONGEST: Final = 64 * 2**20


class NotComparable(Exception):
    """The running exporter was not reached, or it did not answer. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Against:
    """What to compare with.

    Parameters
    ----------
    target : str
        Address of a running exporter (http:// or https://), or a configuration file.
    profile : str or None
        The profile overlaid on a file.
    user : str or None
        Of the running exporter; the password comes from ANOMALY_EXPORTER_PASSWORD or is asked for.
    certificate, key : Path or None
        Our own, where the running exporter demands one.
    """

    target: str
    profile: str | None = None
    user: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def jobs(self) -> dict[str, JobKeys]:
        """Return the digests of the jobs there. Raises ConfigError, NotComparable."""
        if self.target.startswith(("http://", "https://")):
            return self._running()
        return keys_of(load(Path(self.target), self.profile, self.environ).config)

    def _running(self) -> dict[str, JobKeys]:
        shown = {"cert_file": self.certificate, "key_file": self.key}
        files = {name: str(path) for name, path in shown.items() if path is not None}
        try:
            headers = {}
            if self.user is not None:
                login = f"{self.user}:{password(self.user, self.environ)}"
                headers = urllib3.make_headers(basic_auth=login)
            with urllib3.PoolManager(timeout=_WITHIN, retries=False, **files) as pool:  # type: ignore[arg-type] # of many types
                answer = pool.request("GET", self.target.rstrip("/") + PATH, headers=headers, preload_content=False)
                body = answer.read(_LONGEST)
        except NotAccepted as error:
            raise NotComparable(str(error)) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NotComparable(f"{self.target} cannot be reached: {error}; does the exporter run there?") from None
        if answer.status == 401:
            raise NotComparable(f"{self.target} asks for a user: --user NAME, and its password")
        if answer.status != 200:
            raise NotComparable(
                f"{self.target} answers {answer.status} to {PATH}: it is not an anomaly-exporter, or an older one; "
                "compare with its configuration file instead"
            )
        try:
            return decode_jobs(from_json(body)["jobs"])
        except (ValueError, KeyError, TypeError):
            raise NotComparable(f"{self.target} is not an anomaly-exporter: its {PATH} is something else") from None
