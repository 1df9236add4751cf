"""What is posted by Prometheus remote write 1.0: a protobuf message, compressed with snappy.

https://prometheus.io/docs/specs/prw/remote_write_spec/
"""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

STALE: Final[float] = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""The value that ends a series."""
HEADERS: Final = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
Labels = tuple[tuple[str, str], ...]
"""Names and values in the order of the names, `__name__` among them."""
_TEXT: Final = r'"((?:[^"\\]|\\.)*)"'
_PAIR: Final = re.compile(rf"(?:([A-Za-z_]\w*)|{_TEXT})={_TEXT}", re.ASCII)
_ESCAPED: Final = re.compile(r"\\(.)")


class Sample(NamedTuple):
    """One sample of one series; the time in milliseconds."""

    labels: Labels
    value: float
    time: int


def samples_of(
    blocks: Iterable[bytes], time: int, known: dict[bytes, Labels], more: Sequence[tuple[str, str]] = ()
) -> Iterator[Sample]:
    """Yield the samples of lines of the page; `known` keeps their labels, which mostly are those of the time before.

    `more` are labels for series that have them not themselves.
    """
    for block in blocks:
        for line in block.split(b"\n"):
            if line:
                series, _, value = line.rpartition(b" ")
                if (labels := known.get(series)) is None:
                    labels = known[series] = _labels(series, more)
                yield Sample(labels, float(value), time)


def _labels(series: bytes, more: Sequence[tuple[str, str]]) -> Labels:
    name, _, inner = series.decode().partition("{")
    found = {"__name__": name, **dict(more)}
    for plain, quoted, value in _PAIR.findall(inner):
        found[plain or _meant(quoted)] = _meant(value)
    return tuple(sorted((name, value) for name, value in found.items() if value))


def _meant(text: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text


@cache
def _request() -> Any:
    """Return the class of the message: these few fields are all of the protocol that is written."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="remote.proto", package="prometheus", syntax="proto3")
    for message, fields in {
        "Label": (("name", field.TYPE_STRING, ""), ("value", field.TYPE_STRING, "")),
        "Sample": (("value", field.TYPE_DOUBLE, ""), ("timestamp", field.TYPE_INT64, "")),
        "TimeSeries": (("labels", field.TYPE_MESSAGE, "Label"), ("samples", field.TYPE_MESSAGE, "Sample")),
        "WriteRequest": (("timeseries", field.TYPE_MESSAGE, "TimeSeries"),),
    }.items():
        described = file.message_type.add(name=message)
        for number, (name, kind, of) in enumerate(fields, start=1):
            label = field.LABEL_REPEATED if of else field.LABEL_OPTIONAL
            described.field.add(
                name=name, number=number, type=kind, label=label, type_name=f".prometheus.{of}" if of else None
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))


def encoded(samples: Iterable[Sample]) -> bytes:
    """Return the body of a request."""
    import cramjam

    request = _request()()
    for labels, value, time in samples:
        series = request.timeseries.add()
        for name, text in labels:
            series.labels.add(name=name, value=text)
        series.samples.add(value=value, timestamp=time)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def decoded(body: bytes) -> list[Sample]:
    """Return what is in the body of a request."""
    import cramjam

    request = _request().FromString(bytes(cramjam.snappy.decompress_raw(body)))
    return [
        Sample(tuple((each.name, each.value) for each in series.labels), sample.value, sample.timestamp)
        for series in request.timeseries
        for sample in series.samples
    ]
