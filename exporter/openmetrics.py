"""The forms of the page: which one a scrape wants, and what OpenMetrics writes otherwise than the text format.

The samples are the same bytes in both: what differs are the headers of families and the last line.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric

from exporter.exposition import encode, escape, unit_of
from exporter.label_names import SCHEMES, UNDERSCORES, Scheme

END: Final = b"# EOF\n"
_TEXT: Final = "text/plain"
_OPENMETRICS: Final = "application/openmetrics-text"
_VERSIONS: Final = {_TEXT: ("0.0.4", "1.0.0"), _OPENMETRICS: ("1.0.0", "0.0.1")}
"""Versions that we write, the one first that is written where none is asked for."""
_HEADER: Final = re.compile(rb"^# HELP (\S+) (.*)\n# TYPE \S+ (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Form:
    """A form of the page: OpenMetrics or the text format, and how names are written that only Prometheus 3 knows."""

    openmetrics: bool = False
    scheme: Scheme = UNDERSCORES


CLASSIC: Final = Form()
CLASSIC_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def negotiate(accept: str) -> tuple[Form, str]:
    """Return the form that an Accept header wants, and the Content-Type to say so.

    What we do not write is passed over, such as Prometheus' protobuf format; where nothing is left, the classic text
    format is the answer, which every scraper reads.
    """
    found: list[tuple[float, Form, str]] = []
    for item in accept.split(","):
        kind, *rest = (part.strip() for part in item.split(";"))
        asked = {name.strip().lower(): value.strip(' "') for name, _, value in (part.partition("=") for part in rest)}
        weight = _weight(asked.get("q", "1"))
        kind = {"*/*": _TEXT, "text/*": _TEXT}.get(kind.lower(), kind.lower())
        version = asked.get("version") or _VERSIONS.get(kind, ("",))[0]
        if weight > 0 and version in _VERSIONS.get(kind, ()):
            scheme = next((each for each in SCHEMES if each == asked.get("escaping")), None)
            said = f"; escaping={scheme}" if scheme else ""
            form = Form(kind == _OPENMETRICS, scheme or UNDERSCORES)
            found.append((weight, form, f"{kind}; version={version}; charset=utf-8{said}"))
    _, form, content_type = max(found, key=lambda each: each[0], default=(0.0, CLASSIC, CLASSIC_TYPE))
    return form, content_type


def _weight(text: str) -> float:
    try:
        return min(float(text), 1.0)
    except ValueError:
        return 0.0


def openmetrics_head(text: bytes) -> bytes:
    """Return families of the text format, as prometheus_client writes them, with the headers of OpenMetrics.

    Its own OpenMetrics costs two and a half times as much, for samples that are the same bytes.
    """
    return _HEADER.sub(_header, text)


def with_exemplars(head: bytes, families: Iterable[Metric]) -> bytes:
    """Return families with the exemplars that the text format cannot hold, of those `families` that have any."""
    found = {
        encode(f"{sample.name}{{{_pairs(sample.labels)}}}"): encode(f" # {{{_pairs(own.labels)}}} {own.value}")
        for family in families
        for sample in family.samples
        if (own := sample.exemplar) is not None
    }
    if not found:
        return head
    return b"\n".join(line + found.get(line.rpartition(b" ")[0], b"") for line in head.split(b"\n"))


def _pairs(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{escape(value)}"' for name, value in sorted(labels.items()))


def _header(match: re.Match[bytes]) -> bytes:
    name, help_text, kind = (each.decode() for each in match.groups())
    if kind == "counter":
        name = name.removesuffix("_total")
    elif name.endswith("_info"):
        name, kind = name.removesuffix("_info"), "info"
    elif kind == "untyped":
        kind = "unknown"
    escaped = help_text.replace('"', '\\"')
    unit = f"\n# UNIT {name} {found}" if kind != "info" and (found := unit_of(name)) else ""
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}{unit}".encode()
