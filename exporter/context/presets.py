"""Deploys as usual metrics tell them: which of these the source has is asked, the rest needs no configuration."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.context.labels import INSTANCE, VERSION

_I: Final = ", ".join(INSTANCE)
_V: Final = ", ".join(VERSION)
_IV: Final = f"{_I}, {_V}"
_STATE: Final = ", ".join((*INSTANCE, "job", "service", "container"))
"""Labels of the exporter of states (kube-state-metrics, Argo CD, Flux) itself, not of what it tells of."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of metric that tells deploys.

    Parameters
    ----------
    metrics : str
        Names of the metrics, as a regular expression.
    expr : str
        PromQL whose series are there for one minute when a deploy happens.
    about : str
        What docs/context.md says of it.
    """

    metrics: str
    expr: str
    about: str

    def is_in(self, metrics: Iterable[str]) -> bool:
        """Tell whether one of its metrics is among these."""
        return any(re.fullmatch(self.metrics, name) and name != "go_build_info" for name in metrics)


def _appears(selector: str, without: str, versions: str) -> str:
    """Return PromQL for another version of something that was there before.

    The version was not there for half an hour while something of the owner was, or for three minutes while another
    version was: the way back. That a scrape fails, or that all instances start again, is neither.
    """
    now = f"group without ({without}) ({selector})"

    def before(span: str) -> str:
        return f"max_over_time(({now})[{span}:1m] offset 1m)"

    return " or ".join(
        f"({now} unless {before(span)} and ignoring ({versions}) {before(span)})" for span in ("30m", "3m")
    )


def _rises(metric: str, without: str) -> str:
    return f"max without ({without}) ({metric}) > max without ({without}) (last_over_time({metric}[15m] offset 1m))"


def _generation(kind: str, replicas: str) -> str:
    """Return PromQL for a workload with another generation, unless only its number of replicas is another one."""
    scaled = (
        f"(max without ({_STATE}) ({replicas}) != max without ({_STATE}) (last_over_time({replicas}[15m] offset 2m)))"
    )
    return f"({_rises(f'kube_{kind}_status_observed_generation', _STATE)} unless {scaled})"


_BUILD: Final = '{__name__=~".+_build_info",__name__!="go_build_info"}'
_START: Final = "process_start_time_seconds"
PRESETS: Final[Mapping[str, Preset]] = {
    "kubernetes": Preset(
        "kube_(deployment|statefulset|daemonset)_status_observed_generation",
        " or ".join(
            (
                _generation("deployment", "kube_deployment_spec_replicas"),
                _generation("statefulset", "kube_statefulset_replicas"),
                f"({_rises('kube_daemonset_status_observed_generation', _STATE)})",
            )
        ),
        "the observed generation of a Deployment, StatefulSet or DaemonSet rises, and not only its number of replicas "
        "has changed",
    ),
    "build_info": Preset(
        ".+_build_info",
        _appears(_BUILD, _I, _V),
        "a version label of any `*_build_info` (`version`, `revision`, `commit`, `image`, …) has a new value; "
        "`go_build_info` does not count",
    ),
    "process": Preset(
        "process_start_time_seconds",
        f"count without ({_I}) ({_START}) >= 2"
        f" unless count without ({_I}) ({_START} == last_over_time({_START}[1h] offset 15m))"
        f" and count without ({_I}) ({_START} offset 1m == last_over_time({_START}[1h] offset 16m))"
        f" unless max without ({_I}) (changes({_START}[1h])) > 1"
        f" unless ignoring ({_V}) (group without ({_I}) ({_BUILD}))",
        "all of at least two processes of a workload without build info were started again within a quarter of an "
        "hour, each once",
    ),
    "argocd": Preset(
        "argocd_app_sync_total",
        f'sum without ({_STATE}, namespace, phase, dry_run) (argocd_app_sync_total{{phase="Succeeded"}})'
        f" > sum without ({_STATE}, namespace, phase, dry_run)"
        ' (last_over_time(argocd_app_sync_total{phase="Succeeded"}[15m] offset 1m))',
        "a sync of an application has succeeded",
    ),
    "flux": Preset(
        "gotk_resource_info",
        _appears('gotk_resource_info{revision!=""}', f"{_STATE}, ready, suspended", _V),
        "a resource has another `revision`",
    ),
}
"""By the name that the configuration uses, those that name versions first."""


def asking_which(names: Iterable[str] = PRESETS) -> str:
    """Return PromQL that has one series for each metric of the presets that the source has."""
    wanted = "|".join(PRESETS[name].metrics for name in names)
    return f'count by (__name__) ({{__name__=~"{wanted}"}})'
