"""What a target is, and what it promises.

A module of `tests/fuzz/targets/` has three names:

`SEEDS`
    What honest input looks like, and what once broke a promise.
`OURS`
    The errors that say what is wrong with the input.
`read(data)`
    Gives the bytes to the code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

TARGETS: Final = tuple(sorted(path.stem for path in Path(__file__).parent.glob("targets/[!_]*.py")))
MOST_SAID: Final = 20_000
"""Characters of a message, for a hundred mistakes in one file."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader."""

    name: str
    seeds: tuple[bytes, ...]
    ours: tuple[type[Exception], ...]
    read: Callable[[bytes], object]

    def check(self, data: bytes) -> bool:
        """Return whether `data` was read, False where it was refused. Anything but that is raised."""
        try:
            self.read(data)
        except self.ours as error:
            said = str(error)
        else:
            return True
        assert said.strip(), "an error that says nothing"
        assert len(said) <= MOST_SAID, f"an error of {len(said)} characters"
        return False


def target(name: str) -> Target:
    """Return the target of that name; its module is imported now."""
    module = import_module(f"tests.fuzz.targets.{name}")
    return Target(name, module.SEEDS, module.OURS, module.read)
