"""Which mode a run takes, and why."""

from dataclasses import replace

from pipesched.options import PipelineOptions
from pipesched.pipeline.documents import DocumentSettings
from pipesched.pipeline.index_settings import IndexSettings, document_digest
from pipesched.pipeline.mode import Generation, decide
from pipesched.pipeline.model import ModelSpec

OPTIONS = PipelineOptions(data_dir="/posts")
SPEC = ModelSpec("onnx:m", "print", 384, 254)
SETTINGS = IndexSettings.of(OPTIONS, SPEC)
DOCUMENTS = document_digest(DocumentSettings())


def generation(number: int = 1, **changes) -> Generation:
    made = Generation(
        number, "posts", "uuid", "live", SETTINGS, "/posts", "*.md", DOCUMENTS, "full", "first", None, "2026"
    )
    return replace(made, **changes)


def decided(options: PipelineOptions = OPTIONS, **changes):
    values = {"live": generation(), "building": None, "rebuild": False, "imported": False} | changes
    target = values.pop("target", IndexSettings.of(options, SPEC))
    return decide(options, target, values.pop("documents", DOCUMENTS), **values)


def test_auto_is_incremental_where_the_settings_agree() -> None:
    found = decided()
    assert (found.mode, found.build, found.read_all) == ("incremental", False, False)


def test_auto_is_full_where_there_is_no_manifest() -> None:
    assert (decided(live=None).mode, decided(live=None).reason) == ("full", "nothing was indexed before")
    assert decided(imported=True).mode == "full"


def test_full_reads_everything_and_says_it_was_asked_to() -> None:
    found = decided(replace(OPTIONS, incremental_mode="full"))
    assert (found.mode, found.read_all, found.build) == ("full", True, False)


def test_incremental_stays_incremental_when_only_urls_changed() -> None:
    found = decided(replace(OPTIONS, incremental_mode="incremental"), documents="other")
    assert found.mode == "incremental"
    assert "metadata" in found.reason


def test_every_setting_that_decides_a_chunk_or_vector_builds_a_generation_and_is_named() -> None:
    cases = {
        "chunk_size changed from 1000 to 500": replace(OPTIONS, chunk_size=500),
        "chunk_overlap changed from 200 to 100": replace(OPTIONS, chunk_overlap=100),
        "use_chunking changed from true to false": replace(OPTIONS, use_chunking=False),
    }
    for words, options in cases.items():
        found = decided(options)
        assert found.build, words
        assert found.reason == f"{words}: a new generation"
    for field, value in (
        ("fingerprint", "x"),
        ("dimensions", 3),
        ("max_tokens", 1),
        ("parser", "9"),
        ("chunker", "9"),
    ):
        assert decided(target=replace(SETTINGS, **{field: value})).build, field
    assert (
        "from onnx:m to ollama:x"
        in decided(target=replace(SETTINGS, model="ollama:x", fingerprint="y")).reason
    )


def test_a_model_by_another_name_with_the_same_fingerprint_is_the_same() -> None:
    assert not decided(target=replace(SETTINGS, model="onnx:alias")).build


def test_sizes_do_not_matter_where_documents_are_not_chunked() -> None:
    whole = replace(OPTIONS, use_chunking=False)
    live = generation(settings=IndexSettings.of(whole, SPEC))
    assert not decided(replace(whole, chunk_size=77), live=live).build


def test_force_recreate_is_fresh_and_rebuild_is_not() -> None:
    forced, rebuilt = decided(replace(OPTIONS, force_recreate=True)), decided(rebuild=True)
    assert (forced.mode, forced.build, forced.fresh) == ("rebuild", True, True)
    assert (rebuilt.mode, rebuilt.build, rebuilt.fresh) == ("rebuild", True, False)
    assert not decided(replace(OPTIONS, force_recreate=True), live=None).build


def test_an_unfinished_generation_goes_on_when_it_is_what_is_wanted() -> None:
    begun = generation(2, state="building", mode="rebuild", reason="asked for")
    found = decided(building=begun)
    assert (found.build, found.resume, found.mode) == (True, True, "rebuild")
    assert "asked for" in found.reason
    assert not decided(building=replace(begun, settings=replace(SETTINGS, chunk_size=1))).resume
    assert not decided(building=replace(begun, data_dir="/other")).resume


def test_force_recreate_goes_on_only_with_what_was_begun_fresh() -> None:
    forced = replace(OPTIONS, force_recreate=True)
    begun = generation(2, state="building")
    assert not decided(forced, building=begun).resume
    assert decided(forced, building=replace(begun, fresh_after=5)).resume


def test_settings_survive_their_json() -> None:
    assert IndexSettings.from_json(SETTINGS.to_json()) == SETTINGS
