"""What a Dockerfile says, read so that its steps can be run where there is no engine."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
Step = tuple[str, str]


def stages(file: Path) -> dict[str, list[Step]]:
    """Return the instructions of every stage as (instruction, text), FROM included."""
    lines = (line for line in file.read_text().splitlines() if not line.lstrip().startswith("#"))
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: dict[str, list[Step]] = {"": []}
    for line in filter(None, text.splitlines()):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found[rest.split(" AS ")[1]] = steps = []
        else:
            steps = list(found.values())[-1]
        steps.append((instruction, rest.strip()))
    return found


def run(steps: list[Step], folder: Path, context: Path = ROOT, **arguments: str) -> None:
    """Run the steps of a stage with `folder` in place of the root folder, `context` sent to the engine.

    `arguments` are what `--build-arg` gives.

    Caches of pip and uv are used and nothing is compiled to bytecode, unlike in the image: that changes only the time.
    """
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    subprocess.run([sys.executable, "-m", "venv", folder / "python"], check=True)  # the base image
    environment = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    environment |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    environment |= {"PATH": f"{folder / 'python/bin'}:/usr/bin:/bin", "UV_FIND_LINKS": _wheels()}
    here = folder

    def within(text: str) -> str:
        return re.sub(r"(?<![\w.>])/(?=(?:src|venv)\b)", f"{folder}/", text)

    for instruction, text in steps:
        if instruction in {"ARG", "ENV"}:
            changes = dict(pair.split("=", 1) for pair in shlex.split(text))
            changes |= {name: arguments[name] for name in changes if instruction == "ARG" and name in arguments}
            environment |= {
                name: within(v) for name, v in changes.items() if "CACHE" not in name and "COMPILE" not in name
            }
        elif instruction == "WORKDIR":
            here = Path(within(text))
            here.mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            *sources, target = text.split()
            for source in sources:
                if (context / source).is_dir():
                    shutil.copytree(context / source, here / target, ignore=ignored)
                else:
                    shutil.copy(context / source, here / target)
        elif instruction == "RUN":
            done = subprocess.run(
                ["/bin/sh", "-c", within(text)], cwd=here, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        else:
            assert instruction == "FROM", f"{instruction}: how is this run without an engine?"


def _wheels() -> str:
    """uv ignores pip's settings: the folders of wheels that pip was told of."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True, check=False
    )
    return ",".join(told.stdout.split())
