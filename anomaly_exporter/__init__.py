"""What an installation adds to Python: one package, so that none of another's can be in the way (decision 0035).

The program's own packages have names that others use as well (exporter, rules, deploy). A wheel holds them in the
folder `parts` of this package; to import `anomaly_exporter` makes them importable, in that process alone. In a checkout
there is no such folder: they are at its top level.
"""

import sys
from pathlib import Path

_PARTS = Path(__file__).parent / "parts"

if _PARTS.is_dir() and str(_PARTS) not in sys.path:
    sys.path.insert(0, str(_PARTS))


def main() -> None:
    """Run the command line."""
    from exporter.cli.main import main as run

    run()
