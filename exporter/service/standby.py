"""One of several exporters leads, the others stand by: they judge and keep up, and show and write nothing."""

import threading
from collections.abc import Callable

import structlog

from exporter.config.sections.notify import NotifyConfig
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.service.election import Leadership

log = structlog.get_logger()


def silent(config: Config) -> Config:
    """Return a configuration whose sinks write, send and open nothing."""
    return config.model_copy(
        update={"state": None, "audit": None, "notify": NotifyConfig(), "remote_write": (), "report": None}
    )


class Standby:
    """Follows who leads, and has the exporter take over or step down.

    Parameters
    ----------
    leadership : Leadership
    metrics : SelfMetrics
        Tell who leads.
    take_over, step_down : callable
        Called when that changes; what they raise is logged, and they are called again.
    """

    def __init__(
        self,
        leadership: Leadership,
        metrics: SelfMetrics,
        take_over: Callable[[], None],
        step_down: Callable[[], None],
    ) -> None:
        self._leadership, self._metrics = leadership, metrics
        self._take_over, self._step_down = take_over, step_down
        self._leads = leadership.attempt()
        self._said = ""
        self._told: tuple[str, bool] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)
        self._tell()

    @property
    def leads(self) -> bool:
        """Whether this exporter publishes."""
        return self._leads and self._leadership.leads

    @property
    def holder(self) -> str:
        """Who leads, "" where that is not known."""
        return self._leadership.election.holder()

    def start(self) -> None:
        """Begin to follow who leads."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Follow no more, and let another one lead: all is written by now."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if self._leadership.leads:
            self._leadership.release()

    def _run(self) -> None:
        while not self._stop.wait(self._leadership.election.retry):
            leads = self._leadership.attempt()
            if (trouble := self._leadership.trouble) != self._said:
                self._said = trouble
                if trouble:
                    hint = "who cannot renew does not lead for long; another one takes over"
                    log.warning("leader_not_known", error=trouble, hint=hint)
            if leads != self._leads:
                self._change(leads)
            self._tell()

    def _change(self, leads: bool) -> None:
        self._leads = leads
        self._tell()  # the page that is rendered next says so
        try:
            (self._take_over if leads else self._step_down)()
        except Exception as error:  # such as an audit file that the leader before has not let go of yet
            hint = "it is tried again"
            log.error("leader_not_changed", leads=leads, error=str(error), hint=hint)
            self._leads = not leads
            return
        if leads:
            log.warning("leading", hint="this exporter publishes and notifies now")
        else:
            log.warning("standing_by", leader=self.holder, hint="another exporter publishes and notifies")

    def _tell(self) -> None:
        told = self.holder, self.leads
        if told != self._told:
            self._told = told
            self._metrics.leader.clear()
            self._metrics.leader.labels(self.holder).set(self.leads)
