"""Finds out what else moved when alerts began, for their texts, in a thread of its own: no cycle waits for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from exporter.context.joint import Member
from exporter.observe.metrics import SelfMetrics
from exporter.redact import printable
from exporter.service.looking import Looking
from exporter.sinks.joint_log import JointLog
from exporter.web.ui.related_told import Companions

MOST: Final = 50
"""Joint incidents whose companions are published: the newest that are alerts."""
LOOK_EVERY: Final = 5.0
"""Seconds between two looks whether there is a new one."""
AT_ONCE: Final = 2
"""Incidents of which it is asked in one look: a storm must not keep a core busy."""
AGAIN: Final = 600.0
"""Seconds after which it is asked once more: at the beginning of an incident little of what follows has been seen."""
_LONGEST: Final = 400


@dataclass(slots=True)
class _Asked:
    """What was found out of one joint incident, and when it is asked again (Unix seconds), None: never."""

    found: Companions
    again: float | None


class CompanionWatch(Looking):
    """Publishes what else moved as `anomaly_exporter_joint_incident_companions`, from which alerts have it.

    Parameters
    ----------
    joint : JointLog
    companions : callable taking a member of a joint incident
        Returns what else moved when it began.
    metrics : SelfMetrics
    """

    def __init__(self, joint: JointLog, companions: Callable[[Member], Companions], metrics: SelfMetrics) -> None:
        super().__init__("companions", LOOK_EVERY, "alerts do not say what else moved")
        self._joint, self._companions, self._metrics = joint, companions, metrics
        self._asked: dict[str, _Asked] = {}

    def look(self, now: float) -> None:
        """Ask what else moved of those that are new at `now` (Unix seconds), and forget those that are over."""
        alerting = dict(self._joint.alerting(MOST))
        changed = bool(self._asked.keys() - alerting.keys())
        self._asked = {name: each for name, each in self._asked.items() if name in alerting}
        due = [name for name in alerting if name not in self._asked or (self._asked[name].again or now + 1) <= now]
        for name in due[:AT_ONCE]:
            again = None if name in self._asked else now + AGAIN
            self._asked[name] = _Asked(Companions(0, ""), again)  # also where it fails: not over and over
            self._asked[name].found = self._companions(alerting[name])
            changed = True
        if changed:
            self._publish()

    def _publish(self) -> None:
        gauge = self._metrics.joint_incident_companions
        gauge.clear()
        for name, each in self._asked.items():
            if each.found.count:
                gauge.labels(name, printable(each.found.text)[:_LONGEST]).set(each.found.count)
