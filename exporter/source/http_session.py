"""One HTTP session to the source: deadline, retries, credentials and limits for every request that goes through it."""

import io
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import requests
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from exporter import __version__
from exporter.config.sections.source import PrometheusConfig
from exporter.promql import format_duration
from exporter.source.credentials import Credentials
from exporter.source.error_mapping import cut_off, no_answer, refusal, too_late
from exporter.source.errors import DeadlineExceeded, LimitExceeded, SourceError, Throttled
from exporter.source.http_deadline import Adapter, deadline, left
from exporter.source.sign_in import sign_in

T = TypeVar("T")

_CHUNK: Final = 2**18
_REFUSAL: Final = 2**16  # bytes read of an answer that says why not
_BACKOFF_SECONDS: Final = 0.25
_LONGEST_BACKOFF_SECONDS: Final = 5.0


class RetryBudget:
    """Lets retries through while most queries succeed, so that a broken source is not asked several times over.

    Each retry takes a token, each success gives a fifth of one back.
    """

    def __init__(self, tokens: float) -> None:
        self._tokens = self._most = tokens
        self._lock = threading.Lock()

    def refill(self) -> None:
        """Count a success."""
        with self._lock:
            self._tokens = min(self._most, self._tokens + 0.2)

    def take(self) -> bool:
        """Ask for a retry."""
        with self._lock:
            allowed = self._tokens >= 1
            self._tokens -= allowed
            return allowed


class Session(requests.Session):
    """A `requests.Session` whose every request ends within `config.deadline`, retries and waits included.

    Redirects are not followed, nothing is taken from the environment unless the configuration says so, bodies are
    limited to `config.max_response` decoded bytes, and at most `config.concurrency` requests are under way. Whatever
    goes wrong is a SourceError. Safe to use from several threads.
    """

    def __init__(self, config: PrometheusConfig) -> None:
        super().__init__()
        self._config = config
        self._timed = Adapter(config.concurrency)
        self._slots = threading.BoundedSemaphore(config.concurrency)
        self._budget = RetryBudget(max(10, 4 * config.concurrency))
        self._quiet_until = 0.0
        self._credentials = Credentials(config)
        self._sign_in = sign_in(config, self._timed)
        self.trust_env = config.proxy_from_environment
        tls = config.tls
        self.verify = not tls.insecure_skip_verify and (str(tls.ca_file) if tls.ca_file else system_certificates())
        if tls.cert_file and tls.key_file:
            self.cert = (str(tls.cert_file), str(tls.key_file))
        self.headers["User-Agent"] = f"anomaly-exporter/{__version__}"
        self.headers["Accept"] = "application/json"
        self.headers["Accept-Encoding"] = config.compression

    def get_adapter(self, url: str | bytes) -> Adapter:  # noqa: ARG002  # the signature is that of requests
        """Return our adapter whatever was mounted: PrometheusConnect mounts one of its own, with its own retries."""
        return self._timed

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002  # the signature is that of requests
        """Return no target: requests reads a redirect's body, however large, and prepares a request it never sends."""
        return

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Add the configured headers last, so that nothing from ~/.netrc replaces them.

        Raises AccessDenied, Unreachable.
        """
        prepared = super().prepare_request(request)
        prepared.headers.update(self._credentials.headers())
        if self._sign_in is not None:
            self._sign_in.show(prepared)
        return prepared

    def close(self) -> None:
        """Close all connections."""
        super().close()
        self._timed.close()

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Make a request, with retries. Raises SourceError, also for every status other than 200."""
        return self.persist(lambda: self.attempt(method, url, *args, **kwargs))[0]

    def persist(self, attempt: Callable[[], T]) -> tuple[T, int]:
        """Call `attempt` until it succeeds, cannot succeed, or time or patience are over.

        Returns its result and the number of retries. Raises the last SourceError, with `retries` set.
        """
        retries = 0
        with deadline(self._config.deadline):
            while True:
                try:
                    result = attempt()
                except SourceError as error:
                    error.retries = retries
                    pause = self._pause(error)
                    if pause is None:
                        raise
                else:
                    self._budget.refill()
                    return result, retries
                time.sleep(pause)
                retries += 1

    def _pause(self, error: SourceError) -> float | None:
        """Return the seconds to wait before the next attempt, None if there shall be none."""
        longest = min(_LONGEST_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2**error.retries)
        pause = random.uniform(0, longest)  # noqa: S311  # jitter, no cryptography
        if isinstance(error, Throttled):
            pause += error.retry_after or 0.0
        if not error.retryable or error.retries >= self._config.retries or pause >= left():
            return None
        return pause if self._budget.take() else None

    def attempt(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Make one request within the deadline of `persist`, and read its body whole. Raises SourceError."""
        kwargs |= {"stream": True, "allow_redirects": False, "verify": self.verify, "cert": self.cert}
        asked = self._config.url, self._config.deadline
        with self._slot():
            self._stay_quiet()
            try:
                response = super().request(method, url, *args, **(kwargs | {"timeout": left() or 0.001}))
            except (RequestException, HTTPError, OSError) as error:
                raise (no_answer(*asked, error) if left() else too_late(*asked)) from None
            try:
                return self._read(response)
            except (RequestException, HTTPError, OSError) as error:
                raise (cut_off(*asked, error) if left() else too_late(*asked)) from None
            finally:
                response.close()

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=left()):
            raise DeadlineExceeded(
                f"{self._config.url} was not asked within {format_duration(self._config.deadline)}: all"
                f" {self._config.concurrency} connections were busy",
                "raise prometheus.concurrency or spread the jobs",
                shorter_helps=False,
            )
        try:
            yield
        finally:
            self._slots.release()

    def _stay_quiet(self) -> None:
        wait = self._quiet_until - time.monotonic()
        if wait > 0:
            raise Throttled(f"{self._config.url} asked for a pause, which lasts another {wait:.0f}s", wait)

    def _read(self, response: requests.Response) -> requests.Response:
        if response.status_code != 200:
            raise self._refused(response)
        most = self._config.max_response
        body = io.BytesIO()
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            if body.tell() + len(chunk) > most:
                raise LimitExceeded(
                    f"the answer is larger than prometheus.max_response ({most} bytes)", "narrow the query or raise it"
                )
            body.write(chunk)
        response._content = body.getvalue()  # what .content and .json() of requests give out
        return response

    def _refused(self, response: requests.Response) -> SourceError:
        try:
            body = response.raw.read(_REFUSAL, decode_content=True)
        except (HTTPError, OSError):
            body = b""  # the status says enough
        headers = {name.lower(): value for name, value in response.headers.items()}
        secrets = self._credentials.secrets(response.request)
        if self._sign_in is not None and response.status_code in {401, 403}:
            self._sign_in.forget()
        error = refusal(response.status_code, headers, body, self._config.url, secrets)
        if isinstance(error, Throttled) and error.retry_after:
            self._quiet_until = time.monotonic() + min(error.retry_after, self._config.deadline)
        return error


def system_certificates() -> str | bool:
    """Return where the system keeps its certificates; requests would take its own collection."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True
