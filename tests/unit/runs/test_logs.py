"""Captured output: bounded whatever is written, the beginning and the end kept, followed without a gap."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.errors import InputOutputError, InvalidValue, NotFound, NotPermitted
from pipesched.runs.logs import LINE_LENGTH, LogFile, follow, lines, log_path, read

CAP = 1024
HEAD, TAIL, MARKER = CAP // 8, CAP // 4, 80


def everything(path: Path) -> bytes:
    return b"".join(read(path))


def write(path: Path, *chunks: bytes, cap: int = CAP) -> None:
    with LogFile(path, cap) as file:
        for chunk in chunks:
            file.write(chunk)


def numbered(start: int, end: int) -> bytes:
    return b"".join(b"%07d\n" % number for number in range(start, end))


def test_what_fits_is_kept_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    write(path, b"one\n", b"", b"two \xff\x00", b"x" * (CAP - 11))
    assert everything(path) == b"one\ntwo \xff\x00" + b"x" * (CAP - 11)
    assert len(everything(path)) <= CAP


def test_of_more_the_beginning_and_the_end_are_kept_and_it_is_said_how_much_is_not(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    whole = numbered(0, 5000)
    write(path, whole)
    kept = everything(path)
    assert len(kept) <= CAP
    assert kept.startswith(whole[:HEAD])
    marker, rest = kept[HEAD : HEAD + MARKER], kept[HEAD + MARKER :]
    assert whole.endswith(rest)
    assert len(rest) >= TAIL
    left_out = len(whole) - HEAD - len(rest)
    assert marker.startswith(b"\n[pipesched: %020d bytes of output left out here" % left_out)


@given(chunks=st.lists(st.binary(max_size=3000), max_size=30))
def test_whatever_the_chunks_the_file_is_bounded_and_adds_up(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("logs") / "logs" / "a.log"
    write(path, *chunks)
    whole, kept = b"".join(chunks), everything(path)
    assert len(kept) <= CAP
    if len(whole) <= CAP:
        assert kept == whole
    else:
        rest = kept[HEAD + MARKER :]
        assert kept[:HEAD] == whole[:HEAD]
        assert whole.endswith(rest)
        assert int(kept[HEAD + 13 : HEAD + 33]) + HEAD + len(rest) == len(whole)


def test_a_run_that_was_queued_again_goes_on_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    write(path, numbered(0, 100))
    write(path, numbered(100, 150))
    write(path, numbered(150, 5000))
    kept = everything(path)
    assert kept.endswith(numbered(4990, 5000))
    rest = kept[HEAD + MARKER :]
    assert int(kept[HEAD + 13 : HEAD + 33]) + HEAD + len(rest) == 8 * 5000


def test_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    write(path, numbered(0, 5000))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["a.log"]


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"mine")
    (tmp_path / "logs").mkdir(mode=0o700)
    (tmp_path / "logs" / "a.log").symlink_to(target)
    with pytest.raises(Exception, match=r"cannot create .*a\.log"):
        LogFile(tmp_path / "logs" / "a.log")
    assert target.read_bytes() == b"mine"


def test_a_planted_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "logs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPermitted):
        LogFile(tmp_path / "logs" / "a.log")


@pytest.mark.parametrize("run_id", ["../x", "-x", "a/b", "", "a\nb", "x\0"])
def test_a_name_comes_from_a_run_id_only(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(InvalidValue):
        log_path(tmp_path, run_id)


def test_a_missing_log_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(read(tmp_path / "nothing.log"))


def test_a_folder_in_a_logs_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.log").mkdir()
    with pytest.raises(InputOutputError, match=r"a\.log: it is no ordinary file"):
        list(read(tmp_path / "a.log"))


# Following


class Story:
    """What happens between two looks of a follower; the run is over after the last."""

    def __init__(self, *steps: object) -> None:
        self.steps = list(steps)

    def over(self) -> bool:
        return not self.steps

    def pause(self) -> None:
        step = self.steps.pop(0)
        assert callable(step)
        step()


def followed(path: Path, story: Story) -> bytes:
    return b"".join(follow(path, over=story.over, pause=story.pause))


def test_a_follower_waits_for_the_file_and_reads_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    file: list[LogFile] = []

    def close() -> None:
        file[0].close()

    story = Story(
        lambda: None,
        lambda: file.append(LogFile(path, CAP)),
        lambda: file[0].write(b"one\n"),
        lambda: file[0].write(b"two\nthr"),
        lambda: file[0].write(b"ee"),
        close,
    )
    assert followed(path, story) == b"one\ntwo\nthree"


@given(sizes=st.lists(st.integers(0, CAP // 3), max_size=40))
def test_a_follower_that_keeps_up_misses_nothing_though_the_file_is_shortened(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("logs") / "logs" / "a.log"
    whole = numbered(0, sum(sizes) // 8 + 1)[: sum(sizes)]
    with LogFile(path, CAP) as file:
        chunks: Iterator[bytes] = iter(
            [whole[sum(sizes[:number]) : sum(sizes[: number + 1])] for number in range(len(sizes))]
        )
        story = Story(*[lambda: file.write(next(chunks))] * len(sizes))
        assert followed(path, story) == whole


def test_a_follower_that_was_left_behind_is_told(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    with LogFile(path, CAP) as file:
        story = Story(
            lambda: file.write(numbered(0, 10)),
            lambda: file.write(numbered(10, 5000)),
            lambda: file.write(b"the end"),
        )
        seen = followed(path, story)
    assert seen.startswith(numbered(0, 10))
    assert b"some output came too fast" in seen
    assert seen.endswith(numbered(4980, 5000) + b"the end")


# Lines


def test_lines_are_text_whatever_the_pieces() -> None:
    whole = "één\r\ntwo\n\nlast €".encode()
    for size in range(1, len(whole)):
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert list(lines(pieces)) == ["één", "two", "", "last €"]


def test_bytes_that_are_no_text_are_shown() -> None:
    assert list(lines([b"a\xffb\n\xe2\x82"])) == ["a\\xffb", "\\xe2\\x82"]


def test_a_line_without_end_comes_in_pieces() -> None:
    found = list(lines([b"x" * 1000] * 200))
    assert [len(line) for line in found] == [LINE_LENGTH] * 3 + [200_000 - 3 * LINE_LENGTH]
    assert list(lines([])) == []
