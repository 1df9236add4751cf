"""Sealed records of the model store, and our own files in JSON."""

import hashlib
import json

from exporter.models.signed_records import Manifest, Outcome, Pointer, SealError, seal, unseal
from exporter.sinks import checked_json
from exporter.sinks.feedback import Saved

OURS = (SealError, ValueError)
_POINTER = seal(Pointer("cpu", "v1", 2, ("v0",)), [b"key"])
_PLAIN = seal(Outcome("cpu", "v1", True, "better", {"auc": 0.5, "none": None}, 1.0), [])
_MANIFEST = seal(Manifest("cpu", "v1", 1, "robust", {"a": [1]}, ("",), 0.0, 1.0, 2.0, "f", {"q": None}, {"numpy": "2"}, 9, "00"), [])  # fmt: skip
SEEDS = (_POINTER, _PLAIN, _MANIFEST, checked_json.encode(Saved()), b"[" * 5000, b'{"a": NaN, "b": 1e999}')


def read(data: bytes) -> None:
    text = data.partition(b"\n")[2] or data
    ours = hashlib.sha256(text).hexdigest().encode() + b"\n" + text  # its checksum right, whatever it holds
    refused = 0
    for kind in (Pointer, Outcome, Manifest):
        for keys in ([], [b"key"]):
            try:
                again = seal(unseal(data, kind, keys), keys)
                assert json.loads(again)["kind"] == kind.__name__
            except SealError:
                refused += 1
    for form in (data, ours):
        try:
            checked_json.decode(form, Saved)
        except ValueError:
            refused += 1
    assert refused
