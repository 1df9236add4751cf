"""What the commands of `anomaly-exporter feedback` ask for and print."""

import json
from typing import Any, Final

from exporter.cli.accept_client import NotAccepted
from exporter.cli.feedback_client import Exporter, labels_of
from exporter.config.values import duration
from exporter.redact import printable

_FILES: Final = {"json": "answers.json", "csv": "answers.csv", "incidents": "answers.yml"}


def given(exporter: Exporter, new: dict[str, Any], entity: str) -> str:
    """Give an answer; return what follows from it. Raises NotAccepted."""
    if new.get("longest") is not None:
        try:
            new["longest"] = duration(new["longest"])
        except ValueError as error:
            raise NotAccepted(f"--longest: {error}") from None
    said = {name: value for name, value in new.items() if value is not None} | {"labels": labels_of(entity)}
    return _changed(exporter.ask("POST", "api/v1/answers", said))


def taken_back(exporter: Exporter, answer: str) -> str:
    """Take an answer back; return what follows from it. Raises NotAccepted."""
    if not answer.isalnum():
        raise NotAccepted("an answer has an id of 12 letters and digits; `feedback list` shows it")
    return _changed(exporter.ask("DELETE", f"api/v1/answers/{answer}"))


def listed(exporter: Exporter, job: str | None, standing: bool, as_object: bool) -> str:
    """Return the list of answers, as lines or as JSON. Raises NotAccepted."""
    found: list[dict[str, Any]] = []
    offset: int | None = 0
    while offset is not None:
        asked = {"job": job, "standing": "true" if standing else None, "offset": str(offset)}
        page = json.loads(exporter.ask("GET", "api/v1/answers", asked=asked))
        found, offset = found + page["answers"], page["next"]
    if as_object:
        return json.dumps(found, indent=2) + "\n"
    return "".join(_line(each) for each in found) or "no answers\n"


def exported(exporter: Exporter, kind: str) -> str:
    """Return a file of the answers. Raises NotAccepted."""
    return exporter.ask("GET", _FILES[kind]).decode("utf-8", "replace").rstrip("\n") + "\n"


def _changed(body: bytes) -> str:
    answered = json.loads(body)
    return _line(answered["answer"]) + f"{answered['note']}\n"


def _line(answer: dict[str, Any]) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in answer["labels"].items()) or "(no labels)"
    state = f"taken back by {answer['undone_by']}" if answer["undone"] else "in force" if answer["stands"] else "over"
    parts = (
        answer["id"],
        state,
        answer["at"][:16],
        answer["who"],
        answer["kind"],
        answer["told"],
        answer["job"],
        labels,
    )
    return printable("  ".join((*parts, answer["why"]))) + "\n"
