"""Whether a new model may replace the current one. Margins are stated in docs/training.md."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from exporter.config.sections.train import GateConfig
from exporter.train.holdout import HoldoutResult

_RATIOS: Final = (("recall", "recall"), ("precision", "precision"), ("f1", "F1"))
FLAGGED: Final = 0.02
"""Share of the time that a new model may have more incidents open than the old one."""
LEAST_JUDGED: Final = 0.5
"""Without an old model: least share of the samples that must have got a verdict."""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Every reason against the new model, or one for it, and the quality metrics of both models."""

    passed: bool
    reason: str
    figures: dict[str, float]


def rule(new: HoldoutResult, old: HoldoutResult | None, false_alarms: float, config: GateConfig) -> GateDecision:
    """Compare a new model with the active one on the same samples, or with what is asked of a first one.

    Parameters
    ----------
    false_alarms : float
        Incidents per week and entity that the job allows by chance.
    """
    against = list(_against_none(new, false_alarms, config) if old is None else _against_old(new, old, config))
    figures = new.numbers() | ({} if old is None else {f"old_{name}": x for name, x in old.numbers().items()})
    if against:
        return GateDecision(False, "; ".join(against), figures)
    seen = f"{new.figures.found} of {new.figures.events} known incidents found, {new.figures.false} false ones"
    if new.faults:
        seen += f", {new.faults_found} of {new.faults} injected faults found"
    compared = "as the first model" if old is None else f"against {_seen(old)} of the active model"
    return GateDecision(True, f"{seen}, {compared}", figures)


def _seen(old: HoldoutResult) -> str:
    text = f"{old.figures.found} and {old.figures.false}"
    return f"{text} and {old.faults_found}" if old.faults else text


def most_false(count: float, more: float) -> float:
    """Return how many false incidents are not worse than `count`: a share more, and two standard deviations.

    The number of incidents that come by chance varies by its square root, as that of a Poisson process does.
    """
    return (1 + more) * count + 2 * math.sqrt(max(count, 1.0))


def _against_old(new: HoldoutResult, old: HoldoutResult, config: GateConfig) -> Iterator[str]:
    chance = min(max(new.figures.false - old.figures.false, 0), round(2 * math.sqrt(max(old.figures.false, 1))))
    fair = replace(new.figures, false=new.figures.false - chance)  # one more in a few days may be chance
    for name, spoken in _RATIOS:
        mine, theirs = getattr(fair, name), getattr(old.figures, name)
        if new.figures.events and not mine >= theirs - config.margin:  # NaN, where nothing was flagged, never matches
            if name == "precision" and math.isnan(theirs):
                continue
            yield f"{spoken} {_share(mine)} is worse than {_share(theirs)} of the active model"
    allowed = most_false(old.figures.false, config.more_false)
    if new.figures.false > allowed:
        yield (
            f"{new.figures.false} false incidents, of the active model {old.figures.false}; "
            f"at most {allowed:.0f} are allowed"
        )
    if new.flagged > (1 + config.more_false) * old.flagged + FLAGGED:
        theirs = _share(old.flagged)
        yield f"incidents open {_share(new.flagged)} of the time for nothing, of the active model {theirs}"
    if new.judged < old.judged - config.margin:
        yield f"a verdict for {_share(new.judged)} of the samples, of the active model {_share(old.judged)}"
    if new.faults and not new.faults_found:
        yield f"none of {new.faults} injected faults found: it is blind"
    elif new.faults_found < old.faults_found - config.margin * new.faults:
        yield (
            f"{new.faults_found} of {new.faults} injected faults found, "
            f"of the active model {old.faults_found}: it has become blind"
        )


def _against_none(new: HoldoutResult, false_alarms: float, config: GateConfig) -> Iterator[str]:
    expected = config.most_false * false_alarms * new.figures.series_weeks
    if new.figures.false > (allowed := most_false(expected, 0.0)):
        times = f"{config.most_false:g} times what `false_alarms` allows"
        yield f"{new.figures.false} false incidents, at most {allowed:.0f} are allowed ({times})"
    if new.flagged > config.most_flagged:
        yield f"incidents open {_share(new.flagged)} of the time for nothing, at most {_share(config.most_flagged)}"
    if new.judged < LEAST_JUDGED:
        yield f"a verdict for only {_share(new.judged)} of the samples: the training time is too short"
    if new.figures.events >= max(config.least_events, 1) and new.figures.recall < config.least_found:
        yield f"only {new.figures.found} of {new.figures.events} known incidents found"
    if new.faults and new.faults_found < config.least_found * new.faults:
        yield f"only {new.faults_found} of {new.faults} injected faults found: it is blind"


def _share(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.0%}"
