"""Bare counters are asked for as a rate: a number that only grows has no usual level."""

import re
from typing import Final

import structlog

from exporter.promql import as_rate, bare_selector
from exporter.source.errors import BadAnswer, QueryRejected
from exporter.source.samples import Source

log = structlog.get_logger()

SHORTEST_RATE_SPAN: Final = 300.0
"""Seconds."""
_COUNTER_NAME: Final = re.compile(r".*_(total|count|sum|bucket)")


def rated(job: str, queries: dict[str, str], step: float, source: Source) -> dict[str, str]:
    """Return the queries of `job`, by channel, with `rate()` around those that are a bare counter.

    The source's metadata say which are counters. Raises SourceError.
    """
    bare = {channel: metric for channel, expr in queries.items() if (metric := bare_selector(expr))}
    if not bare:
        return queries
    try:
        types = source.metric_types(bare.values())
    except (BadAnswer, QueryRejected) as error:  # not every source has the metadata API
        log.warning("metadata_unavailable", job=job, error=str(error), hint="counters are recognised by their names")
        types = {}
    span = max(SHORTEST_RATE_SPAN, 4 * step)
    rates = dict(queries)
    for channel, metric in bare.items():
        # A counter that nobody scrapes right now has no metadata; the naming convention is the fallback.
        if types.get(metric, "counter" if _COUNTER_NAME.fullmatch(metric) else "gauge") == "counter":
            rates[channel] = as_rate(queries[channel], span)
            log.info("counter_to_rate", job=job, expr=queries[channel], judged=rates[channel])
    return rates
