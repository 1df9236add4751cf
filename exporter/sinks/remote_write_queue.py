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
from exporter.sinks.notify.http_post import PostFailed, exchange, refused
from exporter.sinks.remote_write_message import HEADERS, Sample, decoded, encoded
from exporter.source.credentials import Credentials
from exporter.source.endpoint import as_source
from exporter.source.errors import SourceError

log = structlog.get_logger()

LONGEST_PAUSE: Final = 60.0
"""Seconds between two attempts at most, unless the other side asks for more."""
LONGEST_ASKED: Final = 3600.0
_FIRST_PAUSE: Final = 1.0
_TOO_LARGE: Final = 413


class _Body(NamedTuple):
    body: bytes
    samples: int


class Outgoing:
    """The queue of one receiver. `add` from any thread; `send_one` from one.

    Parameters
    ----------
    metrics : SelfMetrics
    """

    def __init__(self, metrics: SelfMetrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._waiting: deque[_Body] = deque()
        self._bytes = 0
        self._failures = 0
        self._said = ""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, samples: Sequence[Sample], config: RemoteWriteConfig) -> None:
        """Take samples. The oldest that wait make room where there is none: what is new is worth more."""
        for start in range(0, len(samples), config.samples):
            part = samples[start : start + config.samples]
            body = _Body(encoded(part), len(part))
            with self._lock:
                self._waiting.append(body)
                self._bytes += len(body.body)
                while self._bytes > config.queue and self._waiting:
                    self._lost(self._waiting.popleft(), "overflow")
        self._metrics.remote_write_pending.set(self._bytes)

    def clear(self) -> None:
        """Give up all that waits: there is no server any more."""
        with self._lock:
            while self._waiting:
                self._lost(self._waiting.popleft(), "overflow")
        self._metrics.remote_write_pending.set(0)

    def send_one(self, config: RemoteWriteConfig) -> float:
        """Send the oldest request; return the seconds to wait before the next one."""
        with self._lock:
            if not self._waiting:
                return 0.0
            first = self._waiting[0]
        try:
            self._post(first.body, config)
        except PostFailed as error:
            return self._failed(first, error)
        self._failures, self._said = 0, ""
        self._done(first)
        self._metrics.remote_write_samples.labels("sent").inc(first.samples)
        self._metrics.remote_write_up.set(1)
        return 0.0

    def _failed(self, first: _Body, error: PostFailed) -> float:
        self._metrics.remote_write_up.set(0)
        self._say(error)
        if error.status == _TOO_LARGE and first.samples > 1:
            self._halve(first)
            return 0.0
        if error.unwanted:  # it would be refused for ever, and all that comes after it would wait
            self._done(first, lost="refused")
            return 0.0
        self._failures += 1
        longest = min(LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        pause = random.uniform(longest / 2, longest)  # noqa: S311  # jitter, no cryptography
        return max(pause, min(error.wait or 0.0, LONGEST_ASKED))

    def _done(self, body: _Body, lost: str = "") -> None:
        with self._lock:
            if self._waiting and self._waiting[0] is body:  # it may have made room for others meanwhile
                self._waiting.popleft()
                self._bytes -= len(body.body)
                if lost:
                    self._metrics.remote_write_samples.labels(lost).inc(body.samples)
        self._metrics.remote_write_pending.set(self._bytes)

    def _lost(self, body: _Body, why: str) -> None:
        self._bytes -= len(body.body)
        self._metrics.remote_write_samples.labels(why).inc(body.samples)

    def _halve(self, body: _Body) -> None:
        samples = decoded(body.body)
        half = len(samples) // 2
        parts = [_Body(encoded(part), len(part)) for part in (samples[:half], samples[half:])]
        with self._lock:
            if self._waiting and self._waiting[0] is body:
                self._waiting.popleft()
                self._waiting.extendleft(reversed(parts))
                self._bytes += sum(len(part.body) for part in parts) - len(body.body)

    def _post(self, body: bytes, config: RemoteWriteConfig) -> None:
        try:
            headers = Credentials(as_source(config)).headers()
        except (SourceError, SecretUnavailable) as error:
            raise PostFailed(str(error), lasting=True) from None
        headers |= HEADERS | ({"X-Scope-OrgID": config.tenant} if config.tenant else {})
        verify = None if config.ca_file is None else str(config.ca_file)
        answer = exchange(config.url, body, headers, proxies=False, seconds=config.deadline, verify=verify)
        if not 200 <= answer.status < 300:
            raise refused(config.url, answer, "is remote_write.url the address that takes samples?")

    def _say(self, error: PostFailed) -> None:
        """Log a cause when it begins, not with every attempt."""
        if (text := str(error)) != self._said:
            self._said = text
            hint = (
                "these samples are dropped and counted: the other side will never take them"
                if error.unwanted
                else "samples wait in memory up to remote_write.queue, then the oldest are dropped and counted"
            )
            log.warning("remote_write_failed", error=text, hint=hint)
