"""The plan, from values alone."""

from hypothesis import given
from hypothesis import strategies as st

from pipesched.pipeline.differences import document_differences
from pipesched.pipeline.model import Failure, Found, Scan, Skipped, Stamp
from pipesched.pipeline.plan import (
    RACY_NS,
    DocumentPlan,
    RecordedFile,
    compare,
    plan_documents,
    questions,
    stamp_text,
    trusted_stamp,
)
from pipesched.pipeline.rows import UNKNOWN, Row, plan_rows

CLOCK = 2_000_000_000_000_000_000
PARSE = "settings"


def stamp(age_ns: int = 10 * RACY_NS, size: int = 10, inode: int = 1) -> Stamp:
    return Stamp(size, CLOCK - age_ns, CLOCK - age_ns, inode, 1)


def found(source: str, at: Stamp | None = None) -> Found:
    return Found(source, f"/posts/{source}", at or stamp())


def recorded(source: str, raw_hash: str = "h", **changes) -> RecordedFile:
    values = {
        "stamp": stamp_text(stamp()),
        "mtime": stamp().mtime_ns // 1_000_000_000,
        "raw_hash": raw_hash,
        "parse": PARSE,
        "state": "indexed",
        "reason": "",
        "chunks": 2,
    } | changes
    return RecordedFile(source=source, **values)


def scan(*files: Found, skipped: tuple[Skipped, ...] = (), failures: tuple[Failure, ...] = ()) -> Scan:
    return Scan(files, skipped, failures, CLOCK)


def planned(at: Scan, *files: RecordedFile, hashes: dict[str, str] | None = None, **options) -> DocumentPlan:
    known = {file.source: file for file in files}
    values = {"parse": PARSE, "read_all": False} | {
        name: value for name, value in options.items() if name != "allow_mass_delete"
    }
    allow = options.get("allow_mass_delete", False)
    return plan_documents(compare(at, known, **values), hashes or {}, allow_mass_delete=allow)


def asked(at: Scan, *files: RecordedFile) -> list[str]:
    known = {file.source: file for file in files}
    return [item.source for item in questions(compare(at, known, parse=PARSE, read_all=False))]


def test_a_file_with_its_recorded_stamp_is_neither_hashed_nor_read() -> None:
    at = scan(found("a.md"))
    assert asked(at, recorded("a.md")) == []
    plan = planned(at, recorded("a.md"))
    assert plan.nothing_to_do
    assert plan.unchanged == 1


def test_a_stamp_younger_than_two_seconds_is_not_trusted() -> None:
    assert trusted_stamp(stamp(RACY_NS), CLOCK) == stamp_text(stamp(RACY_NS))
    assert trusted_stamp(stamp(RACY_NS - 1), CLOCK) == ""
    young_by_ctime = Stamp(10, CLOCK - 10 * RACY_NS, CLOCK - 1, 1, 1)
    assert trusted_stamp(young_by_ctime, CLOCK) == ""


def test_any_part_of_a_stamp_that_changed_asks_for_the_hash() -> None:
    base = stamp()
    for name in ("size", "mtime_ns", "ctime_ns", "inode", "device"):
        values = {field: getattr(base, field) for field in Stamp._fields}
        values[name] += 1
        at = scan(found("a.md", Stamp(**values)))
        assert asked(at, recorded("a.md")) == ["a.md"]


def test_the_same_bytes_with_another_stamp_are_only_restamped() -> None:
    at = scan(found("a.md", stamp(inode=2)))
    plan = planned(at, recorded("a.md"), hashes={"a.md": "h"})
    assert (plan.readings, [item.source for item in plan.restamp], plan.unchanged) == ((), ["a.md"], 1)


def test_other_bytes_are_read() -> None:
    at = scan(found("a.md", stamp(size=11)))
    (reading,) = planned(at, recorded("a.md"), hashes={"a.md": "other"}).readings
    assert (reading.change, reading.reason) == ("modified", "its content changed")


def test_other_settings_read_what_did_not_change() -> None:
    (reading,) = planned(scan(found("a.md")), recorded("a.md", parse="before")).readings
    assert reading.reason == "its URL or metadata settings changed"


def test_a_rename_is_told_by_its_content() -> None:
    at = scan(found("new.md"))
    assert asked(at, recorded("old.md")) == ["new.md"]
    plan = planned(at, recorded("old.md"), hashes={"new.md": "h"})
    (reading,) = plan.readings
    assert (reading.change, reading.renamed_from, plan.removals) == ("renamed", "old.md", ())


def test_one_vanished_file_is_renamed_once_its_copies_are_new() -> None:
    at = scan(found("x.md"), found("y.md"))
    plan = planned(at, recorded("old.md"), hashes={"x.md": "h", "y.md": "h"})
    assert [reading.change for reading in plan.readings] == ["renamed", "new"]


def test_a_new_file_is_not_hashed_while_nothing_vanished() -> None:
    assert asked(scan(found("new.md"))) == []


def test_an_unreadable_folder_keeps_what_is_recorded_below_it() -> None:
    failures = (Failure("private/", "unreadable", "Permission denied"),)
    plan = planned(
        scan(failures=failures), recorded("private/a.md"), recorded("private/deep/b.md"), recorded("c.md")
    )
    assert [kept.source for kept in plan.kept] == ["private/a.md", "private/deep/b.md"]
    assert [removal.source for removal in plan.removals] == ["c.md"]


def test_what_cannot_be_told_for_a_folder_keeps_what_is_recorded_below_it() -> None:
    """As a file system says that tells the kind of an entry by stat(2) alone, while stat(2) fails."""
    at = scan(failures=(Failure("sub", "unreadable", "Stale file handle"),))
    plan = planned(at, recorded("sub/a.md"), recorded("subtle.md"))
    assert [kept.source for kept in plan.kept] == ["sub/a.md"]
    assert [removal.source for removal in plan.removals] == ["subtle.md"]


def test_a_root_that_cannot_be_read_keeps_everything() -> None:
    failures = (Failure("/", "unreadable", "Input/output error"),)
    plan = planned(scan(failures=failures), recorded("a.md"), recorded("b/c.md"))
    assert len(plan.kept) == 2
    assert plan.removals == ()


def test_a_file_that_cannot_be_looked_at_stays() -> None:
    plan = planned(scan(failures=(Failure("a.md", "unreadable", "gone"),)), recorded("a.md"))
    assert (plan.removals, plan.withheld) == ((), ())


def test_a_document_whose_file_became_a_link_out_is_withdrawn() -> None:
    plan = planned(
        scan(found("b.md"), skipped=(Skipped("a.md", "a link out"),)), recorded("a.md"), recorded("b.md")
    )
    assert [(removal.source, removal.withdrawn, removal.reason) for removal in plan.removals] == [
        ("a.md", True, "a link out")
    ]


def test_links_that_all_lead_nowhere_are_a_mass_delete() -> None:
    files = [recorded(f"{number}.md") for number in range(30)]
    skipped = tuple(Skipped(file.source, "a link that leads nowhere") for file in files)
    plan = planned(scan(skipped=skipped), *files)
    assert len(plan.withheld) == 30


def test_what_was_left_out_and_is_gone_is_forgotten() -> None:
    plan = planned(scan(found("b.md")), recorded("a.md", state="skipped", chunks=0), recorded("b.md"))
    assert (plan.forgotten, plan.removals) == (("a.md",), ())


def test_pending_documents_are_new_or_forgotten() -> None:
    at = scan(found("a.md"))
    plan = planned(at, recorded("a.md", state="pending", parse=UNKNOWN), recorded("b.md", state="pending"))
    assert [reading.change for reading in plan.readings] == ["new"]
    assert plan.forgotten == ("b.md",)


def row(id_: str, metadata: str = "m") -> Row:
    return Row(id_, "a.md", 0, "text", b"t", {}, metadata)


def test_rows_are_written_described_kept_or_dropped() -> None:
    plan = plan_rows(
        [row("same"), row("other", "new"), row("unknown"), row("added")],
        {"same": "m", "other": "m", "unknown": UNKNOWN, "stale": "m"},
    )
    assert [item.id for item in plan.write] == ["unknown", "added"]
    assert [item.id for item in plan.describe] == ["other"]
    assert (plan.drop, plan.added, plan.unchanged) == (("stale",), 1, 1)
    assert plan.fresh == ("added",)  # what a dead run may have written is not


ids = st.sampled_from("abcdef")
metadata = st.sampled_from(["m", "n"])


@given(st.dictionaries(ids, metadata), st.dictionaries(ids, st.sampled_from(["m", "n", UNKNOWN])))
def test_carrying_out_a_row_plan_gives_exactly_what_is_wanted(
    wanted: dict[str, str], before: dict[str, str]
) -> None:
    plan = plan_rows([row(key, value) for key, value in wanted.items()], before)
    after = {key: value for key, value in before.items() if key not in plan.drop}
    after |= {item.id: item.metadata_hash for item in (*plan.write, *plan.describe)}
    assert after == wanted
    assert plan.unchanged + len(plan.write) + len(plan.describe) == len(wanted)
    assert not {item.id for item in plan.describe} & {
        key for key, value in before.items() if value == UNKNOWN
    }


sources = st.sampled_from(["a.md", "b.md", "c.md", "d.md"])


@given(
    st.dictionaries(sources, st.sampled_from("xyz")),
    st.dictionaries(sources, st.sampled_from("xyz")),
    st.booleans(),
)
def test_every_document_has_exactly_one_fate(
    now: dict[str, str], before: dict[str, str], allow: bool
) -> None:
    at = scan(*(found(source, stamp(inode=2)) for source in sorted(now)))
    known = {source: recorded(source, content) for source, content in before.items()}
    plan = plan_documents(compare(at, known, parse=PARSE, read_all=False), now, allow_mass_delete=allow)
    assert len(plan.readings) + plan.unchanged == len(now)
    gone = {removal.source for removal in plan.removals} | set(plan.withheld)
    renamed = {reading.renamed_from for reading in plan.readings if reading.renamed_from}
    assert gone | renamed == set(before) - set(now)
    assert not gone & renamed


def test_generations_are_compared_by_content() -> None:
    before = {"same": recorded("same", "1"), "edited": recorded("edited", "2"), "old": recorded("old", "3")}
    before["gone"] = recorded("gone", "4")
    after = {
        "same": recorded("same", "1"),
        "edited": recorded("edited", "5"),
        "moved": recorded("moved", "3"),
    }
    after["new"] = recorded("new", "6")
    assert {item.source: item.change for item in document_differences(before, after)} == {
        "same": None,
        "edited": "modified",
        "moved": "renamed",
        "new": "new",
        "gone": "deleted",
    }
