"""What else moved, in the API and on the page."""

import httpx

from tests.context.moving import watched


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
