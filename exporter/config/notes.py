"""What a configuration may say without effect in this version. Silence would be taken for a promise."""

from exporter.config.models import Config


def notes(config: Config, flat: bool) -> tuple[str, ...]:
    """Return one sentence for each; `flat` picks the key names of the original flat file."""
    found = []
    if config.notify.slack is not None:
        key = "slack_webhook_url" if flat else "notify.slack"
        found.append(f"{key}: accepted, but this version sends no notices itself; route alerts through Alertmanager")
    if config.drift_detection:
        found.append("drift_detection: accepted, but this version does not watch for drift")
    return tuple(found)
