"""A run in one line."""

import pytest

from pipesched.pipeline.tally import Tally


@pytest.mark.parametrize(
    ("tally", "said"),
    [
        (Tally(unchanged=3), "nothing changed, 7 chunks"),
        (Tally(unchanged=3, deleted=2), "2 chunks deleted, 7 chunks"),
        (Tally(unchanged=3, added=1, updated=4), "1 chunk added, 4 chunks updated, 7 chunks"),
    ],
)
def test_chunks_are_told_where_no_document_changed(tally, said):
    assert tally.message(7, notes=(), interrupted=False) == said


def test_documents_come_first():
    tally = Tally(deleted=9)
    tally.change("a.md", "new", "", 1)
    tally.change("b.md", "modified", "", 1)
    assert (
        tally.message(2, notes=("noted",), interrupted=False) == "1 document new, 1 modified, 2 chunks; noted"
    )
