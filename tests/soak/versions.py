"""A model and a state that another Python wrote: `python -m tests.soak.versions .venv-3.12/bin/python`.

Row 29: the other environment refuses both, says which versions differ, and fits again.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import structlog

from exporter.models.errors import ModelRefused
from tests.soak.kills import models, state


def main() -> None:
    if len(sys.argv) == 3:  # in the other environment
        folder = Path(sys.argv[2])
        try:
            models(folder / "models").read()
        except ModelRefused as error:
            print(f"model: {error.reason}: {error}")
        with structlog.testing.capture_logs() as logs:
            try:
                state(folder / "state").read()
            except AssertionError:
                print(f"state: {logs[-1]['event']}: {logs[-1]['error']}")
        place = models(folder / "models")
        place.write(2)
        print(f"model fitted again: {place.read()}")
        return
    with tempfile.TemporaryDirectory(prefix="versions") as name:
        for make, part in ((models, "models"), (state, "state")):
            (Path(name) / part).mkdir()
            make(Path(name) / part).write(1)
        command = [sys.argv[1], "-m", "tests.soak.versions", "there", name]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"written by Python {sys.version.split()[0]}, read by {sys.argv[1]}:\n{said.stdout}{said.stderr[-2000:]}")
    refused = "model: other_versions:" in said.stdout and "state: state_refused:" in said.stdout
    sys.exit(not (refused and "fitted again: 2" in said.stdout))


if __name__ == "__main__":
    main()
