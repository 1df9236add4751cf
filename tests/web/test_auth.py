"""Basic authentication."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import httpx
import pytest

from exporter.config.secrets import Secret
from exporter.config.sections.service import WebConfig
from exporter.sinks.metrics_page import Page
from exporter.web.server import Callbacks, Server, ServerError

Serve = Callable[..., Server]
COST = 4


def hashed(password: str, cost: int = COST) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


@pytest.fixture
def hash_file(tmp_path: Path) -> Path:
    path = tmp_path / "hash"
    path.write_text(hashed("right"))
    return path


@pytest.fixture
def server(serve: Serve, hash_file: Path) -> Server:
    return serve(users={"scraper": {"file": hash_file}}, enable_reload=True)


def get(
    server: Server, path: str = "/metrics", auth: tuple[str, str] | None = None, **options: object
) -> httpx.Response:
    return httpx.get(f"{server.url}{path}", auth=auth, trust_env=False, timeout=30, verify=False, **options)


@pytest.mark.parametrize("path", ["/metrics", "/", "/none", "/-/reload", "/api/v1/config"])
def test_nothing_is_shown_without_a_password(server: Server, path: str) -> None:
    answer = get(server, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Basic realm="anomaly-exporter"')
    assert "anomaly_" not in answer.text


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
def test_probes_need_no_password(server: Server, path: str) -> None:
    assert get(server, path).status_code == 200


def test_the_right_password_opens(server: Server, page: Page) -> None:
    answer = get(server, auth=("scraper", "right"))
    assert answer.content == page.current.body


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !!!", "Basic c2NyYXBlcg==", "Bearer right", "Basic //79Og==", "Basic c2NyYXBlcjpyaWdodA==x"],
)
def test_a_broken_header_is_no_login(server: Server, header: str) -> None:
    assert get(server, headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("scraper", "wrong"),
        ("nobody", "right"),
        ("scraper", ""),
        ("", ""),
        ("scraper", "r" * 5_000),
        ("scraper", "a\0b"),
    ],
)
def test_wrong_logins_are_refused(server: Server, user: str, password: str) -> None:
    assert get(server, auth=(user, password)).status_code == 401
    assert get(server, auth=("scraper", "right")).status_code == 200


def test_a_scraper_pays_for_bcrypt_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[bytes] = []
    real = bcrypt.checkpw
    monkeypatch.setattr(
        bcrypt, "checkpw", lambda password, stored: (checks.append(password), real(password, stored))[1]
    )
    for _ in range(5):
        assert get(server, auth=("scraper", "right")).status_code == 200
    assert checks == [b"right"]
    for _ in range(2):
        assert get(server, auth=("scraper", "wrong")).status_code == 401
    assert checks == [b"right", b"wrong", b"wrong"]


def test_a_changed_hash_takes_effect_at_the_next_request(server: Server, hash_file: Path) -> None:
    assert get(server, auth=("scraper", "right")).status_code == 200
    hash_file.write_text(hashed("newer"))
    assert get(server, auth=("scraper", "right")).status_code == 401
    assert get(server, auth=("scraper", "newer")).status_code == 200
    hash_file.unlink()
    assert get(server, auth=("scraper", "newer")).status_code == 401


def test_an_unknown_user_costs_as_much_as_a_wrong_password(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 38: also where the users' hashes differ in cost, an unknown one is not the cheapest."""
    users = {}
    for name, cost in (("cheap", 4), ("dear", 6)):
        (tmp_path / name).write_text(hashed("right", cost=cost))
        users[name] = {"file": tmp_path / name}
    server = serve(users=users)
    check, costs = bcrypt.checkpw, []

    def recorded(password: bytes, stored: bytes) -> bool:
        costs.append(int(stored.split(b"$")[2]))
        return check(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", recorded)
    for user in ("cheap", "dear", "nobody"):
        assert get(server, auth=(user, "wrong")).status_code == 401
    assert costs == [4, 6, 6], "one check each, of the dearest hash for an unknown user"


def test_one_password_is_checked_at_a_time_while_scrapes_go_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 38: 100 guesses at once; too many to wait for are sent away."""
    assert get(server, auth=("scraper", "right")).status_code == 200
    running: list[int] = []
    most: list[int] = []

    def slow(password: bytes, stored: bytes) -> bool:
        running.append(1)
        most.append(len(running))
        time.sleep(0.03)
        running.pop()
        return False

    monkeypatch.setattr(bcrypt, "checkpw", slow)
    with ThreadPoolExecutor(100) as pool:
        guesses = [pool.submit(get, server, "/metrics", ("scraper", f"guess {n}")) for n in range(100)]
        for _ in range(5):
            assert get(server, auth=("scraper", "right")).status_code == 200
        statuses = {guess.result().status_code for guess in guesses}
    assert statuses <= {401, 429}
    assert 401 in statuses
    assert max(most) == 1


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("plain text", "web.users.scraper: the secret is not a bcrypt hash"),
        ("$2b$18$" + "a" * 53, "cost 4 to 15"),
        ("", "web.users.scraper: .* is not set or empty"),
    ],
)
def test_a_hash_that_is_none_is_refused_at_start_without_being_shown(
    page: Page, tmp_path: Path, text: str, cause: str
) -> None:
    path = tmp_path / "hash"
    path.write_text(text)
    config = WebConfig(listen="127.0.0.1:0", users={"scraper": {"file": path}})
    with pytest.raises(ServerError, match=cause) as caught:
        Server(config, page, Callbacks(lambda: True, lambda: None)).start()
    assert not text or text not in str(caught.value)


def test_users_may_come_and_go_but_not_the_first_and_not_the_last(serve: Serve, tmp_path: Path) -> None:
    files = {}
    for name in ("alice", "bob"):
        (tmp_path / name).write_text(hashed(name))
        files[name] = Secret(file=tmp_path / name)
    server = serve(users={"alice": files["alice"]})
    assert get(server, auth=("bob", "bob")).status_code == 401
    server.prepared(files)()
    assert [get(server, auth=(name, name)).status_code for name in ("alice", "bob")] == [200, 200]
    server.prepared({"bob": files["bob"]})()
    assert get(server, auth=("alice", "alice")).status_code == 401
    assert get(server, auth=("bob", "bob")).status_code == 200
    server.prepared({})()
    assert get(server).status_code == 401, "an emptied list opens no port"
    (tmp_path / "alice").write_text("hunter2")
    with pytest.raises(ServerError, match="alice: the secret is not a bcrypt hash") as error:
        server.prepared(files)
    assert "hunter2" not in str(error.value)
    assert get(server, auth=("bob", "bob")).status_code == 200
    opened = serve()
    opened.prepared({"bob": files["bob"]})()
    assert get(opened).status_code == 200, "what people may do was decided at start"
