"""Where a command works: options, environment, folders, and who says it serves there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batuta.cli.main import parse
from batuta.cli.place import (
    Place,
    Server,
    born,
    find,
    read_server,
    remove_server,
    write_server,
)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    (folder / ".batuta").mkdir(parents=True)
    (folder / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def at(*typed: str, **env: str) -> Place:
    return find(parse(["ps", *typed]), env)


def test_the_nearest_folder_with_a_state(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop / "deep" / "er")
    assert at() == Place(shop, shop / ".batuta")


def test_a_folder_without_a_state_is_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert at() == Place(tmp_path, tmp_path / ".batuta")


def test_what_is_typed_goes_before_the_environment(shop: Path) -> None:
    env = {"BATUTA_URL": "http://h:1/", "BATUTA_STATE": "/s", "BATUTA_DATABASE": "postgresql:///d"}
    assert at(**env) == Place(shop, Path("/s"), "postgresql:///d", "http://h:1")
    assert at("--project", "deep", **env) == Place(shop / "deep", shop / "deep" / ".batuta")
    assert at("--state", "here", **env) == Place(shop, shop / "here")
    assert at("--url", "http://x", **env).url == "http://x"
    assert at("--token", "t", BATUTA_TOKEN="u").token == "t"
    assert at(BATUTA_TOKEN="u").token == "u"


def test_a_state_folder_of_the_usual_name_tells_the_project(shop: Path) -> None:
    (shop / "deep" / ".batuta").mkdir()
    assert at("--state", "deep/.batuta") == Place(shop / "deep", shop / "deep" / ".batuta")


def test_up_works_on_its_folder(shop: Path) -> None:
    args = parse(["up", "deep"])
    assert find(args, {"BATUTA_STATE": "/s"}) == Place(shop / "deep", shop / "deep" / ".batuta")


def test_a_password_is_not_shown(shop: Path) -> None:
    place = at("--database", "postgresql://user:secret@db/shop")
    assert place.shown == "postgresql://…@db/shop"
    assert at().shown == ".batuta/journal.db"


# -- server.json -------------------------------------------------------------------------------


def test_a_server_says_that_it_serves(shop: Path) -> None:
    place = at()
    assert place.server() is None
    write_server(place.state, "http://127.0.0.1:1", 5)
    assert place.server() == Server("http://127.0.0.1:1", os.getpid(), 5, born(os.getpid()))
    remove_server(place.state)
    assert not (place.state / "server.json").exists()


def test_a_server_that_was_killed_serves_no_more(shop: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    text = json.dumps({"url": "http://x", "pid": child.pid, "started": 1, "born": "1"})
    (shop / ".batuta" / "server.json").write_text(text)
    assert read_server(shop / ".batuta") is not None
    assert at().server() is None


def test_another_process_of_the_same_number_is_no_server(shop: Path) -> None:
    if not born(os.getpid()):
        pytest.skip("this system does not tell when a process started")
    text = json.dumps({"url": "http://x", "pid": os.getpid(), "started": 1, "born": "1"})
    (shop / ".batuta" / "server.json").write_text(text)
    assert at().server() is None


def test_the_word_of_another_process_stays(shop: Path) -> None:
    text = json.dumps({"url": "http://x", "pid": 1, "started": 1, "born": ""})
    (shop / ".batuta" / "server.json").write_text(text)
    remove_server(shop / ".batuta")
    assert at().server() == Server("http://x", 1, 1)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": 1}', "\x00"])
def test_a_broken_word_is_none(text: str, shop: Path) -> None:
    (shop / ".batuta" / "server.json").write_text(text)
    assert read_server(shop / ".batuta") is None
