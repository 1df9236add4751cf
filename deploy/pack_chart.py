"""Lint the chart and pack it: `python -m deploy.pack_chart FOLDER` (for the Makefile)."""

import sys
from pathlib import Path

from helm_python.chart import Chart, lint

from deploy.generate import ROOT
from deploy.helm.chart import FOLDER


def package(folder: Path) -> Path:
    """Return the archive of the chart in the folder. Raises ValueError with what the lint finds."""
    report = lint(ROOT / FOLDER, strict=True)
    if report["errors"]:
        raise ValueError("\n".join(report["errors"]))
    folder.mkdir(parents=True, exist_ok=True)
    with Chart.load(ROOT / FOLDER) as chart:
        return Path(chart.save(folder))


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{package(Path(sys.argv[1]))}\n")
    except ValueError as error:
        sys.exit(f"{FOLDER}: {error}")
