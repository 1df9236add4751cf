"""The real servers behave as the tests that lean on them assume."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import requests

from deploy.demo.servers import (
    ITSELF,
    NodeExporterServer,
    PrometheusServer,
    ServerError,
    get,
    missing_servers,
    openmetrics,
)
from tests.conftest import StartAlertmanager, StartPrometheus
from tests.support.processes import pause, resume
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.servers


def test_history_up_to_now_and_live_scrapes_coexist(prometheus: StartPrometheus) -> None:
    now = time.time()
    moments = [now - 172_800 + 60 * i for i in range(2881)]
    server = prometheus(
        history=openmetrics("shop_orders", {"shop": 'a"b\\n\nd'}, moments, range(2881)), scrape={"prometheus": ITSELF}
    )
    server.wait_for('up{job="prometheus"} == 1')
    assert server.query("count_over_time(shop_orders[3d])")[0]["value"][1] == "2881"
    assert server.query("shop_orders")[0]["metric"]["shop"] == 'a"b\\n\nd'


def test_restart_keeps_port_and_data(prometheus: StartPrometheus) -> None:
    server = prometheus(scrape={"prometheus": ITSELF})
    server.wait_for("up")
    port, pid = server.port, server.pid
    server.kill()
    with pytest.raises(ServerError, match="does not answer"):
        server.query("up")
    server.restart()
    assert server.port == port
    assert server.pid != pid
    assert server.query("last_over_time(up[5m])")


def test_paused_server_accepts_and_never_answers(prometheus: StartPrometheus) -> None:
    server = prometheus()
    pause(server)
    with pytest.raises(requests.ReadTimeout):
        get(f"{server.url}/-/ready", timeout=0.5)
    resume(server)
    assert get(f"{server.url}/-/ready", timeout=PATIENCE).ok
    pause(server)
    server.stop()
    assert server._process is not None
    assert server._process.returncode == 0, "a paused server is woken so that SIGTERM reaches it, before SIGKILL has to"


def test_reload_takes_new_targets_and_refuses_a_bad_file(prometheus: StartPrometheus) -> None:
    server = prometheus()
    server.scrape["self"] = ITSELF
    server.reload()
    server.wait_for('up{job="self"} == 1')
    server.config = "global: {scrape_interval: never}"
    with pytest.raises(ServerError, match="refused its configuration"):
        server.reload()


def test_failed_start_shows_the_servers_own_log(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="scrape_intervall"):
        PrometheusServer(tmp_path, "global: {scrape_intervall: 5s}").start()


def test_port_taken_meanwhile_is_replaced_and_a_fixed_one_is_not(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = NodeExporterServer(tmp_path / "moves")
        server.port = port
        with server:
            assert server.port != port
        with pytest.raises(ServerError, match="address already in use"):
            NodeExporterServer(tmp_path / "fixed", port=port).start()


def test_alertmanager_and_node_exporter_are_ready_when_started(
    alertmanager: StartAlertmanager, node_exporter: NodeExporterServer
) -> None:
    assert get(f"{alertmanager().url}/api/v2/alerts").json() == []
    assert "node_cpu_seconds_total" in get(f"{node_exporter.url}/metrics").text


def test_servers_die_with_a_killed_parent(tmp_path: Path) -> None:
    code = f"""
        import time
        from pathlib import Path
        from deploy.demo.servers import NodeExporterServer
        print(NodeExporterServer(Path({str(tmp_path)!r})).start().pid, flush=True)
        time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}/exe").exists())


def test_missing_servers_are_named_by_their_debian_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert missing_servers() == []
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert missing_servers() == ["prometheus", "prometheus-alertmanager", "prometheus-node-exporter"]
    with pytest.raises(ServerError, match="apt-get install prometheus"):
        PrometheusServer(tmp_path).start()
