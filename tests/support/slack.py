"""Slack's Web API at its HTTP edge, as far as we use it: requests and answers as docs.slack.dev has them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.stub import Reply, Request, Stub, serve

TOKEN = "xoxb-000000000000-canarycanarycanary"
CHANNEL = "C0123456789"


@dataclass
class Slack:
    """A workspace with one channel; `faults` are answered instead, by method, the first one first."""

    stub: Stub | None = None
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the channel shows, by ts."""
    pushed: int = 0
    """How many messages have made somebody's phone ring: edits do not."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Pictures that are there, by ID."""
    calls: list[str] = field(default_factory=list)
    faults: dict[str, list[Reply | str]] = field(default_factory=dict)
    slow_files: int = 0
    """How many messages with a new picture are refused because Slack still works on it."""
    _uploading: dict[str, bytes] = field(default_factory=dict)

    @property
    def url(self) -> str:
        assert self.stub is not None
        return f"{self.stub.url}/api"

    def only(self) -> dict[str, Any]:
        """Return the one message there is."""
        [message] = self.messages.values()
        return message

    def text(self) -> str:
        """Return what the one message shows."""
        return self.only()["blocks"][0]["text"]["text"]

    def answer(self, request: Request) -> Reply:
        method = request.path.removeprefix("/api/")
        if method.startswith("/upload/"):
            file = method.rpartition("/")[2]
            assert request.headers["content-type"] == "image/png"
            assert "authorization" not in request.headers
            self._uploading[file] = request.body
            return Reply(b"OK - 200")
        self.calls.append(method)
        if self.faults.get(method):
            fault = self.faults[method].pop(0)
            return fault if isinstance(fault, Reply) else _json({"ok": False, "error": fault})
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _json({"ok": False, "error": "invalid_auth"})
        is_form = request.headers["content-type"] == "application/x-www-form-urlencoded"
        content = request.form if is_form else json.loads(request.body)
        handle = {
            "chat.postMessage": self._post, "chat.update": self._update, "files.getUploadURLExternal": self._upload,
            "files.completeUploadExternal": self._complete, "files.delete": self._delete,
        }.get(method)  # fmt: skip
        return _json(handle(content) if handle else {"ok": False, "error": "unknown_method"})

    def _post(self, content: dict[str, Any]) -> dict[str, Any]:
        if content["channel"] not in {CHANNEL, "#alerts"}:
            return {"ok": False, "error": "channel_not_found"}
        if wrong := self._wrong(content):
            return wrong
        self.pushed += 1
        ts = f"1503435956.{len(self.calls):06}"
        self.messages[ts] = content
        return {"ok": True, "channel": CHANNEL, "ts": ts, "message": {"type": "message", "text": content["text"]}}

    def _update(self, content: dict[str, Any]) -> dict[str, Any]:
        if content["channel"] != CHANNEL:  # a name is not taken here
            return {"ok": False, "error": "channel_not_found"}
        if content["ts"] not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        if wrong := self._wrong(content):
            return wrong
        self.messages[content["ts"]] = content
        return {"ok": True, "channel": CHANNEL, "ts": content["ts"], "text": content["text"], "message": {}}

    def _wrong(self, content: dict[str, Any]) -> dict[str, Any] | None:
        for at, block in enumerate(content["blocks"]):
            if block["type"] == "section" and not 0 < len(block["text"]["text"]) <= 3000:
                return {"ok": False, "error": "invalid_blocks"}
            if block["type"] == "image":
                if self.slow_files or block["slack_file"]["id"] not in self.files:
                    self.slow_files = max(self.slow_files - 1, 0)
                    return {
                        "ok": False,
                        "error": "invalid_blocks",
                        "errors": [f"invalid slack file [json-pointer:/blocks/{at}/slack_file]"],
                    }
                assert block["alt_text"]
        return None

    def _upload(self, content: dict[str, Any]) -> dict[str, Any]:
        assert int(content["length"]) > 0
        assert content["filename"]
        file = f"F{len(self.calls):010}"
        assert self.stub is not None
        return {"ok": True, "upload_url": f"{self.stub.url}/api//upload/{file}", "file_id": file}

    def _complete(self, content: dict[str, Any]) -> dict[str, Any]:
        for each in content["files"]:
            self.files[each["id"]] = self._uploading.pop(each["id"])
        return {"ok": True, "files": content["files"]}

    def _delete(self, content: dict[str, Any]) -> dict[str, Any]:
        self.files.pop(content["file"])
        return {"ok": True}


def _json(content: dict[str, Any]) -> Reply:
    return Reply(json.dumps(content).encode(), headers={"Content-Type": "application/json; charset=utf-8"})


@contextmanager
def workspace() -> Iterator[Slack]:
    """Run one on a free loopback port."""
    slack = Slack()
    with serve(slack.answer) as stub:
        slack.stub = stub
        yield slack
