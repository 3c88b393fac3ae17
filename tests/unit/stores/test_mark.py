"""What a collection says about itself survives the store; what is not ours has no mark."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipesched.pipeline.stores.mark import MARK_KEY, Mark

text = st.text(max_size=20)
whole = st.integers(0, 2**31)
marks = st.builds(
    Mark,
    generation=whole,
    settings=text,
    model=text,
    fingerprint=text,
    dimensions=whole,
    max_tokens=whole,
    query_prefix=text,
    data_dir=text,
    data_dir_pattern=text,
)


@given(marks)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert Mark.from_metadata(mark.to_metadata()) == mark


@given(st.dictionaries(text, text | whole | st.booleans()))
def test_a_collection_without_our_key_is_not_ours(metadata: dict[str, str | int | bool]) -> None:
    metadata.pop(MARK_KEY, None)
    assert Mark.from_metadata(metadata) is None


def test_a_mark_that_somebody_has_changed_is_still_ours_and_read_as_far_as_it_goes() -> None:
    mark = Mark(1, "s", "onnx:m", "f", 384, 254, "query: ", "/posts", "*.md")
    metadata = mark.to_metadata() | {"pipesched.dimensions": "many", "pipesched.unknown": True}
    assert Mark.from_metadata(metadata) == replace(mark, dimensions=0)
    assert mark.spec.query_prefix == "query: "
