"""Settings of the Kubernetes objects, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from exporter import __version__

MANAGER: Final = "anomaly-exporter"
"""Value of app.kubernetes.io/managed-by on our objects; objects without it are never changed or deleted."""
HELM: Final = "Helm"
"""Value of that label on the objects of the chart."""
DATA: Final = "/var/lib/anomaly-exporter"
"""Working directory of the pod; only this folder and /tmp are writable."""
CONFIG: Final = "/etc/anomaly-exporter"
"""Folder of the configuration in the pod."""
UID: Final = 65532


@dataclass(frozen=True, slots=True)
class Resources:
    """Requests and limits of one pod; measurements in docs/performance.md."""

    cpu: str = "100m"
    memory: str = "256Mi"
    cpu_limit: str = "2"
    memory_limit: str = "2Gi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All input of the builders; they check nothing. `plan.settings_of` makes it from a configuration.

    Parameters
    ----------
    name, namespace, image, pull_policy : str
    managed_by : str
        Owner of the objects, for their label.
    shards : int
        Replicas that share the entities between them.
    lease : str
        Name of the Lease by which two pods choose their leader; empty: there is one pod.
    discover : tuple of str
        Plurals of the objects in which teams declare jobs; empty: none are looked for.
    discover_namespaces : tuple of str
        The namespaces that are looked at; empty: all.
    config : mapping of str to str
        Configuration files by name: the ConfigMap's data.
    config_file, profile : str
        Name of the base file, and of the profile that overrides it (empty: none).
    restart_on : str
        Digest of the settings that a reload does not apply; pods are replaced when it changes.
    port : int
    https, client_certificates : bool
        Whether metrics are served over TLS, and whether clients need a certificate.
    secret : str
        Name of the Secret with all keys of `secret_env` and `secret_files`.
    make_secret : bool
        Whether we create the Secret.
    secret_env : tuple of str
        Environment variables, each with the key of the same name.
    secret_files : tuple of str
        Paths of files in the pod; the last part of each is its key.
    state_size, models_size, storage_class : str
        Size and storage class of the volume claims; an empty class is the default of the cluster.
    keep_state : bool
        Whether state must outlive the pod.
    models_path : str
        Folder of the model store in the pod; empty: no store, or an object store.
    train : bool
        Whether a CronJob trains models.
    schedule, time_zone : str
        Cron schedule of the training; an empty zone is that of the cluster.
    train_deadline : int
        Seconds after which a training is stopped.
    egress : tuple of mapping
        Allowed connections from the pods, as NetworkPolicy rules.
    scrape_namespace : str
        Namespace of Prometheus, from which alone connections are allowed; empty: from every pod.
    scrape_interval : str
    scrape_secret : str
        Secret with `username` and `password` for scraping; empty: none.
    operator : bool
        Whether to create ServiceMonitor and PrometheusRule, which need the Prometheus operator.
    monitor_labels : mapping of str to str
        Labels by which the operator selects ServiceMonitor and PrometheusRule.
    rules : mapping of str to mapping
        Spec of every PrometheusRule, by the last part of its name.
    resources, train_resources : Resources
    """

    name: str = "anomaly-exporter"
    namespace: str = "anomaly-exporter"
    image: str = f"anomaly-exporter:{__version__}"
    pull_policy: str = "IfNotPresent"
    managed_by: str = MANAGER
    shards: int = 1
    lease: str = ""
    discover: tuple[str, ...] = ()
    discover_namespaces: tuple[str, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    config_file: str = "anomaly.yml"
    profile: str = ""
    restart_on: str = ""
    port: int = 9877
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
    train_deadline: int = 4 * 3600
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
    def pair(self) -> bool:
        """Whether a second pod stands by."""
        return bool(self.lease) and not self.sharded

    @property
    def asks_kubernetes(self) -> bool:
        """Whether the pods need the token of their account."""
        return self.pair or bool(self.discover)

    @property
    def sharded(self) -> bool:
        """Whether there are several replicas, in a StatefulSet."""
        return self.shards != 1
