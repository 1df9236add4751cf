"""What Alertmanager does with the alerts of a series, in words."""

from detectors.types import Key
from exporter import incident_wording as wording
from exporter.json_values import utc
from exporter.redact import masked
from exporter.sinks.alertmanager_alerts import Routed, Unreachable, alerts_of
from exporter.web.ui.facts import Running
from exporter.web.ui.sent_answers import RoutedAlert


def routed_alerts(running: Running, job: str, key: Key, notes: list[str]) -> list[RoutedAlert] | None:
    """Return the alerts of a series in Alertmanager, None where it is not known; `notes` say why if it should be."""
    endpoint = running.facts().config.train.alertmanager
    if endpoint is None:
        return None
    try:
        found = alerts_of(endpoint, job, key)
    except Unreachable as error:
        notes.append(f"Whether Alertmanager sends a message is not known. {masked(str(error))}")
        return None
    return [
        RoutedAlert(each.name, list(each.receivers), utc(each.since), each.silenced or each.inhibited, _told(each))
        for each in found
    ]


def _told(alert: Routed) -> str:
    if alert.silences:
        each = max(alert.silences, key=lambda silence: silence.until)
        until = wording.moment(each.until, dated=True)
        return f"silenced until {until} UTC by {each.who or 'somebody'}: {each.why or 'no reason given'}"
    if alert.silenced:
        return "silenced"
    if alert.inhibited:
        return "held back while another alert is active (inhibited)"
    if not alert.receivers:
        return "no receiver gets it"
    return f"goes to {', '.join(alert.receivers)}"
