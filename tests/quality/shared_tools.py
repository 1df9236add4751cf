"""The judges outside of this repository: `evaluate.py` and `sensitivity.py` of the folder that DATA names."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load(path: Path) -> ModuleType:
    """Return the module in a file. Raises FileNotFoundError."""
    name = f"quality_{path.stem}"
    if name not in sys.modules:
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}; name another folder: make quality DATA=…")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]
