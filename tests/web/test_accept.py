"""`anomaly-exporter accept` and the page behind it, on the real server."""

from collections.abc import Callable
from pathlib import Path

import bcrypt
import httpx
import pytest
import trustme
import yaml
from typer.testing import CliRunner

from exporter.cli.main import cli
from exporter.config.sections.service import WebConfig
from exporter.sinks.latest import LatestVerdicts, UnknownJob
from exporter.sinks.metrics_page import Page
from exporter.web.server import Callbacks, Server
from tests.support.verdicts import key, verdict

KEYS = (key(instance="a", dev="x"), key(instance="b", dev="x"), key(instance="c", dev="y"))


class Jobs:
    """What the exporter would do with the entities it is handed."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, set]] = []

    def accept(self, job, keys) -> float:
        if job == "gone":
            raise UnknownJob
        self.calls.append((job, set(keys)))
        return 60.0


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def serve(page: Page, feed: LatestVerdicts, jobs: Jobs):
    feed.expect({"cpu": {"value": "q"}, "quiet": {"value": "q"}, "gone": {"value": "q"}})
    feed.publish(verdict(KEYS, flag=[True, True, False]))
    feed.publish(verdict(KEYS, job="quiet"))
    feed.publish(verdict(KEYS, job="gone", flag=[True, False, False]))
    servers = []

    def start(**config) -> Server:
        settings = {"listen": "127.0.0.1:0", "enable_reload": True, **config}
        server = Server(WebConfig(**settings), page, Callbacks(lambda: True, lambda: None, feed, jobs.accept))
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Run the command with a configuration whose `web` is that of a running server."""

    def run(server: Server | None, *arguments: str, web: dict | None = None, **environ: str) -> tuple[int, str]:
        listen = f"0.0.0.0:{server.address[1]}" if server else "127.0.0.1:1"
        config = tmp_path / "anomaly.yml"
        config.write_text(yaml.safe_dump({"jobs": {"cpu": {"expr": "q"}}, "web": {"listen": listen, **(web or {})}}))
        found = CliRunner().invoke(cli, ["accept", "--config", str(config), *arguments], env=environ)
        assert found.exception is None or isinstance(found.exception, SystemExit)
        return found.exit_code, found.output

    return run


def test_all_open_incidents_of_a_job_are_accepted_or_those_that_are_named(serve, command, jobs):
    server = serve()
    code, text = command(server, "--job", "cpu")
    assert code == 0
    assert "2 incidents of job cpu will be normal from the next cycle on, in 60s" in text
    assert 'dev="x", instance="a"' in text
    command(server, "--job", "cpu", "--entity", 'instance="b"')
    code, text = command(server, "--job", "cpu", "--entity", 'instance="a",dev="x"', "--entity", 'instance="b"')
    assert text.count("one incident") == 2
    assert jobs.calls == [("cpu", set(KEYS[:2])), *[("cpu", {KEYS[at]}) for at in (1, 0, 1)]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--job", "none"], "no job of that name; there are cpu, quiet, gone"),
        (["--job", "quiet"], "Job quiet has no open incident to accept: nothing is open"),
        (["--job", "cpu", "--entity", 'instance="c"'], "none of its 2 open ones matches"),
        (["--job", "cpu", "--entity", "instance=a"], 'must be labels such as instance="a"'),
        (["--job", "gone"], "no job of that name"),
        (["--job", " "], "name the job"),
    ],
)
def test_what_cannot_be_accepted_is_refused_in_one_clear_sentence(serve, command, jobs, arguments, message):
    code, text = command(serve(), *arguments)
    assert code == 1
    assert message in text
    assert "Traceback" not in text
    assert not jobs.calls


def test_accept_is_off_unless_reload_is_on_and_never_for_browsers(serve, command, jobs):
    """Row 33."""
    code, text = command(serve(enable_reload=False), "--job", "cpu")
    assert (code, "web.enable_reload: true" in text) == (1, True)
    url = f"{serve().url}/-/accept?job=cpu"
    with httpx.Client(trust_env=False) as client:
        assert client.post(url, headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.get(url).status_code == 405
        for odd in ("", "?job=cpu&job=quiet", "?job=cpu&flag=false", "?job=cpu&limit=1"):
            assert client.post(f"{url.partition('?')[0]}{odd}").status_code == 400
    assert not jobs.calls


def test_an_exporter_that_is_not_there_is_named_with_what_to_do(command, serve):
    code, text = command(None, "--job", "cpu")
    assert code == 1
    assert "http://127.0.0.1:1 cannot be reached" in text
    assert "--url" in text
    server = serve()
    assert command(None, "--job", "cpu", "--url", server.url)[0] == 0
    code, text = command(None, "--job", "cpu", web={"listen": "127.0.0.1:0"})
    assert "--url" in text


def test_the_password_comes_from_the_environment_and_is_checked(serve, command, jobs, tmp_path):
    file = tmp_path / "hash"
    file.write_text(bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode())
    web = {"users": {"ops": {"file": str(file)}}}
    server = serve(**web)
    code, text = command(server, "--job", "cpu", web=web, ANOMALY_EXPORTER_PASSWORD="")
    assert (code, "ANOMALY_EXPORTER_PASSWORD" in text) == (1, True)
    code, text = command(server, "--job", "cpu", web=web, ANOMALY_EXPORTER_PASSWORD="wrong")
    assert (code, "does not take this user" in text) == (1, True)
    assert "wrong" not in text
    assert command(server, "--job", "cpu", web=web, ANOMALY_EXPORTER_PASSWORD="right")[0] == 0
    assert len(jobs.calls) == 1


def test_over_tls_only_the_exporters_own_certificate_is_trusted(serve, command, jobs, tmp_path):
    authority = trustme.CA()
    cert, private, other = tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "other.crt"
    leaf = authority.issue_cert("exporter.example")  # not the name it is reached by here
    cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    private.write_bytes(leaf.private_key_pem.bytes())
    other.write_bytes(authority.issue_cert("exporter.example").cert_chain_pems[0].bytes())
    tls = {"cert_file": str(cert), "key_file": str(private)}
    server = serve(tls=tls)
    assert command(server, "--job", "cpu", web={"tls": tls})[0] == 0
    code, text = command(server, "--job", "cpu", web={"tls": tls | {"cert_file": str(other)}})
    assert code == 1
    assert "cannot be reached" in text
    assert len(jobs.calls) == 1


def test_an_exporter_that_demands_certificates_is_shown_ours(serve, command, tmp_path):
    authority = trustme.CA()
    files = {name: tmp_path / name for name in ("tls.crt", "tls.key", "ca.crt", "ops.crt", "ops.key")}
    for name, leaf in (("tls", authority.issue_cert("localhost")), ("ops", authority.issue_cert("ops"))):
        files[f"{name}.crt"].write_bytes(leaf.cert_chain_pems[0].bytes())
        files[f"{name}.key"].write_bytes(leaf.private_key_pem.bytes())
    files["ca.crt"].write_bytes(authority.cert_pem.bytes())
    names = {"cert_file": "tls.crt", "key_file": "tls.key", "client_ca_file": "ca.crt"}
    tls = {name: str(files[file]) for name, file in names.items()}
    server = serve(tls=tls)
    assert command(server, "--job", "cpu", web={"tls": tls})[0] == 1
    ours = ["--cert", str(files["ops.crt"]), "--key", str(files["ops.key"])]
    assert command(server, "--job", "cpu", *ours, web={"tls": tls})[0] == 0
