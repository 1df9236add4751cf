"""What other settings would have cost and found, from the scores of a run that was made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from detectors.types import Flags, Floats
from exporter.backtest.entity_result import Run
from exporter.backtest.quality import Figures, beginnings, bridge, count, leading, overall
from exporter.parallel.spread import HERE, Where
from exporter.pipeline.after_deploy import Caution
from exporter.pipeline.alert_budget import AlertBudget
from exporter.pipeline.group_score import GroupScorer
from exporter.pipeline.incidents import IncidentTracker
from exporter.pipeline.policy import INVALID_SCORE, Policy

LINES: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 7.0)
"""Incidents per week and entity."""
_QUANTILES: Final = (0.25, 0.5, 0.75, 0.9)
"""Of the deviations at which incidents began for nothing."""
_AT_ONCE: Final = 50_000_000
"""Flags of all trials together that are held in memory."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A setting, and the figures of the whole job with it."""

    false_alarms: float
    least_deviation: float
    figures: Figures


def trials(name: str, runs: Sequence[Run], made: Figures, where: Where = HERE) -> list[Trial]:
    """Return the figures of other lines and other least deviations; the first trial is the run that was `made`.

    Policy, incidents and budget are those of the running exporter, applied to the scores of the run. These are
    approximate: with another setting other samples would have been held back from learning. Each run is tried on its
    own, and so can be elsewhere. Raises SpreadError.
    """
    job = runs[0].config
    others = [(false_alarms, job.least_deviation) for false_alarms in LINES if false_alarms != job.false_alarms]
    others += [(job.false_alarms, least) for least in _least_deviations(runs)]
    found: list[list[Figures]] = [[] for _ in others]
    tasks = [TuneTask(run, others) for run in runs]
    for of_run in map(tune_task, tasks) if where.is_here else where.each(tune_task, tasks, "trying settings"):
        for figures, of_setting in zip(found, of_run, strict=True):
            figures.extend(of_setting)
    total = [overall(name, every, np.nan) for every in found]
    return [
        Trial(job.false_alarms, job.least_deviation, made),
        *(Trial(*setting, each) for setting, each in zip(others, total, strict=True)),
    ]


@dataclass(frozen=True, slots=True, eq=False)
class TuneTask:
    """A run, and the settings of false_alarms and least deviation that are tried on its scores."""

    run: Run
    settings: Sequence[tuple[float, float]]


def tune_task(task: TuneTask) -> list[list[Figures]]:
    """Return the figures of every entity of the run, for each setting."""
    return [
        [
            count(
                result.name,
                result.times,
                result.step,
                flag[result.row, result.columns],
                alert[result.row, result.columns],
                result.label,
            )
            for result in task.run.results
        ]
        for flag, alert in decided(task.run, task.settings)
    ]


def decided(run: Run, settings: Sequence[tuple[float, float]]) -> Iterator[tuple[Flags, Flags]]:
    """Yield flags and alerts, shape (E, N), of a run for each setting of false_alarms and least deviation."""
    size = max(int(_AT_ONCE // max(run.history.score.size, 1)), 1)
    for first in range(0, len(settings), size):
        yield from _decided(run, settings[first : first + size])


def _decided(run: Run, settings: Sequence[tuple[float, float]]) -> Iterator[tuple[Flags, Flags]]:
    """Decide the trials side by side, as if each had entities of its own in the same job."""
    job, history = run.config, run.history
    entities, columns = history.score.shape
    invalid = _invalid(run)
    scores = np.concatenate([_scores(run, invalid, false_alarms, least) for false_alarms, least in settings])
    keys = tuple((*key, ("", str(trial))) for trial in range(len(settings)) for key in history.keys)
    incidents = IncidentTracker.of(job)
    budgets, groups = [AlertBudget(job.budget, false_alarms) for false_alarms, _ in settings], GroupScorer.of(job)
    parts = [slice(trial * entities, (trial + 1) * entities) for trial in range(len(settings))]
    inside = np.tile(history.present & ~invalid, (len(settings), 1))
    flags, alerts = np.zeros(scores.shape, np.bool_), np.zeros(scores.shape, np.bool_)
    for column in range(run.first, columns):
        now, score = float(history.times[column]), scores[:, column]
        caution = None
        if history.careful[:, column].any():
            caution = Caution(history.careful[:, column], history.careful_from[:, column], job.deploys.rarity)
            rows, begins = (np.tile(each, len(settings)) for each in (caution.rows, caution.begins))
            every = Caution(rows, begins, caution.rarity)
            incidents.open_since(keys)  # so that it knows the entities
            incidents.weigh_again(every.begins)
            score = every.weighed(score)
        decision = incidents.decide(keys, score, now, job.step, inside=inside[:, column])
        flags[:, column] = decision.flag
        for budget, part in zip(budgets, parts, strict=True):
            flag = decision.flag[part]
            alerts[part, column] = budget.decide(
                history.keys, flag, decision.severity[part], decision.closed_severity[part], job.step, caution,
                shared=groups.shared(history.keys, flag),
            )  # fmt: skip
    for part in parts:
        yield flags[part], alerts[part]


def _scores(run: Run, invalid: Flags, false_alarms: float, least: float) -> Floats:
    """Return the scores that the policy would have made of the same judgements, shape (E, N)."""
    job, history = run.config, run.history
    # The scores of the run are for its own number of false alarms, those of a detector for one.
    policy = replace(Policy.of(job), least_deviation=least, false_alarms=false_alarms / job.false_alarms)
    return policy.scores(history.score, policy.counts(history.deviation), invalid)


def _invalid(run: Run) -> Flags:
    """Return where a value lay outside the valid range, shape (E, N), as far as the scores tell."""
    with np.errstate(invalid="ignore"):
        return np.asarray((run.history.score >= INVALID_SCORE) & (run.config.valid_range is not None))


def _least_deviations(runs: Sequence[Run]) -> list[float]:
    """Return least deviations that would have kept incidents from opening that began outside every event."""
    sizes: list[Floats] = []
    for run in runs:
        for result in run.results:
            first = leading(result.label)
            begins = first + beginnings(result.times[first:], result.flag[first:], bridge(result.step))
            if result.label is not None:
                begins = begins[result.label[begins] != 1]
            sizes.append(result.numbers("deviation")[begins])
    every = np.concatenate(sizes)
    every = every[np.isfinite(every) & (every > runs[0].config.least_deviation)]
    if not len(every):
        return []
    # A little more than the deviation itself, which would still count.
    return sorted({float(f"{1.01 * size:.2g}") for size in np.quantile(every, _QUANTILES)})


def advice(found: Sequence[Trial], budget: float) -> str:
    """Return one line that says which setting to choose."""
    made = found[0].figures
    if not made.labelled:
        inside = [trial for trial in found if trial.figures.alerts_per_week <= budget]
        if not inside or found[0] in inside:
            return f"advice: keep the settings; nothing says what was worth finding, and {_cost(found[0], budget)}"
        best = max(inside, key=lambda trial: trial.figures.openings)
        return f"advice: set {_change(best, found[0])}: {_cost(best, budget)}; nothing says what was worth finding"
    best = _best(found)
    if best is found[0]:
        return "advice: keep the settings; none of the others finds as much for as little"
    less, more = made.false - best.figures.false, best.figures.found - made.found
    events = f"{abs(more)} of {made.events} events {'more' if more > 0 else 'less'}" if more else "no event lost"
    false = f"{abs(less)} of {made.false} false incidents {'less' if less >= 0 else 'more'}"
    return f"advice: set {_change(best, found[0])}: {false}, {events}, {_cost(best, budget)}"


def _best(found: Sequence[Trial]) -> Trial:
    """Return what costs less and loses no event; where nothing does, what weighs both best, by F1.

    A looser setting must find more: with fewer, longer incidents it may look cheaper than it is.
    """
    now = found[0].figures
    stricter = [
        each
        for each in found
        if each.false_alarms < found[0].false_alarms or each.least_deviation > found[0].least_deviation
    ]
    free = [each for each in stricter if each.figures.found >= now.found and each.figures.false < now.false]
    if free:
        return min(free, key=lambda trial: trial.figures.false)
    looser = [each for each in found if each.figures.found > now.found]
    # NaN where there is no event: then nothing is better than what was run.
    return max([found[0], *stricter, *looser], key=lambda trial: np.nan_to_num(trial.figures.f1))


def _change(trial: Trial, made: Trial) -> str:
    if trial.false_alarms != made.false_alarms:
        return f"false_alarms: {trial.false_alarms:g} per week"
    return f"least_deviation: {trial.least_deviation:g}"


def _cost(trial: Trial, budget: float) -> str:
    return f"{trial.figures.alerts_per_week:.2g} alerts a week at a budget of {budget:g}"
