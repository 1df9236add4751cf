"""One target under atheris, which looks at the branches that an input takes in our code.

`python -m tests.fuzz.worker TARGET CORPUS FOUND SECONDS`, as `tests.fuzz` starts it. Ends
with another code than 0 where a promise was broken; the input is then in FOUND.
"""

import sys
from pathlib import Path
from typing import Final

import atheris

_HANG: Final = 20
"""Seconds for one input: hundreds of times what the slowest takes."""
_MEBIBYTES: Final = 2048
_LONGEST: Final = 64 * 1024
"""Bytes of an input; the limits on more are tested by their own tests."""


def main() -> None:
    name, corpus, found, seconds = sys.argv[1:]
    with atheris.instrument_imports(include=["exporter", "detectors", "rules", "yaml", "h11", "starlette"]):
        from tests.fuzz.target import target

        chosen = target(name)
    for number, seed in enumerate(chosen.seeds):
        (Path(corpus) / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        chosen.check(data)

    options = [f"-artifact_prefix={found}/", f"-max_total_time={seconds}", f"-timeout={_HANG}"]
    limits = [f"-rss_limit_mb={_MEBIBYTES}", f"-max_len={_LONGEST}", "-print_final_stats=1", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *options, *limits, corpus], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
