"""Slack's Web API, as far as messages with a picture that are edited need it.

Requests and answers are those of docs.slack.dev: JSON with `ok` and, where that is false, the name of an error.
"""

import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from exporter.config.secrets import SecretUnavailable
from exporter.config.sections.notify import SlackAppConfig
from exporter.json_values import from_json
from exporter.sinks.notify.http_post import Answer, PostFailed, exchange, refused
from exporter.sinks.notify.notification import Incident
from exporter.source.error_mapping import clean, retry_after

_MOST: Final = 2**20
"""Bytes of an answer: that of a message repeats its blocks."""
_NO_PREVIEW: Final = {"unfurl_links": False, "unfurl_media": False}
_PASSING: Final = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
_ADVICE: Final = {
    "invalid_auth": "is the token of notify.slack_app still valid?",
    "not_authed": "is the token of notify.slack_app still valid?",
    "account_inactive": "the app was removed from the workspace: install it again and change the token",
    "token_revoked": "install the app again and change the token",
    "token_expired": "token rotation is on: give the app a token that does not expire",
    "missing_scope": "give the app the scopes chat:write and files:write, and install it again",
    "channel_not_found": "is notify.slack_app.channel right? The app must be invited to a private channel",
    "not_in_channel": "invite the app to the channel: /invite @APP",
    "is_archived": "the channel is archived: name another in notify.slack_app.channel",
    "restricted_action": "an administrator does not let apps post in this channel",
}
_OF_MESSAGE: Final = frozenset(
    {"msg_too_long", "invalid_blocks", "invalid_blocks_format", "no_text", "too_many_attachments"}
)
_GONE: Final = frozenset(
    {"message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found", "is_archived",
     "not_in_channel", "is_inactive", "cant_broadcast_message"}
)  # fmt: skip


class SlackRefused(PostFailed):
    """Slack has refused a call, with the name of an error."""

    def __init__(self, method: str, error: str, wait: float | None) -> None:
        advice = f"; {_ADVICE[error]}" if error in _ADVICE else ""
        unwanted = error in _OF_MESSAGE
        lasting = not unwanted and error not in _PASSING
        super().__init__(f"Slack refuses {method}: {error}{advice}", lasting, unwanted, wait)
        self.error = error

    @property
    def is_odd(self) -> bool:
        """Whether the reason is none that we know: it may concern this message alone."""
        return self.lasting and self.error not in _ADVICE

    @property
    def is_gone(self) -> bool:
        """Whether the message that was to be edited cannot be edited any more."""
        return self.error in _GONE


class SlackChannel:
    """One channel of a workspace.

    Parameters
    ----------
    config : SlackAppConfig
    proxies : bool
        Honour HTTPS_PROXY, NO_PROXY and ~/.netrc.
    picture : callable taking an Incident
        Returns a PNG, None where nothing is known to draw.
    """

    def __init__(self, config: SlackAppConfig, proxies: bool, picture: Callable[[Incident], bytes | None]) -> None:
        self._config, self._proxies, self._picture = config, proxies, picture

    def post(self, text: str, blocks: list[dict[str, Any]]) -> tuple[str, str]:
        """Post a message and return the ID of its channel and its own. Raises PostFailed."""
        answer = self._call(
            "chat.postMessage", {**_NO_PREVIEW, "channel": self._config.channel, "text": text, "blocks": blocks}
        )
        channel, ts = answer.get("channel"), answer.get("ts")
        if not isinstance(channel, str) or not isinstance(ts, str):
            raise PostFailed("Slack's answer to chat.postMessage has no channel and ts", unwanted=True)
        return channel, ts

    def edit(self, channel: str, ts: str, text: str, blocks: list[dict[str, Any]]) -> None:
        """Edit a message. Raises PostFailed."""
        self._call("chat.update", {"channel": channel, "ts": ts, "text": text, "blocks": blocks})

    def upload(self, incident: Incident, alt: str) -> str:
        """Upload the picture of an incident and return its ID, "" where there is none. Raises PostFailed.

        Slack works on it for some seconds before a message can show it.
        """
        png = self._picture(incident) if self._config.pictures else None
        if png is None:
            return ""
        asked = {"filename": "incident.png", "length": str(len(png)), "alt_txt": alt[:1000]}
        answer = self._call("files.getUploadURLExternal", asked, form=True)
        address, file = answer.get("upload_url"), answer.get("file_id")
        if not isinstance(address, str) or not isinstance(file, str) or not address.startswith(("https://", "http://")):
            raise PostFailed(
                "Slack's answer to files.getUploadURLExternal has no upload_url and file_id", unwanted=True
            )
        put = exchange(address, png, {"Content-Type": "image/png"}, self._proxies)
        if not 200 <= put.status < 300:
            raise refused(address, put, "a picture cannot be uploaded")
        self._call("files.completeUploadExternal", {"files": [{"id": file, "title": "incident"}]})
        return file

    def remove(self, file: str) -> None:
        """Delete a picture that no message shows any more. Raises PostFailed."""
        self._call("files.delete", {"file": file})

    def _call(self, method: str, content: dict[str, Any], form: bool = False) -> dict[str, Any]:
        """Call a method and return its answer. Raises PostFailed."""
        try:
            token = self._config.token.read()
        except SecretUnavailable as error:
            raise PostFailed(str(error), lasting=True) from None
        if not token.isascii() or not token.isprintable() or " " in token:
            raise PostFailed("the secret of notify.slack_app.token is not a token", lasting=True)
        kind = "application/x-www-form-urlencoded" if form else "application/json; charset=utf-8"
        headers = {"Content-Type": kind, "Authorization": f"Bearer {token}"}
        body = urlencode(content) if form else json.dumps(content)
        url = f"{self._config.url}/{method}"
        answer = exchange(url, body.encode(), headers, self._proxies, _MOST)
        return _checked(url, method, answer)


def _checked(url: str, method: str, answer: Answer) -> dict[str, Any]:
    try:
        said = from_json(answer.body)
    except ValueError:
        said = None
    if not isinstance(said, dict) or (answer.status >= 300 and "ok" not in said):
        if 200 <= answer.status < 300:
            raise PostFailed(f"{url} does not answer as Slack does: is notify.slack_app.url right?", lasting=True)
        raise refused(url, answer, "is notify.slack_app.url right?")
    if said.get("ok") is not True:
        error = clean(str(said.get("error", "no reason given")))
        raise SlackRefused(method, error, retry_after(answer.headers.get("Retry-After")))
    return said
