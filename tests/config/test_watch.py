"""Row 32: changed files are noticed by their content, once it has settled."""

import os
from pathlib import Path

import pytest

from exporter.config.load import load
from exporter.config.watch import Watcher


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "anomaly.yml"
    path.write_text("jobs: {a: {expr: up}}\n")
    return path


def polled(watcher: Watcher, clock: Clock, times: int = 1) -> list[bool]:
    answers = []
    for _ in range(times):
        answers.append(watcher.changed())
        clock.now += 1
    return answers


def test_a_change_is_told_once_when_it_has_settled(file: Path, clock: Clock) -> None:
    watcher = Watcher((file,), 2, clock=clock)
    assert polled(watcher, clock, 3) == [False] * 3
    file.write_text("jobs: {b: {expr: up}}\n")
    assert polled(watcher, clock, 5) == [False, False, True, False, False]


def test_a_file_still_being_written_is_left_alone(file: Path, clock: Clock) -> None:
    watcher = Watcher((file,), 2, clock=clock)
    for size in range(5):
        file.write_text("x" * size)
        assert polled(watcher, clock) == [False]
    assert polled(watcher, clock, 3) == [False, True, False]


def test_the_swap_of_a_configmap_is_seen(tmp_path: Path, clock: Clock) -> None:
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "anomaly.yml").write_text(f"# {version}\n")
    (tmp_path / "..data").symlink_to("..1")
    file = tmp_path / "anomaly.yml"
    file.symlink_to("..data/anomaly.yml")
    watcher = Watcher((file,), 0, clock=clock)
    assert polled(watcher, clock, 2) == [False, False]
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")  # as the kubelet does it
    assert polled(watcher, clock, 2) == [True, False]


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfjobs: {a: {expr: up}}\n", b"jobs: {a: {expr: up}}\r\n"])
def test_a_rewrite_by_a_windows_editor_loads_to_the_same_configuration(
    file: Path, clock: Clock, content: bytes
) -> None:
    watcher, before = Watcher((file,), 0, clock=clock), load(file, None, {})
    file.write_bytes(content)
    assert polled(watcher, clock, 2) == [True, False]
    assert load(file, None, {}).digest == before.digest


def test_a_touch_or_the_same_content_again_is_no_change(file: Path, clock: Clock) -> None:
    watcher = Watcher((file,), 0, clock=clock)
    os.utime(file, (1, 1))
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)
    assert polled(watcher, clock) == [False]


def test_a_change_taken_back_before_it_settled_is_no_change(file: Path, clock: Clock) -> None:
    watcher, content = Watcher((file,), 2, clock=clock), file.read_bytes()
    file.write_text("oops")
    assert polled(watcher, clock) == [False]
    file.write_bytes(content)
    assert polled(watcher, clock, 4) == [False] * 4


def test_a_deleted_file_is_no_change_but_its_successor_is(file: Path, clock: Clock) -> None:
    watcher = Watcher((file,), 0, clock=clock)
    file.unlink()
    assert polled(watcher, clock, 2) == [False, False]
    file.mkdir()
    assert polled(watcher, clock) == [False]
    file.rmdir()
    os.mkfifo(file)
    assert polled(watcher, clock) == [False]
    file.unlink()
    file.write_text("new")
    assert polled(watcher, clock, 2) == [True, False]


def test_every_file_is_watched_and_content_may_not_move_between_them(tmp_path: Path, clock: Clock) -> None:
    files = (tmp_path / "a", tmp_path / "b")
    files[0].write_text("xy")
    files[1].write_text("z")
    watcher = Watcher(files, 0, clock=clock)
    files[0].write_text("x")
    files[1].write_text("yz")
    assert polled(watcher, clock, 2) == [True, False]


def test_a_change_while_loading_is_not_lost(file: Path, clock: Clock) -> None:
    loaded = load(file, None, {})
    file.write_text("changed between load and watch")
    assert polled(Watcher(loaded.files, 0, loaded.content, clock), clock, 2) == [True, False]
