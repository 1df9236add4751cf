"""What must not be learnt: all that is unusual, whether or not it is an incident, until it has come to rest."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.entity_state import Column, EntityState
from detectors.types import Batch, Flags, Floats, Judgement, Key, State
from detectors.units import HOUR
from exporter.config.sections.job import JobConfig
from exporter.context.own_deploys import BEFORE
from exporter.pipeline.incident_update import IncidentUpdate
from exporter.pipeline.incidents import IncidentTracker

PARTS: Final = 4
"""Parts of `max_hold`, each a mean: a level is at rest when the newest mean is no new extreme of the last four."""
NOISE: Final = 1.0
"""Standard deviations around the newest mean by which it must lie beyond the others to be one."""
NEGLIGIBLE: Final = 0.002
"""The same as a share of the distance from the forecast: a series without noise comes to rest too."""
HARMLESS_AFTER: Final = HOUR
"""Seconds after which a level that came with a deploy is adopted where the policy rules it out as an incident."""


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    """Which entities are held back from learning, and which level becomes normal now; shape (E,) each.

    `unusual` and `due` are the same without what was decided on incidents: what the hold itself says.
    """

    frozen: Flags
    adopted: Flags
    unusual: Flags
    due: Flags


class LearningHold:
    """Holds back from learning what the detector calls unusual, whatever may open an incident.

    A hold follows the scores as an incident does that opens with the first score above 1 in any direction and of any
    size: with another `open_after`, `direction` or `least_deviation` other incidents open, but the same is learnt.

    The level of a hold or of an incident is adopted after `max_hold`, but only once it has come to rest. The distance
    of the values from the forecast is averaged over each quarter of `max_hold`. While the newest mean lies beyond all
    others of the last `max_hold`, by more than its noise, the level moves: a leak goes further with every quarter, a
    step stays, a daily rhythm comes back.

    A level that began with a deploy of the entity's owner and opens no incident, since it lies in the direction that
    does not count, is adopted after HARMLESS_AFTER already; it comes to rest within quarters of that.

    Parameters
    ----------
    job : JobConfig
        Its `step`, `clear_after`, `max_hold` and flapping.
    """

    def __init__(self, job: JobConfig) -> None:
        self._unusual = IncidentTracker.of(job.model_copy(update={"open_after": 1}))
        self._part = job.max_hold / PARTS
        self._soon = min(HARMLESS_AFTER, job.max_hold)
        self._step = job.step
        row = (len(job.queries),)
        self._levels = EntityState(
            {
                "held": Column(False, (), np.bool_),
                "elapsed": Column(0.0),  # seconds of the present part
                "moving": Column(False, row, np.bool_),
                "count": Column(0.0, row),  # samples of the present part, their mean and mean square around it
                "mean": Column(0.0, row),
                "square": Column(0.0, row),
                "parts": Column(np.nan, (*row, PARTS - 1)),  # means of the parts before, the newest in front
            }
        )

    def reconfigured(self, job: JobConfig) -> "LearningHold":
        """Return a hold for a configured job with what is held here."""
        other = LearningHold(job)
        other.restore(self.state())
        return other

    def came_with(self, keys: tuple[Key, ...], deployed: Floats, within: float, is_open: Flags) -> Flags:
        """Return the entities, shape (E,), whose level began with a deploy and is no incident.

        `deployed` is when the newest deploy of each was (Unix seconds, NaN: none); `within` as configured.
        """
        after = self._unusual.open_since(keys) - deployed
        with np.errstate(invalid="ignore"):
            return np.asarray((after >= -BEFORE) & (after <= within) & ~is_open)

    def moving(self, batch: Batch, judgement: Judgement, elapsed: float, deployed: Flags | None = None) -> Flags:
        """Take in the newest sample of what is held; return the entities, shape (E,), that have not come to rest.

        Only channels count that have an equal share of the score or more: another one may move as it always does.
        Those that are `deployed`, shape (E,), are looked at more often (`came_with`).
        """
        r = self._levels
        r.align(batch.keys)
        rows = np.flatnonzero(r["held"])
        found = np.zeros(len(batch.keys), np.bool_)
        if not len(rows):
            return found
        values, expected = batch.values[rows, :, -1], judgement.expected[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            away = values - np.where(np.isnan(expected), 0.0, expected)
            self._average(rows, np.where(np.abs(away) < 1e150, away, np.nan))
        r["elapsed"][rows] += elapsed
        part = self._part if deployed is None else np.where(deployed[rows], self._soon / PARTS, self._part)
        due = rows[r["elapsed"][rows] > part - 0.5 * self._step]
        if len(due):
            self._end_part(due)
        share = judgement.contribution[rows]
        speaks = ~(share < 1.0 / share.shape[1])  # NaN: unknown
        found[rows] = (r["moving"][rows] & speaks).any(axis=1)
        return found

    def decide(
        self,
        batch: Batch,
        unusual: Floats,
        decision: IncidentUpdate,
        elapsed: float,
        accepted: Flags | None,
        moving: Flags,
        inside: Flags,
        harmless: Flags | None = None,
    ) -> Hold:
        """Take in the `decision` on the incidents of a sample, and its scores before anything was ruled out.

        Parameters
        ----------
        batch : Batch
            Ends with the sample.
        unusual : Floats, shape (E,)
            `Policy.unusual` of the sample.
        decision : IncidentUpdate
        elapsed : float
            Seconds since the sample before.
        accepted, inside : Flags, shape (E,)
            What the incidents were decided with: accepted levels are normal, also where nothing is flagged.
        moving : Flags, shape (E,)
            `moving` of the sample.
        harmless : Flags, shape (E,), or None
            Those that came with a deploy (`came_with`) and that the policy rules out.
        """
        ends = decision.adopted if accepted is None else decision.adopted | accepted
        if harmless is not None:
            lasted = float(batch.times[-1]) - self._unusual.open_since(batch.keys)
            with np.errstate(invalid="ignore"):
                ends = ends | (harmless & ~moving & (lasted >= self._soon) & ~decision.flag)
        own = self._unusual.decide(batch.keys, unusual, float(batch.times[-1]), elapsed, None, ends, moving, inside)
        adopted = decision.adopted | (own.adopted & ~decision.flag)
        frozen = (decision.flag | own.flag) & ~adopted
        self._forget(np.flatnonzero(self._levels["held"] & ~frozen))
        self._levels["held"] = frozen
        return Hold(frozen, adopted, own.flag, own.adopted)

    def _forget(self, rows: NDArray[np.intp]) -> None:
        """Forget the level of the rows that are not held any more."""
        r = self._levels
        for name in ("elapsed", "count", "mean", "square"):
            r[name][rows] = 0.0
        r["moving"][rows], r["parts"][rows] = False, np.nan

    def _average(self, rows: NDArray[np.intp], away: Floats) -> None:
        """Add one sample to the present part (Welford 1962, doi:10.1080/00401706.1962.10490022); NaN adds nothing."""
        r, there = self._levels, np.isfinite(away)
        r["count"][rows] += there
        distance = np.where(there, away - r["mean"][rows], 0.0)
        r["mean"][rows] += distance / np.maximum(r["count"][rows], 1.0)
        r["square"][rows] += np.where(there, distance * (away - r["mean"][rows]), 0.0)

    def _end_part(self, rows: NDArray[np.intp]) -> None:
        """Compare the mean of the part that ends with those before it, and begin the next part."""
        r = self._levels
        count, parts = r["count"][rows], r["parts"][rows]
        mean = np.where(count > 0, r["mean"][rows], np.nan)
        noise = np.sqrt(np.where(count > 1, r["square"][rows] / np.maximum(count - 1, 1.0), np.inf))
        width = NOISE * noise + NEGLIGIBLE * np.abs(mean)
        with np.errstate(invalid="ignore"):
            beyond = (mean - width > np.fmax.reduce(parts, axis=2)) | (mean + width < np.fmin.reduce(parts, axis=2))
        r["moving"][rows] = beyond
        r["parts"][rows] = np.concatenate([mean[:, :, None], parts[:, :, :-1]], axis=2)
        r["elapsed"][rows] = 0.0
        for name in ("count", "mean", "square"):
            r[name][rows] = 0.0

    def state(self) -> State:
        """Return what is held."""
        parts = (("unusual", self._unusual), ("level", self._levels))
        return {f"{name}_{field}": array for name, part in parts for field, array in part.state().items()}

    def restore(self, state: State) -> None:
        """Take over what `state()` returned; an empty one, of an older version, changes nothing. Raises ValueError."""
        if not state:
            return
        parts = (("unusual", self._unusual), ("level", self._levels))
        for name, part in parts:
            prefix = f"{name}_"
            part.restore({field.removeprefix(prefix): a for field, a in state.items() if field.startswith(prefix)})
