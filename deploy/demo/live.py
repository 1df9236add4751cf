"""The demo on real servers: a fault is found, alerted, told and resolved."""

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
TOLD: Final = "message at the Slack receiver"
RESOLVED: Final = "resolved message"
MILESTONES: Final = (SCORE, FLAG, ALERTED, TOLD)

FAULT_AFTER: Final = 60.0
MEND_AFTER: Final = 12.0
"""Seconds between the message and the end of the fault."""
PUBLISHED: Final = '{__name__=~"anomaly_(score|flag|alert|value|expected)"}'


class Demo:
    """One run on a started stack.

    Parameters
    ----------
    stack : Stack
    screen : Screen
    duration : float or None
        Seconds after which it ends; None: it goes on until it is interrupted.
    """

    def __init__(self, stack: Stack, screen: Screen, duration: float | None) -> None:
        self._stack, self._screen, self._duration = stack, screen, duration
        self.story = Story(MILESTONES, screen.say)
        self._fault_after = FAULT_AFTER if duration is None else min(FAULT_AFTER, 0.35 * duration)
        self._broken_at: float | None = None
        self._told_at: float | None = None
        self._mended = False

    def run(self) -> None:
        """Tell the story until its time is over. Raises ServerError when a server is gone."""
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
            # Without a calm score before the fault there would be no rise to see.
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
        self._hear(after)
        if self._told_at is not None and not self._mended and now - self._told_at >= MEND_AFTER:
            self._mended = True
            self._stack.shop.mend()
            self._screen.say(f"the fault ends: {BROKEN} is as quick as before", "bold")

    def _hear(self, after: float) -> None:
        about = (message for message in list(self._stack.receiver.messages) if ALERT in message.title)
        for message in about:
            milestone = RESOLVED if message.resolved else TOLD
            if self.story.note(milestone, True, after, f"{message.title}\n{message.text.rstrip()}"):
                if milestone == TOLD:
                    self._told_at = after + (self._broken_at or 0.0)
                elif self._duration is None:
                    self._screen.say("that was all; look around, Ctrl-C ends everything")

    def _alerting(self) -> bool:
        alerts = get(f"{self._stack.alertmanager.url}/api/v2/alerts", filter=f'alertname="{ALERT}"').json()
        return any(alert["status"]["state"] == "active" and alert["labels"].get("page") == BROKEN for alert in alerts)
