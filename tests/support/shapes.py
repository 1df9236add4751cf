"""Pages of node_exporter, cAdvisor, the kubelet and kube-state-metrics, made from short tables (tests/rules/shapes)."""

import time
from collections.abc import Iterator
from typing import Any, Final

from deploy.demo.local import LocalServer

KINDS: Final = {
    # kind: ARPHRD type, whose address (0 its own, 1 random, 3 set), and what is below (self, another or nothing)
    "card": (1, 0, "self"),
    "slave": (1, 3, "self"),
    "bond": (1, 3, "self"),
    "bridge": (1, 3, "self"),
    "dummy": (1, 1, "self"),
    "ipip": (768, 0, "nothing"),
    "loopback": (772, 0, "self"),
    "ovs": (1, 1, "self"),
    "tap": (1, 1, "self"),
    "tun": (65534, 0, "self"),
    "veth": (1, 3, "other"),
    "vlan": (1, 0, "other"),
    "vxlan": (1, 3, "other"),
}
"""What Linux says about kinds of interfaces below /sys/class/net."""
BUSY: Final = 5000.0
"""Bytes per second of each card."""
QUIET: Final = 1000.0
"""Bytes per second of each pod with a network of its own."""


class Page(LocalServer):
    """Serves the page of a table; counters grow with the clock."""

    def __init__(self, page: Any) -> None:
        super().__init__()
        self._page = page

    def get(self) -> str:
        return "\n".join(self._page(time.time() % 1e6 + 1e6)) + "\n"


def rows(table: str) -> Iterator[list[str]]:
    """Yield the words of each line, without a mark at its end."""
    for line in table.splitlines():
        if words := line.partition("#")[0].split():
            yield words[:-1] if words[-1] == "+" else words


def marked(table: str, column: int) -> list[str]:
    """Return the words of a column in the lines that end with a plus: those are judged."""
    return [line.split()[column] for line in table.splitlines() if line.partition("#")[0].rstrip().endswith(" +")]


def node_page(shape: dict[str, str], now: float) -> Iterator[str]:
    """Yield the lines of node_exporter."""
    for core in range(2):
        for mode in ("idle", "iowait", "steal", "user"):
            yield f'node_cpu_seconds_total{{cpu="{core}",mode="{mode}"}} {now / 4}'
    yield "node_load5 1"
    yield "node_memory_MemAvailable_bytes 4e9"
    yield "node_memory_MemTotal_bytes 8e9"
    for device, kind, mount, mode in rows(shape["filesystems"]):
        labels = f'{{device="{device}",fstype="{kind}",mountpoint="{mount}"}}'
        files = 0 if kind in ("vfat", "btrfs", "efivarfs") else 1e6
        yield f"node_filesystem_size_bytes{labels} 1e11"
        yield f"node_filesystem_avail_bytes{labels} {4e10 if mode == 'rw' else 0}"
        yield f"node_filesystem_files{labels} {files}"
        yield f"node_filesystem_files_free{labels} {files / 2 if mode == 'rw' else 0}"
        yield f"node_filesystem_readonly{labels} {int(mode == 'ro')}"
    for number, (device, kind, address) in enumerate(rows(shape["interfaces"]), start=1):
        protocol, assigned, below = KINDS[kind]
        own = f'device="{device}"'
        yield f'node_network_info{{{own},address="{address}",duplex="",ifalias="",operstate="up"}} 1'
        yield f"node_network_protocol_type{{{own}}} {protocol}"
        yield f"node_network_address_assign_type{{{own}}} {assigned}"
        yield f"node_network_iface_id{{{own}}} {number}"
        yield f"node_network_iface_link{{{own}}} { ({'self': number, 'nothing': 0}.get(below, number + 1)) }"
        for way in ("receive", "transmit"):
            yield f"node_network_{way}_bytes_total{{{own}}} {now * BUSY}"
            yield f"node_network_{way}_errs_total{{{own}}} 0"
            yield f"node_network_{way}_drop_total{{{own}}} 0"
    for master, slaves in rows(shape.get("bonds", "")):
        yield f'node_bonding_slaves{{master="{master}"}} {slaves}'
    for (device,) in rows(shape["disks"]):
        yield f'node_disk_io_time_seconds_total{{device="{device}"}} {now / 10}'


def kubelet_page(shape: dict[str, Any], now: float) -> Iterator[str]:
    """Yield the lines of cAdvisor: cgroups, pods and their containers, interfaces."""
    cards = shape["cards"].split()
    for cgroup in ("/", "/kubepods.slice", "/system.slice/kubelet.service"):
        yield from _container(f'id="{cgroup}",container="",image="",namespace="",pod=""', now)
    yield from _traffic('id="/",container="",image="",namespace="",pod=""', cards, now * BUSY)
    for namespace, pod, _, network, *containers in rows(shape["pods"]):
        slice_ = f"/kubepods.slice/{namespace}-{pod}"
        labels = f'namespace="{namespace}",pod="{pod}"'
        pause = f'id="{slice_}/pause",container="{shape["pause"]}",image="pause",{labels}'
        yield from _container(f'id="{slice_}",container="",image="",{labels}', now)
        yield from _container(pause, now)
        if network == "host":
            yield from _traffic(pause, cards, (now - 3) * BUSY)
        else:
            yield from _traffic(pause, ["eth0", *shape.get("in_pods", "").split()], now * QUIET)
        for container in containers:
            name = container.rstrip("*")
            yield from _container(f'id="{slice_}/{name}",container="{name}",image="i",{labels}', now)
        if "volume" in shape:
            claim = f'{{namespace="{namespace}",persistentvolumeclaim="{pod}-data"}}'
            yield f"kubelet_volume_stats_available_bytes{claim} 1e9"
            yield f"kubelet_volume_stats_capacity_bytes{claim} 4e9"


def _container(labels: str, now: float) -> Iterator[str]:
    yield f"container_cpu_usage_seconds_total{{{labels}}} {now}"
    yield f"container_memory_working_set_bytes{{{labels}}} 1e8"
    yield f"container_cpu_cfs_throttled_periods_total{{{labels}}} {now}"
    yield f"container_cpu_cfs_periods_total{{{labels}}} {now * 10}"


def _traffic(labels: str, interfaces: list[str], count: float) -> Iterator[str]:
    for interface in interfaces:
        for way in ("receive", "transmit"):
            yield f'container_network_{way}_bytes_total{{{labels},interface="{interface}"}} {count}'


def state_page(shape: dict[str, Any], now: float) -> Iterator[str]:
    """Yield the lines of kube-state-metrics."""
    for namespace, pod, owner, network, *containers in rows(shape["pods"]):
        labels = f'namespace="{namespace}",pod="{pod}"'
        host = str(network == "host").lower()
        yield f'kube_pod_info{{{labels},host_network="{host}",node="n1"}} 1'
        yield f'kube_pod_owner{{{labels},owner_kind="{owner}",owner_name="o"}} 1'
        yield f'kube_pod_status_phase{{{labels},phase="Pending"}} 0'
        for container in containers:
            named = f'{labels},container="{container.rstrip("*")}"'
            if container.endswith("*"):  # an init container
                yield f'kube_pod_init_container_info{{{named},image="i"}} 1'
            else:
                yield f"kube_pod_container_status_restarts_total{{{named}}} {now // 1000}"
        if owner == "ReplicaSet":
            app = f'{{namespace="{namespace}",deployment="{pod.rpartition("-")[0]}"}}'
            yield f"kube_deployment_spec_replicas{app} 1"
            yield f"kube_deployment_status_replicas_unavailable{app} 0"
