"""Backfills history for a Prometheus that has not started yet."""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from deploy.demo.process import ServerError, command, missing_servers


def openmetrics(name: str, labels: Mapping[str, str], times: Iterable[float], values: Iterable[float]) -> Iterable[str]:
    """Yield the OpenMetrics lines of one series, for `backfill`; times are Unix seconds."""
    escaped = (
        f'{key}="{value}"'.replace("\n", "\\n")
        for key, value in ((key, value.replace("\\", "\\\\").replace('"', '\\"')) for key, value in labels.items())
    )
    series = f"{name}{{{','.join(escaped)}}}"
    return (f"{series} {value!r} {moment:.3f}" for moment, value in zip(times, values, strict=True))


def backfill(directory: Path, lines: Iterable[str], longest_block: str = "2h") -> None:
    """Build blocks of `lines` (OpenMetrics, each with its time) for a PrometheusServer that has not started yet.

    The lines must not be later than now: Prometheus rejects live scrapes older than the newest block. promtool reads
    all lines once per block, so a `longest_block` of days builds a long history faster.
    Raises ServerError if promtool rejects the lines.
    """
    directory.mkdir(parents=True, exist_ok=True)
    source = directory / "backfill.om"
    with source.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.write("# EOF\n")
    promtool = command("promtool")
    if promtool is None:
        raise ServerError(f"promtool is not installed: apt-get install {' '.join(missing_servers())}")
    create = ["tsdb", "create-blocks-from", f"--max-block-duration={longest_block}", "openmetrics", "-q"]
    done = subprocess.run(  # noqa: S603  promtool itself, no shell
        [promtool, *create, str(source), str(directory / "data")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServerError(f"promtool built no blocks: {done.stderr.strip()[-2000:]}")
    source.unlink()
