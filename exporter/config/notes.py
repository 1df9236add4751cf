"""What a configuration may say without effect in this version. Silence would be taken for a promise."""

from exporter.config.models import Config


def notes(config: Config) -> tuple[str, ...]:
    """Return one sentence for each."""
    found = []
    if config.alerting.receivers and (config.notify.slack or config.notify.webhook):
        found.append("notify: without effect beside alerting.receivers: Alertmanager tells them")
    if config.drift_detection:
        found.append("drift_detection: accepted, but this version does not watch for drift")
    return tuple(found)
