"""The rooms import downwards only, and in no circle (docs/architecture.md; the contracts stand in pyproject.toml)."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_no_room_imports_a_higher_one() -> None:
    """Import Linter names each import that breaks a contract, and each exception that is no longer needed."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
