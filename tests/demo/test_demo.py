"""The demo shows what it promises, says so with its exit code, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.demo.replay import PAGES, ReplaySource, recorded
from tests.support.waiting import PATIENCE, eventually


class RunningDemo:
    """`anomaly-exporter demo` as a child process in a folder for temporary files of its own."""

    def __init__(self, process: subprocess.Popen[bytes], temporary: Path) -> None:
        self.process, self.temporary = process, temporary

    @property
    def said(self) -> str:
        return (self.temporary.parent / "demo.log").read_text()

    def children(self) -> dict[str, int]:
        """Process ids of what the demo started, by the command that names them."""
        found = {}
        for folder in Path(f"/proc/{self.process.pid}/task").iterdir():
            for pid in (folder / "children").read_text().split():
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
                if command:  # else it has ended and waits to be reaped
                    found["exporter" if "-m anomaly_exporter run" in command else Path(command.split()[0]).name] = int(
                        pid
                    )
        return found

    def wait_until_said(self, text: str) -> None:
        def said() -> bool:
            assert self.process.poll() is None, f"the demo has ended early:\n{self.said}"
            return text in self.said

        eventually(said)

    def end(self) -> int:
        """Wait for the end; nothing may be left behind."""
        children = self.children() if self.process.poll() is None else {}
        code = self.process.wait(2 * PATIENCE)
        assert not list(self.temporary.iterdir()), "a temporary folder is left behind"

        def left() -> list[str]:
            return [name for name, pid in children.items() if Path(f"/proc/{pid}/exe").exists()]

        # What was being started when the signal came is killed by the kernel, a moment after the demo has ended.
        eventually(lambda: not left())
        return code


@contextmanager
def demo(folder: Path, *arguments: str, **environment: str) -> Iterator[RunningDemo]:
    temporary = folder / "temporary"
    temporary.mkdir()
    with (folder / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "exporter", "demo", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(temporary), **environment},
            start_new_session=True,
        )
        try:
            yield RunningDemo(process, temporary)
        finally:
            process.kill()
            process.wait()


@pytest.mark.servers
@pytest.mark.slow
def test_demo_sees_score_flag_alert_and_message_and_leaves_nothing_behind(tmp_path: Path, servers: None) -> None:
    with demo(tmp_path, "--for", "60s") as running:
        running.wait_until_said("becomes 4 times slower")
        assert set(running.children()) >= {
            "prometheus",
            "prometheus-alertmanager",
            "prometheus-node-exporter",
            "exporter",
        }
        code = running.end()
        assert code == 0, running.said
        assert "[FIRING:1] AnomalyShopLatency" in running.said
        assert "Anomaly in shop-latency instance=shop job=shop page=checkout" in running.said
        assert "worst at" in running.said
        assert "/graph?g0.expr=anomaly_score" in running.said


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_ends_everything_it_started(tmp_path: Path, servers: None, number: signal.Signals) -> None:
    with demo(tmp_path) as running:
        # SIGTERM comes while servers are being started, Ctrl-C when all of them run.
        running.wait_until_said("becomes" if number == signal.SIGINT else "starting exporter")
        assert "prometheus" in running.children()
        for _ in range(5):  # impatience must not keep it from cleaning up
            running.process.send_signal(number)
            time.sleep(0.05)
        assert running.end() == 128 + number
        assert "Traceback" not in running.said


@pytest.mark.servers
@pytest.mark.slow
def test_demo_whose_exporter_dies_fails_and_says_what_was_not_seen(tmp_path: Path, servers: None) -> None:
    with demo(tmp_path, "--for", "60s") as running:
        running.wait_until_said("becomes")
        os.kill(running.children()["exporter"], signal.SIGKILL)
        assert running.end() == 1
        assert "exporter has stopped" in running.said
        assert "not seen: anomaly_score above 1, anomaly_flag 1, alert firing" in running.said
        assert "--- exporter.log" in running.said
        assert "--- prometheus.log" in running.said


@pytest.mark.servers
@pytest.mark.slow
def test_demo_too_short_for_its_story_does_not_claim_success(tmp_path: Path, servers: None) -> None:
    with demo(tmp_path, "--for", "5s") as running:
        assert running.end() == 1
        assert "not seen:" in running.said


def test_demo_without_servers_names_the_packages_and_the_replay(tmp_path: Path) -> None:
    nothing = tmp_path / "no-commands"
    nothing.mkdir()
    with demo(tmp_path, PATH=str(nothing)) as running:
        assert running.end() == 1
        assert "prometheus prometheus-alertmanager prometheus-node-exporter" in running.said
        assert "demo --replay" in running.said


def test_replay_shows_the_whole_cycle_without_any_server(tmp_path: Path) -> None:
    nothing = tmp_path / "no-commands"
    nothing.mkdir()
    with demo(tmp_path, "--replay", "--for", "5s", PATH=str(nothing)) as running:
        assert running.end() == 0, running.said
        for seen in ("anomaly_score above 1", "anomaly_flag 1", "anomaly_alert 1", "incident closed"):
            assert seen in running.said
        assert 'anomaly_score{instance="shop",job="shop",page="checkout"' in running.said


def test_replay_shows_the_pages_as_of_now(tmp_path: Path) -> None:
    with demo(tmp_path, "--replay", "--for", "30s") as running:
        running.wait_until_said("anomaly_alert 1")
        [url] = set(re.findall(r"http://127\.0\.0\.1:[0-9]+/", running.said))
        now = httpx.get(f"{url}api/v1/now", trust_env=False).json()
        assert (now["alerting"], now["unseen"]) == (1, [])
        [incident] = now["groups"][0]["incidents"]
        assert incident["labels"]["page"] == "checkout"
        page = httpx.get(f"{url}{incident['link']}", trust_env=False).text
        assert page.count('<svg class="graph"') == 2


def test_recording_is_the_same_in_every_run_and_from_every_start() -> None:
    import numpy as np

    whole = ReplaySource().range("any", 1_767_600_000.0, 1_767_600_300.0, 5.0)
    late = ReplaySource().range("any", 1_767_600_200.0, 1_767_600_300.0, 5.0)
    assert whole.counts.tolist() == [61] * len(PAGES)
    np.testing.assert_array_equal(whole.values[40:61], late.values[:21])
    np.testing.assert_array_equal(whole.values[:61], recorded("cart", whole.times[:61]))
