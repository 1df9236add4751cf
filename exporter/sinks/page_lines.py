"""The lines of the page: the samples of one verdict in the text format, by metric."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats, Key
from exporter import exposition
from exporter.context.deploys import names
from exporter.context.endings import ALERTED
from exporter.context.joint import Joint, Member
from exporter.exposition import Lengths, Lines
from exporter.families import FAMILIES, Family
from exporter.label_names import RESERVED, UNDERSCORES, Scheme, all_classic
from exporter.pipeline.verdict import Verdict

MOST_INCIDENTS: Final = 1000
"""Incidents of a job whose readings are shown; ten times as many as alerts with readings in their texts."""

MOST_VANISHED: Final = 1000
"""Series of a job that have ended and are shown."""


class Labels:
    """The label texts of a job's entities, kept while the entities stay the same.

    A text that is missing or a repetition is left out: Prometheus takes two lines with the same labels for a mistake.
    `scheme` is how names are written that only Prometheus 3 knows.
    """

    def __init__(
        self,
        keys: tuple[Key, ...],
        own: str,
        reserved: frozenset[str],
        before: "Labels | None",
        scheme: Scheme = UNDERSCORES,
    ) -> None:
        self.keys, self.own, self.reserved, self.scheme = keys, own, reserved, scheme
        same = before is not None and before.fits(own, reserved)
        known = before.by_key if before is not None and same else {}
        self.by_key: dict[Key, bytes | None] = {
            key: known.get(key) or exposition.label_text(key, own, reserved, scheme) for key in keys
        }
        self.is_classic = all_classic(key for key in keys if key not in known)
        """Whether the texts are the same in every form. Once they are not, that stays: it costs time and no more."""
        if before is not None and same:
            self.is_classic = self.is_classic and before.is_classic
        first: dict[bytes, int] = {}
        too_long = 0
        for row, key in enumerate(keys):
            text = self.by_key[key]
            if text is None:
                too_long += 1
            else:
                first.setdefault(text, row)
        self.texts = list(first)
        self.rows: NDArray[np.intp] | slice = slice(None)
        if len(first) < len(keys):
            self.rows = np.fromiter(first.values(), np.intp, len(first))
        self.lengths: Lengths = np.fromiter(map(len, self.texts), np.int64, len(self.texts))
        """Bytes of each of the texts."""
        self.dropped = {"label": too_long, "duplicate": len(keys) - too_long - len(first)}

    def fits(self, own: str, reserved: frozenset[str]) -> bool:
        """Tell whether the texts were made with the same labels of our own."""
        return self.own == own and self.reserved == reserved


class Published:
    """What the page holds of one job, in every form that was asked for.

    Parameters
    ----------
    verdict : Verdict
    fields : collection of str
        The optional families to show.
    own, reserved
        As of `exposition.label_text`.
    before : Published or None
        What the page held of the job until now; its label texts are used again.
    joined : mapping of Key to pairs of Member and Joint
        Which joint incident a series with an incident that is open or has just ended belongs to.
    """

    def __init__(
        self,
        verdict: Verdict,
        fields: Collection[str],
        own: str,
        reserved: frozenset[str],
        before: "Published | None",
        joined: Mapping[Key, tuple[Member, Joint]] = MappingProxyType({}),
    ) -> None:
        self._joined = joined
        self._verdict, self._fields, self._own, self._reserved = verdict, fields, own, reserved
        self._labels: dict[Scheme, Labels] = dict(before._labels) if before is not None else {}
        self._blocks: dict[Scheme, Mapping[str, Lines]] = {}
        self.is_classic = False
        """Whether the lines are the same in every form."""
        self.classic = self.blocks(UNDERSCORES)
        """Lines by metric, for servers that know no others."""
        self.is_classic = self._labels[UNDERSCORES].is_classic and all_classic(verdict.vanished)

    @classmethod
    def of(
        cls,
        verdict: Verdict,
        fields: Collection[str],
        before: "Published | None",
        joined: Mapping[Key, tuple[Member, Joint]],
    ) -> "Published":
        """Return it with the labels of our own that every series of the job has."""
        own = f'query="{exposition.escape(verdict.job)}",detector="{exposition.escape(verdict.detector)}"'
        # All families of a job keep the same labels, so that `ignoring (channel)` joins them.
        reserved = RESERVED | {"channel"} if len(verdict.channels) > 1 else RESERVED
        return cls(verdict, fields, own, reserved, before, joined)

    def blocks(self, scheme: Scheme) -> Mapping[str, Lines]:
        """Return the lines by metric, in the form of `scheme`."""
        if self.is_classic:
            return self.classic
        if scheme not in self._blocks:
            labels, verdict = self._labels.get(scheme), self._verdict
            if labels is None or labels.keys is not verdict.keys or not labels.fits(self._own, self._reserved):
                labels = Labels(verdict.keys, self._own, self._reserved, labels, scheme)
                self._labels[scheme] = labels
            groups = Labels(tuple(verdict.groups), self._own, RESERVED, None, scheme)
            self._blocks[scheme] = blocks(verdict, self._fields, labels, groups, self._joined)
            if scheme == UNDERSCORES:
                self.dropped = [*labels.dropped.items(), *groups.dropped.items()]
        return self._blocks[scheme]


def blocks(
    verdict: Verdict,
    fields: Collection[str],
    labels: Labels,
    groups: Labels,
    joined: Mapping[Key, tuple[Member, Joint]] = MappingProxyType({}),
) -> dict[str, Lines]:
    """Return the lines of a verdict by metric; an empty block where there are none.

    `fields` are the optional families to show; `labels` are those of the entities, `groups` those of the groups.
    `joined` tells by series which joint incident one that is open or has just ended belongs to.
    """
    incidents = _chosen(verdict, labels)
    return {
        family.metric: _of_incidents(family, verdict, *incidents)
        if family.kind == "incident"
        else _after_deploys(family, verdict, *incidents)
        if family.kind == "deploys"
        else _joint(family, verdict, labels, joined)
        if family.kind == "joint"
        else _vanished(family, verdict, labels)
        if family.kind == "vanished"
        else _reaches(family, verdict, labels)
        if family.kind == "reaches"
        else _block(family, verdict, groups if family.kind == "groups" else labels)
        for family in FAMILIES
        if not family.optional or family.name in fields
    }


def _block(family: Family, verdict: Verdict, labels: Labels) -> Lines:
    values, texts, rows, lengths = getattr(verdict, family.array), labels.texts, labels.rows, labels.lengths
    if family.kind == "shares":
        return _shares(family, verdict, labels)
    if family.per_channel:
        return _by_channel(family, verdict, texts, values[rows], lengths)
    head = exposition.encode(f"{family.metric}{{")
    if family.kind == "present":
        return exposition.present_lines(head, texts, values[rows], lengths)
    if family.kind == "bit":
        return exposition.bit_lines(head, texts, values[rows], lengths)
    if family.kind == "true":
        chosen = [texts[at] for at in np.flatnonzero(values[rows]).tolist()]
        return exposition.bit_lines(head, chosen, np.ones(len(chosen), np.bool_))
    scores = np.fromiter(values.values(), float, len(values)) if family.kind == "groups" else values
    return exposition.number_lines(head, texts, scores[rows], lengths)


def _by_channel(
    family: Family, verdict: Verdict, texts: Sequence[bytes], values: Floats, lengths: Lengths | None = None
) -> Lines:
    """Return the lines of each channel, from an array of shape (len(texts), C)."""
    return Lines.joined(
        exposition.present_lines(_channel_head(family.metric, verdict.channels, at), texts, values[:, at], lengths)
        for at in range(len(verdict.channels))
    )


def _shares(family: Family, verdict: Verdict, labels: Labels) -> Lines:
    """Return the lines of the channels that contribute most to open incidents; the others are not worth a series."""
    if len(verdict.channels) == 1:
        return Lines()
    flagged = np.flatnonzero(verdict.flag[labels.rows])
    texts = [labels.texts[at] for at in flagged.tolist()]
    shares = getattr(verdict, family.array)[labels.rows][flagged]
    shares = np.where(shares >= (1 - 1e-9) / len(verdict.channels), shares, np.nan)
    return _by_channel(family, verdict, texts, shares)


def _chosen(verdict: Verdict, labels: Labels) -> tuple[list[bytes], NDArray[np.intp]]:
    """Return the label texts of the incidents that are shown, and their positions in the readings.

    Where there are very many, these are the alerts and the most severe ones.
    """
    rows = verdict.readings.rows
    if not len(rows):
        return [], rows
    text_of = np.full(len(verdict.keys), -1)
    text_of[labels.rows] = np.arange(len(labels.texts))
    chosen = np.flatnonzero(text_of[rows] >= 0)
    if len(chosen) > MOST_INCIDENTS:
        at = rows[chosen]
        chosen = np.sort(chosen[np.lexsort((-verdict.severity[at], ~verdict.alert[at]))[:MOST_INCIDENTS]])
    return [labels.texts[at] for at in text_of[rows[chosen]].tolist()], chosen


def _of_incidents(family: Family, verdict: Verdict, texts: Sequence[bytes], chosen: NDArray[np.intp]) -> Lines:
    """Return the lines of the chosen incidents."""
    if not texts or (family.array == "contribution" and len(verdict.channels) == 1):
        return Lines()
    values = getattr(verdict.readings, family.array)[chosen]
    if family.per_channel:
        return _by_channel(family, verdict, texts, values)
    return exposition.present_lines(exposition.encode(f"{family.metric}{{"), texts, values)


def _joint(family: Family, verdict: Verdict, labels: Labels, joined: Mapping[Key, tuple[Member, Joint]]) -> Lines:
    """Return a line for each incident that belongs to a joint one, all of them: alerts carry its id."""
    if not joined:
        return Lines()
    found: dict[bytes, Lines] = {}
    for row in verdict.readings.rows.tolist() or np.flatnonzero(verdict.flag).tolist():
        key = verdict.keys[row]
        text = labels.by_key.get(key)
        if (which := joined.get(key)) is not None and text is not None and b"anomaly_incident=" not in text:
            head = exposition.encode(f'{family.metric}{{anomaly_incident="{which[1].id}",')
            found.setdefault(text, exposition.number_lines(head, [text], np.array([which[0].moved])))
    return Lines.joined(found.values())


def _vanished(family: Family, verdict: Verdict, labels: Labels) -> Lines:
    """Return a line for each series that has ended, of the MOST_VANISHED whose reason an alert is about first."""
    if not verdict.vanished:
        return Lines()
    order = sorted(verdict.vanished.items(), key=lambda each: (each[1] not in ALERTED, each[0]))[:MOST_VANISHED]
    lines: dict[bytes, Lines] = {}
    for key, reason in order:
        text = exposition.label_text(key, labels.own, labels.reserved | {"reason"}, labels.scheme)
        if text is not None:
            head = exposition.encode(f'{family.metric}{{reason="{reason}",')
            lines.setdefault(text, exposition.bit_lines(head, [text], np.ones(1, np.bool_)))
    return Lines.joined(lines.values())


def _reaches(family: Family, verdict: Verdict, labels: Labels) -> Lines:
    """Return the lines of the series of whose limit something is known; +Inf says that it is not in sight."""
    if verdict.reaches is None:
        return Lines()
    values = getattr(verdict.reaches, family.array)[labels.rows]
    return exposition.present_lines(exposition.encode(f"{family.metric}{{"), labels.texts, values, labels.lengths)


def _after_deploys(family: Family, verdict: Verdict, texts: Sequence[bytes], chosen: NDArray[np.intp]) -> Lines:
    """Return the lines of the chosen incidents that began after a deploy of their owner."""
    if not verdict.deploys:
        return Lines()
    found = []
    rows, start = verdict.readings.rows[chosen].tolist(), verdict.readings.start[chosen].tolist()
    for text, row, since in zip(texts, rows, start, strict=True):
        named = verdict.deploys.get(row)
        if named and b"deployed=" not in text:  # a series of the source with this label keeps it
            head = exposition.encode(f'{family.metric}{{deployed="{exposition.escape(names(named))}",')
            found.append(exposition.number_lines(head, [text], np.array([since - named[0].at])))
    return Lines.joined(found)


def _channel_head(family: str, channels: tuple[str, ...], at: int) -> bytes:
    """Return how a line begins: a job with one channel does not name it."""
    if len(channels) == 1:
        return exposition.encode(f"{family}{{")
    return exposition.encode(f'{family}{{channel="{exposition.escape(channels[at])}",')
