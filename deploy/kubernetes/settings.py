"""What the Kubernetes objects depend on, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from exporter import __version__

MANAGER: Final = "anomaly-exporter"
"""Value of app.kubernetes.io/managed-by on all that is ours: nothing without it is ever changed or deleted."""
DATA: Final = "/var/lib/anomaly-exporter"
"""The pod's working directory, and the only folder besides /tmp that can be written."""
CONFIG: Final = "/etc/anomaly-exporter"
"""Folder of the configuration within the pod."""
UID: Final = 65534


@dataclass(frozen=True, slots=True)
class Resources:
    """What one pod asks for and is given at most; figures in docs/performance.md."""

    cpu: str = "100m"
    memory: str = "256Mi"
    cpu_limit: str = "2"
    memory_limit: str = "2Gi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that is filled into the objects. The builders look at nothing else and check nothing.

    Every string may therefore be a placeholder of a template. `plan.settings_of` makes one from a configuration.

    Parameters
    ----------
    name, namespace, image, pull_policy : str
    managed_by : str
        Who owns the objects.
    shards : int or str
        Replicas that share the entities between them.
    config : mapping of str to str
        Configuration files by name: the ConfigMap's data.
    config_file, profile : str
        Name of the base file, and of the profile laid over it (empty: none).
    restart_on : str
        A digest of what a running exporter does not reload; pods are replaced when it changes.
    port : int or str
    https, client_certificates : bool
        The page is served over TLS; and asks clients for a certificate.
    secret : str
        Name of the Secret with all keys of `secret_env` and `secret_files`.
    make_secret : bool
        It is ours; otherwise somebody else makes it.
    secret_env : tuple of str
        Environment variables, each the key of the same name.
    secret_files : tuple of str
        Paths of files within the pod, each the key that its last part is.
    state_size, models_size, storage_class : str
        Of the volume claims; an empty class is the cluster's default.
    keep_state : bool
        Something is written that must outlive the pod.
    models_path : str
        Folder of the model store within the pod; empty: there is none, or it is an object store.
    train : bool
        Models are trained by a CronJob.
    schedule, time_zone : str
        When, as cron writes it; an empty zone is the cluster's.
    train_deadline : int or str
        Seconds after which a training is given up.
    egress : tuple of mapping
        Where the pods may connect to, as rules of a NetworkPolicy.
    scrape_namespace : str
        Namespace of Prometheus, which alone may connect to the page; empty: every pod may.
    scrape_interval : str
    scrape_secret : str
        Secret with `username` and `password` for a page with users; empty: none.
    operator : bool
        Make ServiceMonitor and PrometheusRule, which need the Prometheus operator.
    monitor_labels : mapping of str to str
        Labels by which the operator's Prometheus finds ServiceMonitor and PrometheusRule.
    rules : mapping of str to mapping
        Content of every PrometheusRule, by the last part of its name.
    resources, train_resources : Resources
    """

    name: str = "anomaly-exporter"
    namespace: str = "anomaly-exporter"
    image: str = f"anomaly-exporter:{__version__}"
    pull_policy: str = "IfNotPresent"
    managed_by: str = MANAGER
    shards: int | str = 1
    config: Mapping[str, str] = field(default_factory=dict)
    config_file: str = "anomaly.yml"
    profile: str = ""
    restart_on: str = ""
    port: int | str = 9877
    https: bool = False
    client_certificates: bool = False
    secret: str = "anomaly-exporter"  # noqa: S105 - the name of a Secret, not its content
    make_secret: bool = True
    secret_env: tuple[str, ...] = ()
    secret_files: tuple[str, ...] = ()
    state_size: str = "2Gi"
    models_size: str = "5Gi"
    storage_class: str = ""
    keep_state: bool = True
    models_path: str = f"{DATA}/models"
    train: bool = True
    schedule: str = "17 3 * * *"
    time_zone: str = ""
    train_deadline: int | str = 4 * 3600
    egress: tuple[Mapping[str, Any], ...] = ()
    scrape_namespace: str = ""
    scrape_interval: str = "30s"
    scrape_job: str = "anomaly-exporter"
    scrape_secret: str = ""
    operator: bool = True
    monitor_labels: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resources: Resources = Resources()
    train_resources: Resources = Resources(cpu="500m", memory="512Mi", cpu_limit="4", memory_limit="4Gi")

    @property
    def sharded(self) -> bool:
        """Whether there are several replicas, which then are a StatefulSet."""
        return self.shards != 1
