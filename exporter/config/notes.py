"""What a configuration may say without effect in this version. Silence would be taken for a promise."""

from exporter.config.drift import drift_settings
from exporter.config.models import Config


def notes(config: Config) -> tuple[str, ...]:
    """Return one sentence for each."""
    found = []
    if config.alerting.receivers and (config.notify.slack or config.notify.webhook):
        found.append("notify: without effect beside alerting.receivers: Alertmanager tells them")
    watched = any(drift_settings(job.drift_detection, config.drift_detection) for job in config.jobs.values())
    if watched and not (config.models or config.state):
        found.append("drift_detection: drift is only counted and logged; with models or state it also asks to retrain")
    return tuple(found)
