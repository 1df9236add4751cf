"""The demo on real servers: a fault is detected, alerted, notified and resolved."""

import time
from typing import Final

from deploy.demo.process import get
from deploy.demo.screen import Screen
from deploy.demo.shop import BROKEN, FACTOR
from deploy.demo.stack import ALERT, Stack
from deploy.demo.story import Reading, Story, readings

SCORE: Final = "anomaly_score above 1"
FLAG: Final = "anomaly_flag 1"
ALERTED: Final = "alert firing in Alertmanager"
NOTIFIED: Final = "message at the Slack receiver"
RESOLVED: Final = "resolved message"
MILESTONES: Final = (SCORE, FLAG, ALERTED, NOTIFIED)

FAULT_AFTER: Final = 60.0
MEND_AFTER: Final = 12.0
"""Seconds from the message to the end of the fault."""
PUBLISHED: Final = '{__name__=~"anomaly_(score|flag|alert|value|expected)"}'


class Demo:
    """One run on a started stack.

    Parameters
    ----------
    stack : Stack
    screen : Screen
    duration : float or None
        Seconds until it ends; None: until it is interrupted.
    """

    def __init__(self, stack: Stack, screen: Screen, duration: float | None) -> None:
        self._stack, self._screen, self._duration = stack, screen, duration
        self.story = Story(MILESTONES, screen.say)
        self._fault_after = FAULT_AFTER if duration is None else min(FAULT_AFTER, 0.35 * duration)
        self._broken_at: float | None = None
        self._notified_at: float | None = None
        self._mended = False

    def run(self) -> None:
        """Run until the time is over. Raises ServerError if a server has stopped."""
        begin = time.monotonic()
        self._screen.say(f"{BROKEN} becomes {FACTOR:g} times slower in {self._fault_after:.0f}s")
        while self._duration is None or time.monotonic() - begin < self._duration:
            self._stack.check()
            rows = readings(
                (series["metric"]["__name__"], series["metric"], float(series["value"][1]))
                for series in self._stack.prometheus.query(PUBLISHED)
            )
            self._screen.show(rows)
            self._step(time.monotonic() - begin, next((row for row in rows if row.broken), None))
            time.sleep(0.5)

    def _step(self, now: float, row: Reading | None) -> None:
        if self._broken_at is None:
            # A normal score before the fault is needed to show the rise.
            if now >= self._fault_after and row is not None and row.score <= 1:
                self._broken_at = now
                self._stack.receiver.messages.clear()
                self._stack.shop.break_checkout()
                self._screen.say(f"fault: {BROKEN} gets slower", "bold")
            return
        after = now - self._broken_at
        if row is not None:
            self.story.note(SCORE, row.score > 1, after, f"{row.score:.3g}, scraped back by Prometheus")
            self.story.note(FLAG, row.flag == 1, after, "an incident is open")
        if ALERTED not in self.story.seen:
            self.story.note(ALERTED, self._alerting(), after, ALERT)
        self._check_messages(after)
        if self._notified_at is not None and not self._mended and now - self._notified_at >= MEND_AFTER:
            self._mended = True
            self._stack.shop.mend()
            self._screen.say(f"the fault ends: {BROKEN} is as fast as before", "bold")

    def _check_messages(self, after: float) -> None:
        about = (message for message in list(self._stack.receiver.messages) if ALERT in message.title)
        for message in about:
            milestone = RESOLVED if message.resolved else NOTIFIED
            if self.story.note(milestone, True, after, f"{message.title}\n{message.text.rstrip()}"):
                if milestone == NOTIFIED:
                    self._notified_at = after + (self._broken_at or 0.0)
                elif self._duration is None:
                    self._screen.say("every step was seen; look around, Ctrl-C stops everything")

    def _alerting(self) -> bool:
        alerts = get(f"{self._stack.alertmanager.url}/api/v2/alerts", filter=f'alertname="{ALERT}"').json()
        return any(alert["status"]["state"] == "active" and alert["labels"].get("page") == BROKEN for alert in alerts)
