"""When a series reaches a limit: `forecast`."""

from typing import Final

from pydantic import Field

from exporter.config.section_base import LabelName, PositiveDuration, Section
from exporter.config.values import Duration

CALM: Final = 3
"""Times `for` that a limit must have been near, while there is time: a step looks like a trend for an hour or two."""
SOON: Final = 6
"""Share of `within` below which there is none to wait."""


class ForecastConfig(Section):
    """The limit towards which a job's series fill or drain (docs/context.md)."""

    limit: float = Field(
        description="value at which a series is full or empty, in the unit of the query; above it with `direction: "
        "above`, below it with `direction: below`, else on the other side of where most of its values are"
    )
    within: PositiveDuration = Field(
        259_200.0, description="it is an alert when the limit may be reached so soon (the early end of the interval)"
    )
    for_: Duration = Field(
        3600.0,
        alias="for",
        description="and has been so for so long, without a break; three times as long while it is far",
    )
    channel: LabelName | None = Field(None, description="which channel it is about, in a job with several")
