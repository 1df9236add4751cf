"""The model store: fitted models in a folder or an object store, checked before a byte of them is unpickled.

| file | what it holds |
|---|---|
| `<store>/<job>/<version>/model.joblib` | the detector's state, a dict of arrays |
| `<store>/<job>/<version>/manifest.json` | what it is, how it came about, digest and signature |
| `<store>/<job>/<version>/gate.json` | whether it may become active, and why |
| `<store>/<job>/current` | which version is active, and which were active before |
| `<store>/<job>/last_train.json` | how the last training ended, for the metrics |

`current` is a small sealed file, not a symbolic link: it can be signed, so nobody activates an old model again
unseen; one rename switches it; and no file the loader opens may be a link.
A refused model stays where it is, as evidence.
"""

from exporter.models.errors import ModelMissing, ModelRefused, StoreError
from exporter.models.maintenance import ModelVersion
from exporter.models.names import folder_name
from exporter.models.store import KEPT, Store

__all__ = ["KEPT", "ModelMissing", "ModelRefused", "ModelVersion", "Store", "StoreError", "folder_name"]
