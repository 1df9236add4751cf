"""What `anomaly-exporter related` asks for and prints."""

import json

from exporter.cli.accept_client import NotAccepted
from exporter.cli.feedback_client import Exporter
from exporter.redact import printable


def told(
    exporter: Exporter, job: str, entity: str, since: float | None, expr: str | None, as_object: bool
) -> str:  # fmt: skip
    """Return what else moved, as lines or as JSON. Raises NotAccepted."""
    asked = {"job": job, "match": entity, "since": None if since is None else f"{since:.3f}", "expr": expr}
    answer = json.loads(exporter.ask("GET", "api/v1/related", asked=asked))
    if "choices" in answer:
        raise NotAccepted(f"--entity: {answer['error']}")
    if as_object:
        return json.dumps(answer, indent=2) + "\n"
    found = answer["companions"]
    unusual = f"{len(found)} changed unusually, the most unusual first:" if found else "none changed unusually"
    lines = [f"around {answer['around']}, of {answer['compared']} series {unusual}"]
    lines += [f"  {each['text']}" for each in found] + [f"not compared: {note}" for note in answer["notes"]]
    return "".join(f"{printable(line)}\n" for line in lines)
