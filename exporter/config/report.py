"""Reports that the running exporter makes by itself: `report`."""

from importlib.util import find_spec
from typing import Literal

from pydantic import Field, model_validator

from exporter.config.secrets import FilePath
from exporter.config.section import Section


class ReportConfig(Section):
    """A report on every week or month (UTC), soon after it has ended (docs/reports.md)."""

    path: FilePath = Field(description="folder of the HTML files; made when it is not there")
    schedule: Literal["weekly", "monthly"] = Field(
        "weekly", description="weekly: from Monday to Monday; monthly: calendar months"
    )
    keep: int = Field(26, ge=1, description="reports kept")

    @model_validator(mode="after")
    def _available(self) -> "ReportConfig":
        if find_spec("matplotlib") is None:  # found, not imported: that would take the exporter's memory and time
            raise ValueError(
                "needs the Python package matplotlib, which is not installed: pip install 'anomaly-exporter[plot]'"
            )
        return self
