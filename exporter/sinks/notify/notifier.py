"""All receivers of notices: the log always, Slack and a webhook where there is no Alertmanager to tell them."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog
from pydantic import SecretStr

from exporter.config.secrets import Secret
from exporter.config.sections.alerting import NotifyConfig
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.base import Change, NewestVerdict
from exporter.sinks.notify.http_post import post
from exporter.sinks.notify.notification import Incident, PendingNotifications
from exporter.sinks.notify.receiver import Receiver, Settings

log = structlog.get_logger()

Shape = Callable[[PendingNotifications, str], Any]
"""Makes the body of a message of what is pending and its text."""
_LISTED: Final = 100
"""Incidents in one message to a webhook."""


class Notifier(NewestVerdict):
    """Hands verdicts to the receivers.

    Parameters
    ----------
    metrics : SelfMetrics
    page : callable returning str
        Address of our own pages, for messages where `notify.link` names no other.
    """

    def __init__(self, metrics: SelfMetrics, page: Callable[[], str]) -> None:
        self._metrics, self._page = metrics, page
        self._config: Config | None = None
        self._receivers: dict[str, Receiver] = {}

    def prepare(self, config: Config) -> Change:
        """Prepare the receivers of another configuration; what they were sent is read, nothing is sent yet."""
        settings = _settings(config)
        added = {
            name: Receiver(name, settings[name], self._link, self._metrics)
            for name in settings.keys() - self._receivers.keys()
        }
        return Change(lambda: self._use(config, settings, added))

    def _use(self, config: Config, settings: dict[str, Settings], added: dict[str, Receiver]) -> None:
        """Exchange the configuration; a receiver that stays remembers what it was sent."""
        self._config = config
        for name in self._receivers.keys() - settings.keys():
            self._receivers.pop(name).stop()
        for receiver in added.values():
            receiver.start()
        self._receivers |= added
        for name, receiver in self._receivers.items():
            receiver.settings = settings[name]
            receiver.keep(frozenset(config.jobs))

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        """Hand the newest verdict of a job to the receivers; never waits for any of them."""
        if self._config is not None and verdict.job in self._config.jobs:
            for receiver in list(self._receivers.values()):
                receiver.take(verdict, config.alert.metric)

    def show_again(self, verdict: Verdict, config: JobConfig) -> None:
        """Notify nobody: nothing in a verdict from before a restart is news."""

    def withdraw(self, job: str) -> None:
        """Notify nobody: that there is no verdict ends no incident."""

    def close(self, timeout: float) -> None:
        """Stop all receivers, within `timeout` seconds."""
        for receiver in self._receivers.values():
            receiver.stop()
        deadline = time.monotonic() + timeout
        for receiver in self._receivers.values():
            receiver.join(max(deadline - time.monotonic(), 0.0))

    def _link(self) -> str:
        return (self._config and self._config.notify.link) or self._page()


def _settings(config: Config) -> dict[str, Settings]:
    """Return how each receiver is told."""
    notify = config.notify
    found = {"log": Settings(_say, float("inf"), 0.0, True, None)}
    for name, (address, shape) in receivers_of(config).items():
        file = config.state.path / f"notifications-{name}.json" if config.state else None
        send = partial(_post, address, shape, notify.proxy_from_environment)
        found[name] = Settings(send, notify.rate_limit.count, notify.rate_limit.interval, notify.resolved, file)
    return found


def receivers_of(config: Config) -> dict[str, tuple[Secret | SecretStr, Shape]]:
    """Return address and form of message by receiver; none where Alertmanager has receivers, who are told by it."""
    if config.alerting.receivers:
        return {}
    notify: NotifyConfig = config.notify
    every = {"slack": (notify.slack, _slack), "webhook": (notify.webhook, _webhook)}
    return {name: (address, shape) for name, (address, shape) in every.items() if address is not None}


def _post(
    address: Secret | SecretStr,
    shape: Shape,
    proxies: bool,
    news: PendingNotifications,
    text: str,
) -> None:
    post(address, shape(news, text), proxies)


def _say(news: PendingNotifications, text: str) -> None:
    (log.warning if news.opened else log.info)("notification", text=text)


def _slack(_news: PendingNotifications, text: str) -> Any:
    # Slack reads <…> as a link, or as a call to everybody.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": escaped, "mrkdwn": False, "unfurl_links": False}


def _webhook(news: PendingNotifications, text: str) -> Any:
    def listed(by_job: dict[str, list[Incident]]) -> list[Incident]:
        return [incident for incidents in by_job.values() for incident in incidents][:_LISTED]

    return {
        "version": 1,
        "text": text,
        "opened": listed(news.opened),
        "opened_count": sum(map(len, news.opened.values())),
        "over": listed(news.over),
        "over_count": sum(map(len, news.over.values())),
        "passed": news.passed,
    }
