"""Free memory is given back where the C library can do it, and nothing happens where it cannot."""

import ctypes

import pytest

from exporter.service.free_memory import give_back


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
