"""Who we are is shown to the configured source, to nobody else, and in no message."""

import base64
import ssl

import pytest
import trustme

from exporter.source.errors import AccessDenied, BadAnswer, SourceError, Unreachable
from tests.support.stub import ONE, Reply, serve

SECRET = "s3cr3t-canary"


def test_redirects_are_not_followed_and_nothing_reaches_the_other_host(connect, monkeypatch):
    """Row 17. requests would drop Authorization, but take X-Scope-OrgID and X-Api-Key along."""
    monkeypatch.setenv("KEY", SECRET)
    with serve(Reply(ONE)) as other:
        location = other.url.replace("://", f"://user:{SECRET}@") + "/api/v1/query_range"
        for status in (301, 302, 303, 307, 308):
            with serve(Reply(status=status, headers={"Location": location})) as stub:
                source = connect(stub.url, bearer={"env": "KEY"}, headers={"X-Api-Key": {"env": "KEY"}})
                with pytest.raises(BadAnswer) as caught:
                    source.once()
                with pytest.raises(BadAnswer):
                    source.metric_types(["up"])
                assert len(stub.requests) == 2
            host = other.url.removeprefix("http://")
            assert f"redirects to {host}, which is not followed; set prometheus.url" in str(caught.value)
            assert SECRET not in str(caught.value)
        assert other.requests == []
        assert other.connections == 0


@pytest.fixture
def foreign_credentials(monkeypatch, tmp_path):
    """A ~/.netrc for every host, and a proxy in the environment."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve(Reply(ONE)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        yield proxy


def test_the_environment_is_ignored_unless_asked_for(connect, foreign_credentials):
    """Row 18."""
    with serve(Reply(ONE)) as stub:
        connect(stub.url).once()
        assert "authorization" not in stub.requests[0].headers
    assert foreign_credentials.requests == []


def test_the_environment_is_used_when_asked_for_but_never_replaces_our_token(connect, foreign_credentials, monkeypatch):
    """Row 18: requests prefers ~/.netrc to a header."""
    monkeypatch.setenv("TOKEN", SECRET)
    url = "http://prometheus.invalid:9090"
    connect(url, proxy_from_environment=True, bearer={"env": "TOKEN"}).once()
    connect(url, proxy_from_environment=True, headers={"Authorization": {"env": "TOKEN"}}).once()
    connect(url, proxy_from_environment=True).once()
    sent = [request.headers["authorization"] for request in foreign_credentials.requests]
    assert sent == [f"Bearer {SECRET}", SECRET, "Basic " + base64.b64encode(b"somebody:else").decode()]
    assert foreign_credentials.requests[0].path == f"{url}/api/v1/query_range"


def test_a_rotated_token_works_at_the_next_query_without_a_retry_loop(connect, tmp_path):
    """Row 10."""
    token = tmp_path / "token"
    token.write_text("old\n")
    valid = "Bearer old"

    def reply(request):
        if request.headers.get("authorization") == valid:
            return Reply(ONE)
        return Reply(f"no such token: {request.headers.get('authorization')}".encode(), status=401)

    with serve(reply) as stub:
        source = connect(stub.url, bearer={"file": str(token)}, retries=5)
        source.once()
        valid = f"Bearer {SECRET}"
        with pytest.raises(AccessDenied, match=r"401 Unauthorized.*no such token.*check basic_auth, bearer"):
            source.once()
        assert len(stub.requests) == 2
        token.write_text(SECRET)
        assert source.once().retries == 0
        valid = "Bearer another"
        with pytest.raises(AccessDenied) as caught:
            source.once()
        assert SECRET not in str(caught.value)
        assert "***" in str(caught.value)


def test_basic_auth_and_extra_headers_are_sent(connect, monkeypatch):
    monkeypatch.setenv("PASSWORD", "pässword")
    monkeypatch.setenv("KEY", SECRET)
    with serve(Reply(ONE)) as stub:
        connect(
            stub.url,
            basic_auth={"username": "us:er", "password": {"env": "PASSWORD"}},
            headers={"X-Scope-OrgID": "team-a", "X-Key": {"env": "KEY"}},
        ).once()
        headers = stub.requests[0].headers
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() == "us:er:pässword"
    assert (headers["x-scope-orgid"], headers["x-key"]) == ("team-a", SECRET)


def test_a_missing_secret_is_named_and_the_source_not_asked(connect, tmp_path):
    with serve(Reply(ONE)) as stub:
        with pytest.raises(AccessDenied, match=r"was not asked: secret file .*token cannot be read: FileNotFoundError"):
            connect(stub.url, bearer={"file": str(tmp_path / "token")}).once()
        assert stub.requests == []


@pytest.mark.parametrize("bad", ["two\nlines", "tab\there", "uml\u00e4ut", "nul\0"])
def test_a_secret_that_makes_no_header_is_refused_without_showing_it(connect, tmp_path, bad):
    """Header injection, and http.client's error would quote the value."""
    token = tmp_path / "token"
    token.write_text(f"{SECRET}{bad}")
    with serve(Reply(ONE)) as stub:
        with pytest.raises(AccessDenied, match="the value for header Authorization holds a line break") as caught:
            connect(stub.url, bearer={"file": str(token)}).once()
        assert SECRET not in str(caught.value)
        assert stub.requests == []


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def certificates(authority, tmp_path):
    """Write the authority and a client certificate; return their paths."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client = authority.issue_cert("exporter.example")
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    return {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}


def tls(authority, *, demand_client=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if demand_client:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_a_certificate_of_the_configured_authority_is_accepted(connect, authority, certificates):
    with serve(Reply(ONE), tls=tls(authority)) as stub:
        source = connect(stub.url, tls={"ca_file": certificates["ca"]})
        for _ in range(3):
            assert source.once().values.tolist() == [1.0]
        assert stub.connections == 1


@pytest.mark.parametrize("from_environment", [False, True])
def test_a_certificate_nobody_vouches_for_is_refused_once(
    connect, authority, monkeypatch, certificates, from_environment
):
    """Row 18: with REQUESTS_CA_BUNDLE set it is still refused, unless the environment is asked for."""
    if from_environment:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificates["ca"])
    with serve(Reply(ONE), tls=tls(authority)) as stub:
        with pytest.raises(Unreachable, match=r"certificate is refused: .*; check prometheus\.tls") as caught:
            connect(stub.url).once()
        assert caught.value.retries == 0
        assert stub.requests == []


def test_any_certificate_will_do_when_the_configuration_says_so(connect, authority):
    with serve(Reply(ONE), tls=tls(authority)) as stub, pytest.warns(match="Unverified HTTPS request"):
        assert connect(stub.url, tls={"insecure_skip_verify": True}).once().values.tolist() == [1.0]


def test_the_configured_authority_counts_even_if_the_environment_names_another(
    connect, authority, certificates, monkeypatch, tmp_path
):
    """Row 18: requests prefers REQUESTS_CA_BUNDLE to a session's own setting."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    with serve(Reply(ONE), tls=tls(authority)) as stub:
        source = connect(stub.url, tls={"ca_file": certificates["ca"]}, proxy_from_environment=True)
        assert source.once().values.tolist() == [1.0]


def test_our_client_certificate_is_shown(connect, authority, certificates):
    with serve(Reply(ONE), tls=tls(authority, demand_client=True)) as stub:
        ours = {"ca_file": certificates["ca"], "cert_file": certificates["cert"], "key_file": certificates["key"]}
        assert connect(stub.url, tls=ours).once().values.tolist() == [1.0]
        assert connect(stub.url, tls=ours).metric_types([]) == {}
        with pytest.raises(SourceError):
            connect(stub.url, tls={"ca_file": certificates["ca"]}, retries=0).once()
        assert len(stub.requests) == 1


def test_a_missing_certificate_file_is_named(connect, tmp_path):
    for key in ({"ca_file": "no.pem"}, {"cert_file": "no.pem", "key_file": "no.pem"}):
        paths = {name: str(tmp_path / file) for name, file in key.items()}
        with pytest.raises(Unreachable, match=r"was not asked: .*no\.pem; check prometheus\.tls"):
            connect("https://127.0.0.1:9", tls=paths).once()


def test_http_and_https_mixed_up_says_so(connect, authority):
    with serve(Reply(ONE)) as stub, pytest.raises(Unreachable, match=r"no TLS connection: .*; check http or https"):
        connect(stub.url.replace("http", "https"), retries=0).once()
    with serve(Reply(ONE), tls=tls(authority)) as stub, pytest.raises(SourceError):
        connect(stub.url.replace("https", "http"), retries=0).once()
