"""What values may be, as JSON schema."""

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string", "pattern": '^[^"\\\\\\x00-\\x1f]*$'}
NAME: Final[Schema] = {**TEXT, "minLength": 1}
OPTIONAL_NAME: Final[Schema] = {"type": "string", "pattern": "^([a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?)?$"}
PATH: Final[Schema] = {"type": "string", "pattern": '^/[^"\\\\\\x00-\\x1f]+$'}
BOOLEAN: Final[Schema] = {"type": "boolean"}
INTEGER: Final[Schema] = {"type": "integer"}
POSITIVE: Final[Schema] = {**INTEGER, "minimum": 1}
QUANTITY: Final[Schema] = {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"}
LIST: Final[Schema] = {"type": "array", "items": NAME}
MAP: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
ANY: Final[Schema] = {"type": "array", "items": {"type": "object"}}


def _items(properties: Mapping[str, Schema]) -> Schema:
    items = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "array", "items": items}


FOLDERS: Final = _items({"folder": PATH, "keys": {**LIST, "minItems": 1}})
RULES: Final = _items({"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}, "groups": ANY})
POD: Final[Schema] = {
    "type": "object",
    "properties": {
        "imagePullSecrets": _items({"name": NAME}),
        "nodeSelector": MAP,
        "priorityClassName": TEXT,
        "tolerations": ANY,
    },
    "additionalProperties": False,
}
"""Nothing of this loosens what a pod may do."""
