"""Labels of the source, from its answer to the page that Prometheus scrapes, and back by remote write."""

import re

import msgspec
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from exporter.exposition import encode
from exporter.label_names import RESERVED, SCHEMES
from exporter.sinks.page_lines import Published
from exporter.sinks.remote_write_message import samples_of
from exporter.source.decode import Limits, decode
from exporter.source.errors import SourceError
from tests.support.verdicts import verdict

OURS = (SourceError,)
_ANSWER = b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":%s,"values":[[60,"1"]]}]}}'
SEEDS = (
    b'{"instance":"a:9100","job":"node"}',
    b'{"query":"taken","le":"+Inf","channel":"x"}',
    b'{"service.name":"\xc3\xa9","":"empty"}',
    b'{"a":"line\\nbreak \\"quoted\\" \\\\ back \\u202e \\u0000"}',
    b'{"a":"\\ud800"}',
    b'{"service.name\\n":"a","job\\n":"b"}',
)


def read(data: bytes) -> None:
    part = decode(_ANSWER % data, Limits(10, 10, 10))
    for label in part.labels:
        key = tuple(sorted(msgspec.json.decode(label, type=dict[str, str]).items()))
        shown = verdict((key,), job="cpu", score=np.ones(1))
        published = Published(shown, ("score",), 'query="cpu",detector="robust"', RESERVED, None)
        for block in (block for scheme in SCHEMES[1:] for block in published.blocks(scheme).values()):
            text = bytes(block).decode()
            for family in text_string_to_metric_families(text if text.endswith("\n") else text + "\n"):
                for sample in family.samples:
                    assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in sample.labels)
        for sample in samples_of(map(bytes, published.blocks("allow-utf-8").values()), 60_000, {}):
            assert dict(sample.labels)["query"] == "cpu"
        encode(str(dict(key)))
