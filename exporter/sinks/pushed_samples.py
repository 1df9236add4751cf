"""What the page shows of a job, as samples for whoever is sent them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from detectors.types import Key
from exporter.config.sections.job import JobConfig
from exporter.families import FAMILIES
from exporter.label_names import Scheme
from exporter.pipeline.verdict import Verdict
from exporter.sinks.joint_book import Joined
from exporter.sinks.page_lines import Published
from exporter.sinks.remote_write_message import UNKNOWN, Labels, Metadata, Sample, samples_of

_METADATA: Final = {family.metric: Metadata("gauge", family.help) for family in FAMILIES}
_SPARE: Final = 1000


class JobSamples:
    """Makes the samples of verdicts; labels are kept from one verdict of a job to the next.

    Parameters
    ----------
    joined : callable taking the name of a job
        Returns by series which joint incident it belongs to.
    """

    def __init__(self, joined: Callable[[str], Mapping[Key, Joined]]) -> None:
        self._joined = joined
        self._published: dict[str, Published] = {}
        self._known: dict[str, dict[bytes, Labels]] = {}

    def of(
        self, verdict: Verdict, config: JobConfig, scheme: Scheme, more: Sequence[tuple[str, str]] = ()
    ) -> Iterator[Sample]:
        """Yield the samples of a verdict, those of one metric after another, with its time.

        `scheme` is how names are written that only Prometheus 3 knows; `more` are labels for series that have them not
        themselves.
        """
        job, at = verdict.job, int(verdict.time * 1000)
        published = Published.of(verdict, config.publish, self._published.get(job), self._joined(job))
        self._published[job] = published
        known, count = self._known.setdefault(job, {}), 0
        for metric, block in published.blocks(scheme).items():
            for sample in samples_of(block.pieces(), at, known, more, _METADATA.get(metric, UNKNOWN)):
                count += 1
                yield sample
        if len(known) > 2 * count + _SPARE:  # most are of series that came and went
            known.clear()

    def forget(self, job: str) -> None:
        """Keep nothing of a job any more."""
        self._published.pop(job, None)
        self._known.pop(job, None)
