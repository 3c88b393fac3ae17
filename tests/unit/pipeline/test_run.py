"""What runs do to a collection, as one edits a folder; the store in memory, the model costing nothing."""

import os
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pipesched.errors import (
    Busy,
    CollectionNotOurs,
    DataDirMissing,
    DataError,
    ServiceUnavailable,
    SettingsConflict,
)
from pipesched.files import KernelLock
from pipesched.pipeline import faults
from pipesched.pipeline.cache import FILE
from pipesched.pipeline.manifest import manifest_path
from pipesched.pipeline.stores import lock_path
from pipesched.pipeline.verify import Verified
from support.indexing import OLD, Index, difference, same, vector_of
from support.memory_store import MemoryStore
from support.unprivileged import public_folder, unprivileged

WORDS = "Paragraph {} says something that takes about as many characters as one chunk may have, no less."


def text_of(*numbers: int) -> str:
    return "\n\n".join(WORDS.format(number) for number in numbers)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path)
    index.write("one.md", text_of(1, 2, 3), title="One", categories="[a, b]")
    index.write("two.md", text_of(4, 5), title="Two")
    index.write("deep/index.md", text_of(6), title="Three")
    index.run()
    index.model.texts.clear()
    return index


def as_fresh(index: Index, **options: object) -> None:
    ours, wanted = index.rows(), index.fresh(**options)
    assert same(ours, wanted), difference(ours, wanted)


def changes(outcome) -> dict[str, str]:
    return {change.source: change.change for change in outcome.documents}


# what a run finds


def test_the_first_run_puts_every_chunk_in_and_says_so(tmp_path: Path) -> None:
    index = Index(tmp_path)
    index.write("one.md", text_of(1, 2, 3), title="One")
    out = index.run()
    assert (out.status, out.exit_code, out.mode) == ("succeeded", 0, "full")
    assert out.mode_reason == "nothing was indexed before"
    assert (out.stats.total_documents, out.stats.new_documents, out.stats.total_chunks) == (1, 1, 3)
    assert (out.stats.chunks_added, out.stats.chunks_embedded, out.stats.chunks_from_cache) == (3, 3, 0)
    assert out.lengths.total_characters == len(text_of(1, 2, 3))


def test_a_run_without_change_writes_nothing(index: Index) -> None:
    before = index.timestamps()
    out = index.run()
    assert (out.status, out.mode, out.stats.unchanged_documents) == ("succeeded", "incremental", 3)
    assert out.documents == ()
    assert index.timestamps() == before
    assert not index.model.texts


def test_an_edit_embeds_only_the_chunks_that_are_new(index: Index) -> None:
    index.write("one.md", text_of(1, 99, 3), age=-5, title="One", categories="[a, b]")
    out = index.run()
    assert changes(out) == {"one.md": "modified"}
    assert out.documents[0].reason == "its content changed: 1 of 3 chunks"
    assert list(index.model.texts) == ["one\n" + WORDS.format(99)]
    assert (out.stats.chunks_added, out.stats.chunks_updated, out.stats.chunks_deleted) == (1, 2, 1)
    as_fresh(index)


def test_a_same_size_edit_with_its_time_put_back_is_found(index: Index) -> None:
    index.write("one.md", text_of(1, 7, 3), title="One", categories="[a, b]")
    assert changes(index.run()) == {"one.md": "modified"}
    as_fresh(index)


def test_a_metadata_edit_embeds_nothing(index: Index) -> None:
    index.write("one.md", text_of(1, 2, 3), title="Another", categories="[a, b]")
    out = index.run()
    assert out.documents[0].reason == "its content changed: metadata only"
    assert (out.stats.chunks_embedded, out.stats.chunks_from_cache, out.stats.chunks_updated) == (0, 0, 3)
    as_fresh(index)


def test_a_document_that_a_dead_run_had_begun_and_that_fails_now_is_not_left_in_the_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(tmp_path)
    index.write("a.md", "First.")
    index.write("b.md", "Second.")
    with monkeypatch.context() as patch:
        patch.setenv(faults.VARIABLE, "upserted:raise")
        with pytest.raises(faults.FaultReached):
            index.run()
    assert len(index.rows()) == 2
    index.write("a.md", "---\ntitle: [\n---\nx")
    out = index.run()
    assert (out.status, out.stats.total_chunks) == ("partial", 1)
    assert [row[1]["source"] for row in index.rows().values()] == ["b.md"]


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_document_that_was_emptied_has_no_chunks_in_the_plan_and_in_the_report(
    tmp_path: Path, rebuild: bool
) -> None:
    index = Index(tmp_path)
    index.write("a.md", "Something.")
    index.run()
    index.write("a.md", "", age=1)
    planned, done = index.run(rebuild=rebuild, dry_run=True), index.run(rebuild=rebuild)
    assert planned.documents == done.documents
    assert [(change.change, change.chunks) for change in done.documents] == [("modified", 0)]


def test_a_key_taken_out_of_the_front_matter_is_gone_from_the_metadata(index: Index) -> None:
    index.write("one.md", text_of(1, 2, 3), title="One")
    index.run()
    assert not [meta for _, meta, _ in index.rows().values() if "categories" in meta]
    as_fresh(index)


def test_indexed_timestamp_moves_only_where_something_else_changed(index: Index) -> None:
    before = index.timestamps()
    index.write("two.md", text_of(4, 5), title="Other")
    index.run()
    after = index.timestamps()
    assert sum(after[row] != before[row] for row in before) == 2


def test_a_touched_file_gets_its_new_time_and_nothing_is_embedded(index: Index) -> None:
    os.utime(index.posts / "one.md", (OLD + 60, OLD + 60))
    out = index.run()
    assert out.documents[0].reason == "only its modification time changed"
    assert out.stats.chunks_embedded == 0
    as_fresh(index)


def test_a_rename_embeds_nothing_and_is_neither_new_nor_deleted(index: Index) -> None:
    (index.posts / "one.md").rename(index.posts / "moved.md")
    out = index.run()
    assert changes(out) == {"moved.md": "renamed"}
    assert out.documents[0].reason == "was one.md"
    assert (out.stats.new_documents, out.stats.deleted_sources, out.stats.chunks_embedded) == (0, 0, 0)
    as_fresh(index)


def test_a_renamed_folder_is_so_many_renames(index: Index) -> None:
    for number in range(30):
        index.write(f"old/{number}.md", f"Post {number} is here.")
    index.run()
    (index.posts / "old").rename(index.posts / "new")
    out = index.run()
    assert (out.status, out.stats.renamed_documents, out.stats.chunks_embedded) == ("succeeded", 30, 0)
    as_fresh(index)


def test_two_files_that_swap_their_contents_are_both_found(index: Index) -> None:
    one, two, aside = index.posts / "one.md", index.posts / "two.md", index.home / "aside"
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    out = index.run()
    assert changes(out) == {"one.md": "modified", "two.md": "modified"}
    assert out.stats.chunks_embedded == 0
    as_fresh(index)


def test_a_copy_is_a_new_document_with_rows_of_its_own(index: Index) -> None:
    index.write("copy.md", (index.posts / "one.md").read_text())
    out = index.run()
    assert changes(out) == {"copy.md": "new"}
    assert (out.stats.chunks_added, out.stats.chunks_embedded) == (3, 0)
    (index.posts / "one.md").unlink()
    index.run()
    as_fresh(index)


def test_the_same_paragraph_twice_in_a_post_is_two_chunks(index: Index) -> None:
    index.write("twice.md", text_of(8, 8, 9, 8))
    out = index.run()
    assert (out.stats.chunks_added, out.stats.chunks_embedded) == (4, 2)
    as_fresh(index)


def test_a_post_without_text_is_a_document_without_chunks(index: Index) -> None:
    index.write("empty.md", "", title="Only a title")
    out = index.run()
    assert out.documents[0].reason == "it has no text, so that there is nothing to find"
    assert out.stats.total_documents == 4
    assert index.run().stats.unchanged_documents == 4


# what goes, and what stays


def test_a_deleted_file_goes(index: Index) -> None:
    (index.posts / "two.md").unlink()
    out = index.run()
    assert changes(out) == {"two.md": "deleted"}
    assert (out.stats.deleted_sources, out.stats.chunks_deleted, out.stats.total_documents) == (1, 2, 2)
    as_fresh(index)


def test_a_post_that_becomes_a_draft_is_withdrawn(index: Index) -> None:
    index.write("two.md", text_of(4, 5), title="Two", draft="true")
    out = index.run()
    assert changes(out) == {"two.md": "skipped"}
    assert (out.stats.skipped_documents, out.stats.deleted_sources, out.stats.chunks_deleted) == (1, 0, 2)
    assert out.exit_code == 0
    as_fresh(index)
    assert changes(index.run()) == {"two.md": "skipped"}
    index.write("two.md", text_of(4, 5), title="Two")
    assert changes(index.run()) == {"two.md": "new"}
    as_fresh(index)


@pytest.mark.parametrize(
    ("content", "code"),
    [("---\ntitle: [\n---\nx", "front_matter"), ("POISON", "not_finite"), ("nul \0 nul", "damaged")],
)
def test_a_document_that_fails_keeps_its_old_version_and_is_named(
    index: Index, content: str, code: str
) -> None:
    before = {row: value for row, value in index.rows().items() if value[1]["source"] == "one.md"}
    index.write("one.md", content)
    index.write("new.md", text_of(50))
    out = index.run()
    assert (out.status, out.exit_code) == ("partial", 3)
    assert [(error.source, error.code) for error in out.errors] == [("one.md", code)]
    assert changes(out) == {"one.md": "failed", "new.md": "new"}
    assert (out.stats.failed_documents, out.stats.total_documents) == (1, 4)
    assert same({row: value for row, value in index.rows().items() if value[1]["source"] == "one.md"}, before)
    assert index.run().exit_code == 3
    index.write("one.md", text_of(1, 2), title="One")
    assert index.run().exit_code == 0
    as_fresh(index)


def test_one_poison_text_costs_one_document(index: Index) -> None:
    for number in range(20):
        index.write(f"p{number}.md", f"POISON {number}" if number == 7 else f"Post number {number}.")
    out = index.run()
    assert (out.stats.new_documents, out.stats.failed_documents) == (19, 1)


# guards


def test_a_missing_folder_is_an_error_and_changes_nothing(index: Index) -> None:
    before = index.rows()
    index.posts.rename(index.home / "elsewhere")
    with pytest.raises(DataDirMissing):
        index.run()
    assert same(index.rows(), before)


def test_an_emptied_folder_withholds_every_delete(index: Index) -> None:
    before = index.rows()
    for path in index.posts.rglob("*.md"):
        path.unlink()
    out = index.run()
    assert (out.status, out.exit_code, out.stats.deleted_sources) == ("partial", 3, 0)
    assert out.errors[0].code == "deletes_withheld"
    assert "--allow-mass-delete" in out.errors[0].message
    assert same(index.rows(), before)
    assert index.run(allow_mass_delete=True).stats.deleted_sources == 3
    assert index.rows() == {}


def test_an_empty_new_folder_is_fine(tmp_path: Path) -> None:
    index = Index(tmp_path)
    assert (index.run().exit_code, index.run().exit_code) == (0, 0)
    assert index.search("anything") == []


def many(index: Index, count: int) -> None:
    for number in range(count):
        index.write(f"many/{number:02}.md", f"Post {number} of many.")
    index.run()


@pytest.mark.parametrize(("gone", "withheld"), [(20, False), (21, True)])
def test_deletes_above_twenty_and_thirty_percent_are_withheld(
    index: Index, gone: int, withheld: bool
) -> None:
    many(index, 40)
    for number in range(gone):
        (index.posts / f"many/{number:02}.md").unlink()
    index.write("added.md", text_of(70))
    out = index.run()
    assert out.exit_code == (3 if withheld else 0)
    assert out.stats.deleted_sources == (0 if withheld else gone)
    assert out.stats.new_documents == 1
    assert "added.md" in {meta["source"] for _, meta, _ in index.rows().values()}


def test_more_than_twenty_deletes_below_thirty_percent_go_through(index: Index) -> None:
    many(index, 90)
    for number in range(25):
        (index.posts / f"many/{number:02}.md").unlink()
    assert index.run().stats.deleted_sources == 25


def test_a_rebuild_carries_over_what_may_not_be_deleted(index: Index) -> None:
    before = index.rows()
    for path in index.posts.rglob("*.md"):
        path.unlink()
    out = index.run(force_recreate=True)
    assert (out.exit_code, out.stats.deleted_sources) == (3, 0)
    assert same(index.rows(), before)


def test_a_rebuild_carries_over_the_old_version_of_what_fails(index: Index) -> None:
    index.write("one.md", "---\ntitle: [\n---\nx")
    before = index.rows()
    for options in ({"rebuild": True}, {"chunk_size": 60}):
        out = index.run(**options)
        assert (out.exit_code, out.stats.failed_documents, out.stats.total_documents) == (3, 1, 3)
    kept = {row: value for row, value in index.rows().items() if value[1]["source"] == "one.md"}
    assert same(kept, {row: before[row] for row in kept})
    assert len(kept) == 3


# one writer, one owner


def test_a_second_run_says_who_holds_the_store(index: Index) -> None:
    with KernelLock(lock_path(index.options.storage_path, index.index_dir), what="run nightly-1") as lock:
        assert lock.try_acquire()
        with pytest.raises(Busy, match=rf"pid {os.getpid()} \(run nightly-1\)"):
            index.run()
    assert index.run().exit_code == 0


def test_a_run_waits_for_a_busy_store_and_can_be_stopped_while_it_does(index: Index) -> None:
    lock = KernelLock(lock_path(index.options.storage_path, index.index_dir))
    assert lock.try_acquire()
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    assert index.run(wait_seconds=60, stop=stop).status == "interrupted"
    threading.Timer(0.1, lock.release).start()
    assert index.run(wait_seconds=60).status == "succeeded"


def test_a_collection_that_is_not_ours_is_refused_unless_adopted(tmp_path: Path) -> None:
    index = Index(tmp_path)
    index.write("one.md", text_of(1))
    theirs = MemoryStore(index.disk)
    theirs.create("posts", {"who": "somebody"})
    with pytest.raises(CollectionNotOurs):
        index.run()
    assert index.disk["posts"].metadata == {"who": "somebody"}
    assert index.run(adopt=True).exit_code == 0
    as_fresh(index)
    assert index.disk["posts__g1"].metadata == {"who": "somebody"}


def test_a_collection_of_another_folder_is_refused_unless_made_anew(index: Index) -> None:
    other = index.home / "other"
    other.mkdir()
    (other / "x.md").write_text("Another blog.")
    with pytest.raises(SettingsConflict):
        index.run(data_dir=str(other))
    out = index.run(data_dir=str(other), force_recreate=True)
    assert (out.exit_code, out.mode) == (0, "rebuild")
    assert {meta["source"] for _, meta, _ in index.rows().values()} == {"x.md"}
    assert index.run(data_dir=str(other)).stats.unchanged_documents == 1


def test_the_same_folder_by_another_path_is_the_same_folder(index: Index) -> None:
    (index.home / "link").symlink_to(index.posts)
    assert index.run(data_dir=str(index.home / "link")).stats.unchanged_documents == 3


# drift


def test_rows_that_others_removed_changed_or_added_are_put_right(index: Index) -> None:
    wanted = index.rows()
    store = MemoryStore(index.disk)
    rows = sorted(wanted)
    store.delete("posts", rows[:1])
    store.update_metadata("posts", [(rows[1], {"source": "stolen.md"})])
    record = store.disk["posts"].rows[rows[2]]
    store.upsert("posts", [type(record)("theirs", "x", {"source": "x"}, vector_of("x"))])
    out = index.run()
    assert (
        "the collection differed from its record: 1 row missing, 1 row changed, 1 row not ours" in out.message
    )
    assert not index.model.texts
    assert same(index.rows(), wanted)


def test_a_row_with_a_key_of_somebody_elses_stays_while_its_document_fails(index: Index) -> None:
    wanted = index.rows()
    for row in index.disk["posts"].rows.values():
        row.metadata["theirs"] = "a word"
    good = (index.posts / "two.md").read_text()
    index.write("two.md", "---\ntitle: never closed")
    out = index.run()
    assert (out.exit_code, out.stats.total_chunks) == (3, 6)
    assert same(index.rows(), wanted), difference(index.rows(), wanted)
    index.write("two.md", good)
    assert index.run().exit_code == 0
    as_fresh(index)


def test_a_lost_collection_is_put_in_again_without_embedding(index: Index) -> None:
    wanted = index.rows()
    index.disk.clear()
    out = index.run()
    assert (out.stats.chunks_added, out.stats.chunks_embedded) == (6, 0)
    assert same(index.rows(), wanted)


@pytest.mark.parametrize("lost", [["manifest"], ["cache"], ["manifest", "cache"]])
def test_a_lost_state_is_made_anew_from_the_collection_without_embedding(
    index: Index, lost: list[str]
) -> None:
    wanted, before = index.rows(), index.timestamps()
    paths = {
        "manifest": manifest_path(index.index_dir, index.options.storage_path, "posts"),
        "cache": index.index_dir / FILE,
    }
    for name in lost:
        paths[name].unlink()
    out = index.run()
    assert out.stats.unchanged_documents == 3
    assert index.timestamps() == before
    (index.posts / "one.md").rename(index.posts / "moved.md")
    index.run()
    assert not index.model.texts
    assert len(index.rows()) == len(wanted)
    as_fresh(index)


def test_a_lost_state_is_made_anew_whatever_others_wrote_into_the_metadata(index: Index) -> None:
    wanted = index.rows()
    for row in index.disk["posts"].rows.values():
        row.metadata["content_length"] = "long"
    manifest_path(index.index_dir, index.options.storage_path, "posts").unlink()
    assert index.run().status == "succeeded"
    assert same(index.rows(), wanted), difference(index.rows(), wanted)


@pytest.mark.parametrize("name", ["manifest", "cache"])
def test_a_damaged_state_file_is_kept_aside_and_made_anew(index: Index, name: str) -> None:
    path = {
        "manifest": manifest_path(index.index_dir, index.options.storage_path, "posts"),
        "cache": index.index_dir / FILE,
    }[name]
    path.write_bytes(b"not a database, and longer than the header of one would be " * 20)
    out = index.run()
    assert f"{path.name} was damaged, kept as {path.name}.damaged-1" in out.message
    assert not index.model.texts
    as_fresh(index)


def test_a_changed_vector_is_found_by_a_deep_verify_and_repaired(index: Index) -> None:
    wanted = index.rows()
    rows = index.disk["posts"].rows
    row = min(rows)
    rows[row] = type(rows[row])(row, rows[row].text, rows[row].metadata, np.roll(rows[row].vector, 1))
    assert index.verify(deep=False).ok
    found = index.verify(deep=True)
    assert found.as_json()["bad_vectors"] == [row]
    assert index.verify(deep=True, repair=True).ok
    assert same(index.rows(), wanted)


def test_verify_tells_a_folder_that_was_edited_since(index: Index) -> None:
    assert index.verify().ok
    index.write("new.md", text_of(80))
    (index.posts / "two.md").unlink()
    found = index.verify()
    assert (len(found.drift.missing), len(found.drift.extra)) == (1, 2)
    assert index.verify(repair=True).ok


# generations


def test_verify_counts_the_documents_of_a_folder_that_cannot_be_read_and_not_the_folder() -> None:
    def verified(home: Path) -> Verified:
        index = Index(home)
        index.write("closed/one.md", "One.")
        index.write("two.md", "Two.")
        index.run()
        (index.posts / "closed").chmod(0)
        try:
            return index.verify()
        finally:
            (index.posts / "closed").chmod(0o755)

    with public_folder() as home:
        home.chmod(0o777)
        verified(home / "warm")  # what the other user's process needs is imported
        found = unprivileged(lambda: verified(home / "posts"))
    assert found.failed == ("closed/one.md",)
    assert found.message.endswith(
        "1 document cannot be read, compared with the old version; 1 folder cannot be read (closed/)"
    )


def test_a_setting_that_decides_chunks_makes_a_new_generation_and_says_why(index: Index) -> None:
    out = index.run(chunk_size=60)
    assert (out.mode, out.mode_reason) == ("full", "chunk_size changed from 120 to 60: a new generation")
    assert index.collections() == {"posts", "posts__g1"}
    as_fresh(index, chunk_size=60)


def test_other_weights_under_the_same_name_make_a_new_generation(index: Index) -> None:
    index.model.fingerprint = "other"
    out = index.run()
    assert "has other weights than before" in out.mode_reason
    assert out.stats.chunks_embedded == 6
    as_fresh(index)


def test_another_dimension_makes_a_new_generation(index: Index) -> None:
    index.model.fingerprint, index.model.dimensions = "wide", 12
    index.run()
    as_fresh(index)


def test_url_options_change_metadata_only(index: Index) -> None:
    out = index.run(blog_base_url="https://blog.example")
    assert (out.mode, out.stats.chunks_embedded, out.stats.modified_documents) == ("full", 0, 3)
    assert index.collections() == {"posts"}
    as_fresh(index, blog_base_url="https://blog.example")


def test_index_drafts_brings_drafts_in_and_out(index: Index) -> None:
    index.write("draft.md", text_of(90), draft="true")
    assert index.run().stats.skipped_documents == 1
    assert index.run(index_drafts=True).stats.new_documents == 1
    as_fresh(index, index_drafts=True)
    assert index.run(index_drafts=False).stats.skipped_documents == 1
    as_fresh(index)


def test_the_replaced_generation_stays_for_an_hour(index: Index) -> None:
    index.run(rebuild=True)
    index.now += timedelta(minutes=58)
    index.run()
    assert index.collections() == {"posts", "posts__g1"}
    index.now += timedelta(minutes=2)
    index.run()
    assert index.collections() == {"posts"}


def test_rebuild_embeds_nothing(index: Index) -> None:
    out = index.run(rebuild=True)
    assert (out.mode, out.stats.chunks_embedded, out.stats.chunks_from_cache) == ("rebuild", 0, 6)
    assert out.stats.unchanged_documents == 3
    as_fresh(index)


def test_force_recreate_embeds_every_text_once_again(index: Index) -> None:
    out = index.run(force_recreate=True)
    assert (out.mode, out.stats.chunks_embedded) == ("rebuild", 6)
    assert set(index.model.texts.values()) == {1}
    assert index.run().stats.chunks_embedded == 0
    as_fresh(index)


def test_full_reads_every_document_again_and_embeds_nothing(index: Index) -> None:
    out = index.run(incremental_mode="full")
    assert (out.mode, out.stats.unchanged_documents, out.stats.chunks_embedded) == ("full", 3, 0)


def test_a_generation_that_is_not_whole_is_never_swapped_in(index: Index) -> None:
    wanted = index.rows()
    index.breaks_at = "lossy"
    with pytest.raises(DataError, match="1 row missing and 0 too many"):
        index.run(rebuild=True)
    assert index.collections() == {"posts"}
    assert same(index.rows(), wanted)
    index.breaks_at = ""
    assert index.run(rebuild=True).exit_code == 0
    as_fresh(index)


# stopping and failing


def test_a_run_that_is_asked_to_stop_ends_between_batches_and_the_next_goes_on(tmp_path: Path) -> None:
    index = Index(tmp_path)
    for number in range(450):
        index.write(f"{number:03}.md", f"Post number {number}.")
    stop = threading.Event()

    def ask() -> None:
        if sum(index.model.texts.values()) > 250:
            stop.set()

    index.model.on_embed = ask
    out = index.run(stop=stop)
    assert out.status == "interrupted"
    done = len(index.rows())
    assert 0 < done < 450
    assert out.stats.new_documents == done
    index.model.on_embed = None
    assert index.run().stats.new_documents == 450 - done
    assert set(index.model.texts.values()) == {1}
    as_fresh(index)


def test_a_model_that_goes_down_leaves_what_was_committed(tmp_path: Path) -> None:
    index = Index(tmp_path)
    for number in range(450):
        index.write(f"{number:03}.md", f"Post number {number}.")

    def down() -> None:
        index.model.down = sum(index.model.texts.values()) > 300

    index.model.on_embed = down
    with pytest.raises(ServiceUnavailable):
        index.run()
    assert 0 < len(index.rows()) < 450
    index.model.down, index.model.on_embed = False, None
    index.run()
    assert set(index.model.texts.values()) == {1}
    as_fresh(index)


@pytest.mark.parametrize("operation", ["upsert", "update_metadata", "delete"])
def test_a_store_that_fails_in_mid_batch_is_mended_by_the_next_run(index: Index, operation: str) -> None:
    index.write("one.md", text_of(1, 98, 97), title="One")
    index.write("new.md", text_of(96), title="New")
    index.breaks_at = operation
    with pytest.raises(ServiceUnavailable):
        index.run()
    index.breaks_at = ""
    index.run()
    as_fresh(index)
    assert set(index.model.texts.values()) == {1}


def test_while_the_model_is_down_what_needs_no_embedding_is_done(index: Index) -> None:
    index.model.down = True
    (index.posts / "one.md").rename(index.posts / "moved.md")
    out = index.run()
    assert out.stats.renamed_documents == 1
    assert "the model could not be checked" in out.message
    index.disk.clear()
    assert index.run(rebuild=True).exit_code == 0
    index.write("new.md", text_of(95))
    with pytest.raises(ServiceUnavailable):
        index.run()


# dry runs


def test_a_dry_run_tells_what_a_run_then_does(index: Index) -> None:
    index.write("one.md", text_of(1, 99), title="One")
    index.write("new.md", text_of(94))
    (index.posts / "two.md").unlink()
    (index.posts / "deep/index.md").rename(index.posts / "moved.md")
    planned = index.run(dry_run=True)
    done = index.run()
    assert planned.stats == done.stats
    assert planned.documents == done.documents
    assert (planned.mode, planned.mode_reason) == (done.mode, done.mode_reason)


def test_a_dry_run_of_a_rebuild_tells_of_new_documents_what_the_rebuild_then_does(index: Index) -> None:
    index.write("draft.md", "A draft.", draft="true")
    index.write("other.md", "Another draft.", draft="true")
    index.run()
    index.write("draft.md", "A draft no more.", age=-1)
    index.write("other.md", "", age=-1)
    index.write("empty.md", "")
    index.write("new.md", "A post that was not there.")
    planned = index.run(rebuild=True, dry_run=True)
    assert planned.documents == index.run(rebuild=True).documents
    assert {change.source: (change.change, change.reason) for change in planned.documents} == {
        "draft.md": ("new", "it was left out before"),
        "other.md": ("new", "it has no text, so that there is nothing to find"),
        "empty.md": ("new", "it has no text, so that there is nothing to find"),
        "new.md": ("new", ""),
    }


def test_a_dry_run_counts_on_the_vectors_in_the_collection_when_the_cache_is_lost(index: Index) -> None:
    (index.index_dir / FILE).unlink()
    planned = index.run(rebuild=True, dry_run=True)
    assert (planned.stats.chunks_embedded, planned.stats.chunks_from_cache) == (0, 6)
    assert index.run(rebuild=True, dry_run=False).stats == planned.stats


def test_a_dry_run_writes_nothing_anywhere_and_takes_no_lock(index: Index) -> None:
    index.write("new.md", text_of(93))
    index.model.down = True
    rows = index.rows()

    def everything() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in index.home.rglob("*")}

    before = everything()
    with KernelLock(lock_path(index.options.storage_path, index.index_dir)) as lock:
        assert lock.try_acquire()
        before = everything()
        assert index.run(dry_run=True).stats.new_documents == 1
        assert everything() == before
    assert same(index.rows(), rows)


def test_a_dry_run_of_what_was_never_run_makes_no_file(tmp_path: Path) -> None:
    index = Index(tmp_path)
    index.write("one.md", text_of(1, 2))
    out = index.run(dry_run=True)
    assert (out.stats.new_documents, out.stats.chunks_embedded, out.exit_code) == (1, 2, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["posts"]


def test_a_dry_run_says_when_deletes_would_be_withheld_or_documents_fail(index: Index) -> None:
    index.write("one.md", "---\ntitle: [\n---\n")
    assert index.run(dry_run=True).exit_code == 3
    for path in index.posts.rglob("*.md"):
        path.unlink()
    out = index.run(dry_run=True)
    assert (out.exit_code, out.errors[0].code) == (3, "deletes_withheld")


def test_a_run_that_stops_while_it_embeds_says_what_it_has_embedded(tmp_path: Path) -> None:
    index = Index(tmp_path)
    for number in range(40):
        index.write(f"{number}.md", f"Post number {number} is about the number {number}.")
    stop = threading.Event()
    index.model.on_embed = stop.set
    out = index.run(stop=stop)
    assert (out.status, out.stats.chunks_added) == ("interrupted", 0)
    assert out.stats.chunks_embedded == sum(index.model.texts.values()) > 0


def test_verify_says_what_differs_where_only_an_option_is_another(index: Index) -> None:
    found = index.verify(blog_base_url="https://other.example")
    assert set(found.other.values()) == {("url",)}
    assert f"{len(found.drift.changed)} rows changed (url)" in found.message
    assert "the URL or draft settings are not those of the last run" in found.message
    assert found.hint.startswith("pipesched run with these settings")
    assert all(line.endswith(": url") for kind, lines in found.differences() for line in lines)


def test_verify_offers_no_repair_that_would_be_refused(index: Index, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = index.verify(data_dir=str(elsewhere))
    assert "is filled from" in found.message
    assert "--force-recreate" in found.hint


def test_verify_says_what_somebody_changed(index: Index) -> None:
    first, second = sorted(index.disk["posts"].rows)[:2]
    rows = index.disk["posts"].rows
    rows[first] = replace(rows[first], text="somebody's words")
    rows[second] = replace(rows[second], metadata={**rows[second].metadata, "post_title": "Hers", "own": 1})
    found = index.verify()
    assert found.other == {first: ("text",), second: ("own", "post_title")}
    assert found.hint == "pipesched verify --repair mends it"
    assert index.verify(repair=True).ok


def test_verify_says_that_deletes_are_withheld_and_what_lets_them_through(tmp_path: Path) -> None:
    index = Index(tmp_path)
    for number in range(30):
        index.write(f"{number}.md", f"Post number {number}.")
    index.run()
    for number in range(25):
        (index.posts / f"{number}.md").unlink()
    index.run()
    found = index.verify()
    assert "25 rows that the folder does not have" in found.message
    assert "25 of 30 documents are gone at once: a run withholds these deletes" in found.message
    assert found.hint == "--allow-mass-delete lets them through"
    assert index.verify(repair=True, allow_mass_delete=True).ok


def test_verify_takes_a_moved_folder_for_no_mass_delete(tmp_path: Path) -> None:
    index = Index(tmp_path)
    for number in range(30):
        index.write(f"old/{number}.md", f"Post number {number}.")
    index.run()
    (index.posts / "old").rename(index.posts / "new")
    found = index.verify()
    assert (len(found.drift.missing), len(found.drift.extra)) == (30, 30)
    assert "withholds" not in found.message
    assert index.verify(repair=True).ok
