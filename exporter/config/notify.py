"""Notices that the exporter sends itself: `notify`."""

from pydantic import Field

from exporter.config.alerting import NoticesConfig
from exporter.config.secrets import HeldSecret, Secret
from exporter.config.section import Section, SourceUrl


class NotifyConfig(Section):
    """Notices sent by the exporter itself, as long as `alerting.receivers` names nobody for Alertmanager to tell."""

    slack: HeldSecret | None = Field(None, description="address of a Slack webhook")
    webhook: Secret | None = Field(None, description="address that gets the same as JSON (docs/notices.md)")
    notices: NoticesConfig = Field(NoticesConfig(), description="most messages to one receiver")
    resolved: bool = Field(True, description="tell the end of an incident too")
    link: SourceUrl | None = Field(
        None, description="address at the end of every message, such as a dashboard; default: our own page"
    )
    proxy_from_environment: bool = Field(False, description="honour HTTPS_PROXY, NO_PROXY and ~/.netrc")
