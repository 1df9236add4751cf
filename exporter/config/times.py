"""Parts of a time interval, in the words of Alertmanager."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]-(?:([01][0-9]|2[0-3]):[0-5][0-9]|24:00)")


def _as_texts(value: object) -> object:
    # YAML reads 2030 as a number; Alertmanager wants text.
    if isinstance(value, list | tuple):
        return [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value]
    return value


def _times(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if not _TIME.fullmatch(text) or len(set(text.split("-"))) == 1:
            raise ValueError(f"{text!r} is no span of time; write for example 22:00-06:00")
    return texts


def _ranges(
    what: str, least: int, most: int, names: Sequence[str] = ()
) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    def number(text: str) -> int:
        if text.lower() in names:
            return names.index(text.lower()) + least
        found = int(text) if re.fullmatch(r"-?[0-9]{1,4}", text) and (not names or least == 1) else None
        if found is None or not least <= found <= most or (least < 0 and found == 0):
            raise ValueError(f"{text!r} is no {what}")
        return found

    def check(texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            begin, _, end = text.partition(":")
            first, last = number(begin), number(end or begin)
            if first > last and (first > 0) == (last > 0):
                raise ValueError(f"{text!r} ends before it begins")
        return tuple(text.lower() for text in texts)

    return check


Times = Annotated[tuple[str, ...], AfterValidator(_times)]
Weekdays = Annotated[tuple[str, ...], AfterValidator(_ranges("day of the week", 0, 6, WEEKDAYS))]
Days = Annotated[tuple[str, ...], BeforeValidator(_as_texts), AfterValidator(_ranges("day of the month", -31, 31))]
Months = Annotated[tuple[str, ...], BeforeValidator(_as_texts), AfterValidator(_ranges("month", 1, 12, MONTHS))]
Years = Annotated[tuple[str, ...], BeforeValidator(_as_texts), AfterValidator(_ranges("year", 1970, 9999))]


def spans(text: str) -> list[tuple[str, str]]:
    """Return begin and end of a span of the day; one over midnight is two.

    >>> spans("22:00-06:00")
    [('22:00', '24:00'), ('00:00', '06:00')]
    """
    begin, _, end = text.partition("-")
    if begin < end:
        return [(begin, end)]
    return [(begin, "24:00"), *([("00:00", end)] if end != "00:00" else [])]
