"""Days and hours that are unlike others: `calendars`."""

from collections.abc import Collection, Iterator, Mapping
from datetime import date, timedelta
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, field_validator

from exporter.config.errors import nearest
from exporter.config.receivers.kind import Line
from exporter.config.section_base import Conflict, Section
from exporter.config.sections.alerting import Location, TimeInterval
from exporter.config.values import WEEKDAYS, shown

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_LONGEST: Final = 400
"""Days in one range: more is a year mistyped."""


def span_of_days(value: object) -> tuple[date, date]:
    """Turn `2026-12-24` or `2026-12-24..2026-12-31` into the first and the last day. Raises ValueError."""
    try:
        # YAML reads 2026-12-24 as a date.
        first, _, last = (value.isoformat() if isinstance(value, date) else str(value)).partition("..")
        begin = date.fromisoformat(first.strip())
        end = date.fromisoformat(last.strip()) if last else begin
    except ValueError:
        raise ValueError(f"{shown(value)} is not a day; use for example 2026-12-24 or 2026-12-24..2026-12-31") from None
    if end < begin:
        raise ValueError(f"{shown(value)} ends before it begins")
    if end - begin > timedelta(days=_LONGEST):
        raise ValueError(f"{shown(value)} is longer than {_LONGEST} days")
    return begin, end


def _written(days: tuple[date, date]) -> str:
    return "..".join(day.isoformat() for day in dict.fromkeys(days))


Days = Annotated[tuple[date, date], BeforeValidator(span_of_days), PlainSerializer(_written, when_used="json")]
"""The first and the last day."""


class CalendarConfig(Section):
    """Days and hours that are unlike others, and what they mean. A time counts that is in one of the three lists."""

    name: Line | None = Field(None, description="what texts call it; default: its name under `calendars`")
    country: str | None = Field(None, description="public holidays of this country, such as DE or US (ISO 3166)")
    subdivision: str | None = Field(None, description="those of this part of it too, such as BY or CA")
    days: tuple[Days, ...] = Field((), description="more days, such as 2026-12-24 or 2026-12-24..2026-12-31")
    times: tuple[TimeInterval, ...] = Field((), description="recurring hours, such as a maintenance window")
    time_zone: Location | None = Field(
        None, description="where days begin, such as Europe/Berlin; default: the detector's `time_zone`, else UTC"
    )
    counts_as: Weekday | None = Field(
        None, description="such a day is judged and learnt as this day of the week; for `country` and `days`"
    )
    learn: bool = Field(True, description="false: nothing is learnt from these times")
    alert: bool = Field(True, description="false: what begins in these times is an incident, and no alert")

    @field_validator("country")
    @classmethod
    def _known_country(cls, country: str | None) -> str | None:
        if country is not None and country not in _countries():
            raise ValueError(
                f"{country!r} is no country that the calendar of holidays knows{_meant(country, _countries())}"
            )
        return country

    @field_validator("subdivision")
    @classmethod
    def _known_subdivision(cls, subdivision: str | None, info: ValidationInfo) -> str | None:
        if subdivision is None or "country" not in info.data:  # the country is wrong, and reported
            return subdivision
        country = info.data["country"]
        if country is None:
            raise ValueError("is a part of a country: give country too")
        if subdivision not in (known := _countries()[country]):
            raise ValueError(
                f"{subdivision!r} is no part of {country} with holidays of its own{_meant(subdivision, known)}"
            )
        return subdivision

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if not (self.country or self.days or self.times):
            yield ("days",), "holds no time: give country, days or times"
        if self.counts_as is None and self.learn and self.alert:
            yield ("counts_as",), "changes nothing: give counts_as, learn: false or alert: false"
        if self.counts_as is not None and self.times and not (self.country or self.days):
            yield ("counts_as",), "is about whole days: give country or days too"

    @property
    def weekday(self) -> int:
        """The day of the week as which its days count, 0 for Monday; -1 where they count as themselves."""
        return -1 if self.counts_as is None else (WEEKDAYS.index(self.counts_as) - 1) % 7


def _countries() -> Mapping[str, list[str]]:
    from holidays import list_supported_countries  # a tenth of a second that others need not wait

    return list_supported_countries()


def _meant(name: str, known: Collection[str]) -> str:
    if near := nearest(name, known):
        return f"; did you mean {near!r}?"
    return f"; there are: {', '.join(known)}" if known and len(known) < 60 else ""
