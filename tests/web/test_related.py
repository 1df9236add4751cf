"""What else moved, in the API and on the page."""

import json

import httpx
import msgspec
from typer.testing import CliRunner

from exporter.cli.main import cli
from exporter.sinks.latest import Matcher
from exporter.web.mcp import texts
from exporter.web.ui.history import History
from exporter.web.ui.related import related_answer
from exporter.web.ui.series import Asked, series_answer
from tests.context.moving import MOVING, watched
from tests.support.pages import STEP


def test_the_api_the_page_and_the_tool_tell_it(serve) -> None:
    shown = watched()
    url = serve(running=shown.running).url
    ask = {"job": "cpu", "match": 'host="a"'}
    found = httpx.get(f"{url}/api/v1/related", params=ask, trust_env=False).json()
    assert found["companions"][0]["labels"] == {"host": "b"}
    page = httpx.get(f"{url}/series", params=ask, trust_env=False).text
    assert "What else moved" in page
    assert "host=b in disk rose from " in page
    off = httpx.get(f"{url}/api/v1/related", params=ask | {"expr": "up"}, trust_env=False)
    assert (off.status_code, "workbench" in off.json()["error"]) == (403, True)
    quiet = httpx.get(f"{url}/api/v1/related", params={"job": "cpu", "match": 'host="h1"'}, trust_env=False)
    assert quiet.status_code == 404
    assert "No incident of this series is open" in quiet.json()["error"]
    many = httpx.get(f"{url}/api/v1/related", params={"job": "cpu"}, trust_env=False)
    assert many.status_code == 300


def test_the_command_prints_it_or_says_what_is_wrong(serve, tmp_path) -> None:
    server = serve(running=watched().running)
    file = tmp_path / "anomaly.yml"
    web = {"listen": server.url.removeprefix("http://")}
    file.write_text(json.dumps({"jobs": {"cpu": {"expr": "x"}, "disk": {"expr": "y"}}, "web": web}))

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli, ["related", *arguments, "--config", str(file)])
        assert result.exit_code == code, result.output
        return result.output

    told = run("--job", "cpu", "--entity", 'host="a"').splitlines()
    assert " of 403 series " in told[0]
    assert told[1].startswith("  host=b in disk rose from ")
    found = json.loads(run("--job", "cpu", "--entity", 'host="a"', "--json"))
    assert found["companions"][0]["labels"] == {"host": "b"}
    assert "add labels to match" in run("--job", "cpu", code=1)
    assert "workbench" in run("--job", "cpu", "--entity", 'host="a"', "--expr", "up", code=1)


def test_a_language_model_is_told_who_moved_first_and_what_else_moved() -> None:
    shown = watched()
    answer = series_answer(shown.running, History(shown.read), Asked("cpu", (Matcher("host", "a"),)), shown.now)
    related = related_answer(shown.running, "cpu", MOVING, shown.now - 12 * STEP)
    told = texts.moved(msgspec.to_builtins(answer), msgspec.to_builtins(related))
    assert "Of 403 series that were compared " in told
    assert "host=b in disk rose from " in told
