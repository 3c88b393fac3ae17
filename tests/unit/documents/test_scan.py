"""The scan: every file that matches, by name and stat alone, whatever a folder holds."""

import os
import socket
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipesched.errors import DataDirMissing
from pipesched.pipeline.documents import DocumentSettings, read, scan
from pipesched.pipeline.model import Document, Scan
from support.unprivileged import public_folder, unprivileged


def write(root: Path, name: str, text: str = "text\n") -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def sources(found: Scan) -> list[str]:
    return [file.source for file in found.files]


def reasons(found: Scan) -> dict[str, str]:
    return {skipped.source: skipped.reason for skipped in found.skipped}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "posts"
    folder.mkdir()
    return folder


def test_files_come_sorted_with_slashes_and_their_stat(root: Path) -> None:
    for name in ("b.md", "a/z.md", "a.md", "a/b/c.md", "notes.txt"):
        write(root, name)
    found = scan(str(root), "*.md")
    assert sources(found) == ["a.md", "a/b/c.md", "a/z.md", "b.md"]
    assert (found.skipped, found.failures) == ((), ())
    info = (root / "a.md").stat()
    stamp = found.files[0].stamp
    assert (stamp.size, stamp.mtime_ns, stamp.ctime_ns) == (info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    assert (stamp.inode, stamp.device) == (info.st_ino, info.st_dev)


def test_no_file_is_opened(root: Path) -> None:
    write(root, "a.md")
    code = (
        "import sys; from pipesched.pipeline.documents import scan; opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(args[0]) if event == 'open' else None)\n"
        f"assert len(scan({str(root)!r}, '*.md').files) == 1; print([name for name in opened if str(name).endswith('.md')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["missing", "file", "dangling link", "loop", "too long"])
def test_a_root_that_is_no_folder_is_an_error_that_says_so(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "posts"
    if kind == "file":
        root.write_text("x")
    elif kind == "dangling link":
        root.symlink_to("nowhere")
    elif kind == "loop":
        root.symlink_to(root)
    elif kind == "too long":
        root = tmp_path / ("x" * 300)
    with pytest.raises(DataDirMissing) as raised:
        scan(str(root), "*.md")
    assert raised.value.exit_code == 2
    assert "--data-dir" in raised.value.hint
    assert str(root) in raised.value.message


def test_a_root_that_may_not_be_read_is_an_error_and_not_an_empty_folder(shared: Path) -> None:
    write(shared, "a.md")
    shared.chmod(0)
    try:
        message = unprivileged(lambda: _refusal(str(shared)))
    finally:
        shared.chmod(0o700)
    assert "Permission denied" in message


def _refusal(root: str) -> str:
    try:
        scan(root, "*.md")
    except DataDirMissing as error:
        return error.message
    return ""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A data folder that others can reach."""
    with public_folder() as folder:
        (folder / "posts").mkdir()
        yield folder / "posts"


def test_a_root_may_be_a_link_and_end_in_a_slash(root: Path, tmp_path: Path) -> None:
    write(root, "a.md")
    (tmp_path / "link").symlink_to("posts")
    assert sources(scan(f"{tmp_path}/link/", "*.md")) == ["a.md"]


def test_an_empty_root_is_an_empty_scan(root: Path) -> None:
    found = scan(str(root), "*.md")
    assert (found.files, found.skipped, found.failures) == ((), (), ())
    assert found.clock_ns > 0


def test_the_clock_is_the_one_that_stamps_files(root: Path) -> None:
    before = write(root, "a.md").stat().st_mtime_ns
    clock = scan(str(root), "*.md").clock_ns
    after = write(root, "b.md").stat().st_mtime_ns
    assert before <= clock <= after


def test_hidden_files_and_folders_are_left_out(root: Path) -> None:
    for name in (".hidden.md", ".git/a.md", "a/.obsidian/b.md", "a/b.md", "..c.md"):
        write(root, name)
    found = scan(str(root), "*.md")
    assert sources(found) == ["a/b.md"]
    assert found.skipped == ()


def test_a_folder_with_a_files_name_is_a_folder(root: Path) -> None:
    write(root, "folder.md/inner.md")
    assert sources(scan(str(root), "*.md")) == ["folder.md/inner.md"]


def test_links_inside_are_documents_and_links_out_are_skipped_by_name(root: Path, tmp_path: Path) -> None:
    write(root, "a.md", "inside\n")
    (tmp_path / "secret.md").write_text("outside\n")
    (tmp_path / "posts-too").mkdir()
    (tmp_path / "posts-too" / "near.md").write_text("a name that starts like the root's\n")
    (root / "absolute.md").symlink_to(tmp_path / "secret.md")
    (root / "relative.md").symlink_to("../secret.md")
    (root / "near.md").symlink_to("../posts-too/near.md")
    (root / "inside.md").symlink_to("a.md")
    (root / "over.md").symlink_to(tmp_path / "posts" / "a.md")
    (root / "dangling.md").symlink_to("nothing.md")
    (root / "loop.md").symlink_to("loop.md")
    (root / "one.md").symlink_to("two.md")
    (root / "two.md").symlink_to("one.md")
    found = scan(str(root), "*.md")
    assert sources(found) == ["a.md", "inside.md", "over.md"]
    assert {name for name, reason in reasons(found).items() if "out of the data folder" in reason} == {
        "absolute.md",
        "relative.md",
        "near.md",
    }
    assert {name for name, reason in reasons(found).items() if "leads nowhere" in reason} == {
        "dangling.md",
        "loop.md",
        "one.md",
        "two.md",
    }
    documents = [read(file, DocumentSettings(blog_base_url="https://b.example")) for file in found.files]
    assert all(isinstance(document, Document) and document.text == "inside" for document in documents)
    assert [document.metadata["url"] for document in documents if isinstance(document, Document)] == [
        "https://b.example/a",
        "https://b.example/inside",
        "https://b.example/over",
    ]


def test_linked_folders_are_not_followed_and_named(root: Path, tmp_path: Path) -> None:
    write(root, "real/a.md")
    (tmp_path / "elsewhere").mkdir()
    (root / "loop").symlink_to(".")
    (root / "real" / "up").symlink_to("../..")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "named.md").symlink_to("real")
    found = scan(str(root), "*.md")
    assert sources(found) == ["real/a.md"]
    assert set(reasons(found)) == {"loop/", "out/", "real/up/", "named.md"}


def test_pipes_sockets_and_devices_are_skipped_by_name_and_never_opened(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)  # the path of a socket is 107 bytes at most
    write(root, "a.md")
    os.mkfifo(root / "pipe.md")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.md")
        if os.geteuid() == 0:
            os.mknod(root / "null.md", stat.S_IFCHR | 0o600, os.makedev(1, 3))
            os.mknod(root / "disk.md", stat.S_IFBLK | 0o600, os.makedev(7, 0))
        found = scan(str(root), "*.md")
    assert sources(found) == ["a.md"]
    expected = {"pipe.md": "not a file but a pipe", "s.md": "not a file but a socket"}
    if os.geteuid() == 0:
        expected |= {"null.md": "not a file but a device", "disk.md": "not a file but a device"}
    assert reasons(found) == expected


def test_every_name_a_file_can_have_makes_a_valid_source_and_is_found_again(root: Path) -> None:
    raw = [b"new\nline.md", b"\xff\xfe.md", b"caf\xe9.md", "é.md".encode(), "e\u0301.md".encode()]
    raw += [
        b"back\\slash.md",
        b"quote\"'.md",
        b" .md",
        b"-rf.md",
        "🐢.md".encode(),
        b"x" * 252 + b".md",
        b"tab\t.md",
    ]
    for number, name in enumerate(raw):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_text(f"number {number}\n")
    found = scan(str(root), "*.md")
    assert len(found.files) == len(raw)
    assert (found.skipped, found.failures) == ((), ())
    for file in found.files:
        file.source.encode("utf-8")
        assert isinstance(read(file, DocumentSettings()), Document)
    assert {"new\nline.md", "\\xff\\xfe.md", "caf\\xe9.md", "é.md", "e\u0301.md"} <= set(sources(found))
    urls = {
        file.source: document.metadata["url"]
        for file in found.files
        if isinstance(document := read(file, DocumentSettings(blog_base_url="https://b.example")), Document)
    }
    assert urls["caf\\xe9.md"] == "https://b.example/caf%E9"
    assert urls["new\nline.md"] == "https://b.example/new%0Aline"
    assert scan(str(root), "*.md").files == found.files


def test_two_names_that_read_the_same_are_a_failure_and_the_first_is_kept(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.md")).write_text("one")
    (root / "\\xff.md").write_text("two")
    found = scan(str(root), "*.md")
    assert sources(found) == ["\\xff.md"]
    assert [(failure.source, failure.code) for failure in found.failures] == [("\\xff.md", "name")]


def test_folders_deeper_than_python_recurses_are_walked(root: Path) -> None:
    depth = 1_010
    folder = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("deep.md", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    found = [file.source for file in scan(str(root), "*.md").files]
    subprocess.run(["rm", "-rf", str(root)], check=True)  # shutil recurses
    assert found == ["d/" * depth + "deep.md"]


def test_a_path_too_long_for_the_system_is_a_failure_that_ends_in_a_slash(root: Path) -> None:
    write(root, "a.md")
    here = os.open(root, os.O_RDONLY)
    descriptors = [here]
    for _ in range(20):
        os.mkdir("n" * 250, dir_fd=descriptors[-1])
        descriptors.append(os.open("n" * 250, os.O_RDONLY, dir_fd=descriptors[-1]))
    for descriptor in descriptors:
        os.close(descriptor)
    found = scan(str(root), "*.md")
    assert sources(found) == ["a.md"]
    [failure] = found.failures
    assert failure.code == "unreadable"
    assert failure.source.endswith("/")
    assert "too long" in failure.message
    subprocess.run(["rm", "-rf", str(root)], check=True)  # shutil cannot


def test_an_unreadable_folder_is_a_failure_and_its_siblings_are_found(shared: Path) -> None:
    write(shared, "a.md")
    write(shared, "closed/b.md")
    (shared / "closed").chmod(0)
    try:
        found = unprivileged(lambda: scan(str(shared), "*.md"))
    finally:
        (shared / "closed").chmod(0o700)
    assert sources(found) == ["a.md"]
    [failure] = found.failures
    assert (failure.source, failure.code) == ("closed/", "unreadable")
    assert "Permission denied" in failure.message


@pytest.mark.parametrize("mode", [0o444, 0o111])
def test_a_folder_of_which_only_half_is_permitted_loses_nothing_silently(shared: Path, mode: int) -> None:
    write(shared, "half/b.md")
    (shared / "half").chmod(mode)
    (shared / "half").chmod(mode)
    try:
        found = unprivileged(lambda: scan(str(shared), "*.md"))
    finally:
        (shared / "half").chmod(0o700)
    assert sources(found) == []
    # With 0444 the names can be listed and nothing else: each is a failure of its own.
    assert [failure.source for failure in found.failures] == [{0o444: "half/b.md", 0o111: "half/"}[mode]]


def test_a_file_costs_the_scan_less_than_a_kilobyte(root: Path) -> None:
    for folder in range(5):
        (root / f"folder-{folder}").mkdir()
        for number in range(100):
            (root / f"folder-{folder}" / f"a-post-with-a-usual-name-{number}.md").touch()
    scan(str(root), "*.md")
    tracemalloc.start()
    found = scan(str(root), "*.md")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.files) == 500
    assert peak < 500 * 1_000
