"""Any anomaly detector of river, one model per entity."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from typing import Annotated, Any

from pydantic import Field

from detectors.per_entity import MEMORY, Model, PerEntity


@dataclass(kw_only=True)
class River(PerEntity):
    """One model of `river.anomaly` per entity; `PerEntity` rescales the scores.

    Source: Montiel et al. (2021), River: machine learning for streaming data in Python, JMLR 22(110).
    """

    window: Annotated[int, Field(ge=2, description="samples the level is taken from; default: the job's window")] = 60
    model: Annotated[str, Field(description="class under river.anomaly")] = "anomaly.HalfSpaceTrees"
    parameters: Annotated[dict[str, Any] | None, Field(description="of the model; default: river's own")] = None
    span: Annotated[float, Field(gt=0, description="deviations at which values are clipped")] = 24.0
    warm_up: Annotated[int, Field(ge=1, description="samples a model learns before its scores count")] = 250
    false_alarm_rate: Annotated[
        float, Field(ge=1 / MEMORY, le=0.5, description="share of the entity's raw scores beyond score 1")
    ] = 0.002
    min_samples: Annotated[int, Field(ge=2, description="samples before the first score, at most half the window")] = 10
    seed: Annotated[int, Field(ge=0, description="seed of models that take one, for repeatable scores")] = 0

    _factory: Callable[[], Model] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        factory = _factory(self.model, self.parameters or {}, self.seed)
        try:
            trial = factory()
        except Exception as error:  # a third party's constructor may raise anything
            raise ValueError(f"river.{self.model} does not take its parameters: {error}") from None
        # A model with windows gives the same score to every sample until its first window is full.
        warm_up = max(self.warm_up, int(getattr(trial, "window_size", 0)))
        super().__init__(factory, self.window, self.min_samples, self.span, warm_up, self.false_alarm_rate)


def _factory(dotted: str, parameters: dict[str, Any], seed: int) -> Callable[[], Model]:
    """Return a factory of models of the class `dotted`. Raises ValueError when class or parameters do not fit."""
    kind = _resolve(dotted)
    taken = signature(kind).parameters
    for name in parameters:
        if name not in taken:
            near = get_close_matches(name, taken, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f"; it takes {', '.join(taken)}"
            raise ValueError(f"river.{dotted} has no parameter {name!r}{hint}")
    if "seed" in taken:
        parameters = {"seed": seed, **parameters}
    return lambda: kind(**parameters)


def _resolve(dotted: str) -> type[Any]:
    try:
        anomaly = import_module("river.anomaly")  # takes seconds: imported only where it is used
    except ModuleNotFoundError:
        hint = "pip install 'anomaly-exporter[river]'"
        raise ValueError(f"this detector needs the Python package river: {hint}") from None
    # river has moved these base classes between modules, but kept their names.
    bases = {name: {base.__name__ for base in getattr(anomaly, name).__mro__} for name in anomaly.__all__}
    fitting = sorted(f"anomaly.{name}" for name, names in bases.items() if "AnomalyDetector" in names)
    if dotted in fitting:
        kind: type[Any] = getattr(anomaly, dotted.removeprefix("anomaly."))
        return kind
    name = dotted.removeprefix("anomaly.")
    if re.fullmatch(r"anomaly\.\w+", dotted) and name in bases:
        why = "scores a target by its features" if "SupervisedAnomalyDetector" in bases[name] else "filters a detector"
        raise ValueError(f"river.{dotted} {why} and is not a detector by itself; choose from {', '.join(fitting)}")
    near = get_close_matches(dotted, fitting, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(fitting)}"
    raise ValueError(f"{dotted!r} is not a detector of river; {hint}")
