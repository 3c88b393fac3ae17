"""Broken stores, really broken: every answer is an error of ours with an exit code and a hint, and a rebuild is possible."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipesched.errors import PipeschedError, ServiceUnavailable
from pipesched.pipeline.model import Record
from pipesched.pipeline.stores import open_store, probe
from support.unprivileged import NOBODY, public_folder

LOOK = """
import json, sys
import numpy as np
from pipesched.errors import PipeschedError
from pipesched.pipeline.model import Record
from pipesched.pipeline.stores import open_store

def ask(name, call):
    try:
        answers[name] = str(call())
    except PipeschedError as error:
        answers[name] = [error.code, error.exit_code, bool(error.hint)]

for folder in sys.argv[1:]:
    answers = {}
    vector = np.eye(1, 4)[0].astype(np.float32)
    try:
        store = open_store(folder, create=False)
    except PipeschedError as error:
        answers["open"] = [error.code, error.exit_code, bool(error.hint)]
        print(json.dumps(answers), flush=True)
        continue
    ask("mark", lambda: store.find("posts").metadata["pipesched.version"])
    ask("listed", lambda: [info.name for info in store.collections()])
    ask("vectors", lambda: sum(len(page) for page in store.pages("posts", vectors=True)))
    ask("rebuild", lambda: store.create("posts__g2", {"x": 1}).count)
    ask("rebuilt", lambda: store.upsert("posts__g2", [Record("a", "t", {"source": "a"}, vector)]))
    ask("drop", lambda: store.drop("posts"))
    ask("swap", lambda: store.rename("posts__g2", "posts"))
    ask("after", lambda: sorted(store.ids("posts")))
    store.close()
    print(json.dumps(answers), flush=True)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store whose collection has an index folder."""
    folder = tmp_path_factory.mktemp("made") / "store"
    store = open_store(str(folder))
    store.create("posts", {"pipesched.version": 1})
    vectors = np.random.default_rng(1).normal(size=(1_200, 4)).astype(np.float32)
    store.upsert("posts", [Record(str(n), "t", {"source": "a.md"}, vectors[n]) for n in range(1_200)])
    store.close()
    return folder


def index_of(folder: Path) -> Path:
    return next(entry for entry in folder.iterdir() if entry.is_dir())


def scramble(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[::7] = bytes(byte ^ 0x5A for byte in data[::7])
    file.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "vectors cut short": lambda folder: os.truncate(index_of(folder) / "data_level0.bin", 100),
    "header overwritten": lambda folder: scramble(index_of(folder) / "header.bin"),
    "index metadata empty": lambda folder: os.truncate(index_of(folder) / "index_metadata.pickle", 0),
    "index folder gone": lambda folder: shutil.rmtree(index_of(folder)),
}


def test_a_torn_index_is_named_its_mark_can_still_be_read_and_a_new_generation_takes_its_place(
    made: Path, tmp_path: Path
) -> None:
    # In a child process, because a torn index can end the process that reads it.
    folders = []
    for name, damage in DAMAGE.items():
        folder = Path(shutil.copytree(made, tmp_path / name.replace(" ", "-")))
        damage(folder)
        folders.append(folder)
        seen, sound = (probe(str(place)) for place in (folder, made))
        assert seen is not None
        assert sound is not None
        assert replace(seen["posts"], files="") == replace(sound["posts"], files=""), "no counter tells it"
        assert seen["posts"].files != sound["posts"].files, "its files were written by somebody"
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *map(str, folders)], capture_output=True, text=True, check=True
    )
    for name, line in zip(DAMAGE, done.stdout.splitlines(), strict=True):
        answers = json.loads(line)
        assert answers == {
            "mark": "1",
            "listed": "['posts']",
            "vectors": ["store_damaged", 65, True],
            "rebuild": "0",
            "rebuilt": "None",
            "drop": "None",
            "swap": "None",
            "after": "['a']",
        }, name


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_database_is_named_and_its_bytes_stay(made: Path, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "store"))
    file = folder / "chroma.sqlite3"
    if damage == "cut":
        os.truncate(file, 20_000)
    else:
        scramble(file)
    before = file.read_bytes()
    for create in (False, True):
        with pytest.raises(PipeschedError) as raised:
            open_store(str(folder), create=create)
        assert (raised.value.code, raised.value.exit_code) == ("store_damaged", 65)
        assert "rebuild" in raised.value.hint
    assert file.read_bytes() == before
    shutil.copy(made / "chroma.sqlite3", file)
    mended = open_store(str(folder))
    assert [info.name for info in mended.collections()] == ["posts"]
    mended.close()


AS_NOBODY = f"""
import os, sys
import chromadb, chromadb.api.rust, chromadb.config, numpy
from chromadb.telemetry.product import posthog
import chromadb.telemetry.opentelemetry, chromadb.db.base, chromadb.auth
from pipesched.errors import PipeschedError
from pipesched.pipeline.stores import open_store
chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False)).list_collections()
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
for folder in sys.argv[1:]:
    try:
        store = open_store(folder)
        store.create("another", {{"x": 1}})
        print("written")
    except PipeschedError as error:
        print(type(error).__name__, error.exit_code, error.hint)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's place, which only root can")
def test_a_folder_of_another_user_is_not_permitted(made: Path) -> None:
    with public_folder() as root:
        closed = root / "closed"
        closed.mkdir(mode=0o700)
        theirs = Path(shutil.copytree(made, root / "theirs"))
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(closed / "new"), str(closed), str(theirs)],
            capture_output=True,
            text=True,
            check=True,
        )
    lines = [line.split()[:2] for line in done.stdout.splitlines()]
    assert lines == [["NotPermitted", "77"]] * 3, done.stdout + done.stderr


def test_a_refused_connection_is_an_unavailable_service_with_a_hint() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ServiceUnavailable, match="refused") as raised:
        open_store(url)
    assert raised.value.exit_code == 69
    assert "chroma run" in raised.value.hint
    assert probe(url) is None


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.slow
def test_a_server_that_never_answers_is_given_up_within_seconds(silent: str) -> None:
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="no answer"):
        open_store(silent)
    assert time.monotonic() - started < 9


class Other(BaseHTTPRequestHandler):
    """Something else listens on the port: a web page, JSON that is not Chroma's, an error."""

    answer: tuple[int, bytes] = (200, b"")

    def do_GET(self) -> None:
        self.send_response(self.answer[0])
        self.send_header("Content-Length", str(len(self.answer[1])))
        self.end_headers()
        self.wfile.write(self.answer[1])

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, b"<html>hello</html>"), "no Chroma server"),
        ((200, b'{"status": "fine"}'), "no Chroma server"),
        ((200, b"[1]"), "no Chroma server"),
        ((404, b"not here"), "HTTP 404"),
        ((503, b"later"), "HTTP 503"),
        ((200, b"\xff\xfe"), "no Chroma server"),
    ],
    ids=["page", "json", "list", "404", "503", "bytes"],
)
def test_what_is_no_chroma_server_is_told_apart(answer: tuple[int, bytes], said: str) -> None:
    with HTTPServer(("127.0.0.1", 0), type("Answering", (Other,), {"answer": answer})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with pytest.raises(ServiceUnavailable, match=said):
                open_store(url)
            assert probe(url) is None
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_a_server_that_goes_down_in_between_is_an_unavailable_service(tmp_path: Path) -> None:
    import signal

    from support.chroma_server import chroma_server

    with chroma_server(tmp_path / "data") as (url, pid):
        store = open_store(url)
        store.create("posts", {"x": 1})
        vector = np.eye(1, 4)[0].astype(np.float32)
        store.upsert("posts", [Record("a", "t", {"source": "a.md"}, vector)])
        found = probe(url)
        assert found is not None
        assert found["posts"].count == 1
        os.killpg(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while probe(url) is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(ServiceUnavailable) as raised:
            store.ids("posts")
        assert raised.value.exit_code == 69
        with pytest.raises(ServiceUnavailable):
            store.upsert("posts", [Record("b", "t", {"source": "a.md"}, vector)])
        store.close()
