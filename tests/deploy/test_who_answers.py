"""What `deploy` says of servers that are no cluster, do not let us in, or refuse for another reason than our rights."""

import json
import ssl
from pathlib import Path

import pytest
import trustme
import yaml

from deploy.kubernetes.errors import OLDEST
from tests.deploy.conftest import CANARY, Deploy
from tests.support.cluster import CONFIG, Emulator, kubeconfig
from tests.support.stub import Reply, serve

TLS_ONLY = b"Client sent an HTTP request to an HTTPS server.\n"
NO_PAGE = b"404 page not found\n"


@pytest.fixture
def told(deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what `--apply` says of the server at an address: `told(url, **user)`."""
    file = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(file))

    def ask(url: str, **user: object) -> str:
        made = yaml.safe_load(kubeconfig(url, f"{CANARY}-login"))
        if user:
            made["users"][0]["user"] = user
        file.write_text(yaml.safe_dump(made))
        code, output, error = deploy(CONFIG, "--apply")
        assert (code, output, error.count("\n")) == (1, "", 1), error
        return error

    return ask


def status(code: int, message: str) -> Reply:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return Reply(json.dumps(body).encode(), status=code)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(NO_PAGE, status=404),  # Prometheus, and every other server written in Go
        Reply(b"<html>Not Found</html>", status=404),
        Reply(b'{"message": "Not found"}', status=404),
        Reply(b'{"status": "success", "data": {}}'),
        Reply(b"[]"),
        Reply(b"<html>Please log in</html>"),
    ],
)
def test_a_server_that_is_no_cluster_is_named(told, reply) -> None:
    with serve(reply) as server:
        said = told(server.url)
    assert f"what answers at {server.url} is no Kubernetes API server" in said
    assert "older than" not in said


def test_http_to_a_server_of_https_is_what_the_server_says(told) -> None:
    with serve(Reply(TLS_ONLY, status=400)) as server:
        said = told(server.url)
    assert said == "ServiceAccount: the cluster answered 400: Client sent an HTTP request to an HTTPS server.\n"


def test_what_a_server_says_is_short_and_without_secrets(told) -> None:
    with serve(Reply(f"Bearer {CANARY}-LOGIN0 {'x' * 9000}".encode(), status=400)) as server:
        assert len(told(server.url)) < 1000


def test_an_unknown_authority_is_said(told) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with serve(Reply(b"{}"), tls=context) as server:
        said = told(server.url)
    assert said.startswith(f"{server.url}: its certificate is refused: ")
    assert said.endswith("; check certificate-authority in the kubeconfig\n")


def test_https_to_a_server_of_http_is_said(told) -> None:
    with serve(Reply(b"{}")) as server:
        url = server.url.replace("http:", "https:")
        said = told(url)
    assert said.startswith(f"{url}: no TLS connection (")
    assert "is it http or https" in said


def test_who_is_not_logged_in_is_told_to_log_in(told) -> None:
    said = (
        'serviceaccounts is forbidden: User "system:anonymous" cannot list resource "serviceaccounts" in API group ""'
    )
    with serve(status(403, said)) as server:
        error = told(server.url)
    assert "log in to the cluster; does kubectl get pods work?" in error
    assert "--rbac" not in error


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        ({"command": "no-such-login-plugin"}, "No such file or directory: 'no-such-login-plugin'"),
        ({"command": "sh", "args": ["-c", "echo run: aws sso login >&2; exit 1"]}, "run: aws sso login"),
        ({"command": "echo", "args": ["{}"]}, "exec: "),
    ],
)
def test_a_login_plugin_that_fails_is_one_sentence(told, plugin, said, capfd, caplog) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", **plugin}
    with serve(status(403, "no")) as server:
        error = told(server.url, exec=plugin)
    assert "does not accept the login (" in error
    assert said in error
    assert "log in to the cluster; does kubectl get pods work?" in error
    assert server.requests == []
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize(
    "said",
    [
        'configmaps "anomaly-exporter" is forbidden: unable to create new content in namespace x because it is being '
        "terminated",
        'configmaps "anomaly-exporter" is forbidden: exceeded quota: small, requested: count/configmaps=1',
        'admission webhook "policy.example.com" denied the request: no owner',
    ],
)
def test_only_missing_rights_are_answered_with_the_rights(deploy: Deploy, emulator: Emulator, said: str) -> None:
    emulator.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "anomaly-exporter"}})
    emulator.refused["POST", "configmaps"] = 403, said
    code, told, error = deploy(CONFIG, "--apply")
    assert (code, told, emulator.writes) == (1, "", [])
    assert error == f"ConfigMap anomaly-exporter: the cluster refuses it (403): {said}\n"


def test_the_oldest_version_is_said_once() -> None:
    root = Path(__file__).parents[2]
    assert f"Kubernetes {OLDEST} or newer" in (root / "docs/install.md").read_text()
    assert f">={OLDEST}.0-0" in (root / "deploy/chart/anomaly-exporter/Chart.yaml").read_text()
