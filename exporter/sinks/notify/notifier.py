"""All receivers of notifications: the log always, others where there is no Alertmanager to notify them."""

import time
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
from exporter.sinks.joint_book import no_joint_incidents
from exporter.sinks.notify.edited import EditedMessages
from exporter.sinks.notify.http_post import post
from exporter.sinks.notify.joined import JoinedOf
from exporter.sinks.notify.mail import Mailer
from exporter.sinks.notify.notification import Incident, PendingNotifications
from exporter.sinks.notify.pages import OurPages
from exporter.sinks.notify.receiver import Links, Receiver, Settings
from exporter.sinks.notify.sent_log import SentLog
from exporter.sinks.notify.slack_api import SlackChannel

log = structlog.get_logger()


class Notifier(NewestVerdict):
    """Hands verdicts to the receivers.

    Parameters
    ----------
    metrics : SelfMetrics
    pages : OurPages
        What messages show of our own pages.
    joined : callable
        Tells which incidents are one.
    """

    def __init__(self, metrics: SelfMetrics, pages: OurPages, joined: JoinedOf = no_joint_incidents) -> None:
        self._metrics, self._pages, self._joined = metrics, pages, joined
        self._links = Links(self._chosen, pages.home, self._page_of, pages.companions)
        self.sent = SentLog()
        """What was sent to whom."""
        self._config: Config | None = None
        self._receivers: dict[str, Receiver] = {}
        self._started = False

    def prepare(self, config: Config) -> Change:
        """Prepare the receivers of another configuration; what they were sent is read, nothing is sent yet."""
        settings = _settings(config, self._pages)
        added = {name: self._receiver(name, settings[name]) for name in settings.keys() - self._receivers.keys()}
        return Change(lambda: self._use(config, settings, added))

    def _use(self, config: Config, settings: dict[str, Settings], added: dict[str, Receiver]) -> None:
        """Exchange the configuration; a receiver that stays remembers what it was sent."""
        self._config = config
        self.sent.use(config.state.path if config.state else None)
        for name in self._receivers.keys() - settings.keys():
            self._receivers.pop(name).stop()
        self._receivers |= added
        if self._started:
            for receiver in added.values():
                receiver.start()
        for name, receiver in self._receivers.items():
            receiver.settings = settings[name]
            receiver.keep(frozenset(config.jobs))
        self._warm_up()

    def _warm_up(self) -> None:
        """Have pictures drawn soon where any are sent: the message of an incident shall not wait for an import."""
        if self._started and self._config is not None and self._config.notify.shows_pictures:
            self._pages.warm_up()

    def start(self) -> None:
        """Begin to notify: only now is the address of our own pages known."""
        self._started = True
        for receiver in self._receivers.values():
            receiver.start()
        self._warm_up()

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

    def _receiver(self, name: str, settings: Settings) -> Receiver:
        kind = Receiver if settings.channel is None else EditedMessages
        return kind(name, settings, self._links, self._metrics, self.sent, self._joined)

    def _chosen(self) -> str:
        return (self._config and self._config.notify.link) or ""

    def _page_of(self, incident: Incident) -> str:
        """Return the address of an incident's page, unless only `notify.link` is known to be reachable."""
        config = self._config
        if config is None or not config.web.ui or (config.notify.link and not config.web.external_url):
            return ""
        return self._pages.incident(incident.job, incident.key, incident.since)


def _settings(config: Config, pages: OurPages) -> dict[str, Settings]:
    """Return how each receiver is notified: the log always, the others where Alertmanager has no receivers."""
    notify = config.notify
    found = {"log": Settings(_log, float("inf"), 0.0, True, None)}
    if config.alerting.receivers and not notify.beside_alertmanager:
        return found
    for name in notify.names:
        file = config.state.path / f"notifications-{name}.json" if config.state else None
        limits = notify.rate_limit.count, notify.rate_limit.interval, notify.resolved, file
        if name == "slack_app":
            assert notify.slack_app is not None
            channel = SlackChannel(notify.slack_app, notify.proxy_from_environment, pages.picture)
            found[name] = Settings(_log, *limits, channel)
        elif name == "email":
            assert notify.email is not None
            found[name] = Settings(Mailer(notify.email, pages.picture).send, *limits)
        else:
            own = RECEIVERS[name].own
            assert own is not None
            send = partial(_post, notify.addresses[name], own, notify.proxy_from_environment)
            found[name] = Settings(send, *limits)
    return found


def _post(address: Secret | SecretStr, own: OwnSender, proxies: bool, pending: PendingNotifications, text: str) -> None:
    post(address, own.message(pending, text), proxies)


def _log(pending: PendingNotifications, text: str) -> None:
    bad = pending.opened or any(not each.over for each in pending.limits)
    (log.warning if bad else log.info)("notification", text=text)
