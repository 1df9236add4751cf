"""Run commands where a package is not installed: `python -m tests.support.without_extra PACKAGES < commands.json`.

Standard input holds a list of commands, each a list of arguments. Standard output gets, for each of them, its exit
code, what it wrote, and the traceback of what should not have been raised.
"""

import json
import sys
import traceback
from collections.abc import Collection
from typing import Any


class Without:
    """A finder that does not find some packages, as if they were not there."""

    def __init__(self, finder: Any, packages: Collection[str]) -> None:
        self._finder, self._packages = finder, packages

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in self._packages:
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)  # importlib.metadata asks finders for distributions


def hide(packages: Collection[str]) -> None:
    """Let nothing find these packages from now on."""
    assert not set(packages) & set(sys.modules)
    sys.meta_path[:] = [Without(finder, packages) for finder in sys.meta_path]


def main() -> None:
    hide(list(filter(None, sys.argv[1].split(","))))
    from typer.testing import CliRunner

    from exporter.cli.main import cli

    results = []
    for command in json.load(sys.stdin):
        result = CliRunner().invoke(cli, command)
        unexpected = result.exception is not None and not isinstance(result.exception, SystemExit)
        raised = "".join(traceback.format_exception(result.exception)) if unexpected else ""
        results.append({"code": result.exit_code, "stdout": result.stdout, "stderr": result.stderr, "raised": raised})
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
