"""Logs: one event a line, and never a secret (docs/reliability.md, row 53)."""

import base64
import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
import pytest
import requests
import structlog
from hypothesis import given
from hypothesis import strategies as st

from exporter import redact
from exporter.config.secrets import Secret
from exporter.config.sections.service import LogConfig
from exporter.observe import logs
from exporter.redact import MASK, mask, masked
from tests.support.sockets import refusing
from tests.support.waiting import PATIENCE

CANARY = "canary/S3cret+Of=These&Tests"
Format = Literal["json", "console"]
Level = Literal["debug", "info", "warning", "error"]
Configure = Callable[..., io.StringIO]


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know no secret, and leave those that are known as they were."""
    monkeypatch.setattr(redact, "_secrets", {})
    monkeypatch.setattr(redact, "_known", ())


@pytest.fixture
def configure() -> Configure:
    """Return a function that sends logs to a string."""

    def start(log_format: Format = "json", level: Level = "info") -> io.StringIO:
        stream = io.StringIO()
        logs.configure(LogConfig(format=log_format, level=level), stream)
        return stream

    return start


def only(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    event: dict[str, Any] = json.loads(line)
    return event


def test_an_event_is_one_json_line_with_time_and_level(configure: Configure) -> None:
    stream = configure()
    structlog.get_logger().info("flag", job="cpu", labels={"pod": "a"}, score=np.float64(2.5), observed=np.array([1.5]))
    event = only(stream)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "flag", "level": "info", "job": "cpu", "labels": {"pod": "a"}, "score": 2.5, "observed": [1.5],
    }  # fmt: skip


def test_a_number_that_json_does_not_have_is_null(configure: Configure) -> None:
    stream = configure()
    structlog.get_logger().info("cycle", score=float("nan"), lower=np.float32("-inf"))
    event = only(stream)
    assert (event["score"], event["lower"]) == (None, None)


def test_the_level_can_be_changed_while_running(configure: Configure) -> None:
    log = structlog.get_logger()
    stream = configure(level="warning")
    log.info("not heard")
    assert stream.getvalue() == ""
    stream = configure(level="debug")
    log.debug("heard")
    assert only(stream)["event"] == "heard"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_one_short_line_and_its_traceback_is_for_debugging(
    log_format: Format, configure: Configure
) -> None:
    for level in ("info", "debug"):
        stream = configure(log_format, level)
        try:
            raise ValueError("first line\nsecond line")
        except ValueError:
            structlog.get_logger().exception("cycle_failed", job="cpu")
        text = stream.getvalue()
        assert "ValueError: first line second line" in text
        assert ("Traceback" in text) == (level == "debug")
        assert text.count("\n") == 1 or level == "debug"


@given(st.text() | st.sampled_from(["a\nb", "\u2028", "\x1b[31m", "\u202e", "\x85", "\udc80"]))
def test_no_label_breaks_or_colours_a_line(text: str) -> None:
    for log_format in ("json", "console"):
        stream = io.StringIO()
        logs.configure(LogConfig(format=log_format), stream)
        structlog.get_logger().info(text, job=text, labels={"pod": text, text: "x"})
        written = stream.getvalue()
        assert len(written.splitlines()) == 1
        assert not set("\x00\x1b\x7f\u202e") & set(written)
        written.encode()
        if log_format == "json":
            event = json.loads(written)
            assert {"pod": masked(text)}.items() <= event["labels"].items() or text == "pod"


def test_libraries_are_heard_from_warning_on(configure: Configure) -> None:
    stream = configure()
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)  # as uvicorn does
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("urllib3.connectionpool").warning("Retrying %s", "soon")
    event = only(stream)
    assert (event["event"], event["level"], event["logger"]) == ("Retrying soon", "warning", "urllib3.connectionpool")


def test_python_warnings_are_log_lines(configure: Configure) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stream = configure()
        warnings.warn("did not converge", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "did not converge" in only(stream)["event"]


def test_a_library_that_formats_wrongly_or_invents_levels_stops_nothing(configure: Configure) -> None:
    stream = configure(level="debug")
    (ours,) = (handler for handler in logging.getLogger().handlers if isinstance(handler, logs._Libraries))
    for level, text, args in ((35, "level %s", ()), (logging.WARNING, "two %s %s", ("one",))):
        ours.handle(logging.LogRecord("odd", level, __file__, 1, text, args, None))  # pytest's own handler would raise
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["level %s", "two %s %s"]


def test_configuring_again_does_not_double_lines(configure: Configure) -> None:
    configure()
    stream = configure()
    logging.getLogger("any").warning("once")
    assert only(stream)["event"] == "once"


def test_a_broken_log_stops_nothing(configure: Configure) -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    logs.configure(LogConfig(), Broken())
    structlog.get_logger().info("into the void")
    closed = io.StringIO()
    closed.close()
    logs.configure(LogConfig(), closed)
    structlog.get_logger().info("into the void")


def test_many_threads_write_whole_lines(configure: Configure) -> None:
    stream = configure()
    log = structlog.get_logger()
    threads = [threading.Thread(target=lambda n=n: [log.info("cycle", n=n, i=i) for i in range(200)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(event["n"], event["i"]) for event in map(json.loads, stream.getvalue().splitlines())}) == 1600


@pytest.mark.parametrize(
    "name", ["password", "api_key", "Authorization", "slack_webhook_url", "bearer_token", "secret"]
)
def test_a_value_under_a_telling_name_is_masked(name: str, configure: Configure) -> None:
    """Row 53: also when nobody registered it."""
    stream = configure()
    structlog.get_logger().info("config", **{name: CANARY}, nested={"deep": [{name: CANARY}]})
    assert CANARY not in stream.getvalue()
    assert only(stream)[name] == MASK


@pytest.mark.parametrize(
    "text",
    [
        "http://user:s3cret@host/path",
        "http://user:s3c@ret@host/path?q=1",
        "https://s3cret@host",
        "GET /api?token=s3cret&x=1",
        "https://h/?a=b&access_token=s3cret",
        "https://hooks.slack.com/services/T012AB/B034CD/s3cret",
        'https://hooks.slack.com:443 "POST /services/T012AB/B034CD/s3cret HTTP/1.1" 404',
        "Authorization: Basic s3cret",
        "{'Authorization': 'Bearer s3cret'}",
        "headers Authorization=s3cret",
        "b'Authorization: Bearer s3cret'",
        "sent Bearer s3cret-S3cret",
        "Basic " + base64.b64encode(b"user:s3cret").decode(),
    ],
)
def test_what_looks_like_a_secret_is_masked_in_any_text(text: str) -> None:
    """Row 53."""
    found = masked(text)
    assert MASK in found
    encoded = base64.b64encode(b"user:s3cret").decode()
    assert not [part for part in ("s3cret", "s3c", "ret@", "B034CD", encoded) if part in found]


@pytest.mark.parametrize(
    "text",
    [
        "Basic authentication failed: the source refuses our credentials",
        "secret file /run/token cannot be read: FileNotFoundError",
        "http://localhost:9090/api/v1/query_range?query=up&start=1",
        "mail to admin@example.com about http://host/",
    ],
)
def test_ordinary_text_stays_readable(text: str) -> None:
    assert masked(text) == text


@given(st.text(min_size=4), st.text(), st.text())
def test_a_registered_secret_is_never_left_standing(secret: str, before: str, after: str) -> None:
    """Row 53."""
    mask(secret)
    assert secret not in masked(before + secret + after).replace(MASK, "") or secret in before + after


def test_a_secret_is_masked_from_its_first_use_on(monkeypatch: pytest.MonkeyPatch, configure: Configure) -> None:
    """Row 53: nobody has to remember to register it, and the words of a passphrase stay words."""
    monkeypatch.setenv("PASSPHRASE", "correct horse battery")
    stream = configure()
    structlog.get_logger().info("sent", header=Secret(env="PASSPHRASE").read(), why="the battery is correct")
    event = only(stream)
    assert (event["header"], event["why"]) == (MASK, "the battery is correct")


def test_the_parts_of_a_secret_address_are_masked_when_they_are_long_enough_to_be_secret() -> None:
    mask("https://chat.example/api")
    mask("https://chat.example/hooks/abcdef012345")
    assert masked('chat.example:443 "POST /hooks/abcdef012345 HTTP/1.1"') == f'chat.example:443 "POST {MASK} HTTP/1.1"'
    assert masked("GET /api/v1/query") == "GET /api/v1/query"


def test_a_long_running_exporter_does_not_gather_secrets_for_ever() -> None:
    for n in range(2000):
        mask(f"rotated-token-{n}")
    assert len(redact._known) <= 256
    assert masked("rotated-token-1999") == MASK


class Refusing(BaseHTTPRequestHandler):
    """Answers 401 and says again what it was sent, as careless servers do."""

    def do_POST(self) -> None:
        body = f"{self.path} {self.headers} {self.rfile.read(int(self.headers['Content-Length'])).decode()}".encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Be quiet."""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_secret_never_shows_whatever_way_it_goes_through_libraries(
    log_format: Format, configure: Configure, capfd: pytest.CaptureFixture[str]
) -> None:
    """Row 53: at level debug, in URLs, headers, bodies, exceptions and tracebacks of requests and urllib3."""
    mask(CANARY)
    mask(f"http://hook.example/{CANARY}-path?x={CANARY}")
    stream = configure(log_format, "debug")
    log = structlog.get_logger()
    quoted = quote(CANARY, safe="")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        with requests.Session() as session:
            answer = session.post(
                f"http://user:{quoted}@{host}/{quoted}-path?x={quoted}",
                data={"password": CANARY},
                headers={"X-Api-Key": CANARY, "Authorization": f"Bearer {CANARY}"},
                timeout=PATIENCE,
            )
            log.warning("refused", answer=answer.text, request=repr(answer.request.headers), url=answer.url)
            try:
                answer.raise_for_status()
            except requests.HTTPError as error:
                log.exception("failed", url=answer.url, why=str(error), list=[CANARY, (CANARY,)])
        server.shutdown()
    with refusing() as nobody, requests.Session() as session:
        host = nobody.removeprefix("http://")
        try:
            session.get(f"http://user:{quoted}@{host}/{CANARY}?token={quoted}", timeout=PATIENCE)
        except requests.ConnectionError:
            log.exception("unreachable", headers={"Authorization": f"Bearer {CANARY}"}, raw=CANARY.encode())
            logging.getLogger("any.library").exception("it failed with %r", {"k": CANARY})
    written = stream.getvalue() + "".join(capfd.readouterr())
    assert "Starting new HTTP connection" in written, "urllib3 was not heard at all"
    assert "Traceback" in written
    assert len(written.splitlines()) >= 6
    basic = base64.b64encode(f"user:{CANARY}".encode()).decode()
    for form in (CANARY, quoted, quote(CANARY), basic, json.dumps(CANARY)[1:-1], repr(CANARY)[1:-1], "S3cret"):
        assert form not in written


def test_nothing_is_imported_for_a_trace_that_nobody_asked_for() -> None:
    code = (
        "import sys, structlog; from exporter.observe import logs\n"
        "from exporter.config.sections.service import LogConfig\n"
        "from exporter.observe.metrics import SelfMetrics; from exporter.observe.stages import Telemetry\n"
        "logs.configure(LogConfig()); telemetry = Telemetry(SelfMetrics(), {})\n"
        "with telemetry.cycle('a'), telemetry.stage('a', 'fetch') as span:\n"
        "    span.set_attribute('series', 1); structlog.get_logger().info('cycle')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == "[]"
    assert '"event": "cycle"' in done.stderr
    assert "trace_id" not in done.stderr


def test_standard_error_is_where_logs_go(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConfig(level="warning"))
    structlog.get_logger().warning("here")
    out, err = capsys.readouterr()
    assert (out, json.loads(err)["event"]) == ("", "here")
