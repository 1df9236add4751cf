"""One receiver of notifications: a thread that sends what is pending, as often as rate limit and receiver allow."""

import math
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import structlog

from detectors.units import HOUR
from exporter.config.sections.job import JobConfig
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.joint_book import no_joint_incidents
from exporter.sinks.notify import delivery
from exporter.sinks.notify.delivery import DeliveryState
from exporter.sinks.notify.http_post import PostFailed
from exporter.sinks.notify.joined import JoinedOf, note_joint
from exporter.sinks.notify.message import compose
from exporter.sinks.notify.notification import Incident, PendingNotifications
from exporter.sinks.notify.sent_log import SentLog

if TYPE_CHECKING:
    from exporter.sinks.notify.slack_api import SlackChannel

log = structlog.get_logger()

GATHER: Final = 1.0
"""Seconds that the first pending notification waits for those of other jobs."""
SHORTEST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
_LONGEST_ASKED_FOR: Final = HOUR
_ASKED: Final = 3
"""Incidents of a message of which it is asked what else moved."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a receiver is notified; a reload may change it.

    Parameters
    ----------
    send : callable taking what is pending and its text
        Raises PostFailed.
    most, window : float
        At most `most` messages within `window` seconds.
    resolved : bool
        Notify the end of an incident too.
    file : Path or None
        Keeps what was sent over a restart.
    channel : SlackChannel or None
        Where messages can be edited, which `EditedMessages` does instead of sending.
    """

    send: Callable[[PendingNotifications, str], None]
    most: float
    window: float
    resolved: bool
    file: Path | None
    channel: "SlackChannel | None" = None


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses in messages.

    Parameters
    ----------
    chosen : callable returning str
        The address at the end of every message that the configuration names, "" for none.
    home : callable returning str
        The address at the end of a message that has no other.
    incident : callable taking an Incident
        Returns the address of its page, "" for none.
    companions : callable taking an Incident
        Returns what else moved when it began, in a sentence, "" for nothing.
    """

    chosen: Callable[[], str]
    home: Callable[[], str]
    incident: Callable[[Incident], str]
    companions: Callable[[Incident], str] = lambda _incident: ""


class Receiver:
    """Notifies one receiver of incidents: once when one opens and once when it is over.

    Only the newest verdict of a job waits for the thread, so neither a slow receiver nor many incidents take memory.
    What cannot be sent yet goes into the next message. A message whose answer gets lost may be sent twice.

    Parameters
    ----------
    name : str
        For logs and metrics.
    settings : Settings
    links : Links
        The addresses in messages.
    metrics : SelfMetrics
    sent : SentLog
        Notes what the receiver has taken.
    joined : callable
        Tells which incidents are one.
    """

    def __init__(
        self, name: str, settings: Settings, links: Links, metrics: SelfMetrics, sent: SentLog,
        joined: JoinedOf = no_joint_incidents,
    ) -> None:  # fmt: skip
        self.settings, self._joined = settings, joined
        self._name, self._links, self._metrics, self._told = name, links, metrics, sent
        self._state = delivery.load(settings.file, name) if settings.file else DeliveryState()
        self._inbox: dict[str, tuple[Verdict, JobConfig]] = {}
        self._jobs: Collection[str] | None = None
        self._guard = threading.Lock()  # of the inbox; never held for long
        self._wake = threading.Event()
        self._closing = False
        self._not_before = 0.0
        self._failures, self._trouble = 0, ""
        self._thread = threading.Thread(target=self._run, name=f"notify {name}", daemon=True)

    def start(self) -> None:
        """Begin to notify."""
        self._thread.start()

    def take(self, verdict: Verdict, config: JobConfig) -> None:
        """Take the newest verdict of a job, which is configured so; never waits."""
        with self._guard:
            self._inbox[verdict.job] = verdict, config
        self._wake.set()

    def keep(self, jobs: Collection[str]) -> None:
        """Note which jobs there are; never waits."""
        with self._guard:
            self._jobs = jobs
            self._inbox = {job: each for job, each in self._inbox.items() if job in jobs}
        self._wake.set()

    def stop(self) -> None:
        """Send no more. What is pending is kept for the next start if there is a file."""
        self._closing = True
        self._wake.set()

    def join(self, timeout: float) -> None:
        """Wait for a message under way, at most `timeout` seconds."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        going = True
        while going:
            self._wake.wait(self._pause())
            self._wake.clear()
            going = not self._closing
            try:
                self._take_inbox()
                if going and self._pause() == 0:
                    self._send()
            except Exception as error:  # this thread must live, or the receiver is never notified again
                log.error("notification_failed", receiver=self._name, exc_info=error)
                self._not_before = time.monotonic() + LONGEST_PAUSE

    def _pause(self) -> float | None:
        """Return the seconds until a message may be sent, None when nothing is pending."""
        if not self._state.pending_count():
            return None
        return max(self._not_before - time.monotonic(), self._limited(), 0.0)

    def _limited(self) -> float:
        """Return the seconds for which the rate limit lets no message through."""
        now, settings = time.time(), self.settings
        sent = self._sent(now)
        return sent[-int(settings.most)] + settings.window - now if len(sent) >= settings.most else 0.0

    def _sent(self, now: float) -> list[float]:
        # A clock that was set back must not stop notifications: what lies in the future is forgotten.
        return [sent for sent in self._state.sent if now - self.settings.window < sent <= now]

    def _take_inbox(self) -> None:
        """Take the verdicts that have come, and save what is pending."""
        with self._guard:
            inbox, self._inbox = self._inbox, {}
            jobs, self._jobs = self._jobs, None
        state, before, lost = self._state, self._waiting(), 0
        state.resolved = self.settings.resolved
        for verdict, config in inbox.values():
            lost += state.take(verdict, config.alert.metric, config.units, config.forecast)
        if jobs is not None:
            lost += state.keep(jobs, time.time())
        note_joint(state.incidents(), self._joined)
        self._absorb(state.absorb())
        if not self.settings.resolved:
            state.mark_sent(PendingNotifications({}, state.pending().over, {}, {}, {}))
        if lost:
            self._count("suppressed", lost)
        if (pending := self._waiting()) != before:
            if not before:
                self._not_before = max(self._not_before, time.monotonic() + GATHER)
            self._save(pending)

    def _absorb(self, joined: Sequence[Incident]) -> None:
        """Note incidents that have joined one that the receiver was told of, which is no message."""
        if joined:
            self._save(self._waiting())

    def _send(self) -> None:
        pending, settings = self._state.pending(), self.settings
        self._note_companions(pending)
        try:
            settings.send(pending, self._text(pending))
        except PostFailed as error:
            self._failed(error)
            if not error.unwanted:  # it would be refused again and again, and hold up all that follow
                return
        else:
            self._arrived()
            self._tell_page(pending)
        self._note_sent()
        self._state.mark_sent(pending)
        self._save(self._waiting())

    def _text(self, pending: PendingNotifications) -> str:
        """Return the text on what is pending: with the address of each incident, or else with one at the end."""
        links = self._links
        end = links.chosen() or ("" if any(map(links.incident, pending.named())) else links.home())
        return compose(pending, end, time.time(), links.incident)

    def _note_companions(self, pending: PendingNotifications) -> None:
        """Ask once for each of the incidents that a message tells first what else moved when it began."""
        opened = [each for incidents in pending.opened.values() for each in incidents[:_ASKED]]
        for each in (new for new in opened[:_ASKED] if new.companions is None):
            try:
                each.companions = self._links.companions(each)
            except Exception as error:  # the message counts more than a sentence of it
                each.companions = ""
                log.error("companions_unknown", receiver=self._name, exc_info=error)

    def _tell_page(self, pending: PendingNotifications) -> None:
        """Note for the pages of incidents that a message on them was sent."""
        if math.isfinite(self.settings.most):  # not the log
            now = time.time()
            for what, by_job in (("beginning", pending.opened), ("end", pending.over)):
                for incidents in by_job.values():
                    self._told.note(self._name, what, incidents, now)  # type: ignore[arg-type]  # one of What

    def _waiting(self) -> int:
        """Return how many incidents have something pending."""
        return self._state.pending_count()

    def _note_sent(self) -> None:
        """Note a message for the rate limit."""
        if math.isfinite(self.settings.most):
            now = time.time()
            self._state.sent = [*self._sent(now), now]

    def _arrived(self) -> None:
        """Count a message that has arrived, and note that the receiver is well again."""
        self._count("sent")
        self._well()

    def _well(self) -> None:
        if self._trouble:
            log.info("notifications_recovered", receiver=self._name, after=self._trouble)
        self._failures, self._trouble = 0, ""

    def _failed(self, error: PostFailed) -> None:
        """Count every failure, log each cause once, and wait longer after each one."""
        self._count("failed")
        self._failures += 1
        longest = LONGEST_PAUSE if error.lasting else min(SHORTEST_PAUSE * 2.0**self._failures, LONGEST_PAUSE)
        pause = random.uniform(longest / 2, longest)  # noqa: S311  # jitter, no cryptography
        pause = max(pause, min(error.wait or 0.0, _LONGEST_ASKED_FOR))
        self._not_before = time.monotonic() + pause
        if str(error) != self._trouble:
            self._trouble = str(error)
            hint = "given up: the receiver refuses this message" if error.unwanted else "retried until it arrives"
            log.warning(
                "notification_not_sent", receiver=self._name, error=self._trouble, hint=hint, pause=round(pause, 1)
            )

    def _count(self, outcome: Literal["sent", "failed", "suppressed"], count: int = 1) -> None:
        self._metrics.notifications.labels(self._name, outcome).inc(count)

    def _save(self, pending: int) -> None:
        self._metrics.notifications_pending.labels(self._name).set(pending)
        if self.settings.file is not None:
            delivery.save(self.settings.file, self._state, self._name)
