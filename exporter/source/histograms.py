"""Native histograms in answers: many numbers at once, of which a query must choose one to be judged."""

import re
from typing import Final

from exporter.promql import bare_selector
from exporter.source.samples import RangeResult

ONLY_HISTOGRAMS: Final = "the query returns native histograms, which have no single value to judge"
_OF_A_RATE: Final = re.compile(r"\s*(sum|rate|irate|increase)\b")


def only_histograms(frame: RangeResult) -> bool:
    """Tell whether an answer held native histograms and no number."""
    return not frame.labels and bool(frame.series_dropped.get("histogram"))


def remedy(expr: str) -> str:
    """Return which query to ask instead.

    >>> remedy('http_request_duration_seconds{job="api"}')
    'ask for a number: histogram_quantile(0.99, rate(http_request_duration_seconds{job="api"}[5m])) for the slowest, \
histogram_avg(…) for the mean or histogram_count(…) for how many'
    """
    inner = f"rate({expr.strip()}[5m])" if bare_selector(expr) else expr.strip() if _OF_A_RATE.match(expr) else "…"
    return (
        f"ask for a number: histogram_quantile(0.99, {inner}) for the slowest, histogram_avg(…) for the mean or "
        "histogram_count(…) for how many"
    )
