"""What a run says in numbers of deletes that it withheld, and of rows that somebody else changed."""

from pathlib import Path

import pytest

from support.indexing import Index


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index(tmp_path)
    for number in range(3):
        made.write(f"{number}.md", f"# Post {number}\n\nText of post {number}.")
    made.run()
    return made


def test_a_sound_run_has_neither(index: Index) -> None:
    stats = index.run().stats
    assert (stats.withheld_deletes, stats.drifted_chunks) == (0, 0)


def test_withheld_deletes_are_counted_until_they_are_let_through(index: Index) -> None:
    for path in index.posts.rglob("*.md"):
        path.unlink()
    assert index.run().stats.withheld_deletes == 3
    assert index.run().stats.withheld_deletes == 3
    assert index.run(allow_mass_delete=True).stats.withheld_deletes == 0


def test_rows_that_somebody_removed_are_counted_once(index: Index) -> None:
    store = index.backends.open_store(index.options.storage_path)
    store.delete("posts", sorted(index.rows())[:2])
    store.close()
    assert index.run().stats.drifted_chunks == 2
    assert index.run().stats.drifted_chunks == 0


def test_a_collection_that_is_gone_counts_with_all_its_rows(index: Index) -> None:
    store = index.backends.open_store(index.options.storage_path)
    held = len(index.rows())
    store.drop("posts")
    store.close()
    assert index.run().stats.drifted_chunks == held
    assert len(index.rows()) == held
