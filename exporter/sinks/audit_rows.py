r"""A verdict as CSV rows that no spreadsheet runs, no reader tears and every reader gets back exactly.

Numbers stand bare, NaN as an empty cell. Text is written with JSON escapes, `labels` as one JSON object, so that a row
is one line whatever a label holds. `= + - @` are escaped too where a cell could begin with them, in a reader that
splits at semicolons or tabs as well: `\u003d` is what `json.loads` turns back into `=`.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np

from detectors.streams import WITHOUT_SIDE
from detectors.types import Floats, Key
from exporter import incident_wording as wording
from exporter.context.deploys import names
from exporter.json_values import from_json
from exporter.pipeline.evidence import Peers, Stream, strongest, told
from exporter.pipeline.verdict import Verdict

_BEFORE: Final = (
    *("time", "job", "labels", "channel", "value", "expected", "lower", "upper", "contribution"),
    *("score", "flag", "detector", "model_version", "config_hash"),
)
_STREAMS_AND_DEPLOY: Final = ("stream", "stream_size", "stream_period", "streams", "deploy")
COLUMNS: Final = (*_BEFORE, *_STREAMS_AND_DEPLOY, "limit_early", "limit_expected", "limit_late")
HEADER: Final = ",".join(COLUMNS).encode() + b"\n"
EARLIER: Final = {",".join(some).encode() + b"\n": len(some) for some in (_BEFORE, (*_BEFORE, *_STREAMS_AND_DEPLOY))}
"""Headers of files of earlier versions, whose rows lack the last columns, and how many they have."""
_NO_STREAMS: Final = ",,,"
_NO_LIMIT: Final = ",,"
_LAST: Final = 253_402_300_799.0
"""Unix seconds of the last moment that has a date of four digits."""

_LIVE = re.compile(
    r"(?<![0-9A-Za-z_])[=+\-@\uff0b\uff0d\uff1d\uff20]"  # begins a formula; full-width signs do in some versions
    r"|[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]"  # breaks a line for some readers, or turns text around
)
_NEEDS_QUOTES = re.compile(r"[\s\",;']")


class AuditRowFormatter:
    """Turns verdicts into rows; remembers the label texts of each job while its entities stay the same."""

    def __init__(self, all_samples: bool) -> None:
        self._all_samples = all_samples
        self._labels: dict[str, tuple[tuple[Key, ...], dict[int, str]]] = {}

    def of(self, verdict: Verdict) -> list[bytes]:
        """Return one row per channel of every entity that is flagged or changed its flag, or of every judged one."""
        chosen = verdict.flag | verdict.changed
        if self._all_samples:
            chosen = chosen | np.isfinite(verdict.score)
        entities = np.flatnonzero(chosen)
        if not len(entities):
            return []
        start = f"{timestamp(verdict.time)},{text_cell(verdict.job)},"
        judges = (verdict.detector, verdict.model_version, verdict.config_hash)
        end = "".join(f",{text_cell(text)}" for text in judges)
        labels = self._label_texts(verdict, entities.tolist())
        why_of = _reasons(verdict)
        reasons = [why_of.get(row, _NO_STREAMS) for row in entities.tolist()]
        scores, flags = _numbers(verdict.score[entities]), verdict.flag[entities].tolist()
        deploys = [self._deploy(verdict, row) for row in entities.tolist()]
        limits = _limits(verdict, entities.tolist())
        nothing = [_NO_LIMIT] * len(limits)
        by_channel = []
        for c, channel in enumerate(verdict.channels):
            name = text_cell(channel)
            figures = (verdict.values, verdict.expected, verdict.lower, verdict.upper, verdict.contribution)
            reached = limits if verdict.reaches is not None and verdict.reaches.channel == c else nothing
            columns = zip(
                labels, *(_numbers(each[entities, c]) for each in figures), scores, flags, reasons, deploys, reached,
                strict=True,
            )  # fmt: skip
            by_channel.append(
                [
                    f"{start}{label},{name},{value},{expected},{lower},{upper},{contribution},{score},{flag:d}{end},{why},"
                    f"{deploy},{limit}\n"
                    for label, value, expected, lower, upper, contribution, score, flag, why, deploy, limit in columns
                ]
            )
        # A lone surrogate cannot be UTF-8; as a backslash escape it is what JSON wants.
        return [row.encode("utf-8", "backslashreplace") for entity in zip(*by_channel, strict=True) for row in entity]

    @staticmethod
    def _deploy(verdict: Verdict, row: int) -> str:
        """Return how long after what deploy the incident began, as a cell; empty where there was none."""
        named = verdict.deploys.get(row)
        if not named:
            return ""
        at = verdict.readings.of(row)
        since = verdict.since[row] if at is None else verdict.readings.start[at]
        return text_cell(wording.after_deploy(float(since) - named[0].at, names(named)))

    def _label_texts(self, verdict: Verdict, entities: list[int]) -> list[str]:
        keys, texts = self._labels.get(verdict.job, ((), {}))
        if keys is not verdict.keys:
            texts = {}
            self._labels[verdict.job] = verdict.keys, texts
        for entity in entities:
            if entity not in texts:
                texts[entity] = text_cell(dict(verdict.keys[entity]))
        return [texts[entity] for entity in entities]


def _limits(verdict: Verdict, entities: list[int]) -> list[str]:
    """Return the cells of when the limit is reached: early, expected and late."""
    reaches = verdict.reaches
    if reaches is None:
        return [_NO_LIMIT] * len(entities)
    ends = zip(*(each[entities].tolist() for each in (reaches.early, reaches.expected, reaches.late)), strict=True)
    return [",".join(map(_end, each)) for each in ends]


def _end(seconds: float) -> str:
    """Write a time of a forecast: empty where nothing is known, inf where it is not in sight."""
    if math.isnan(seconds):
        return ""
    return timestamp(seconds) if seconds < _LAST else "inf"


def _reasons(verdict: Verdict) -> dict[int, str]:
    """Return by row the cells of the evidence: the strongest stream, its size and period, and all as a JSON object."""
    if verdict.streams is None:
        return {}
    found = verdict.streams
    channels = {name: _live(json.dumps(name, ensure_ascii=False)) for name in ("", *verdict.channels)}
    names = {name: text_cell(name) for name in found.names}
    cells = {}
    nowhere = channels[""].replace('"', '""')
    compared, alone = np.isfinite(found.others).tolist(), len(verdict.channels) == 1
    of_rows = zip(found.rows.tolist(), compared, found.size.tolist(), found.period.tolist(), strict=True)
    for row, beside, sizes, periods in of_rows:
        if alone and not beside:  # of very many incidents at once most are these
            cells[row] = _plain_reason(found.names, names, sizes, periods, nowhere)
            continue
        streams = told(found, row, verdict.channels, verdict.keys[row])
        listed = ", ".join([f'"{each.name}": {_listed(each, channels[each.channel])}' for each in streams])
        every = f"{{{listed}}}".replace('"', '""')
        first = streams[0]
        cells[row] = f'{names[first.name]},{_number(first.size)},{_number(first.every)},"{every}"'
    return cells


def _plain_reason(
    names: Sequence[str], cells: Mapping[str, str], sizes: Sequence[float], periods: Sequence[float], channel: str
) -> str:
    """Return the cells of one entity's streams, as `_listed` writes them, without an object for each: 5 µs."""
    listed = []
    order = strongest(sizes, periods)
    for at in order:
        name, size = names[at], sizes[at]
        has_side = math.isfinite(size) and name not in WITHOUT_SIDE
        side = ("below" if size < 0 else "above") if has_side else ""
        number = _digits(f"{abs(size) if has_side else size:.3g}") or "null"
        every = _digits(f"{periods[at]:.3g}") or "null"
        listed.append(f'""{name}"": [{number}, ""{side}"", {every}, {channel}]')
    first = order[0]
    figures = f"{_digits(f'{sizes[first]:.3g}')},{_digits(f'{periods[first]:.3g}')}"
    return f'{cells[names[first]]},{figures},"{{{", ".join(listed)}}}"'


@lru_cache(maxsize=2**15)
def _digits(text: str) -> str:
    """Return how Python writes a number of three digits, "" for one that is not finite: there are few of them."""
    value = float(text)
    return repr(value) if math.isfinite(value) else ""


def _number(value: float | None, missing: str = "") -> str:
    return missing if value is None else repr(value)


def _listed(stream: Stream, channel: str) -> str:
    """Return a stream as JSON; a minus at the beginning of a number is nothing that a spreadsheet may see."""
    side, size = "", stream.size
    if size is not None and stream.has_side:
        side, size = ("below" if size < 0 else "above"), abs(size)
    peers = "" if stream.peers is None else f", {_of_peers(stream.peers)}"
    return f'[{_number(size, "null")}, "{side}", {_number(stream.every, "null")}, {channel}{peers}]'


def _of_peers(peers: Peers) -> str:
    """Return a comparison as JSON: the three numbers as one text, for the same reason."""
    numbers = " ".join(f"{number:.6g}" for number in (peers.own, peers.theirs, peers.usual))
    return ", ".join(_live(json.dumps(each, ensure_ascii=False)) for each in (peers.others, numbers, peers.group))


def _peers_of(others: int, numbers: str, group: str) -> Peers:
    own, theirs, usual = (float(number) for number in numbers.split())
    return Peers(others, own, theirs, usual, group)


def streams_of_cell(cell: str) -> list[Stream]:
    """Return the streams that a cell of the last column tells of, none for a strange one."""
    try:
        rows = [
            {"name": name, "size": size if side != "below" else -size, "every": every, "channel": channel}
            | ({"peers": _peers_of(*peers)} if peers else {})
            for name, (size, side, every, channel, *peers) in from_json(cell or "{}").items()
        ]
        return msgspec.convert(rows, list[Stream])
    except (ValueError, AttributeError, TypeError):  # msgspec's error is a ValueError
        return []


def _numbers(column: Floats) -> list[str]:
    return ["" if number != number else repr(number) for number in column.tolist()]  # noqa: PLR0124 - NaN, fast


def timestamp(seconds: float) -> str:
    """Return Unix seconds as the file has them: ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text_cell(value: object) -> str:
    """Return text, or an object as JSON, as a cell."""
    text = json.dumps(value, ensure_ascii=False)
    return _cell(_live(text[1:-1] if isinstance(value, str) else text))


def _live(text: str) -> str:
    return _LIVE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text
