"""Ids and hashes of rows."""

from hypothesis import given
from hypothesis import strategies as st

from pipesched.pipeline.model import Document, Record
from pipesched.pipeline.rows import UNKNOWN, metadata_hash, row_of, rows_of

texts = st.lists(st.sampled_from(["a", "b", "c", "\ud800"]), max_size=6)


def document(source: str = "a.md", **metadata) -> Document:
    return Document(source, "text", {"source": source, **metadata}, "raw")


@given(texts)
def test_every_chunk_has_an_id_of_its_own(chunks: list[str]) -> None:
    rows = rows_of(document(), chunks)
    assert len({row.id for row in rows}) == len(chunks)
    assert [row.ordinal for row in rows] == list(range(len(chunks)))
    assert {row.metadata["chunk_count"] for row in rows} <= {len(chunks)}


@given(texts, texts)
def test_an_id_stays_wherever_its_chunk_moves(before: list[str], after: list[str]) -> None:
    old, new = rows_of(document(), before), rows_of(document(), after)
    for text in set(before) & set(after):
        common = min(before.count(text), after.count(text))
        ids = [[row.id for row in rows if row.text == text][:common] for rows in (old, new)]
        assert ids[0] == ids[1]


def test_the_same_text_in_another_document_has_another_id() -> None:
    assert rows_of(document("a.md"), ["x"])[0].id != rows_of(document("b.md"), ["x"])[0].id


def test_ids_do_not_change_from_version_to_version() -> None:
    assert rows_of(document("posts/a.md"), ["x", "x"])[1].id == "f79f6a7793e18b77704450f68cc39768"


def test_the_metadata_hash_sees_every_value_but_the_time_of_indexing() -> None:
    base = {"source": "a", "chunk_index": 0}
    assert metadata_hash(base) == metadata_hash({**base, "indexed_timestamp": "now"})
    assert len({metadata_hash({**base, "x": value}) for value in (1, 1.5, "1", True, ["1"])}) == 5


def test_a_stored_row_is_recognised_and_one_with_another_text_is_not_trusted() -> None:
    (row,) = rows_of(document(categories=["x"]), ["text"])
    record = Record(row.id, row.text, {**row.metadata, "indexed_timestamp": "now"})
    assert row_of(record) == row
    damaged = row_of(Record(row.id, "other", record.metadata))
    assert damaged is not None
    assert damaged.metadata_hash == UNKNOWN
    assert row_of(Record("theirs", "x", {"source": "a"})) is None
