"""Jobs that teams declare in objects of Kubernetes, each in its own namespace: `discover`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from exporter.config.section_base import Conflict, LabelName, PositiveDuration, Section, require
from exporter.config.sections.alerting import AlertingConfig, ReceiverName, unknown
from exporter.config.values import RatePerWeek

JOBS: Final = "anomaly-exporter/jobs"
"""Label of ConfigMaps, and annotation of PrometheusRule objects."""
BETWEEN: Final = ":"
"""Between the namespace and the name of a declared job; no namespace has it in its name."""
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


def _selector(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"is no selector of labels; write for example {JOBS}=true")
    return text


class TeamConfig(Section):
    """What is different for the jobs of one namespace."""

    budget: RatePerWeek | None = Field(None, gt=0, description="alerts per week of all of them; default: as for others")
    jobs: PositiveInt | None = Field(None, description="most jobs; default: as for others")
    receivers: tuple[ReceiverName, ...] | None = Field(
        None, description="names of alerting.receivers for their alerts; default: as for others"
    )


class DiscoverConfig(Section):
    """Jobs that teams declare in objects of Kubernetes, each in its own namespace (docs/discovery.md)."""

    config_maps: Annotated[str, AfterValidator(_selector)] | None = Field(
        f"{JOBS}=true", description="ConfigMaps with these labels are read; null: none"
    )
    rules: bool = Field(False, description=f"PrometheusRule objects are read: the jobs in their annotation `{JOBS}`")
    anomaly_names: bool = Field(
        False,
        description="PrometheusRule objects are read: a job for every recording rule with the label `anomaly_name`, as "
        "grafana/promql-anomaly-detection has them",
    )
    namespaces: tuple[Namespace, ...] = Field(
        (), description="only these namespaces; default: all, for which the exporter needs a ClusterRole"
    )
    enforce: LabelName | None = Field(
        "namespace",
        description="label that every selector of a declared job is limited to, with the name of its namespace; null: "
        "teams may ask for whatever the exporter may read",
    )
    budget: RatePerWeek = Field(
        1.0, gt=0, description="alerts per week of all jobs of a namespace, which they share evenly"
    )
    jobs: PositiveInt = Field(20, description="most jobs of a namespace")
    series: PositiveInt = Field(1000, description="most series of a declared job, whatever its max_series says")
    least_step: PositiveDuration = Field(15.0, description="the shortest step of a declared job")
    receivers: tuple[ReceiverName, ...] = Field(
        (), description="names of alerting.receivers for the alerts of declared jobs; default: none"
    )
    teams: dict[Namespace, TeamConfig] = Field({}, description="what is different for a namespace, by its name")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if self.config_maps is None and not self.rules and not self.anomaly_names:
            yield ("config_maps",), "nothing would be read: give config_maps, rules: true or anomaly_names: true"
        if self.namespaces:
            for name in self.teams:
                if name not in self.namespaces:
                    yield ("teams",), f"{name} is not one of the namespaces, so it would have no effect"

    @model_validator(mode="after")
    def _available(self) -> "DiscoverConfig":
        require("kubernetes", "kubernetes", needs="it needs")
        return self

    @property
    def reads_rules(self) -> bool:
        """Whether PrometheusRule objects are read."""
        return self.rules or self.anomaly_names

    def budget_of(self, namespace: str) -> float:
        """Return the alerts per week of all jobs of a namespace."""
        team = self.teams.get(namespace)
        return self.budget if team is None or team.budget is None else team.budget

    def most_jobs(self, namespace: str) -> int:
        """Return how many jobs a namespace may have."""
        team = self.teams.get(namespace)
        return self.jobs if team is None or team.jobs is None else team.jobs

    def receivers_of(self, namespace: str) -> tuple[str, ...]:
        """Return who gets the alerts of a namespace."""
        team = self.teams.get(namespace)
        return self.receivers if team is None or team.receivers is None else team.receivers

    def unknown_receivers(self, alerting: AlertingConfig) -> Iterator[Conflict]:
        """Say which names of receivers nobody has declared."""
        named: Mapping[str, tuple[str, ...]] = {
            "receivers": self.receivers,
            **{f"teams.{name}.receivers": team.receivers or () for name, team in self.teams.items()},
        }
        for key, names in named.items():
            for name in names:
                if name not in alerting.receivers:
                    yield ("discover",), f"{key}: {unknown('receiver', name, alerting.receivers)}"
