"""Write the generated files under deploy/, or report which are out of date: `python -m deploy.generate [--check]`."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from deploy.helm import chart
from deploy.kubernetes import manifests
from exporter.atomic_files import write_atomically

ROOT: Final = Path(__file__).parent.parent
OUTPUTS: Final[Mapping[str, Callable[[], str]]] = {
    "deploy/manifests/anomaly-exporter.yaml": manifests.all_in_one,
    "deploy/manifests/kustomization.yaml": manifests.kustomization,
}
"""Function that returns the text of each generated file, by its path in the repository."""


def outdated(root: Path = ROOT) -> dict[str, str]:
    """Return the correct text of every file that differs or is missing, by path."""
    texts = {name: make() for name, make in OUTPUTS.items()} | chart.files()
    return {name: text for name, text in texts.items() if _content(root / name) != text.encode()}


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Update the files and return 0; with --check, return 1 if any is out of date."""
    parser = argparse.ArgumentParser(prog="python -m deploy.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    check = parser.parse_args(arguments).check
    changes = outdated(root)
    for name, text in changes.items():
        if not check:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(root / name, text.encode())
        sys.stderr.write(f"{name}: {'out of date; run python -m deploy.generate' if check else 'written'}\n")
    return 1 if check and changes else 0


if __name__ == "__main__":
    sys.exit(main())
