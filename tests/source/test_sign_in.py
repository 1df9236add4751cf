"""Sources that take more than a header: OAuth 2.0, AWS, Google. The other side checks with code that is not ours."""

import hashlib
import hmac
import json
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from exporter.source import sign_in
from exporter.source.errors import AccessDenied, DeadlineExceeded, SourceError, Unreachable
from tests.support.stub import ONE, Reply, serve

SECRET = "s3cr3t-canary"
ACCESS, KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("AWS_SECRET", KEY)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


def token(text="one", lasts=3600, **more):
    body = {"access_token": text, "token_type": "Bearer", "expires_in": lasts, **more}
    return Reply(json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def oauth2(tokens, **more):
    return {"client_id": "ours", "client_secret": {"env": "SECRET"}, "token_url": f"{tokens.url}/token", **more}


def only(bearer):
    """Answer who shows this token, and refuse all others."""
    return lambda asked: Reply(ONE) if asked.headers.get("authorization") == f"Bearer {bearer}" else Reply(status=401)


def test_a_token_is_fetched_once_and_shown_with_every_query(connect):
    with serve(token()) as tokens, serve(only("one")) as stub:
        source = connect(stub.url, oauth2=oauth2(tokens, scopes=["read", "all"], endpoint_params={"audience": "x"}))
        threads = [threading.Thread(target=source.once) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        source.once()
        assert len(stub.requests) == 5
        [asked] = tokens.requests
        assert asked.form == {"grant_type": "client_credentials", "scope": "read all", "audience": "x"}
        assert asked.headers["authorization"].startswith("Basic ")
        assert SECRET not in asked.path


def test_it_is_fetched_again_before_it_expires(connect, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(sign_in.time, "monotonic", lambda: clock[0])
    with serve(token("one", lasts=600), token("two")) as tokens, serve(Reply(ONE)) as stub:
        source = connect(stub.url, oauth2=oauth2(tokens))
        source.allow(1e9)
        source.once()
        clock[0] = 541.0
        source.once()
        source.once()
        shown = [asked.headers["authorization"] for asked in stub.requests]
        assert shown == ["Bearer one", "Bearer two", "Bearer two"]


def test_a_token_that_the_source_refuses_is_not_kept(connect):
    with serve(token("one"), token("two")) as tokens, serve(only("two")) as stub:
        source = connect(stub.url, oauth2=oauth2(tokens))
        with pytest.raises(AccessDenied):
            source.once()
        source.once()
        assert len(tokens.requests) == 2


def refusal(error):
    return Reply(json.dumps({"error": error}).encode(), 400, {"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (refusal("invalid_client"), AccessDenied, "refuses: invalid_client; check client_id"),
        (refusal("invalid_scope"), AccessDenied, "refuses: invalid_scope"),
        (Reply(status=500), Unreachable, "answers 500"),
        (Reply(b"<html>sign in</html>"), SourceError, "oauth2.token_url"),
        (Reply(b'{"access_token": 3'), SourceError, "oauth2.token_url"),
        (Reply(b"{}"), AccessDenied, "refuses: missing_token"),
        (Reply(raw=b""), Unreachable, "gives no token"),
    ],
)
def test_without_a_token_the_source_is_not_asked_and_the_cause_is_told(connect, fast_retries, reply, kind, told):
    with serve(reply) as tokens, serve(Reply(ONE)) as stub:
        source = connect(stub.url, oauth2=oauth2(tokens))
        with pytest.raises(kind) as caught:
            source.once()
        assert told in str(caught.value)
        assert SECRET not in str(caught.value)
        assert stub.requests == []


def test_a_redirect_of_the_token_server_gets_no_secret(connect):
    with serve(token()) as other, serve(Reply(status=307, headers={"Location": f"{other.url}/x"})) as tokens:
        with pytest.raises(AccessDenied, match="redirects, which is not followed"):
            connect("http://127.0.0.1:1", oauth2=oauth2(tokens)).once()
        assert other.requests == []


def test_a_token_server_that_hangs_costs_the_deadline_of_the_query_and_no_more(connect):
    with serve(Reply(delay=3600)) as tokens, serve(Reply(ONE)) as stub:
        source = connect(stub.url, oauth2=oauth2(tokens), deadline=0.5)
        with pytest.raises((DeadlineExceeded, Unreachable)):
            source.once()
        assert stub.requests == []


def signature_of(asked, url, headers, region="eu-central-1", service="aps"):
    """Return the signature that AWS's own description asks for (Signature Version 4)."""
    parts = dict(part.strip().split("=", 1) for part in headers["authorization"].partition(" ")[2].split(","))
    names = parts["SignedHeaders"].split(";")
    host = {"host": urlsplit(url).netloc}
    canonical_headers = "".join(f"{name}:{(headers | host)[name].strip()}\n" for name in names)
    path, _, query = asked.path.partition("?")
    query = "&".join(sorted(query.split("&"))) if query else ""
    hashed = hashlib.sha256(asked.body).hexdigest()
    request = "\n".join([asked.method, path, query, canonical_headers, ";".join(names), hashed])
    at = headers["x-amz-date"]
    scope = f"{at[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{KEY}".encode()
    for step in (at[:8], region, service, "aws4_request"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    assert parts["Credential"] == f"{ACCESS}/{scope}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), parts["Signature"]


SIGV4 = {"region": "eu-central-1", "access_key": ACCESS, "secret_key": {"env": "AWS_SECRET"}}


def test_queries_and_metadata_are_signed_as_aws_describes_it(connect):
    with serve(Reply(ONE), Reply(b'{"status": "success", "data": {}}')) as stub:
        source = connect(stub.url, sigv4=SIGV4)
        source.once('sum by (a) (rate(x{b=~"c d/é.*"}[5m]))')
        source.metric_types(["up"])
        assert [asked.method for asked in stub.requests] == ["POST", "GET"]
        for asked in stub.requests:
            computed, shown = signature_of(asked, stub.url, asked.headers)
            assert computed == shown


def test_without_credentials_of_aws_it_is_told_what_to_do(connect):
    with serve(Reply(ONE)) as stub:
        source = connect(stub.url, sigv4={"region": "eu-central-1"})
        with pytest.raises(AccessDenied, match=r"no credentials of AWS were found; give prometheus\.sigv4\.access_key"):
            source.once()
        with pytest.raises(AccessDenied, match="no credentials of AWS"):
            connect(stub.url, sigv4={"region": "eu-central-1", "profile": "nobody"}).once()
        assert stub.requests == []


def test_a_role_is_assumed_and_its_token_shown(connect, monkeypatch):
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    credentials = (
        f"<Credentials><AccessKeyId>{ACCESS}</AccessKeyId><SecretAccessKey>{KEY}</SecretAccessKey>"
        f"<SessionToken>of-the-role</SessionToken><Expiration>{until}</Expiration></Credentials>"
    )
    answer = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>'
        f"{credentials}</AssumeRoleResult></AssumeRoleResponse>"
    )
    with serve(Reply(answer.encode(), headers={"Content-Type": "text/xml"})) as sts, serve(Reply(ONE)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        source = connect(stub.url, sigv4={**SIGV4, "role_arn": "arn:aws:iam::123456789012:role/reader"})
        source.once()
        source.once()
        [assumed] = sts.requests
        assert assumed.form["RoleArn"].endswith(":role/reader")
        assert [asked.headers["x-amz-security-token"] for asked in stub.requests] == ["of-the-role"] * 2
        for asked in stub.requests:
            computed, shown = signature_of(asked, stub.url, asked.headers)
            assert computed == shown


def test_what_aws_refuses_shows_no_secret(connect):
    def echo(asked):
        return Reply(json.dumps({"error": dict(asked.headers)}).encode(), 403)

    with serve(echo) as stub, pytest.raises(AccessDenied) as caught:
        connect(stub.url, sigv4=SIGV4).once()
    assert KEY not in str(caught.value)
    assert "Signature=" not in str(caught.value)


@pytest.fixture
def account(tmp_path):
    """A service account: the file, and the public key of its owner."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def written(token_url):
        path = tmp_path / "account.json"
        content = {"type": "service_account", "client_email": "ours@test", "private_key": pem, "private_key_id": "1"}
        path.write_text(json.dumps({**content, "token_uri": f"{token_url}/token"}))
        return str(path)

    return written, public


def test_the_token_of_a_service_account_is_shown(connect, account):
    written, public = account
    with serve(token("of-google")) as tokens, serve(only("of-google")) as stub:
        source = connect(stub.url, google={"credentials_file": written(tokens.url)})
        source.once()
        source.once()
        [asked] = tokens.requests
        claims = jwt.decode(asked.form["assertion"], certs=public, audience=None)
        assert claims["iss"] == "ours@test"
        assert claims["scope"] == "https://www.googleapis.com/auth/monitoring.read"


def test_a_token_of_google_that_is_refused_is_fetched_again(connect, account):
    written, _ = account
    with serve(token("one"), token("two")) as tokens, serve(only("two")) as stub:
        source = connect(stub.url, google={"credentials_file": written(tokens.url)})
        with pytest.raises(AccessDenied):
            source.once()
        source.once()


def test_without_an_account_of_google_it_is_told_what_to_do(connect, tmp_path, account, fast_retries):
    written, _ = account
    with serve(Reply(ONE)) as stub:
        broken = tmp_path / "broken.json"
        broken.write_text("{}")
        for path in (str(broken), str(tmp_path / "missing.json")):
            with pytest.raises(AccessDenied, match=r"check prometheus\.google\.credentials_file"):
                connect(stub.url, google={"credentials_file": path}).once()
        with serve(Reply(b'{"error": "invalid_grant"}', 400)) as tokens, pytest.raises(AccessDenied) as caught:
            connect(stub.url, google={"credentials_file": written(tokens.url)}).once()
        assert "Google gives no token" in str(caught.value)
        assert stub.requests == []
