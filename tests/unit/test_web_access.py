"""Who may ask the page for something: names, origins, passwords, logins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.commands.web import parse_listen
from node.core.addresses import is_loopback
from node.errors import ConfigError, StoreError
from node.web import password
from node.web.checks import host_allowed, path_of_cookie, same_origin
from node.web.logins import FREE_TRIES, LASTS_S, MAX_LOGINS, PAUSE_S, Logins

if TYPE_CHECKING:
    from pathlib import Path

NAMES = frozenset({"localhost", "pi.local"})
GOOD = "correct horse"


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8099", "127.0.0.1:8099", "[::1]:8099", "192.168.1.4", "PI.local."],
)
def test_addresses_and_own_names_are_taken(host: str) -> None:
    assert host_allowed(host, NAMES)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example:8099", "[::1", "127.0.0.1.evil.example"]
)
def test_a_name_from_elsewhere_is_not(host: str) -> None:
    assert not host_allowed(host, NAMES)


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"host": "a:1"}, True),
        ({"host": "a:1", "origin": "http://a:1"}, True),
        ({"host": "a:1", "origin": "http://b:1"}, False),
        ({"host": "a:1", "origin": "http://a:2"}, False),
        ({"host": "a:1", "origin": "null"}, False),
        ({"host": "a", "sec-fetch-site": "same-origin", "origin": "https://proxy"}, True),
        ({"host": "a", "sec-fetch-site": "none"}, True),
        ({"host": "a", "sec-fetch-site": "same-site", "origin": "http://a"}, False),
        ({"host": "a", "sec-fetch-site": "cross-site", "origin": "http://a"}, False),
    ],
)
def test_another_sites_page_is_known(headers: dict[str, str], good: bool) -> None:
    assert same_origin(headers) is good


@pytest.mark.parametrize(
    ("name", "loopback"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True)]
    + [(name, False) for name in ("0.0.0.0", "::", "192.168.1.4", "pi.local")],  # noqa: S104
)
def test_what_only_this_machine_reaches(name: str, loopback: bool) -> None:
    assert is_loopback(name) is loopback


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("", "/"),
        ("/api/hassio_ingress/abc_-1", "/api/hassio_ingress/abc_-1/"),
        ("/a; Domain=b", "/"),
        ("//", "/"),
        ("/scribe/", "/"),
    ],
)
def test_the_cookie_is_for_the_prefix_of_a_proxy(prefix: str, path: str) -> None:
    assert path_of_cookie(prefix) == path


@pytest.mark.parametrize(
    ("text", "found"),
    [("127.0.0.1:8099", ("127.0.0.1", 8099)), ("[::1]:80", ("::1", 80)), ("pi:0", ("pi", 0))],
)
def test_where_to_listen(text: str, found: tuple[str, int]) -> None:
    assert parse_listen(text) == found


@pytest.mark.parametrize("text", ["8099", ":8099", "pi:", "pi:x", "pi:65536", "pi:-1", "pi:²"])
def test_where_one_cannot_listen(text: str) -> None:
    with pytest.raises(ConfigError, match="ADDRESS:PORT"):
        parse_listen(text)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost next to nothing: how much is only of interest to whoever guesses."""
    monkeypatch.setattr(password, "COST", 2)


@pytest.mark.usefixtures("cheap")
def test_only_the_hash_of_a_password_is_kept_and_for_this_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "password"
    password.write(file, GOOD)
    assert file.stat().st_mode & 0o777 == 0o600
    assert GOOD not in file.read_text()
    line = password.read(file)
    assert line
    assert password.matches(GOOD, line)
    assert not password.matches(f"{GOOD} ", line)
    file.chmod(0o644)
    password.write(file, "another one")
    assert file.stat().st_mode & 0o777 == 0o600
    assert not password.matches(GOOD, password.read(file) or "")


def test_a_hash_costs_whoever_guesses() -> None:
    assert password.hashed(GOOD).startswith(f"scrypt:{2**15}:8:1:")


@pytest.mark.usefixtures("cheap")
def test_the_same_password_is_never_hashed_the_same() -> None:
    line = password.hashed(GOOD)
    assert password.matches(GOOD, line)
    assert line != password.hashed(GOOD)


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too short"):
        password.write(tmp_path / "password", "1234567")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("cheap")
def test_a_password_file_with_a_problem_is_named(tmp_path: Path) -> None:
    file = tmp_path / "password"
    assert password.read(file) is None
    file.touch(mode=0o600)
    assert password.read(file) is None, "as the installer makes it"
    password.write(file, GOOD)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        password.read(file)
    file.chmod(0o600)
    for nonsense in ("x:1:1:1:00:00", "scrypt:1:2", "scrypt:3:8:1:00:00", "scrypt:a:8:1:z:z"):
        file.write_text(nonsense)
        with pytest.raises(ConfigError, match="--set-password"):
            password.read(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        password.read(tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        password.write(tmp_path, GOOD)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.usefixtures("cheap")
def test_a_login_lasts_until_it_is_closed_or_old() -> None:
    clock = Clock()
    logins = Logins(password.hashed(GOOD), clock)
    assert logins.needed
    token = logins.open()
    assert logins.knows(token)
    assert not logins.knows(token[:-1])
    logins.close(token)
    assert not logins.knows(token)
    token = logins.open()
    clock.now += LASTS_S
    assert not logins.knows(token)


@pytest.mark.usefixtures("cheap")
def test_the_oldest_login_makes_room() -> None:
    clock = Clock()
    logins = Logins(password.hashed(GOOD), clock)
    tokens = []
    for _ in range(MAX_LOGINS + 1):
        clock.now += 1
        tokens.append(logins.open())
    assert [logins.knows(token) for token in tokens] == [False] + [True] * MAX_LOGINS


@pytest.mark.usefixtures("cheap")
def test_who_guesses_has_to_wait_and_who_knows_it_does_not() -> None:
    clock = Clock()
    logins = Logins(password.hashed(GOOD), clock)
    assert logins.check(GOOD)
    for number in range(FREE_TRIES):
        assert not logins.check(f"guess {number}")
    assert logins.pause_s() == PAUSE_S
    assert logins.check(GOOD)  # it was right before
    other = Logins(password.hashed(GOOD), clock)
    for number in range(FREE_TRIES):
        assert not other.check(f"guess {number}")
    assert not other.check(GOOD)
    clock.now += PAUSE_S
    assert other.check(GOOD)


def test_without_a_password_no_password_is_right() -> None:
    logins = Logins(None)
    assert not logins.needed
    assert not logins.check("")
