"""Several detectors combined into one score."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import Field, ValidationError

from detectors.stateful import StatefulDetector
from detectors.streams import SHOWN_FROM, merged
from detectors.types import Batch, Detector, Flags, Floats, Judgement, State

BOUND: Final = 100.0
"""Scores are clipped to this and to its inverse before the mean is taken, so that no member has a veto."""


@dataclass(kw_only=True)
class Ensemble(StatefulDetector):
    """The combined scores of several detectors; members whose score is NaN are ignored.

    Every member's score is 1 at its own threshold, so scores are ratios and `mean` is the geometric mean: an unbounded
    score cannot outvote the others, as it would in an arithmetic mean. Kriegel et al. (2011), Interpreting and
    Unifying Outlier Scores, doi:10.1137/1.9781611972818.2, explain why scores must be put on one scale first.
    `max` is the largest score; `vote` exceeds 1 where more than half of the members' scores do.
    """

    window: Annotated[int, Field(ge=2, description="window of the members that do not set one, in samples")] = 60
    detectors: Annotated[
        tuple[str | dict[str, dict[str, Any] | None], ...], Field(min_length=2, max_length=10, description="members")
    ] = ("robust", "isolation_forest")
    combine: Annotated[Literal["max", "mean", "vote"], Field(description="how the scores are combined")] = "mean"

    peers: Annotated[
        tuple[str, ...] | None, Field(description="the job's `peers`, for the members that compare them")
    ] = None

    _members: dict[str, Detector] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from detectors import compares_peers, make  # imports this module when an ensemble is configured

        self._members = {}
        for number, spec in enumerate(self.detectors):
            named = {spec: {}} if isinstance(spec, str) else {name: given or {} for name, given in spec.items()}
            label = f"{number}.{next(iter(named), '')}"
            try:
                peers = self.peers if compares_peers(named) else None
                self._members[label] = make(named, self.window, peers)
            except ValidationError as error:
                faults = (": ".join((*map(str, fault["loc"]), fault["msg"])) for fault in error.errors())
                raise ValueError(f"member {label}: {'; '.join(faults)}") from None
            except ValueError as error:
                raise ValueError(f"member {label}: {error}") from None
        if self.peers is not None and not any(compares_peers(spec) for spec in self.detectors):
            raise ValueError("no member compares peers; auto and peers do")
        self.window = max(self.window, *(member.window for member in self._members.values()))

    def fit(self, history: Batch) -> Self:
        """Fit all members. Raises ValueError naming the members that had too little data."""
        failed = []
        for label, member in self._members.items():
            try:
                member.fit(history)
            except ValueError as error:
                failed.append(f"member {label}: {error}")
        if failed:
            raise ValueError("; ".join(failed))
        return self

    def prepare(self, coming: Batch) -> None:
        """Prepare every member."""
        for member in self._members.values():
            member.prepare(coming)

    def score(self, batch: Batch) -> Judgement:
        """Score the newest sample of each entity. Forecast and band come from the first member that has them."""
        judgements = [member.score(batch) for member in self._members.values()]
        first = judgements[0]
        expected, lower, upper = first.expected.copy(), first.lower.copy(), first.upper.copy()
        for other in judgements[1:]:
            # Forecast and band stay a pair: the band of another member need not even contain the forecast.
            better = np.isnan(expected) | (np.isnan(lower) & np.isfinite(other.lower))
            for mine, theirs in ((expected, other.expected), (lower, other.lower), (upper, other.upper)):
                np.copyto(mine, theirs, where=better)
        score = _combined(np.stack([j.score for j in judgements]), self.combine)
        contribution = np.stack([j.contribution for j in judgements])
        counts = np.isfinite(contribution) & np.isfinite([j.score for j in judgements])[:, :, None]
        total = np.where(counts, contribution, 0.0).sum(axis=0)
        whole = total.sum(axis=1, keepdims=True)
        share = np.divide(total, whole, out=np.full_like(total, 1.0 / total.shape[1]), where=whole > 0)
        with np.errstate(invalid="ignore"):
            streams = merged([j.streams for j in judgements], np.flatnonzero(score > SHOWN_FROM))
        share = np.where(np.isfinite(score)[:, None], share, np.nan)
        return Judgement(score, expected, lower, upper, share, streams=streams)

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Update every member."""
        for member in self._members.values():
            member.update(fresh, frozen, rebaselined)

    def state(self) -> State:
        """Return the states of all members; the names of a member's arrays begin with its label."""
        return {
            f"{label}.{name}": array
            for label, member in self._members.items()
            for name, array in member.state().items()
        }

    def restore(self, state: State) -> Self:
        """Load what `state()` returned. Raises ValueError when it belongs to other members or does not fit them."""
        parts: dict[str, State] = {label: {} for label in self._members}
        for name, array in state.items():
            label = next((label for label in parts if name.startswith(f"{label}.")), None)
            if label is None:
                raise ValueError(f"the saved {name} belongs to none of the members {', '.join(parts)}")
            parts[label][name.removeprefix(f"{label}.")] = array
        for label, part in parts.items():
            try:
                self._members[label].restore(part)
            except ValueError as error:
                raise ValueError(f"member {label}: {error}") from None
        return self


def _combined(scores: Floats, how: str) -> Floats:
    """Return the combined score, shape (E,), of the scores (M, E) of M members; NaN where no member has one."""
    known = np.isfinite(scores)
    count = known.sum(axis=0)
    if how == "mean":
        logs = np.log(np.clip(np.where(known, scores, 1.0), 1.0 / BOUND, BOUND))
        combined = np.exp(logs.sum(axis=0) / np.maximum(count, 1))
    else:
        # The k-th largest score: k = 1, or more than half of the members that have a score.
        falling = -np.sort(-np.where(known, scores, -np.inf), axis=0)
        rank = count // 2 if how == "vote" else np.zeros_like(count)
        combined = np.take_along_axis(falling, rank[None], axis=0)[0]
    return np.where(count > 0, combined, np.nan)
