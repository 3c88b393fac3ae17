"""Files as they should not be, each a real one: a decision for each, named, and never an exception."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipesched.pipeline.documents import MAX_BYTES, DocumentSettings, raw_hash, read, scan
from pipesched.pipeline.model import Document, Failure, Found, Skipped, Stamp
from support.unprivileged import public_folder, unprivileged

PLAIN = DocumentSettings()
POST = "---\ntitle: Grüße\n---\n\nEine Zeile\nund noch eine.\n"
BODY = "Eine Zeile\nund noch eine."


def found(root: Path, data: bytes, name: str = "post.md") -> Found:
    (root / name).write_bytes(data)
    [file] = scan(str(root), name).files
    return file


def document(root: Path, data: bytes, using: DocumentSettings = PLAIN) -> Document:
    answer = read(found(root, data), using)
    assert isinstance(answer, Document), answer
    return answer


@pytest.mark.parametrize(
    "data",
    [
        POST.encode(),
        b"\xef\xbb\xbf" + POST.encode(),
        POST.replace("\n", "\r\n").encode(),
        POST.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + POST.replace("\n", "\r\n").encode(),
        POST.encode("utf-16"),
        b"\xff\xfe" + POST.encode("utf-16-le"),
        b"\xfe\xff" + POST.replace("\n", "\r\n").encode("utf-16-be"),
    ],
    ids=["plain", "bom", "crlf", "cr", "bom-crlf", "utf-16", "utf-16-le", "utf-16-be-crlf"],
)
def test_a_post_is_the_same_in_every_encoding_and_with_every_line_end(tmp_path: Path, data: bytes) -> None:
    post = document(tmp_path, data)
    assert post.text == BODY
    assert post.metadata["post_title"] == "Grüße"
    assert post.metadata["content_length"] == len(BODY)
    assert post.metadata["content_checksum"] == hashlib.sha256(BODY.encode()).hexdigest()
    assert post.raw_hash == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        ("---\ntitle: Grüße\n---\n".encode("latin-1"), "encoding", r"not UTF-8: byte 0xfc at 13 \(line 2\)"),
        (b"ok\n\xc3", "encoding", r"not UTF-8: byte 0xc3 at 3 \(line 2\)"),
        (b"\xed\xa0\x80", "encoding", "not UTF-8"),
        (b"\xff\xfea", "encoding", "not UTF-16"),
        (b"\xff\xfe\x00\xd8a\x00", "encoding", "not UTF-16"),
        (b"---\ntitle: x\n\nbody", "front_matter", "never closed"),
        (b"---\ndate: 2026-02-30\n---\n", "front_matter", "day is out of range"),
        (b"\xef\xbb\xbf---\r\na: 1\r\na: 2\r\n---\r\n", "front_matter", r"given twice \(line 3\)"),
    ],
)
def test_what_cannot_be_read_is_a_failure_that_says_where(
    tmp_path: Path, data: bytes, code: str, said: str
) -> None:
    answer = read(found(tmp_path, data), PLAIN)
    assert isinstance(answer, Failure)
    assert (answer.source, answer.code) == ("post.md", code)
    import re

    assert re.search(said, answer.message), answer.message


@pytest.mark.parametrize(
    "data",
    [b"a\0b", b"\0" * 4096, POST.encode("utf-16-le"), POST.encode("utf-32"), b"---\ntitle: x\n---\n\0"],
    ids=["one", "full", "utf-16 without bom", "utf-32", "after front matter"],
)
def test_a_file_with_nul_is_not_text_and_suspicious(tmp_path: Path, data: bytes) -> None:
    answer = read(found(tmp_path, data), PLAIN)
    assert isinstance(answer, Skipped)
    assert answer.suspicious
    assert "NUL" in answer.reason


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"\xef\xbb\xbf", b"---\ntitle: x\n---\n", b"---\ntitle: x\n---\n \n\t\n"]
)
def test_an_empty_post_is_a_document_without_text(tmp_path: Path, data: bytes) -> None:
    assert document(tmp_path, data).text == ""


def test_the_body_keeps_its_indentation_and_loses_blank_lines_around_it(tmp_path: Path) -> None:
    assert document(tmp_path, b"---\na: 1\n---\n \n\n    code\n\n  text  \n\n").text == "    code\n\n  text"


def test_drafts_and_unpublished_posts_are_skipped_with_the_reason(tmp_path: Path) -> None:
    draft = found(tmp_path, b"---\ndraft: true\n---\nx")
    assert read(draft, PLAIN) == Skipped("post.md", "a draft (draft: true)")
    kept = read(draft, DocumentSettings(index_drafts=True))
    assert isinstance(kept, Document)
    assert kept.metadata["published"] is False
    for using in (PLAIN, DocumentSettings(index_drafts=True)):
        answer = read(found(tmp_path, b"+++\npublished = false\n+++\nx"), using)
        assert answer == Skipped("post.md", "not published (published: false)")


def vanish(path: Path) -> None:
    path.unlink()


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_a_link_out(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def become_a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def lose_its_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def get_a_file_for_a_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("a file now")


CHANGES: dict[Callable[[Path], None], str] = {
    vanish: "No such file",
    become_a_folder: "a folder",
    become_a_pipe: "a pipe",
    become_a_link_out: "symbolic links",
    become_a_loop: "symbolic links",
    lose_its_folder: "No such file",
    get_a_file_for_a_folder: "Not a directory",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_changes_between_scan_and_read_is_a_failure(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    file = tmp_path / "a" / "post.md"
    file.parent.mkdir()
    file.write_text("text")
    [seen] = scan(str(tmp_path), "*.md").files
    change(file)
    answer = read(seen, PLAIN)
    assert isinstance(answer, Failure)
    assert (answer.source, answer.code) == ("a/post.md", "unreadable")
    assert CHANGES[change] in answer.message
    assert raw_hash(seen) is None


def test_a_file_that_may_not_be_read_is_a_failure_and_the_next_one_is_read() -> None:
    with public_folder() as root:
        (root / "closed.md").write_text("x")
        (root / "closed.md").chmod(0)
        (root / "open.md").write_text("y")
        answers = unprivileged(lambda: [read(file, PLAIN) for file in scan(str(root), "*.md").files])
    assert isinstance(answers[0], Failure)
    assert answers[0].code == "unreadable"
    assert "Permission denied" in answers[0].message
    assert isinstance(answers[1], Document)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
def test_a_file_that_fails_while_it_is_read_is_a_failure() -> None:
    answer = read(Found("mem", "/proc/self/mem", Stamp(0, 0, 0, 0, 0)), PLAIN)
    assert isinstance(answer, Failure)
    assert (answer.source, answer.code) == ("mem", "unreadable")
    assert "Input/output error" in answer.message


def test_a_file_over_the_bound_is_named_and_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.md").open("wb") as file:
        file.truncate(2 * 1024**3)  # sparse
    [seen] = scan(str(tmp_path), "*.md").files
    answer = read(seen, PLAIN)
    assert isinstance(answer, Failure)
    assert (answer.code, answer.message) == ("too_large", "larger than 16 MB")
    assert raw_hash(seen) is None


def test_a_file_that_grows_over_the_bound_while_it_is_read_is_cut_off(tmp_path: Path) -> None:
    file = found(tmp_path, b"small\n")
    with (tmp_path / "post.md").open("r+b") as growing:
        growing.truncate(MAX_BYTES + 1)
    answer = read(file, PLAIN)
    assert isinstance(answer, Failure)
    assert answer.code == "too_large"


@pytest.mark.slow
def test_the_largest_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    line = "Ein Satz mit Umlauten: äöü, und einem Emoji 🐢.\n".encode()
    (tmp_path / "large.md").write_bytes((line * (MAX_BYTES // len(line)))[:MAX_BYTES])
    with (tmp_path / "huge.md").open("wb") as file:
        file.truncate(2 * 1024**3)
    code = (
        "import resource, sys; from pipesched.pipeline.documents import *\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"answers = [type(read(f, DocumentSettings())).__name__ for f in scan({str(tmp_path)!r}, '*.md').files]\n"
        "print(answers, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kinds, _, grown = done.stdout.strip().rpartition(" ")
    assert kinds == "['Failure', 'Document']"
    assert int(grown) < 300


def test_a_file_being_written_is_read_as_it_is_at_that_moment(tmp_path: Path) -> None:
    path = tmp_path / "post.md"
    path.write_text("x" * 1000)
    [seen] = scan(str(tmp_path), "*.md").files
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            path.write_bytes(os.urandom(2_000))

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        kinds = {type(read(seen, PLAIN)) for _ in range(200)}
    finally:
        stop.set()
        writer.join()
    assert kinds <= {Document, Failure, Skipped}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"---\n" + data + b"\n---\n" + data))
def test_any_bytes_give_a_document_or_a_reason(tmp_path: Path, data: bytes) -> None:
    answer = read(found(tmp_path, data), DocumentSettings("https://b.example", "https://c.example"))
    if isinstance(answer, Document):
        assert "\r" not in answer.text
        assert answer.text == answer.text.rstrip()
        answer.text.encode("utf-8")
    else:
        assert isinstance(answer, Failure | Skipped)
        assert answer.source == "post.md"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    file = found(tmp_path, b"x")
    os.mkfifo(tmp_path / "pipe.md")
    pipe = Found("pipe.md", str(tmp_path / "pipe.md"), file.stamp)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        read(file, PLAIN)
        read(pipe, PLAIN)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
