"""The kinds of receivers. One map serves the configuration, alertmanager.yml and the exporter's own notifications.

A new receiver is one file here and one entry in the map.
"""

from collections.abc import Mapping
from typing import Any, Final

from exporter.config.receivers.email import EMAIL
from exporter.config.receivers.kind import ReceiverKind
from exporter.config.receivers.pagerduty import PAGERDUTY
from exporter.config.receivers.slack import SLACK
from exporter.config.receivers.webhook import WEBHOOK

RECEIVERS: Final[Mapping[str, ReceiverKind[Any]]] = {
    "slack": SLACK,
    "pagerduty": PAGERDUTY,
    "email": EMAIL,
    "webhook": WEBHOOK,
}
"""By key in `alerting.receivers.NAME`, which is also that in `notify` and, as NAME_configs, Alertmanager's."""
