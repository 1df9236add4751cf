"""Free memory is given back where the C library can do it, and nothing happens where it cannot."""

import ctypes
import subprocess
import sys

import pytest

from exporter.service.free_memory import give_back, share_one_heap


def test_it_can_be_given_back() -> None:
    give_back()


@pytest.mark.parametrize("library", [object(), OSError("no such library")])
def test_another_c_library_keeps_it(monkeypatch: pytest.MonkeyPatch, library: object) -> None:
    def load(_: None) -> object:
        if isinstance(library, OSError):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    give_back()
    share_one_heap()


_THREADS = """
import ctypes, sys, threading
from exporter.service.free_memory import share_one_heap
if sys.argv[1] == "one":
    share_one_heap()
def hold():
    kept.append([bytearray(100_000) for _ in range(200)])
kept = []
threads = [threading.Thread(target=hold) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="not with this C library")
def test_all_threads_take_memory_from_one_heap() -> None:
    def heaps(which: str) -> int:
        done = subprocess.run([sys.executable, "-c", _THREADS, which], capture_output=True, text=True, check=True)
        return done.stderr.count("Arena ")

    assert heaps("one") == 1
    assert heaps("each") > 1
