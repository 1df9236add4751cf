"""What the demo starts it also ends, in order, before its folder goes."""

from pathlib import Path

import pytest

from deploy.demo.process import ServerError
from deploy.demo.servers import ExporterServer
from deploy.demo.stack import Stack

pytestmark = pytest.mark.servers


def test_every_server_is_ended_with_the_stack(tmp_path: Path, servers: None) -> None:
    with Stack(tmp_path, lambda _: None) as stack:
        stack.check()
        assert [server.name for server in stack.servers] == ["node_exporter", "alertmanager", "prometheus", "exporter"]
    assert not any(server.running for server in stack.servers)
    with pytest.raises(ServerError, match="node_exporter has stopped"):
        stack.check()


def test_servers_started_before_a_failing_one_are_ended(
    tmp_path: Path, servers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExporterServer, "arguments", lambda _: ["--no-such-option"])
    stack = Stack(tmp_path, lambda _: None)
    with pytest.raises(ServerError, match="exporter ended immediately"), stack:
        pass
    assert len(stack.servers) == 4
    assert not any(server.running for server in stack.servers)
