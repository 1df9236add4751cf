"""A crash leaves no copy of the memory behind: secrets are in it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CRASH = """
import os, resource
from exporter.cli import main
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
{off}
os.abort()
"""


@pytest.mark.parametrize("off", [True, False], ids=["as the command does", "without"])
def test_a_crash_dumps_no_core(off: bool, tmp_path: Path) -> None:
    """Row 53. Where this machine dumps no core of anybody, the second case shows nothing."""
    code = CRASH.format(off="main.without_core_dumps()" if off else "")
    child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE)
    assert child.stderr is not None
    said = child.stderr.read()
    _, status = os.waitpid(child.pid, 0)
    child.returncode = -signal.SIGABRT
    child.stderr.close()
    assert os.WTERMSIG(status) == signal.SIGABRT
    if off:
        assert not os.WCOREDUMP(status)
        assert list(tmp_path.iterdir()) == []
        assert b"Fatal Python error: Aborted" in said
    elif not os.WCOREDUMP(status):
        pytest.skip("no core is dumped here")
