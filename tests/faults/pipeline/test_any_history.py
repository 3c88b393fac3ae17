"""Whatever happens to the folder, the settings, the store, the state and the process: after a clean run all is as new."""

import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipesched.pipeline import faults
from pipesched.pipeline.cache import FILE
from pipesched.pipeline.manifest import manifest_path
from support.indexing import OLD, Index, difference, same, vector_of
from support.memory_store import MemoryStore

NAMES = ("a.md", "b.md", "c/index.md", "c/d.md", "e.md")
PARAGRAPHS = (
    "Streams read a file piece by piece, and stop when the reader is full.",
    "The borrow checker refuses two mutable references to one value at a time.",
    "Bread needs flour, water, salt and more time than one thinks it does.",
    "A short one.",
    "The same paragraph, again and again, in more posts than one would like.",
)
FRONT: tuple[dict[str, Any], ...] = (
    {},
    {"title": "One", "categories": "[x, y]"},
    {"title": "One", "date": "2024-01-02", "description": "About one thing"},
    {"title": "Two", "draft": "true"},
    {"title": "Two", "readingTime": 5},
)
POINTS = tuple(f"{point}:raise:{count}" for point in faults.POINTS for count in (1, 2))

names = st.sampled_from(NAMES)
texts = st.lists(st.sampled_from(PARAGRAPHS), max_size=5).map("\n\n".join)


class History(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # In memory where there is such a folder: waiting for the disk is most of what the runs would do.
        memory = Path("/dev/shm")
        self.home = Path(tempfile.mkdtemp(prefix="history", dir=memory if memory.is_dir() else None))
        self.index = Index(self.home)
        self.changes: dict[str, Any] = {"allow_mass_delete": True}
        self.cache_was_lost = False
        self.age = 0
        self.calm = True
        """Nothing was lost, tampered with or killed since the last check, so that a dry run can know all."""

    def teardown(self) -> None:
        try:
            self.check(rebuild=False)
        finally:
            shutil.rmtree(self.home)

    def files(self) -> list[Path]:
        return sorted(path for path in self.index.posts.rglob("*.md"))

    @initialize()
    def some_posts(self) -> None:
        for name, paragraph in zip(NAMES[:3], PARAGRAPHS, strict=False):
            self.index.write(name, paragraph, title=name)

    @rule(name=names, text=texts, front=st.sampled_from(FRONT))
    def write(self, name: str, text: str, front: dict[str, Any]) -> None:
        self.age += 1
        self.index.write(name, text, age=self.age, **front)

    @rule(name=names, text=texts)
    def edit_and_put_the_time_back(self, name: str, text: str) -> None:
        self.index.write(name, text)

    @rule(
        name=names,
        bad=st.sampled_from(["---\ntitle: [\n---\nx", "nul\0", "POISON", "---\ntitle: never closed"]),
    )
    def damage(self, name: str, bad: str) -> None:
        self.index.write(name, bad)

    @precondition(lambda self: self.files())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.files())).unlink()

    @precondition(lambda self: self.files())
    @rule(data=st.data(), name=names)
    def rename(self, data: st.DataObject, name: str) -> None:
        (self.index.posts / name).parent.mkdir(exist_ok=True)
        data.draw(st.sampled_from(self.files())).rename(self.index.posts / name)

    @precondition(lambda self: self.files())
    @rule(data=st.data(), name=names)
    def duplicate(self, data: st.DataObject, name: str) -> None:
        text = data.draw(st.sampled_from(self.files())).read_text()
        self.index.write(name, text)

    @precondition(lambda self: len(self.files()) > 1)
    @rule(data=st.data())
    def swap(self, data: st.DataObject) -> None:
        one, other = data.draw(st.permutations(self.files()))[:2]
        aside = self.home / "aside"
        one.rename(aside)
        other.rename(one)
        aside.rename(other)

    @precondition(lambda self: self.files())
    @rule(data=st.data(), seconds=st.integers(1, 5))
    def touch(self, data: st.DataObject, seconds: int) -> None:
        os.utime(data.draw(st.sampled_from(self.files())), (OLD, OLD + seconds))

    @rule(
        change=st.sampled_from(
            [
                {"chunk_size": 60},
                {"chunk_size": 120},
                {"use_chunking": False},
                {"use_chunking": True},
                {"blog_base_url": "https://one.example"},
                {"blog_base_url": ""},
                {"index_drafts": True},
                {"index_drafts": False},
                {"incremental_mode": "full"},
                {"incremental_mode": "auto"},
            ]
        )
    )
    def set_an_option(self, change: dict[str, Any]) -> None:
        self.changes |= change

    @rule(fingerprint=st.sampled_from(["one", "two"]), dimensions=st.sampled_from([8, 6]))
    def change_the_model(self, fingerprint: str, dimensions: int) -> None:
        self.calm = False
        self.index.model.fingerprint = f"{fingerprint}-{dimensions}"
        self.index.model.dimensions = dimensions

    @precondition(lambda self: "posts" in self.index.disk and self.index.disk["posts"].rows)
    @rule(how=st.sampled_from(["remove", "text", "metadata", "foreign key", "add"]), data=st.data())
    def tamper(self, how: str, data: st.DataObject) -> None:
        self.calm = False
        store = MemoryStore(self.index.disk)
        row = data.draw(st.sampled_from(sorted(store.ids("posts"))))
        record = store.disk["posts"].rows[row]
        match how:
            case "remove":
                store.delete("posts", [row])
            case "text":
                store.disk["posts"].rows[row] = type(record)(row, "other", record.metadata, record.vector)
            case "metadata":
                store.update_metadata("posts", [(row, {"source": "elsewhere.md"})])
            case "foreign key":
                store.update_metadata("posts", [(row, {**record.metadata, "colour": "red"})])
            case _:
                vector = vector_of("x", dimensions=len(record.vector))
                store.upsert("posts", [type(record)("theirs", "x", {"source": "theirs"}, vector)])

    @rule()
    def lose_the_store(self) -> None:
        self.calm = False
        self.index.disk.clear()

    @rule()
    def lose_the_manifest(self) -> None:
        self.calm = False
        options = self.index.options
        path = manifest_path(self.index.index_dir, options.storage_path, options.collection_name)
        path.unlink(missing_ok=True)

    @rule(damage=st.sampled_from([b"", b"no database"]))
    def damage_the_manifest(self, damage: bytes) -> None:
        self.calm = False
        options = self.index.options
        path = manifest_path(self.index.index_dir, options.storage_path, options.collection_name)
        if path.exists():
            path.write_bytes(damage)

    @rule()
    def lose_the_cache(self) -> None:
        self.calm = False
        if (self.index.index_dir / FILE).exists():
            (self.index.index_dir / FILE).unlink()
            self.cache_was_lost = True

    @rule(point=st.sampled_from(POINTS), rebuild=st.booleans(), force=st.booleans())
    def die(self, point: str, rebuild: bool, force: bool) -> None:
        self.calm = False
        os.environ[faults.VARIABLE] = point
        try:
            self.index.run(rebuild=rebuild, **self.changes, force_recreate=force and rebuild)
        except faults.FaultReached:
            pass
        finally:
            del os.environ[faults.VARIABLE]
            faults._met.clear()
        if force and rebuild:
            self.cache_was_lost = True  # texts may be embedded once more

    @rule(rebuild=st.booleans(), hours=st.sampled_from([0, 2]))
    def run(self, rebuild: bool, hours: int) -> None:
        self.index.now += timedelta(hours=hours)
        self.check(rebuild=rebuild)

    def check(self, *, rebuild: bool) -> None:
        """A clean run, and the collection is what a new one would be."""
        planned = self.index.run(rebuild=rebuild, **self.changes, dry_run=True)
        out = self.index.run(rebuild=rebuild, **self.changes)
        failed = {change.source for change in out.documents if change.change == "failed"}
        if failed:
            failed.add("elsewhere.md")  # what is left of a failed document whose metadata somebody changed
        ours = {row: value for row, value in self.index.rows().items() if value[1]["source"] not in failed}
        wanted = self.index.fresh(**self.changes)
        assert same(ours, wanted), f"{out.message}\n{difference(ours, wanted)}"
        stats = out.stats
        assert stats.total_documents == (
            stats.new_documents
            + stats.modified_documents
            + stats.renamed_documents
            + stats.unchanged_documents
            + stats.failed_documents
        )
        assert stats.total_chunks == len(self.index.rows())
        assert out.status == ("partial" if failed else "succeeded")
        if self.calm and not failed:
            assert planned.stats == stats
            assert (planned.mode, planned.mode_reason) == (out.mode, out.mode_reason)
            assert planned.documents == out.documents
        self.calm = True
        again = self.index.run(**self.changes)
        assert again.stats.chunks_embedded == 0
        assert again.stats.chunks_added == again.stats.chunks_updated == again.stats.chunks_deleted == 0
        found = self.index.verify(**self.changes)
        assert set(found.as_json()["documents"]) <= failed, (found.as_json(), failed)

    @invariant()
    def no_text_was_embedded_twice(self) -> None:
        if not self.cache_was_lost:
            by_model = [text for text, count in self.index.model.texts.items() if count > 1]
            assert not by_model


History.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    report_multiple_bugs=False,
)
TestAnyHistory = History.TestCase
