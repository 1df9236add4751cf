"""Freeze a server and let it go on."""

import os
import signal

from deploy.demo.process import Server


def pause(server: Server) -> None:
    """Freeze it (SIGSTOP): the kernel still accepts connections, nothing answers."""
    os.kill(server.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, server.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # until then its threads may still answer


def resume(server: Server) -> None:
    """Let a frozen one go on (SIGCONT)."""
    os.kill(server.pid, signal.SIGCONT)
