"""What is posted by Prometheus remote write, 1.0 and 2.0: protobuf messages, compressed with snappy.

https://prometheus.io/docs/specs/prw/remote_write_spec/
https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/
"""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal, NamedTuple

STALE: Final[float] = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""The value that ends a series."""
Version = Literal[1, 2]
"""Version of remote write, and of its message."""
HEADERS: Final[Mapping[Version, Mapping[str, str]]] = {
    1: {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    },
    2: {
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    },
}
Labels = tuple[tuple[str, str], ...]
"""Names and values in the order of the names, `__name__` among them."""
_TEXT: Final = r'"((?:[^"\\]|\\.)*)"'
_PAIR: Final = re.compile(rf"(?:([A-Za-z_]\w*)|{_TEXT})={_TEXT}", re.ASCII)
_ESCAPED: Final = re.compile(r"\\(.)")


_TYPES: Final = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")
"""Types of metrics, in the order of their numbers in the message."""


class Metadata(NamedTuple):
    """What is known of a metric: its type, as prometheus_client calls it, and its help."""

    type: str
    help: str


UNKNOWN: Final = Metadata("unknown", "")


class Sample(NamedTuple):
    """One sample of one series; the time in milliseconds. Remote write 1.0 carries no metadata."""

    labels: Labels
    value: float
    time: int
    metadata: Metadata = UNKNOWN


def samples_of(
    blocks: Iterable[bytes],
    time: int,
    known: dict[bytes, Labels],
    more: Sequence[tuple[str, str]] = (),
    metadata: Metadata = UNKNOWN,
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
                yield Sample(labels, float(value), time, metadata)


def _labels(series: bytes, more: Sequence[tuple[str, str]]) -> Labels:
    name, _, inner = series.decode().partition("{")
    found = {"__name__": name, **dict(more)}
    for plain, quoted, value in _PAIR.findall(inner):
        found[plain or _meant(quoted)] = _meant(value)
    return tuple(sorted((name, value) for name, value in found.items() if value))


def _meant(text: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text


def encoded(samples: Iterable[Sample], version: Version = 1) -> bytes:
    """Return the body of a request."""
    import cramjam

    message = _request_v1(samples) if version == 1 else _request_v2(samples)
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def decoded(body: bytes, version: Version = 1) -> list[Sample]:
    """Return what is in the body of a request."""
    import cramjam

    message = _messages()[version].FromString(bytes(cramjam.snappy.decompress_raw(body)))
    return list(_samples_v1(message) if version == 1 else _samples_v2(message))


def _request_v1(samples: Iterable[Sample]) -> Any:
    request = _messages()[1]()
    for labels, value, time, _ in samples:
        series = request.timeseries.add()
        for name, text in labels:
            series.labels.add(name=name, value=text)
        series.samples.add(value=value, timestamp=time)
    return request


def _samples_v1(message: Any) -> Iterator[Sample]:
    for series in message.timeseries:
        labels = tuple((each.name, each.value) for each in series.labels)
        for sample in series.samples:
            yield Sample(labels, sample.value, sample.timestamp)


def _request_v2(samples: Iterable[Sample]) -> Any:
    """Return the message in which every text stands once, in a table that begins with the empty one."""
    request = _messages()[2]()
    symbols: dict[str, int] = {"": 0}
    for labels, value, time, metadata in samples:
        series = request.timeseries.add()
        series.labels_refs.extend(symbols.setdefault(text, len(symbols)) for pair in labels for text in pair)
        series.samples.add(value=value, timestamp=time)
        series.metadata.type = _TYPES.index(metadata.type) if metadata.type in _TYPES else 0
        series.metadata.help_ref = symbols.setdefault(metadata.help, len(symbols))
    request.symbols.extend(symbols)
    return request


def _samples_v2(message: Any) -> Iterator[Sample]:
    symbols = list(message.symbols)
    for series in message.timeseries:
        texts = [symbols[each] for each in series.labels_refs]
        labels = tuple(zip(texts[::2], texts[1::2], strict=True))
        metadata = Metadata(_TYPES[series.metadata.type], symbols[series.metadata.help_ref])
        for sample in series.samples:
            yield Sample(labels, sample.value, sample.timestamp, metadata)


@cache
def _messages() -> Mapping[Version, Any]:
    """Return the classes of the messages: these few fields are all of the protocol that is written."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    text, number, whole = field.TYPE_STRING, field.TYPE_UINT32, field.TYPE_INT64
    sample = {"value": (1, field.TYPE_DOUBLE), "timestamp": (2, whole)}
    packages: Mapping[str, Mapping[str, Mapping[str, tuple[int, int | str]]]] = {
        "prometheus": {
            "Label": {"name": (1, text), "value": (2, text)},
            "Sample": sample,
            "TimeSeries": {"labels": (1, "Label*"), "samples": (2, "Sample*")},
            "WriteRequest": {"timeseries": (1, "TimeSeries*")},
        },
        "io.prometheus.write.v2": {
            "Sample": sample,
            "Metadata": {"type": (1, whole), "help_ref": (3, number), "unit_ref": (4, number)},
            "TimeSeries": {"labels_refs": (1, "uint32*"), "samples": (2, "Sample*"), "metadata": (5, "Metadata")},
            "Request": {"symbols": (4, "string*"), "timeseries": (5, "TimeSeries*")},
        },
    }
    scalars = {"uint32": number, "string": text}
    pool = descriptor_pool.DescriptorPool()
    for package, messages in packages.items():
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        for message, fields in messages.items():
            described = file.message_type.add(name=message)
            for name, (place, kind) in fields.items():
                many = isinstance(kind, str) and kind.endswith("*")
                of = kind.rstrip("*") if isinstance(kind, str) else ""
                label = field.LABEL_REPEATED if many else field.LABEL_OPTIONAL
                made = described.field.add(name=name, number=place, label=label)
                if of and of not in scalars:
                    made.type, made.type_name = field.TYPE_MESSAGE, f".{package}.{of}"
                else:
                    made.type = scalars[of] if of else kind
        pool.Add(file)
    names: Mapping[Version, str] = {1: "prometheus.WriteRequest", 2: "io.prometheus.write.v2.Request"}
    return {
        version: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for version, name in names.items()
    }
