"""The HTTP request of `anomaly-exporter accept` to a running exporter."""

import hashlib
import os
import re
import ssl
import sys
from collections.abc import Mapping, Sequence
from getpass import getpass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import urllib3

from exporter.config.sections.service import WebConfig

PASSWORD: Final = "ANOMALY_EXPORTER_PASSWORD"  # noqa: S105 - the variable's name
_WITHIN: Final = urllib3.Timeout(connect=5.0, read=30.0)
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_LONGEST: Final = 64 * 1024
_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - addresses that stand for every interface, not connected to


class NotAccepted(Exception):
    """The exporter could not be reached, or it refused. The message says why and what to do."""


def accept_incidents(
    web: WebConfig,
    job: str,
    entities: Sequence[str] = (),
    url: str | None = None,
    user: str | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """Ask a running exporter to accept open incidents as normal and return its answers. Raises NotAccepted.

    Parameters
    ----------
    web : WebConfig
        The exporter's own: address, users and certificate.
    job : str
        Job of the incidents.
    entities : sequence of str
        Labels such as `instance="a",device="sda"` for each entity or group of entities; none: the whole job.
    url : str or None
        Address of the exporter; None: `web.listen`.
    user : str or None
        None: the only one of `web.users`. The password comes from ANOMALY_EXPORTER_PASSWORD or is prompted for.
    certificate, key : Path or None
        Client certificate, if the exporter asks for one.
    environ : mapping of str to str
        Environment variables.
    """
    if job.strip() == "":
        raise NotAccepted("name the job: --job NAME")
    address, headers = url or own_url(web), login(web, url, user, environ)
    with pool_to(web if url is None else None, certificate, key) as pool:
        selected: Sequence[str | None] = entities or (None,)
        return "".join(_post(pool, address, headers, job, entity) for entity in selected)


def login(web: WebConfig, url: str | None, user: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the headers of a request to an exporter, with name and password where it asks. Raises NotAccepted."""
    if user := user or (next(iter(web.users)) if len(web.users) == 1 else None):
        return dict(urllib3.make_headers(basic_auth=f"{user}:{password(user, environ)}"))
    if web.users:
        raise NotAccepted(f"{url or own_url(web)} asks for a user: --user {' or --user '.join(web.users)}")
    return {}


def own_url(web: WebConfig) -> str:
    """Return the URL of the exporter on this machine. Raises NotAccepted if its port is chosen at start."""
    host, _, port = web.listen.rpartition(":")
    if int(port) == 0:
        raise NotAccepted(f"web.listen is {web.listen}: any free port. Give the exporter's address with --url")
    return f"{'https' if web.tls else 'http'}://{_ANY.get(host, host)}:{port}"


def password(user: str, environ: Mapping[str, str]) -> str:
    """Return the password of `user`, from the environment or prompted for. Raises NotAccepted."""
    if given := environ.get(PASSWORD):
        return given
    if not sys.stdin.isatty():
        raise NotAccepted(f"the password of {user} is needed: set {PASSWORD}")
    return getpass(f"Password of {user}: ")


def pool_to(own: WebConfig | None, certificate: Path | None, key: Path | None) -> urllib3.PoolManager:
    """Return connections to an exporter; to our `own` one they trust exactly the certificate in its configuration."""
    files: dict[str, Any] = {"cert_file": certificate, "key_file": key}
    files = {name: str(path) for name, path in files.items() if path is not None}
    if own is None or own.tls is None:
        return urllib3.PoolManager(timeout=_WITHIN, retries=False, **files)
    try:
        leaf = _PEM.findall(own.tls.cert_file.read_text("ascii"))[0]
        pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()
    except (OSError, ValueError, IndexError) as error:
        raise NotAccepted(
            f"web.tls.cert_file {own.tls.cert_file} cannot be read: {error}; with --url it is not needed"
        ) from None
    # The certificate names the public host, not the loopback address.
    return urllib3.PoolManager(
        timeout=_WITHIN,
        retries=False,
        cert_reqs="CERT_NONE",
        assert_hostname=False,
        assert_fingerprint=pin,
        **files,
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
        raise NotAccepted(f"{url} is not an anomaly-exporter with /-/accept: it answers {answer.status}")
    raise NotAccepted(text.strip() or f"{url} answers {answer.status}")
