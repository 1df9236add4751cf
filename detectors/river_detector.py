"""Any of river's anomaly detectors, one for each entity."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from detectors.per_entity import MEMORY, Model, PerEntity


@dataclass(kw_only=True)
class River(PerEntity):
    """A model of `river.anomaly` for each entity; see `PerEntity` for how its scores are made comparable.

    Source: Montiel et al. (2021), River: machine learning for streaming data in Python, JMLR 22(110).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    window: Annotated[int, Field(ge=2, description="samples looked at; default: the job's window")] = 60
    model: Annotated[str, Field(description="class under river.anomaly")] = "anomaly.HalfSpaceTrees"
    parameters: Annotated[dict[str, Any] | None, Field(description="of the model; default: river's own")] = None
    span: Annotated[float, Field(gt=0, description="deviations beyond which all values are alike")] = 24.0
    warm_up: Annotated[int, Field(ge=1, description="samples a model has learnt before its scores count")] = 250
    false_alarm_rate: Annotated[
        float, Field(ge=1 / MEMORY, le=0.5, description="share of the entity's raw scores beyond score 1")
    ] = 0.002
    min_samples: Annotated[
        int, Field(ge=2, description="samples before the first verdict, at most half the window")
    ] = 10
    seed: Annotated[int, Field(ge=0, description="seed of models that take one, for repeatable scores")] = 0

    _factory: Callable[[], Model] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        factory = _factory(self.model, self.parameters or {}, self.seed)
        try:
            trial = factory()
        except Exception as error:  # whatever a third party's constructor raises is the user's mistake
            raise ValueError(f"river.{self.model} does not take its parameters: {error}") from None
        # Until its first window is full a model of windows has nothing to compare with, and scores all alike.
        warm_up = max(self.warm_up, int(getattr(trial, "window_size", 0)))
        super().__init__(factory, self.window, self.min_samples, self.span, warm_up, self.false_alarm_rate)


def _factory(dotted: str, parameters: dict[str, Any], seed: int) -> Callable[[], Model]:
    """Return what makes a model of the class `dotted`. Raises ValueError when it is not a fitting one."""
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
        anomaly = import_module("river.anomaly")  # costs seconds of start-up: only where it is asked for
    except ModuleNotFoundError:
        hint = "install anomaly-exporter[river]"
        raise ValueError(f"this detector needs the Python package river: {hint}") from None
    # river has moved these bases from module to module: their names are what stays.
    bases = {name: {base.__name__ for base in getattr(anomaly, name).__mro__} for name in anomaly.__all__}
    fitting = sorted(f"anomaly.{name}" for name, names in bases.items() if "AnomalyDetector" in names)
    if dotted in fitting:
        kind: type[Any] = getattr(anomaly, dotted.removeprefix("anomaly."))
        return kind
    name = dotted.removeprefix("anomaly.")
    if re.fullmatch(r"anomaly\.\w+", dotted) and name in bases:
        why = "judges a target by its features" if "SupervisedAnomalyDetector" in bases[name] else "filters a detector"
        raise ValueError(f"river.{dotted} {why} and is no detector by itself; choose from {', '.join(fitting)}")
    near = get_close_matches(dotted, fitting, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(fitting)}"
    raise ValueError(f"{dotted!r} is no detector of river; {hint}")
