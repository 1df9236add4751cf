"""TLS of our own port."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trustme

from exporter.config.sections.service import WebConfig, WebTLS
from exporter.sinks.metrics_page import Page
from exporter.web.server import Callbacks, Server, ServerError

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Files:
    """Certificate and key on disk."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"

    def write(self, certificate: trustme.LeafCert, *, cert: bool = True, key: bool = True) -> None:
        if cert:
            self.cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        if key:
            self.key.write_bytes(certificate.private_key_pem.bytes())

    def config(self, **more: object) -> WebTLS:
        return WebTLS(cert_file=self.cert, key_file=self.key, **more)


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> Files:
    made = Files(tmp_path)
    made.write(authority.issue_cert("127.0.0.1"))
    return made


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def shown(server: Server, context: ssl.SSLContext) -> bytes:
    """Return the certificate a new connection is shown."""
    with (
        socket.create_connection(server.address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        certificate = wrapped.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def test_the_page_is_served_over_tls(serve: Serve, files: Files, authority: trustme.CA, page: Page) -> None:
    server = serve(tls=files.config())
    assert server.url.startswith("https://")
    with httpx.Client(verify=trusting(authority), trust_env=False) as client:
        assert client.get(f"{server.url}/metrics").content == page.current.body


def test_a_renewed_certificate_is_shown_to_new_connections_while_old_ones_go_on(
    serve: Serve, files: Files, authority: trustme.CA
) -> None:
    """Row 39: no restart, no scrape lost, also while certificate and key do not fit together."""
    server, context = serve(tls=files.config()), trusting(authority)
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(f"{server.url}/metrics").status_code == 200
        first = shown(server, context)
        renewed = authority.issue_cert("127.0.0.1")
        files.write(renewed, key=False)
        assert shown(server, context) == first, "half of a pair changes nothing"
        files.write(renewed, cert=False)
        assert shown(server, context) == ssl.PEM_cert_to_DER_cert(renewed.cert_chain_pems[0].bytes().decode())
        assert client.get(f"{server.url}/metrics").status_code == 200
        files.cert.unlink()
        assert shown(server, context), "a missing file leaves the last good one"


def test_a_certificate_renewed_by_swapping_a_link_is_noticed(
    serve: Serve, tmp_path: Path, authority: trustme.CA
) -> None:
    """Row 39, the way Kubernetes does it."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Files(tmp_path / name).write(authority.issue_cert("127.0.0.1"))
    link = tmp_path / "data"
    link.symlink_to("one")
    server, context = serve(tls=Files(link).config()), trusting(authority)
    first = shown(server, context)
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(link)
    assert shown(server, context) != first


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(serve: Serve, files: Files, authority: trustme.CA) -> None:
    """Row 39."""
    server, context = serve(tls=files.config()), trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shown(server, context)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shown(server, context)


def test_a_client_certificate_is_demanded_where_an_authority_is_named(
    serve: Serve, files: Files, tmp_path: Path, authority: trustme.CA, page: Page
) -> None:
    trusted = tmp_path / "clients.pem"
    clients = trustme.CA()
    clients.cert_pem.write_to_path(str(trusted))
    url = f"{serve(tls=files.config(client_ca_file=trusted)).url}/metrics"

    def status(*certificates: trustme.LeafCert) -> int:
        context = trusting(authority)
        for certificate in certificates:
            certificate.configure_cert(context)
        with httpx.Client(verify=context, trust_env=False) as client:
            return client.get(url).status_code

    assert status(clients.issue_cert("scraper.example")) == 200
    with pytest.raises(httpx.TransportError):
        status()
    with pytest.raises(httpx.TransportError):
        status(trustme.CA().issue_cert("scraper.example"))


def test_plain_http_on_a_tls_port_is_refused_and_harms_nobody(
    serve: Serve, files: Files, authority: trustme.CA
) -> None:
    server = serve(tls=files.config())
    with socket.create_connection(server.address, timeout=10) as plain:
        plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"anomaly" not in plain.recv(65536)
    assert shown(server, trusting(authority))


@pytest.mark.parametrize("broken", ["cert", "key"])
def test_a_bad_tls_file_is_one_clear_error_and_starts_nothing(page: Page, files: Files, broken: str) -> None:
    path: Path = getattr(files, broken)
    path.write_text("no PEM")
    before = threading.active_count()
    for _ in range(2):
        with pytest.raises(ServerError, match=r"web\.tls: cannot use") as caught:
            Server(
                WebConfig(listen="127.0.0.1:0", tls=files.config()), page, Callbacks(lambda: True, lambda: None)
            ).start()
        assert str(path) in str(caught.value)
        path.unlink(missing_ok=True)
    assert threading.active_count() == before
