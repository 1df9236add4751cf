"""`anomaly-exporter accept`: tell the running exporter that the level of open incidents is normal now."""

import hashlib
import os
import re
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from getpass import getpass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import urllib3

from exporter.config.load import load
from exporter.config.sections.service import WebConfig

PASSWORD: Final = "ANOMALY_EXPORTER_PASSWORD"  # noqa: S105 - the variable's name
_WITHIN: Final = urllib3.Timeout(connect=5.0, read=30.0)
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_LONGEST: Final = 64 * 1024
_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - where a server listens that has no address of its own


class NotAccepted(Exception):
    """The exporter was not reached, or it refused. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be accepted, and how the exporter is reached.

    Parameters
    ----------
    job : str
    entities : sequence of str
        Labels such as `instance="a",device="sda"`, for each entity or group of entities; none: the whole job.
    url : str or None
        Address of the exporter; None: its own, from its configuration.
    user : str or None
        None: the only one of `web.users`. The password comes from ANOMALY_EXPORTER_PASSWORD or is asked for.
    certificate, key : Path or None
        Our own, where the exporter demands one.
    """

    job: str
    entities: Sequence[str] = ()
    url: str | None = None
    user: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))


def accept(config: Path, profile: str | None, asked: Request) -> str:
    """Ask the exporter of a configuration; return its answers. Raises ConfigError, NotAccepted."""
    web = load(config, profile).config.web
    if asked.job.strip() == "":
        raise NotAccepted("name the job: --job NAME")
    url = asked.url or own_url(web)
    headers = {}
    if user := asked.user or (next(iter(web.users)) if len(web.users) == 1 else None):
        headers = urllib3.make_headers(basic_auth=f"{user}:{password(user, asked.environ)}")
    elif web.users:
        raise NotAccepted(f"{url} asks for a user: --user {' or --user '.join(web.users)}")
    with _pool(web, asked) as pool:
        entities: Sequence[str | None] = asked.entities or (None,)
        return "".join(_post(pool, url, headers, asked.job, entity) for entity in entities)


def own_url(web: WebConfig) -> str:
    """Return the address at which an exporter on this machine serves. Raises NotAccepted when it is not known."""
    host, _, port = web.listen.rpartition(":")
    if int(port) == 0:
        raise NotAccepted(f"web.listen is {web.listen}: any free port. Give the exporter's address with --url")
    return f"{'https' if web.tls else 'http'}://{_ANY.get(host, host)}:{port}"


def password(user: str, environ: Mapping[str, str]) -> str:
    """Return the password of `user`, from the environment or asked for. Raises NotAccepted."""
    if password := environ.get(PASSWORD):
        return password
    if not sys.stdin.isatty():
        raise NotAccepted(f"the password of {user} is needed: set {PASSWORD}")
    return getpass(f"Password of {user}: ")


def _pool(web: WebConfig, asked: Request) -> urllib3.PoolManager:
    """Return connections that trust what the address stands for: at the exporter's own, its very certificate."""
    shown: dict[str, Any] = {"cert_file": asked.certificate, "key_file": asked.key}
    shown = {name: str(path) for name, path in shown.items() if path is not None}
    if asked.url is not None or web.tls is None:
        return urllib3.PoolManager(timeout=_WITHIN, retries=False, **shown)
    try:
        leaf = _PEM.findall(web.tls.cert_file.read_text("ascii"))[0]
        pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()
    except (OSError, ValueError, IndexError) as error:
        raise NotAccepted(
            f"web.tls.cert_file {web.tls.cert_file} cannot be read: {error}; --url goes without"
        ) from None
    # The certificate is made out to the name others use, not to this machine's loopback address.
    return urllib3.PoolManager(
        timeout=_WITHIN,
        retries=False,
        cert_reqs="CERT_NONE",
        assert_hostname=False,
        assert_fingerprint=pin,
        **shown,
    )


def _post(pool: urllib3.PoolManager, url: str, headers: dict[str, str], job: str, entity: str | None) -> str:
    parameters = {"job": job} if entity is None else {"job": job, "match": entity}
    try:
        answer = pool.request(
            "POST", f"{url.rstrip('/')}/-/accept?{urlencode(parameters)}", headers=headers, preload_content=False
        )
        text = answer.read(_LONGEST).decode("utf-8", "replace")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        hint = "does the exporter run there? --url names another address"
        raise NotAccepted(f"{url} cannot be reached: {error}; {hint}") from None
    if answer.status == 200:
        return text
    if answer.status == 401:
        raise NotAccepted(f"{url} does not take this user and password")
    if "-/accept" not in text and answer.status in {404, 405} and "job" not in text:
        raise NotAccepted(f"{url} is no anomaly-exporter that can accept: it answers {answer.status}")
    raise NotAccepted(text.strip() or f"{url} answers {answer.status}")
