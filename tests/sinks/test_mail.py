"""Mails with pictures, sent to a real SMTP server."""

import email
import email.policy
import re
import ssl

import pytest
import structlog
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from deploy.demo.servers import free_port
from exporter.config.sections.job import JobConfig
from exporter.config.sections.notify import OwnMailConfig
from exporter.sinks.notify import http_post
from exporter.sinks.notify import mail as mail_module
from tests.sinks.conftest import PAGES, PNG
from tests.sinks.test_delivery import judged
from tests.support.receivers import Letters
from tests.support.sockets import silent
from tests.support.verdicts import key
from tests.support.waiting import PATIENCE, eventually

JOB = JobConfig(expr="up")
ON, OFF = judged([True, False]), judged([False, False], [0.2, 0.2], at=30)


@pytest.fixture
def post_office(desk):
    """Start SMTP servers: `post_office(letters, **options)` returns HOST:PORT."""

    def start(letters: Letters, **options) -> str:
        port = free_port()
        controller = Controller(letters, hostname="127.0.0.1", port=port, ready_timeout=PATIENCE, **options)
        controller.start()
        desk.stack.callback(controller.stop)
        return f"localhost:{port}" if options.get("tls_context") else f"127.0.0.1:{port}"

    return start


def config(smarthost: str, **more):
    to = {"to": "us@example.org, them@example.org", "from": "exporter@example.org", "smarthost": smarthost}
    return to | {"require_tls": False} | more


def received(letters: Letters, count: int):
    eventually(lambda: len(letters.received) >= count)
    contents = [each.content.replace(b"\r\n", b"\n") for each in letters.received]
    return [email.message_from_bytes(content, policy=email.policy.default) for content in contents]


def test_a_mail_has_a_text_the_same_as_html_and_the_picture_inside_it(desk, post_office):
    letters = Letters()
    desk.open(desk.config(email=config(post_office(letters)), link=None), PAGES).show(ON, JOB)
    [letter] = received(letters, 1)
    assert letters.received[0].rcpt_tos == ["us@example.org", "them@example.org"]
    assert letter["Subject"] == "ANOMALY in cpu: instance=a"
    assert letter.get_content_type() == "multipart/alternative"
    plain, related = letter.iter_parts()
    assert plain.get_content().startswith("ANOMALY in cpu: instance=a\nworst at ")
    assert plain.get_content().endswith("http://me:9877/series?job=cpu&since=2\n")
    assert related.get_content_type() == "multipart/related"
    page, picture = related.iter_parts()
    assert (picture.get_content_type(), picture.get_content()) == ("image/png", PNG)
    assert picture["Content-Disposition"].content_disposition == "inline"
    [cid] = re.findall(r'src="cid:([^"]+)"', page.get_content())
    assert picture["Content-ID"] == f"<{cid}>"
    assert 'alt="value, what was normal and the incident of instance=a in cpu"' in page.get_content()
    assert '<a href="http://me:9877/series?job=cpu&amp;since=2">' in page.get_content()


def test_the_end_is_an_answer_to_the_beginning(desk, post_office):
    letters = Letters()
    notifier = desk.open(desk.config(email=config(post_office(letters))), PAGES)
    notifier.show(ON, JOB)
    received(letters, 1)
    notifier.show(OFF, JOB)
    first, second = received(letters, 2)
    assert second["Subject"] == "OVER in cpu: instance=a: back to normal"
    assert second["In-Reply-To"] == first["Message-ID"]
    assert second["Message-ID"] != first["Message-ID"]


def test_nothing_in_a_label_is_html_or_a_header(desk, post_office):
    letters, bad = Letters(), key(pod="<script>x</script>\r\nBcc: all@example.org\ud800")
    desk.open(desk.config(email=config(post_office(letters))), PAGES).show(judged([True], keys=(bad,)), JOB)
    [letter] = received(letters, 1)
    assert "Bcc" not in letter
    page = letter.get_body(("html",)).get_content()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_without_anything_to_draw_the_mail_goes_as_it_is(desk, post_office):
    letters = Letters()
    desk.open(desk.config(email=config(post_office(letters)))).show(ON, JOB)
    [letter] = received(letters, 1)
    assert [part.get_content_type() for part in letter.walk()] == ["multipart/alternative", "text/plain", "text/html"]


def test_a_login_over_tls(desk, post_office, monkeypatch, tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setattr(mail_module, "system_certificates", lambda: str(tmp_path / "ca.pem"))
    monkeypatch.setenv("MAIL_PASSWORD", "hunter2")
    seen = []

    def check(_server, _session, _envelope, _mechanism, data):
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"hunter2", handled=False)

    letters = Letters()
    smarthost = post_office(
        letters, tls_context=context, require_starttls=True, authenticator=check, auth_required=True
    )
    to = config(smarthost, require_tls=True, username="us", password={"env": "MAIL_PASSWORD"})
    desk.open(desk.config(email=to), PAGES).show(ON, JOB)
    received(letters, 1)
    assert seen == [(b"us", b"hunter2")]
    monkeypatch.setenv("MAIL_PASSWORD", "wrong-canary")
    monkeypatch.setattr(http_post, "DEADLINE", 30.0)  # the server takes its time over a wrong password
    with structlog.testing.capture_logs() as logs:
        desk.open(desk.config(email=to, state=False), PAGES).show(ON, JOB)
        eventually(lambda: any(line["event"] == "notification_not_sent" for line in logs))
    [line] = [line for line in logs if line["event"] == "notification_not_sent"]
    assert "check notify.email.username and password" in line["error"]
    assert "canary" not in str(logs)


def test_a_server_without_tls_gets_nothing_where_tls_is_required(desk, post_office):
    letters = Letters()
    with structlog.testing.capture_logs() as logs:
        desk.open(desk.config(email=config(post_office(letters), require_tls=True))).show(ON, JOB)
        eventually(lambda: any(line["event"] == "notification_not_sent" for line in logs))
    assert "require_tls: false sends without TLS" in str(logs)
    assert letters.received == []


class Refusing(Letters):
    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = list(answers)

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802 - aiosmtpd's name
        if self.answers and not self.answers[0].startswith("DATA "):
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, *args):  # noqa: N802
        if self.answers:
            return self.answers.pop(0).removeprefix("DATA ")
        return await super().handle_DATA(*args)


@pytest.mark.parametrize(
    ("answers", "arrives"),
    [(("450 busy", "450 busy"), True), (("DATA 451 later",), True), (("DATA 552 too large",), False)],
)
def test_what_may_pass_is_sent_again_and_what_is_refused_for_good_is_not(desk, post_office, answers, arrives):
    letters = Refusing(*answers)
    desk.open(desk.config(email=config(post_office(letters)))).show(ON, JOB)
    eventually(lambda: desk.count("failed", "email") == 1)
    eventually(lambda: desk.pending("email") == 0)
    assert len(letters.received) == arrives


def test_one_recipient_who_is_unknown_does_not_take_the_mail_from_the_others(desk, post_office):
    letters = Refusing("550 no such user")
    with structlog.testing.capture_logs() as logs:
        desk.open(desk.config(email=config(post_office(letters)))).show(ON, JOB)
        received(letters, 1)
        eventually(lambda: any(line["event"] == "recipient_refused" for line in logs))
    assert letters.received[0].rcpt_tos == ["them@example.org"]
    assert desk.count("sent", "email") == 1


def test_a_server_that_never_says_anything_is_given_up_and_tried_again(desk):
    with silent() as url:
        desk.open(desk.config(email=config(url.removeprefix("http://")))).show(ON, JOB)
        eventually(lambda: desk.count("failed", "email") >= 2)


def test_nobody_listening_is_tried_again(desk, post_office):
    desk.open(desk.config(email=config(f"127.0.0.1:{free_port()}"))).show(ON, JOB)
    eventually(lambda: desk.count("failed", "email") >= 2)


def test_the_subject_is_short_and_counts_what_it_leaves_out():
    assert mail_module.subject("ANOMALY in a: b\nworst\nOVER in c: d\nfrom") == "ANOMALY in a: b (and 1 more)"
    assert len(mail_module.subject("ANOMALY in " + "x" * 999 + "\nOVER in c: d")) <= 150


def test_a_mail_without_a_password_is_what_the_configuration_says():
    assert OwnMailConfig.model_validate(config("mail:25")).password is None
    assert SMTP  # the server of these tests
