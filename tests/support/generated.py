"""Generated files in a folder, and the tools that check them."""

import subprocess
from pathlib import Path

from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from rules.generate import generate, write


def config(*names: str, alerting: dict | None = None, **job) -> Config:
    """A configuration past the check of job names: what is generated must not lean on it."""
    checked = Config.model_validate({"jobs": {"any": {"expr": "up"}}, "alerting": alerting or {}})
    jobs = {name: JobConfig.model_validate({"expr": "up", **job}) for name in names}
    return checked.model_copy(update={"jobs": jobs})


def written(folder: Path, of: Config) -> Path:
    """Write the generated files of a configuration."""
    write(folder, generate(of))
    return folder


def tool(folder: Path, *command: str, files: str = "") -> subprocess.CompletedProcess[str]:
    """Run a tool in the folder, with the files that a pattern finds there."""
    found = sorted(str(path.relative_to(folder)) for path in folder.glob(files)) if files else []
    assert bool(found) == bool(files), files
    return subprocess.run([*command, *found], cwd=folder, capture_output=True, text=True, check=False)


def passes(folder: Path) -> None:
    """All that is generated passes the tools of those who will load it."""
    for command, files in (
        (("promtool", "check", "rules"), "rules/*.yml"),
        (("promtool", "test", "rules"), "tests/*.yml"),
        (("amtool", "check-config"), "alertmanager.yml"),
    ):
        done = tool(folder, *command, files=files)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
