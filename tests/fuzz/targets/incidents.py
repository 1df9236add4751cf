"""A file of labelled incidents, which a person wrote."""

import atexit
import tempfile
import warnings
from pathlib import Path

from exporter.errors import InputError
from exporter.labelled_incidents import read_incidents

OURS = (InputError,)
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-incidents")
atexit.register(_FOLDER.cleanup)
warnings.simplefilter("ignore", FutureWarning)  # patterns that Python will once read otherwise
SEEDS = (
    b"- {start: 2026-01-05T10:00:00Z, end: 2026-01-05 11:00:00, labels: {pod: 'a.*'}}\n- {start: 1767607560, end: 1767607570}\n",
    b"[" * 3000,
    b"- start: 0001-01-01T00:00:00+23:59\n  end: 9999-12-31\n",
    b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    b"- !!python/object/apply:os.system [id]\n",
)  # fmt: skip


def read(data: bytes) -> None:
    path = Path(_FOLDER.name) / "incidents.yml"
    path.write_bytes(data)
    for each in read_incidents(path):
        assert each.start <= each.end
        each.concerns((("pod", "a-1"),))
