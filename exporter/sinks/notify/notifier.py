"""All receivers of notifications: the log always, others where there is no Alertmanager to notify them."""

import time
from collections.abc import Callable
from functools import partial

import structlog
from pydantic import SecretStr

from exporter.config.receivers import RECEIVERS
from exporter.config.receivers.kind import OwnSender
from exporter.config.secrets import Secret
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.base import Change, NewestVerdict
from exporter.sinks.notify.http_post import post
from exporter.sinks.notify.notification import PendingNotifications
from exporter.sinks.notify.receiver import Receiver, Settings

log = structlog.get_logger()


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
        self._started = False

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
        self._receivers |= added
        if self._started:
            for receiver in added.values():
                receiver.start()
        for name, receiver in self._receivers.items():
            receiver.settings = settings[name]
            receiver.keep(frozenset(config.jobs))

    def start(self) -> None:
        """Begin to notify: only now is the address of our own pages known."""
        self._started = True
        for receiver in self._receivers.values():
            receiver.start()

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        """Hand the newest verdict of a job to the receivers; never waits for any of them."""
        if self._config is not None and verdict.job in self._config.jobs:
            for receiver in list(self._receivers.values()):
                receiver.take(verdict, config)

    def show_again(self, verdict: Verdict, config: JobConfig) -> None:
        """Notify nobody: nothing in a verdict from before a restart is new."""

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
    """Return how each receiver is notified: the log always, the others where Alertmanager has no receivers."""
    notify = config.notify
    found = {"log": Settings(_log, float("inf"), 0.0, True, None)}
    for name, address in ({} if config.alerting.receivers else notify.addresses).items():
        own = RECEIVERS[name].own
        assert own is not None
        file = config.state.path / f"notifications-{name}.json" if config.state else None
        send = partial(_post, address, own, notify.proxy_from_environment)
        found[name] = Settings(send, notify.rate_limit.count, notify.rate_limit.interval, notify.resolved, file)
    return found


def _post(address: Secret | SecretStr, own: OwnSender, proxies: bool, pending: PendingNotifications, text: str) -> None:
    post(address, own.message(pending, text), proxies)


def _log(pending: PendingNotifications, text: str) -> None:
    (log.warning if pending.opened else log.info)("notification", text=text)
