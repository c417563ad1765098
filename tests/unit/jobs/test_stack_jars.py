"""Jars come as the lock says, or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobs.stack import jars
from jobs.stack.errors import StackError
from jobs.stack.jars import Jar, JarCache, Lock, read_lock

CONTENT = b"a jar of some size" * 1000
JAR = Jar("org.example:thing:1.2", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
LOCK = Lock((JAR,))
LOCK_FILES = sorted((Path(__file__).parents[3] / "infra" / "stack").glob("*.lock.json"))


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, understands ranges as Maven Central does, and remembers what was asked."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        start = self.headers.get("Range")
        self.asked.append((self.path, start))
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        skip = int(start.removeprefix("bytes=").rstrip("-")) if start else 0
        body = path.read_bytes()[skip:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Repository:
    """A Maven repository of one jar on loopback."""

    def __init__(self, folder: Path, url: str, asked: list[tuple[str, str | None]]) -> None:
        self.folder, self.url, self.asked = folder, url, asked

    def hold(self, content: bytes) -> None:
        target = self.folder / JAR.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    monkeypatch.setattr(jars.time, "sleep", lambda _: None)
    folder = tmp_path / "repository"
    folder.mkdir()
    handler = type("ThisHandler", (Handler,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Repository(folder, f"http://127.0.0.1:{server.server_port}", handler.asked)
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, repository: Repository) -> JarCache:
    return JarCache(tmp_path / "cache", repository.url)


def test_a_jar_is_downloaded_once_and_then_taken_from_the_cache(
    cache: JarCache, repository: Repository
) -> None:
    repository.hold(CONTENT)
    assert cache.missing_bytes(LOCK) == JAR.size
    (path,) = cache.fetch(LOCK)
    assert path.read_bytes() == CONTENT
    assert cache.missing_bytes(LOCK) == 0
    assert cache.fetch(LOCK) == [path]
    assert len(repository.asked) == 1


def test_a_jar_that_the_repository_serves_corrupted_is_refused(
    cache: JarCache, repository: Repository
) -> None:
    repository.hold(b"!" + CONTENT[1:])
    with pytest.raises(StackError, match=r"org\.example:thing:1\.2 .* SHA-256"):
        cache.fetch(LOCK)
    assert not list(cache.folder.rglob("*.jar"))


def test_a_jar_damaged_in_the_cache_is_fetched_again(
    cache: JarCache, repository: Repository
) -> None:
    repository.hold(CONTENT)
    (path,) = cache.fetch(LOCK)
    path.write_bytes(CONTENT[:-1] + b"!")
    assert cache.fetch(LOCK) == [path]
    assert path.read_bytes() == CONTENT


def test_a_broken_download_is_resumed_where_it_broke(
    cache: JarCache, repository: Repository
) -> None:
    repository.hold(CONTENT)
    target = cache.folder / JAR.path
    target.parent.mkdir(parents=True)
    target.with_suffix(f".{JAR.sha256[:12]}.part").write_bytes(CONTENT[:7000])
    arrived: list[int] = []
    (path,) = cache.fetch(LOCK, arrived.append)
    assert path.read_bytes() == CONTENT
    assert repository.asked == [(f"/{JAR.path}", "bytes=7000-")]
    assert sum(arrived) == JAR.size - 7000


def test_a_wrong_beginning_is_thrown_away_and_fetched_whole(
    cache: JarCache, repository: Repository
) -> None:
    repository.hold(CONTENT)
    target = cache.folder / JAR.path
    target.parent.mkdir(parents=True)
    target.with_suffix(f".{JAR.sha256[:12]}.part").write_bytes(b"?" * 7000)
    (path,) = cache.fetch(LOCK)
    assert path.read_bytes() == CONTENT


def test_a_jar_that_is_not_there_is_named_with_its_address(
    cache: JarCache, repository: Repository
) -> None:
    with pytest.raises(StackError, match=rf"{re.escape(repository.url)}/org/example/.* HTTP 404"):
        cache.fetch(LOCK)
    assert len(repository.asked) == 1, "a 404 does not get better by asking again"


def test_a_classifier_stands_at_the_end_of_the_file_name() -> None:
    jar = Jar("io.netty:epoll:4.1:linux-x86_64", 1, "")
    assert jar.path == "io/netty/epoll/4.1/epoll-4.1-linux-x86_64.jar"


def test_a_file_that_is_no_lock_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.lock.json"
    path.write_text('{"jars": [{"coordinates": "a:b:1"}]}')
    with pytest.raises(StackError, match=r"x\.lock\.json is no lock file"):
        read_lock(path)


@pytest.mark.parametrize("path", LOCK_FILES, ids=lambda path: path.name)
def test_every_shipped_lock_pins_each_jar_once(path: Path) -> None:
    lock = read_lock(path)
    names = [jar.coordinates for jar in lock.jars]
    assert len(names) == len(set(names)) > 5
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.size > 0 for jar in lock.jars)
    assert not any("SNAPSHOT" in name for name in names)


@pytest.mark.parametrize("path", LOCK_FILES, ids=lambda path: path.name)
def test_every_lock_holds_what_its_pom_asks_for(path: Path) -> None:
    pom = path.with_name(path.name.replace(".lock.json", ".pom.xml")).read_text()
    pattern = r"<groupId>([^*<]+)</groupId>\s*<artifactId>([^<]+)</artifactId>\s*<version>([^<]+)"
    asked = {":".join(found) for found in re.findall(pattern, pom.split("<dependencies>")[1])}
    held = {jar["coordinates"] for jar in json.loads(path.read_text())["jars"]}
    assert asked
    assert asked <= held, "run `python infra/stack/lock.py`"
