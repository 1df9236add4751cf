"""Answers of those we write to: remote write, webhooks, Slack, Alertmanager."""

import warnings
from contextlib import contextmanager, suppress
from types import SimpleNamespace

from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.sinks import alertmanager_alerts, remote_write_queue, silences
from exporter.sinks.alertmanager_alerts import Unreachable, alerts_of
from exporter.sinks.notify.http_post import Answer, PostFailed
from exporter.sinks.notify.slack_api import SlackRefused, _checked
from exporter.sinks.remote_write_message import Sample
from exporter.sinks.remote_write_queue import LONGEST_ASKED, Outgoing
from exporter.sinks.silences import NotSilenced, silence
from exporter.train import exclusions
from exporter.train.errors import TrainError
from exporter.train.exclusions import read_silences

warnings.simplefilter("ignore", FutureWarning)  # patterns that Python will once read otherwise
OURS = ()  # each failure is told to whoever asked
_TOLD = (PostFailed, SlackRefused, Unreachable, NotSilenced, TrainError)
STATUSES = (200, 204, 299, 301, 400, 401, 404, 408, 413, 422, 425, 429, 500, 503)
SEEDS = (
    b"\x00\n" + b'{"ok":true,"ts":"1.2","channel":"C1"}',
    b"\x0b120\n" + b'{"ok":false,"error":"ratelimited"}',
    b"\x04\nout of order sample",
    b"\x08\ntoo large",
    b'\x00\n[{"labels":{"alertname":"A","query":"cpu","i":"a"},"status":{"silencedBy":["1"],"inhibitedBy":[]},'
    b'"startsAt":"2026-01-05T10:00:00Z","receivers":[{"name":"x"}]}]',
    b'\x00\n{"endsAt":"2026-01-05T10:00:00Z","createdBy":"a","comment":"b","silenceID":"c"}',
    b'\x00\n[{"startsAt":"2026-01-05T10:00:00Z","endsAt":"2026-01-05T11:00:00Z",'
    b'"matchers":[{"name":"query","value":"c.*","isRegex":true,"isEqual":true}]}]',
    b"\x00\n" + b'{"a":' * 3000,
)  # fmt: skip
CONFIG = Config.model_validate({
    "jobs": {"cpu": {"expr": "up"}},
    "remote_write": {"url": "http://receiver:1/api/v1/write"},
    "train": {"alertmanager": {"url": "http://alertmanager:1"}},
})  # fmt: skip
SAMPLES = [Sample((("__name__", "m"), ("i", str(n))), 1.0, 1000) for n in range(4)]


def _session(content: bytes):
    @contextmanager
    def session_to(*_args, **_keys):
        yield SimpleNamespace(request=lambda *_a, **_k: SimpleNamespace(content=content))

    return session_to


def read(data: bytes) -> None:
    status = STATUSES[data[0] % len(STATUSES)] if data else 200
    header, _, body = data[1:].partition(b"\n")
    answer = Answer(status, {"Retry-After": header.decode("latin-1")}, body)

    outgoing = Outgoing(SelfMetrics(), "receiver")
    (server,) = CONFIG.remote_write
    outgoing.add(SAMPLES, server)
    remote_write_queue.exchange = lambda *_args, **_keys: answer  # type: ignore[assignment]
    pause = outgoing.send_one(server)
    assert 0 <= pause <= LONGEST_ASKED
    assert len(outgoing) <= 2

    for module in (alertmanager_alerts, silences, exclusions):
        module.session_to = _session(body)  # type: ignore[attr-defined]
    endpoint = CONFIG.train.alertmanager
    assert endpoint is not None
    asked = (
        lambda: _checked("http://slack:1", "chat.postMessage", answer),
        lambda: alerts_of(endpoint, "cpu", (("i", "a"),)),
        lambda: silence(endpoint, {"i": "a"}, 0.0, 60.0, "me", "why"),
        lambda: [each.concerns((("i", "a"),)) for each in read_silences(endpoint, "cpu")],
    )
    for ask in asked:
        with suppress(*_TOLD):
            ask()
