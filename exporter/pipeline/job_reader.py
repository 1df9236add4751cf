"""How a job reads from its source: what it asks, how far back, and what it reports of the answers."""

from collections.abc import Callable, Iterator
from functools import partial

import structlog

from exporter.config.split_choice import split_choice
from exporter.observe.job_metrics import JobMetrics
from exporter.observe.stages import Measure, unmeasured
from exporter.pipeline.history_reach import Reach, reach_of
from exporter.pipeline.job_settings import JobSettings
from exporter.promql import format_duration
from exporter.source.adaptive import AdaptiveReader, Gap, told
from exporter.source.chunks import Chunk, FetchStats, fetch, on_grid
from exporter.source.counters import rated
from exporter.source.samples import Source
from exporter.source.split_source import ListingSource, SplitSource

log = structlog.get_logger()


class JobReader:
    """Reads the samples of one job.

    Parameters
    ----------
    settings : JobSettings
        What is configured; a reload may exchange it.
    source : Source
        Where the samples come from; a reload may exchange it.
    metrics : JobMetrics
        Learns what was read.
    """

    def __init__(self, settings: JobSettings, source: Source, metrics: JobMetrics) -> None:
        self.settings, self.source, self._metrics = settings, source, metrics
        self.newest: float | None = None
        """Unix seconds of a time that tells whether the source answers at all; None: that of the newest sample."""
        self.seen = False
        """Whether any answer held a series, of whatever replica."""
        self._dropped: dict[str, int] = {}
        self._queries: dict[str, str] | None = None
        self._reach: Reach | None = None
        self._lengths = AdaptiveReader(settings.config.step)
        self._split: SplitSource | None = None
        self._said = False

    def take_over(self, other: "JobReader") -> None:
        """Ask the same queries as another reader of the job, and do not tell again what it has told."""
        self._queries, self._dropped = other._queries, other._dropped

    @property
    def queries(self) -> dict[str, str]:
        """PromQL by channel. The first use asks the source which bare metrics are counters. Raises SourceError."""
        if self._queries is None:
            config = self.settings.config
            asked = config.queries
            self._queries = rated(self.settings.name, asked, config.step, self.source) if config.rate else asked
        return self._queries

    @property
    def asked(self) -> dict[str, str]:
        """The same as far as the source was asked already, and nothing before."""
        return self._queries or {}

    def reach(self, until: float, samples: int) -> Reach:
        """Return how far the history up to `until` (Unix seconds) reaches, at least so many samples.

        What the configuration leaves open is asked of the source, once. Raises SourceError.
        """
        if self._reach is None:
            reach = self._reach = reach_of(self.settings, self.source, self.queries, samples, until)
            self._metrics.history_reached(reach.seconds, reach.limit)
            far = format_duration(reach.seconds)
            log.info("history", job=self.settings.name, reach=far, limit=reach.limit, hint=reach.hint)
        return self._reach

    def fetch(
        self,
        first: float,
        until: float,
        measure: Measure = unmeasured,
        series: int = 0,
        ahead: Callable[[], None] | None = None,
    ) -> Iterator[Chunk]:
        """Yield the samples from `first` up to `until` (Unix seconds) in chunks, oldest first. Raises SourceError.

        `series` are expected; 0: nobody knows how many. `ahead` is called while the source computes the newest sample.
        """
        config = self.settings.config
        gaps: list[Gap] = []

        def done(stats: FetchStats) -> None:
            gaps.extend(stats.gaps)
            self._count(stats)

        try:
            yield from fetch(
                self._share(),
                self.queries,
                config.step,
                on_grid(first, config.step),
                until,
                max_series=config.max_series,
                series=series,
                reader=self._lengths,
                newest=self.newest,
                pace=getattr(self.source, "pace", None),
                measured=partial(measure, "fetch"),
                ahead=ahead,
                done=done,
            )
        finally:
            if gaps:
                log.warning("samples_not_answered", job=self.settings.name, **told(gaps, config.step))

    def _share(self) -> Source:
        """Return what is asked for samples: our share of the source, where the queries can be split."""
        label, source, shard = self.settings.split_label, self.source, self.settings.shard
        if shard.count > 1 and not self._said:
            self._said = True
            by = "entity" if label is None else label
            log.info("shared_out", job=self.settings.name, by=by, why=split_choice(self.settings.config).why)
        if label is None or not isinstance(source, ListingSource):
            return source
        if self._split is None:
            self._split = SplitSource(source, self.settings.name, label, shard.owns_value)
        self._split.source = source
        return self._split

    def _count(self, stats: FetchStats) -> None:
        """Report what a chunk brought in and what was left out of it."""
        self.seen |= stats.series > 0
        if (split := self._split) is not None:
            self.seen |= split.seen
            self._metrics.share_read(split.label, split.values, split.whole)
        elif self.settings.shard.count > 1:
            self._metrics.share_read(self.settings.split_label or "", 0, whole=True)
        for gap in stats.gaps:
            self._metrics.not_answered(gap.error.reason, gap.count)
        self._metrics.fetched(
            samples=stats.samples,
            body_bytes=stats.body_bytes,
            samples_read=stats.samples_read,
            retries=stats.retries,
            partial=stats.partial,
            series_dropped=stats.series_dropped,
            samples_dropped=stats.samples_dropped,
        )
        if stats.series_dropped != self._dropped:  # logged when it begins, changes and ends, not every minute
            dropped = {**dict.fromkeys(self._dropped, 0), **stats.series_dropped}
            hint = (
                "limit: raise limits.series or narrow the query; duplicate: of series of one entity with a sample at "
                "the same time the first in the order of labels counts; see entity; histogram: ask for a number of "
                "native histograms, such as histogram_quantile(0.99, rate(METRIC[5m]))"
            )
            log.warning("series_dropped", job=self.settings.name, **dropped, hint=hint)
            self._dropped = stats.series_dropped
