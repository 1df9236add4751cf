"""The web.yml of other exporters, taken as it is."""

from pathlib import Path

import bcrypt
import httpx
import pytest
import trustme

from exporter.config.errors import ConfigError
from exporter.config.load import load
from exporter.config.sections.service import WebConfig
from exporter.config.web_file import with_web_file
from exporter.sinks.metrics_page import Page
from exporter.web.server import Callbacks, Server
from tests.web.test_tls import Files, trusting

AUTHORITY = trustme.CA()
WHOLE = """
tls_server_config:
  cert_file: tls.crt
  key_file: tls.key
  client_auth_type: {auth}
  client_ca_file: ca.pem
  min_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: true
  curve_preferences: [CurveP256, X25519]
http_server_config:
  http2: true
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
basic_auth_users:
  alice: {alice}
  bob: {bob}
"""


def hashed(password: bytes) -> str:
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Files(tmp_path).write(AUTHORITY.issue_cert("127.0.0.1"))
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.cert_pem.bytes())
    return tmp_path


def write(folder: Path, auth: str = "RequireAndVerifyClientCert", **users: str) -> Path:
    path = folder / "web.yml"
    path.write_text(WHOLE.format(auth=auth, **({"alice": hashed(b"a"), "bob": hashed(b"b")} | users)))
    return path


def test_a_whole_file_is_served_unchanged(folder: Path, page: Page) -> None:
    path = write(folder)
    config, notes = with_web_file(WebConfig(listen="127.0.0.1:0"), path)
    assert [note.partition(": ")[2].partition(" has no effect")[0] for note in notes] == [
        "http_server_config.http2",
        "tls_server_config.curve_preferences",
    ]
    server = Server(config, page, Callbacks(lambda: True, lambda: None))
    server.start()
    try:
        unknown, known = trusting(AUTHORITY), trusting(AUTHORITY)
        AUTHORITY.issue_cert("client").configure_cert(known)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/metrics", verify=unknown, auth=("alice", "a"), trust_env=False)
        with httpx.Client(base_url=server.url, verify=known, trust_env=False) as client:
            assert client.get("/metrics").status_code == 401
            answer = client.get("/metrics", auth=("alice", "a"))
            assert answer.status_code == 200
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
            assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]
            assert answer.headers["X-Frame-Options"] == "deny"
            write(folder, alice=hashed(b"new"))
            assert client.get("/metrics", auth=("alice", "a")).status_code == 401, "as with other exporters: at once"
            assert client.get("/metrics", auth=("alice", "new")).status_code == 200
            path.write_text(path.read_text().partition("  bob")[0])
            assert client.get("/metrics", auth=("bob", "b")).status_code == 401
    finally:
        server.stop()


def test_a_certificate_that_may_be_missing_lets_nobody_change_anything(folder: Path) -> None:
    path = folder / "web.yml"
    text = write(folder, auth="VerifyClientCertIfGiven").read_text()
    path.write_text(text.partition("basic_auth_users")[0])
    config, _ = with_web_file(WebConfig(), path)
    assert config.tls is not None
    assert config.tls.client_optional
    assert not config.may_act
    assert not config.offers_workbench


def test_an_empty_file_is_a_port_without_anything(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text("")
    config, notes = with_web_file(WebConfig(), tmp_path / "web.yml")
    assert (config.tls, config.users, config.headers, notes) == (None, {}, {}, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls_server_config: {cert_fil: a}", "1: tls_server_config.cert_fil: unknown key; did you mean 'cert_file'?"),
        ("basic_auth_user: {}", "1: basic_auth_user: unknown key; did you mean 'basic_auth_users'?"),
        ("basic_auth_users:\n  a: hunter2", "2: basic_auth_users.a: is not a bcrypt hash; make one with: htpasswd"),
        ("tls_server_config: {cert_file: a}", "1: tls_server_config: key_file is missing: TLS needs a certificate"),
        ("tls_server_config: {cert_file: a, key: b}", "1: tls_server_config.key: is not supported here: write it into"),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}",
            "1: tls_server_config.client_auth_type: RequireAnyClientCert is not supported here, since it takes any",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}",
            "1: tls_server_config: client_ca_file needs client_auth_type: Req",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_allowed_sans: [c]}",
            "1: tls_server_config.client_allowed_sans: is not supported here: give the clients a CA of their own",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}",
            "1: tls_server_config.min_version: TLS10 is not supported here: TLS12 is the oldest that is safe",
        ),
        ("rate_limit: {interval: 1s, burst: 2}", "1: rate_limit: is not supported here: leave it out, and set max_con"),
        ("http_server_config: {headers: {Server: x}}", "1: http_server_config.headers.Server: unknown key; known here"),
        ("- 1", "1: must be keys with values"),
        ("a: [", "a list or mapping in brackets is never closed"),
    ],
)
def test_what_is_wrong_or_not_supported_is_said_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "web.yml").write_text(text)
    (tmp_path / "a.yml").write_text(f"jobs: {{a: {{expr: up}}}}\nweb: {{config_file: {tmp_path}/web.yml}}")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "a.yml", None, {})
    assert message in str(caught.value)
    assert f"{tmp_path}/web.yml" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_same_in_both_files_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("jobs: {a: {expr: up}}\nweb: {config_file: web.yml, headers: {A: b}}")
    with pytest.raises(ConfigError, match="sets headers too: leave them out here, or config_file"):
        load(tmp_path / "a.yml", None, {})
