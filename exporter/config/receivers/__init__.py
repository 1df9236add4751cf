"""The kinds of receivers. One map serves the configuration, alertmanager.yml and the exporter's own notifications.

A new receiver is one file here and one entry in the map.
"""

from collections.abc import Mapping
from typing import Any, Final

from exporter.config.receivers.discord import DISCORD
from exporter.config.receivers.email import EMAIL
from exporter.config.receivers.kind import ReceiverKind
from exporter.config.receivers.msteamsv2 import MSTEAMSV2
from exporter.config.receivers.opsgenie import OPSGENIE
from exporter.config.receivers.pagerduty import PAGERDUTY
from exporter.config.receivers.slack import SLACK
from exporter.config.receivers.telegram import TELEGRAM
from exporter.config.receivers.webhook import WEBHOOK

RECEIVERS: Final[Mapping[str, ReceiverKind[Any]]] = {
    "slack": SLACK,
    "pagerduty": PAGERDUTY,
    "email": EMAIL,
    "webhook": WEBHOOK,
    "opsgenie": OPSGENIE,
    "msteamsv2": MSTEAMSV2,
    "discord": DISCORD,
    "telegram": TELEGRAM,
}
"""By key in `alerting.receivers.NAME`, which is also that in `notify` and, as NAME_configs, Alertmanager's."""
