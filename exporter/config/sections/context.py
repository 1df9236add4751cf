"""What explains incidents from outside their series: `deploys`."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from exporter.config.section_base import Conflict, LabelName, PositiveDuration, Section
from exporter.config.values import Duration, balanced

PresetName = Literal["kubernetes", "build_info", "process", "argocd", "flux"]


def _pairs(value: object) -> object:
    """Return the labels that a list names, each joined with the label of the same name."""
    return {name: name for name in value} if isinstance(value, list | tuple) else value


Owner = Annotated[dict[LabelName, LabelName], BeforeValidator(_pairs)]


class DeploysConfig(Section):
    """Which deploys are known, whose they are, and what follows from one (docs/context.md)."""

    presets: tuple[PresetName, ...] | None = Field(
        None, description="usual metrics that tell deploys; default: those that the source has; []: none"
    )
    expr: Annotated[str, AfterValidator(balanced)] | None = Field(
        None, description="PromQL of one's own: a deploy is when one of its series begins, or its value rises"
    )
    owner: Owner | None = Field(
        None,
        description="labels that a deploy and its series share, such as [namespace, service], or by name: "
        "{deployment: service}; default: found from labels that name workloads",
    )
    version: LabelName | None = Field(
        None, description="label that names the version; default: version, revision, tag, image or another usual one"
    )
    within: PositiveDuration = Field(
        1800.0, description="an incident that begins so long after a deploy of its owner says so"
    )
    caution: Duration = Field(
        900.0, description="so long after a deploy it takes more to open an incident of its owner; 0s: never"
    )
    rarity: float = Field(
        150.0,
        ge=1,
        description="in that time an incident must be so many times rarer by chance than false_alarms says; 1: no more "
        "than ever",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if self.owner is not None and not self.owner:
            yield ("owner",), "names no label; leave it out to have labels found"

    def over(self, every: "DeploysConfig") -> "DeploysConfig":
        """Return these settings of a job, those of every job where the job sets none."""
        return every.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})
