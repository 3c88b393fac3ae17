"""What doctor says of versions, dimensions and the machine's services, over real stores and stand-ins for system commands."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest

from pipesched.doctor import clocks, embedding, service, store
from pipesched.doctor.patient import Patient
from pipesched.options import PipelineOptions
from pipesched.pipeline.stores import open_store
from pipesched.pipeline.stores.mark import Mark
from support.ollama_server import Model, OllamaServer
from support.world import World


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    world = World(tmp_path)
    return Patient(
        paths=world.paths,
        now=datetime.now(UTC),
        environ={},
        job_file=world.store.load(),
        job_file_error=None,
        options=PipelineOptions(storage_path=str(tmp_path / "store"), collection_name="posts"),
    )


def script(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What a server says that its version is."""
    version = ["1.5.0"]

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(version[0]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        version.append(f"http://127.0.0.1:{server.server_address[1]}")
        yield version
        server.shutdown()
        thread.join()


def test_a_servers_version_is_compared_with_ours(said: list[str], patient: Patient) -> None:
    options = replace(patient.options, storage_path=said[1])
    assert store.check_version(options).message.endswith("the server is Chroma 1.5.0")
    said[0] = "0.6.3"
    check = store.check_version(options)
    assert (check.status, "0.6.3" in check.message) == ("warn", True)
    down = replace(options, storage_path="http://127.0.0.1:1")
    assert store.check_version(down).message.endswith("does not say its version")


def test_a_folders_schema_and_a_models_new_dimensions_are_said(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = Mark(1, "s", "ollama:arctic:latest", "f", 384, 254, "", "", "*.md")
    with closing(open_store(patient.options.storage_path)) as opened:
        opened.create("posts", mark.to_metadata())
    here = metadata.version("chromadb")
    assert (
        f"chromadb {here}; the store has schema embeddings_queue"
        in store.check_version(patient.options).message
    )
    there = replace(patient, options=replace(patient.options, embedding_model="ollama:arctic"))
    with OllamaServer(Model("arctic:latest", dimensions=8)) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        check = embedding.check(there)["embedder"]
        assert (check.status, check.message) == (
            "warn",
            "ollama:arctic gives 8 dimensions, and the collection posts has 384: the next run embeds everything again",
        )
        other = replace(there, options=replace(there.options, collection_name="others"))
        assert f"ollama:arctic at {server.url}: 8 dimensions" in embedding.check(other)["embedder"].message


def test_a_clock_that_nothing_sets_is_a_warning(
    patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert clocks.check_clock(patient).status == "pass", "nobody to ask"
    script(tmp_path / "bin", "timedatectl", "echo yes")
    assert clocks.check_clock(patient).status == "pass"
    script(tmp_path / "bin", "timedatectl", "echo no")
    check = clocks.check_clock(patient)
    assert (check.status, "timedatectl set-ntp true" in check.hint) == ("warn", True)


@pytest.mark.parametrize(
    ("system", "user", "linger", "status", "words"),
    [
        ("enabled active", "not-found", "no", "pass", "is active"),
        ("disabled active", "not-found", "no", "warn", "does not start at boot"),
        ("enabled failed", "not-found", "no", "warn", "is failed"),
        ("not-found", "enabled active", "yes", "pass", "is active"),
        ("not-found", "enabled active", "no", "warn", "ends when you log out"),
        ("not-found", "not-found", "no", "pass", "no pipesched.service is installed"),
    ],
)
def test_the_unit_is_judged_wherever_it_is_installed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    user: str,
    linger: str,
    status: str,
    words: str,
) -> None:
    def case(scope: str, answers: str) -> str:
        enabled, _, active = answers.partition(" ")
        return f'"{scope}is-enabled "*) echo {enabled};; "{scope}is-active "*) echo {active};;'

    script(tmp_path, "systemctl", f'case "$*" in {case("--user ", user)} {case("", system)} esac')
    script(tmp_path, "loginctl", f"echo {linger}")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    check = service.check_unit()
    assert (check.status, words in check.message) == (status, True), check
