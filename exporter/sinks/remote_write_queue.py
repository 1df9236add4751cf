"""What has to be written yet, in bounded memory, and how it is written: in order, again and again, never for ever."""

import random
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from exporter.config.secrets import SecretUnavailable
from exporter.config.sections.remote_write import RemoteWriteConfig
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.notify.http_post import Answer, PostFailed, exchange, refused
from exporter.sinks.remote_write_message import HEADERS, Sample, Version, decoded, encoded
from exporter.source.credentials import Credentials
from exporter.source.endpoint import as_source
from exporter.source.errors import SourceError

log = structlog.get_logger()

LONGEST_PAUSE: Final = 60.0
"""Seconds between two attempts at most, unless the other side asks for more."""
LONGEST_ASKED: Final = 3600.0
_FIRST_PAUSE: Final = 1.0
_TOO_LARGE: Final = 413
_BAD: Final = 400
_UNSUPPORTED: Final = 415
_WRITTEN: Final = "X-Prometheus-Remote-Write-Samples-Written"
"""Header of every answer of a server that knows 2.0; others take its message for an empty one, and answer 2xx."""


class _Body(NamedTuple):
    body: bytes
    samples: int
    version: Version

    @classmethod
    def of(cls, samples: Sequence[Sample], version: Version) -> "_Body":
        return cls(encoded(samples, version), len(samples), version)


class Outgoing:
    """The queue of one receiver. `add` from any thread; `send_one` from one.

    Which version of the protocol the receiver knows is found out with the first request: a server that does not know
    2.0 refuses its message, or does not say how many samples it has written.

    Parameters
    ----------
    metrics : SelfMetrics
    remote : str
        What the receiver is called in log and metrics.
    """

    def __init__(self, metrics: SelfMetrics, remote: str) -> None:
        self._metrics, self._remote = metrics, remote
        self._lock = threading.Lock()
        self._waiting: deque[_Body] = deque()
        self._bytes = 0
        self._failures = 0
        self._said = ""
        self._agreed: tuple[str, Version] = "", 2
        """Address, and the version that it has shown to know."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, samples: Sequence[Sample], config: RemoteWriteConfig) -> None:
        """Take samples. The oldest that wait make room where there is none: what is new is worth more."""
        version = self._version(config)
        for start in range(0, len(samples), config.samples):
            body = _Body.of(samples[start : start + config.samples], version)
            with self._lock:
                self._waiting.append(body)
                self._bytes += len(body.body)
                while self._bytes > config.queue and self._waiting:
                    self._lost(self._waiting.popleft())
        self._metrics.remote_write_pending.labels(self._remote).set(self._bytes)

    def clear(self) -> None:
        """Give up all that waits: there is no server any more."""
        with self._lock:
            while self._waiting:
                self._lost(self._waiting.popleft())
        for gauge in (self._metrics.remote_write_pending, self._metrics.remote_write_up):
            gauge.labels(self._remote)
            gauge.remove(self._remote)

    def send_one(self, config: RemoteWriteConfig) -> float:
        """Send the oldest request; return the seconds to wait before the next one."""
        with self._lock:
            if not self._waiting:
                return 0.0
            first = self._waiting[0]
        if first.version != (version := self._version(config)):
            first = self._replace(first, [_Body.of(decoded(first.body, first.version), version)])
        written = 0
        try:
            answer = self._post(first, config)
            written = _written(answer)
            if self._goes_back(answer, first, config):
                return 0.0
            if not 200 <= answer.status < 300:
                raise refused(config.url, answer, "is remote_write.url the address that takes samples?")
            if version == 2 and _WRITTEN not in answer.headers:
                text = f"{self._remote} does not say how many samples it has written, so it does not know version 2.0"
                raise PostFailed(f"{text}; set remote_write.version to 1 or auto", lasting=True)
        except PostFailed as error:
            return self._failed(first, error, written)
        self._failures, self._said = 0, ""
        self._agreed = config.url, version
        self._done(first, "sent")
        self._metrics.remote_write_up.labels(self._remote).set(1)
        return 0.0

    def _version(self, config: RemoteWriteConfig) -> Version:
        if config.version != "auto":
            return config.version
        return self._agreed[1] if self._agreed[0] == config.url else 2

    def _goes_back(self, answer: Answer, body: _Body, config: RemoteWriteConfig) -> bool:
        """Tell whether the same samples are to be sent again by version 1.0, since the other side knows no other."""
        if config.version != "auto" or body.version != 2 or _WRITTEN in answer.headers:
            return False
        status, new = answer.status, self._agreed[0] != config.url  # of one that is known, a 400 is about the samples
        if not (200 <= status < 300 or status == _UNSUPPORTED or (new and status == _BAD)):
            return False
        self._agreed = config.url, 1
        log.info("remote_write_version", remote=self._remote, version="1.0", hint="the server does not know 2.0")
        return True

    def _failed(self, first: _Body, error: PostFailed, written: int) -> float:
        self._metrics.remote_write_up.labels(self._remote).set(0)
        self._say(error)
        if error.status == _TOO_LARGE and first.samples > 1:
            self._halve(first)
            return 0.0
        if error.unwanted:  # it would be refused for ever, and all that comes after it would wait
            self._done(first, "refused", min(written, first.samples))
            return 0.0
        self._failures += 1
        longest = min(LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        pause = random.uniform(longest / 2, longest)  # noqa: S311  # jitter, no cryptography
        return max(pause, min(error.wait or 0.0, LONGEST_ASKED))

    def _done(self, body: _Body, outcome: str, written: int = 0) -> None:
        """Take a request off the queue and count its samples; of one that is refused, some may have been `written`."""
        with self._lock:
            present = bool(self._waiting) and self._waiting[0] is body
        if outcome == "sent" or present:  # what has overflowed meanwhile was counted as such
            self._metrics.remote_write_samples.labels(self._remote, outcome).inc(body.samples - written)
        if written:
            self._metrics.remote_write_samples.labels(self._remote, "sent").inc(written)
        self._replace(body, [])
        self._metrics.remote_write_pending.labels(self._remote).set(self._bytes)

    def _lost(self, body: _Body) -> None:
        self._bytes -= len(body.body)
        self._metrics.remote_write_samples.labels(self._remote, "overflow").inc(body.samples)

    def _halve(self, body: _Body) -> None:
        samples = decoded(body.body, body.version)
        half = len(samples) // 2
        self._replace(body, [_Body.of(part, body.version) for part in (samples[:half], samples[half:])])

    def _replace(self, body: _Body, parts: Sequence[_Body]) -> _Body:
        """Put `parts` in the place of the oldest, if that is still `body`; return the first of them."""
        with self._lock:
            if self._waiting and self._waiting[0] is body:  # it may have made room for others meanwhile
                self._waiting.popleft()
                self._waiting.extendleft(reversed(parts))
                self._bytes += sum(len(part.body) for part in parts) - len(body.body)
        return parts[0] if parts else body

    def _post(self, body: _Body, config: RemoteWriteConfig) -> Answer:
        try:
            headers = Credentials(as_source(config)).headers()
        except (SourceError, SecretUnavailable) as error:
            raise PostFailed(str(error), lasting=True) from None
        headers |= {**HEADERS[body.version]} | ({"X-Scope-OrgID": config.tenant} if config.tenant else {})
        verify = None if config.ca_file is None else str(config.ca_file)
        return exchange(config.url, body.body, headers, proxies=False, seconds=config.deadline, verify=verify)

    def _say(self, error: PostFailed) -> None:
        """Log a cause when it begins, not with every attempt."""
        if (text := str(error)) != self._said:
            self._said = text
            hint = (
                "these samples are dropped and counted: the other side will never take them"
                if error.unwanted
                else "samples wait in memory up to remote_write.queue, then the oldest are dropped and counted"
            )
            log.warning("remote_write_failed", remote=self._remote, error=text, hint=hint)


def _written(answer: Answer) -> int:
    text = answer.headers.get(_WRITTEN, "")
    return int(text) if text.isascii() and text.isdecimal() else 0
