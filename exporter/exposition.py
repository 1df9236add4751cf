"""The Prometheus text format 0.0.4, written for very many series.

prometheus_client needs about 13 µs per sample, since it makes objects of each. Here a line is three pieces (family
name, label text made once per entity, number): 0.2 to 0.3 µs with everything. The numbers become text in the cycle, the
lines when somebody reads them: the page of 100,000 series, 80 MB, is never in memory as a whole. Slots of a fixed
width, patched in place, would save half of the time, but could not leave out a line that has no value.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, compress
from typing import Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from detectors.types import Flags, Floats, Key
from exporter.label_names import UNDERSCORES, Scheme, is_classic, published_names

MAX_LABEL_BYTES: Final = 64 * 1024
"""A series with more label text than this is left out: 10,000 of them would fill the memory, ours and Prometheus'."""
TARGET_LABELS: Final = ("job", "instance", "namespace", "pod", "service", "container", "endpoint", "node")
"""Labels that Prometheus, its operator and the usual scrape jobs give to all samples of a target."""

_UNITS: Final = ("seconds", "bytes", "ratio")
_PIECE: Final = 2048
"""Lines written at once."""
Lengths = NDArray[np.int64]
Values = TypeVar("Values", Floats, Flags)


def escape(value: str) -> str:
    """Escape a label value."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def encode(text: str) -> bytes:
    """Encode as UTF-8; a lone surrogate, which UTF-8 cannot express, becomes a question mark."""
    return text.encode("utf-8", "replace")


@lru_cache(maxsize=256)
def blanks(names: tuple[str, ...]) -> str:
    """Return the target labels that are not among `names`, each with an empty value.

    With `honor_labels` an empty label keeps Prometheus from adding its own of that name (Pushgateway does the same).
    Without it, a judged series would have the address, pod and namespace of the exporter, and become another series,
    with another alert, when the exporter's pod is replaced.
    """
    return "".join(f',{name}=""' for name in TARGET_LABELS if name not in names)


def label_text(key: Key, own: str, reserved: frozenset[str], scheme: Scheme = UNDERSCORES) -> bytes | None:
    """Return the labels of a series up to and including the blank before the number; None when they are too long.

    Parameters
    ----------
    key : Key
        Labels of the source series. One with an empty value is the same as none to Prometheus and is left out.
    own : str
        Our own labels, ready and escaped.
    reserved : frozenset of str
        Names that the source's labels may not take.
    scheme : str
        How names are written that only Prometheus 3 knows.
    """
    present = [(name, value) for name, value in key if value]
    if sum(len(name) + len(value) for name, value in present) > MAX_LABEL_BYTES:
        return None
    names = published_names(tuple(name for name, _ in present), reserved, scheme)
    shown = names if scheme == UNDERSCORES else [name if is_classic(name) else f'"{escape(name)}"' for name in names]
    pairs = [f'{name}="{escape(value)}",' for name, (_, value) in zip(shown, present, strict=True)]
    return encode(f"{''.join(pairs)}{own}{blanks(names)}}} ")


@dataclass(frozen=True, slots=True, eq=False)
class _Section:
    """Lines that begin alike; `numbers` are texts of `_PIECE` numbers each, separated by commas."""

    head: bytes
    labels: Sequence[bytes]
    numbers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Lines of the text format, each starting with a line feed, put together as they are read: `pieces`, `bytes`.

    What is kept are the numbers, a megabyte for 100,000 lines of 20 MB. The label texts are shared by all families.

    Parameters
    ----------
    sections : tuple
        What they are made of.
    size : int
        Bytes, which are known before any line is written; also `len`.
    """

    sections: tuple[_Section, ...] = ()
    size: int = 0

    @classmethod
    def joined(cls, every: Iterable["Lines"]) -> "Lines":
        """Return the lines of several, one after the other."""
        found = list(every)
        return cls(tuple(chain.from_iterable(each.sections for each in found)), sum(each.size for each in found))

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Write the lines, some hundred kilobytes at a time."""
        for section in self.sections:
            first, at = b"\n" + section.head, 0
            for text in section.numbers:
                values = text.split(b",")
                pieces = [first] * (3 * len(values))
                pieces[1::3] = section.labels[at : at + len(values)]
                pieces[2::3] = values
                at += len(values)
                yield b"".join(pieces)


def numbers(values: Floats) -> bytes:
    """Format numbers with the fewest digits that read back the same, separated by commas. Shape (N,)."""
    text = msgspec.json.encode(values.tolist())[1:-1]  # 0.1 µs each, map(repr, …) 0.5 µs
    odd = np.flatnonzero(~np.isfinite(values)).tolist()  # JSON knows neither NaN nor infinity
    if not odd:
        return text
    texts = text.split(b",")
    for at in odd:
        value = values[at]
        texts[at] = b"NaN" if np.isnan(value) else b"+Inf" if value > 0 else b"-Inf"
    return b",".join(texts)


def bits(flags: Flags) -> bytes:
    """Format flags as 0 and 1, separated by commas. Shape (N,)."""
    text = np.full(2 * len(flags), ord(","), np.uint8)
    text[::2] = ord("0") + flags
    return text[:-1].tobytes()


def number_lines(head: bytes, labels: Sequence[bytes], values: Floats, lengths: Lengths | None = None) -> Lines:
    """Return a line for each label text and number.

    Parameters
    ----------
    head : bytes
        How every line begins, up to the brace.
    labels : sequence of bytes, length N
    values : Floats, shape (N,)
    lengths : array of int, shape (N,), optional
        Those of the label texts, where they are known.
    """
    return _lines(head, labels, values, numbers, lengths)


def bit_lines(head: bytes, labels: Sequence[bytes], flags: Flags, lengths: Lengths | None = None) -> Lines:
    """Return a line for each label text and flag; parameters as for `number_lines`."""
    return _lines(head, labels, flags, bits, lengths)


def present_lines(head: bytes, labels: Sequence[bytes], values: Floats, lengths: Lengths | None = None) -> Lines:
    """Return the lines of those values that are not NaN; parameters as for `number_lines`."""
    present = ~np.isnan(values)
    if present.all():
        return number_lines(head, labels, values, lengths)
    there = None if lengths is None else lengths[present]
    return number_lines(head, list(compress(labels, present.tolist())), values[present], there)


def _lines(
    head: bytes, labels: Sequence[bytes], values: Values, write: Callable[[Values], bytes], lengths: Lengths | None
) -> Lines:
    count = len(labels)
    texts = tuple(write(values[at : at + _PIECE]) for at in range(0, count, _PIECE))
    of_labels = sum(map(len, labels)) if lengths is None else int(lengths.sum())
    commas = count - len(texts)
    size = count * (len(head) + 1) + of_labels + sum(map(len, texts)) - commas
    return Lines((_Section(head, labels, texts),), size) if count else Lines()


def unit_of(name: str) -> str:
    """Return the unit with which the name of a metric ends, as OpenMetrics wants it; "" where it has none."""
    return next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")


def family_header(name: str, help_text: str, with_unit: bool = False) -> bytes:
    """Return the HELP and TYPE of a gauge, without the last line feed, since `lines` begin with one."""
    unit = f"\n# UNIT {name} {found}" if with_unit and (found := unit_of(name)) else ""
    return f"# HELP {name} {help_text}\n# TYPE {name} gauge{unit}".encode()


def read(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield name, labels and value of the samples of a page as a scrape reads them: an empty label is none."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, {name: value for name, value in sample.labels.items() if value}, sample.value
