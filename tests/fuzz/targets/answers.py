"""Answers of Prometheus to a range query, as bytes from the network."""

import numpy as np

from exporter.source.decode import Limits, decode
from exporter.source.errors import SourceError
from exporter.source.samples import merge
from tests.support.stub import ONE, matrix

OURS = (SourceError,)
LIMITS = Limits(50, 500, 100)
SEEDS = (
    ONE,
    matrix(
        ({"__name__": "up", "job": "a"}, [(60.0, "1"), (120.0, "NaN"), (180.0, "+Inf")]), ({"pod": "é\n"}, [(60.0, "-0.5")])
    ),
    matrix(warnings=["partial"], infos=["PromQL info: x"]),
    b'{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory"}',
    b'{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[],'
    b'"histograms":[[60,{"count":"1","sum":"2","buckets":[[0,"0","1","1"]]}]]}]},"stats":{"seriesFetched":"1"}}',
)  # fmt: skip


def read(data: bytes) -> None:
    part = decode(data, LIMITS, known=[b'{"__name__":"up","job":"node"}'])
    assert len(part.labels) == len(part.counts) <= LIMITS.series
    assert part.times.size == part.values.size == part.counts.sum() <= LIMITS.samples
    assert not np.isinf(part.values).any()
    frame = merge([part], LIMITS)
    assert len(set(frame.labels)) == len(frame.labels)
