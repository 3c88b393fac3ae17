"""Runs over a folder of posts beside plain chromadb upserts of the same chunks: time, texts embedded, peak memory.

    python benchmarks/indexing.py [--posts 1000] [--model-posts 40] [--memory 20000,100000] [--rebuild 1000] [--overlap 100]

"plain" is what one would write in an afternoon: read, cut, embed and upsert everything each time, 500 rows a call, with no state,
no deletes and nothing durable but Chroma itself. It uses our chunker and our parser, so that both do the same work. Each step is a
process of its own, import included; the generated posts have about 2 KB, with --memory one chunk. An embedder that costs nothing makes the rest visible.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DIMENSIONS = 384
WORDS = [
    f"{first}{last}"
    for first in ("bread", "flour", "service", "garden", "river", "city")
    for last in "abcdef"
]


def text_of(seed: int, *, edited: bool = False, parts: int = 3) -> str:
    """About 2 KB in three parts; `edited` has one sentence more at the end."""
    state = seed * 2_654_435_761 + 12_345
    paragraphs = []
    for _ in range(parts):
        words = []
        for _ in range(80):
            state = (state * 1_103_515_245 + 12_345) % 2**31
            words.append(WORDS[state % len(WORDS)])
        paragraphs.append(f"## Part {state % 97}\n\n" + " ".join(words).capitalize() + f" number {seed}.")
    if edited:
        paragraphs[-1] += " This sentence was inserted later."
    return "\n\n".join(paragraphs)


def write(folder: Path, number: int, *, title: str = "", edited: bool = False, parts: int = 3) -> Path:
    path = folder / str(number % 100) / f"{number}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    title = title or f"Post {number}"
    path.write_text(
        f"---\ntitle: {title}\ndate: 2024-01-01\n---\n{text_of(number, edited=edited, parts=parts)}\n"
    )
    os.utime(path, (1_700_000_000 + edited + len(title), 1_700_000_000))
    return path


class Free:
    """Texts to unit vectors by their hash, in a microsecond a text or two."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec
        self.embedded = 0

    def embed(self, texts: Any) -> list[Any]:
        import numpy as np

        self.embedded += len(texts)
        seeds = [hashlib.shake_128(text.encode()).digest(DIMENSIONS) for text in texts]
        values = np.frombuffer(b"".join(seeds), dtype=np.uint8).reshape(len(texts), DIMENSIONS)
        values = values.astype(np.float32) - 127.5
        return list(values / np.linalg.norm(values, axis=1, keepdims=True))

    def close(self) -> None: ...


def backends(free: bool) -> Any:
    from pipesched.pipeline.backends import Backends
    from pipesched.pipeline.model import ModelSpec

    if not free:
        return Backends()
    spec = ModelSpec("onnx:free", "free", DIMENSIONS, 10_000)
    return Backends(
        identify=lambda *_, **__: spec,
        token_counter=lambda _: lambda text: len(text) // 4,
        open_embedder=lambda _: Free(spec),
    )


def options_of(home: Path, free: bool) -> Any:
    from pipesched.options import PipelineOptions

    return replace(
        PipelineOptions(),
        data_dir=str(home / "posts"),
        storage_path=str(home / "store"),
        collection_name="posts",
        embedding_model="onnx:free" if free else "onnx:all-MiniLM-L6-v2",
    )


def ours(home: Path, free: bool, rebuild: bool) -> dict[str, Any]:
    from pipesched.pipeline.run import run

    out = run(
        options_of(home, free),
        index_dir=home / "state",
        now=lambda: datetime.now(UTC),
        rebuild=rebuild,
        backends=backends(free),
    )
    assert out.status == "succeeded", out.message
    return {"embedded": out.stats.chunks_embedded, "chunks": out.stats.total_chunks, "timings": out.timings}


def plain(home: Path, free: bool) -> dict[str, Any]:
    """Everything, each time."""
    import chromadb

    from pipesched.pipeline import documents
    from pipesched.pipeline.chunks import Chunker

    options = options_of(home, free)
    made = backends(free)
    spec = made.identify(options.embedding_model)
    embedder = made.open_embedder(spec)
    chunker = Chunker(
        size=options.chunk_size,
        overlap=options.chunk_overlap,
        max_tokens=spec.max_tokens,
        count_tokens=made.token_counter(spec),
    )
    client = chromadb.PersistentClient(
        str(home / "plain"), settings=chromadb.Settings(anonymized_telemetry=False)
    )
    collection = client.get_or_create_collection(
        "posts", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    rows: list[tuple[str, str, dict[str, Any]]] = []
    total = 0

    def put() -> None:
        vectors = embedder.embed([text for _, text, _ in rows])
        collection.upsert(
            ids=[row for row, _, _ in rows],
            documents=[text for _, text, _ in rows],
            metadatas=[metadata for _, _, metadata in rows],
            embeddings=vectors,
        )
        rows.clear()

    for found in documents.scan(options.data_dir, options.data_dir_pattern).files:
        document = documents.read(found, documents.DocumentSettings())
        for at, text in enumerate(chunker.split(document.text)):
            rows.append((f"{found.source}#{at}", text, {**document.metadata, "chunk_index": at}))
            total += 1
            if len(rows) == 500:
                put()
    if rows:
        put()
    return {"embedded": total, "chunks": collection.count()}


class Timed:
    """An embedder, and the seconds that were spent in it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.spec = inner.spec
        self.seconds = 0.0

    def embed(self, texts: Any) -> Any:
        begun = time.monotonic()
        try:
            return self.inner.embed(texts)
        finally:
            self.seconds += time.monotonic() - begun

    def close(self) -> None:
        self.inner.close()


def timed(home: Path, free: bool, rebuild: bool) -> dict[str, Any]:
    """A run whose imports are done before, and how long it was inside the model."""
    import chromadb  # noqa: F401
    import onnxruntime  # noqa: F401

    from pipesched.pipeline.run import run

    made = backends(free)
    opened: list[Timed] = []

    def open_embedder(spec: Any) -> Timed:
        opened.append(Timed(made.open_embedder(spec)))
        return opened[-1]

    begun = time.monotonic()
    out = run(
        options_of(home, free),
        index_dir=home / "state",
        now=lambda: datetime.now(UTC),
        rebuild=rebuild,
        backends=replace(made, open_embedder=open_embedder),
    )
    seconds = time.monotonic() - begun
    assert out.status == "succeeded", out.message
    return {
        "run": seconds,
        "inside": sum(each.seconds for each in opened),
        "chunks": out.stats.total_chunks,
        "embedded": out.stats.chunks_embedded,
        "timings": out.timings,
    }


def added(home: Path) -> dict[str, Any]:
    """Chroma's own `add` of the rows that are in the store, 1,000 a call, into a collection beside them, as a rebuild has to."""
    import chromadb

    from pipesched.pipeline.stores import open_store

    store = open_store(str(home / "store"))
    rows = [row for page in store.pages("posts", vectors=True) for row in page]
    store.close()
    shutil.copytree(home / "store", home / "added")
    client = chromadb.PersistentClient(
        str(home / "added"), settings=chromadb.Settings(anonymized_telemetry=False)
    )
    collection = client.create_collection(
        "added", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    begun = time.monotonic()
    for start in range(0, len(rows), 1000):
        page = rows[start : start + 1000]
        collection.add(
            ids=[row.id for row in page],
            documents=[row.text for row in page],
            metadatas=[dict(row.metadata) for row in page],
            embeddings=[row.vector for row in page],
        )
    return {"run": time.monotonic() - begun, "chunks": len(rows)}


def child(arguments: list[str]) -> None:
    kind, home, free, rebuild = arguments[0], Path(arguments[1]), arguments[2] == "free", arguments[3] == "1"
    if kind == "ours":
        told = ours(home, free, rebuild)
    elif kind == "timed":
        told = timed(home, free, rebuild)
    else:
        told = added(home) if kind == "added" else plain(home, free)
    told["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(told), flush=True)
    os._exit(0)


def step(kind: str, home: Path, free: bool, *, rebuild: bool = False) -> dict[str, Any]:
    begun = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            __file__,
            "--child",
            kind,
            str(home),
            "free" if free else "model",
            str(int(rebuild)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return {"seconds": time.monotonic() - begun, **json.loads(done.stdout.splitlines()[-1])}


def steps(home: Path, count: int) -> list[tuple[str, Any, bool]]:
    posts = home / "posts"
    renamed = posts / "renamed.md"
    return [
        ("first build", lambda: [write(posts, number) for number in range(count)], False),
        ("no change", lambda: None, False),
        ("one post edited", lambda: write(posts, 3, edited=True), False),
        ("one post renamed", lambda: write(posts, 4).rename(renamed), False),
        ("one title edited", lambda: write(posts, 5, title="Another title"), False),
        ("rebuild through the cache", lambda: None, True),
    ]


def compare(count: int, *, free: bool) -> None:
    print(f"\n{count} posts, {'an embedder that costs nothing' if free else 'the packaged model'}")
    print(f"{'':28}{'pipesched':>32}{'plain upserts':>32}")
    print(f"{'':28}" + 2 * f"{'seconds':>12}{'embedded':>10}{'MB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name, prepare, rebuild in steps(home, count):
            prepare()
            time.sleep(2.1)  # a file that is younger may change once more unseen, and is read again
            told = step("ours", home, free, rebuild=rebuild)
            beside = step("plain", home, free)
            cells = "".join(
                f"{each['seconds']:>12.2f}{each['embedded']:>10}{each['peak']:>10}" for each in (told, beside)
            )
            print(f"{name:28}{cells}", flush=True)


def memory(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for number in range(count):
            write(home / "posts", number, parts=1)
        time.sleep(2.1)
        first = step("ours", home, True)
        again = step("ours", home, True)
        print(
            f"{count:>8} posts, {first['chunks']} chunks: first build {first['seconds']:.1f} s, {first['peak']} MB;"
            f" no change {again['seconds']:.2f} s, {again['peak']} MB; {first['timings']}",
            flush=True,
        )
        beside = step("plain", home, True)
        print(
            f"{'':8} plain upserts of the same chunks: {beside['seconds']:.1f} s, {beside['peak']} MB",
            flush=True,
        )


def rebuild_beside_add(count: int) -> None:
    """A rebuild that embeds nothing against Chroma's own add of the same rows, both without imports."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for number in range(count):
            write(home / "posts", number)
        step("ours", home, True)
        for _ in range(3):
            shutil.rmtree(home / "added", ignore_errors=True)
            chroma = step("added", home, True)
            rebuilt = step("timed", home, True, rebuild=True)
            assert rebuilt["embedded"] == 0
            assert rebuilt["chunks"] == chroma["chunks"]
            rate, of_chroma = (each["chunks"] / each["run"] for each in (rebuilt, chroma))
            print(
                f"{count:>8} posts, {chroma['chunks']} chunks: rebuild {rate:.0f} rows/s, Chroma's add {of_chroma:.0f} rows/s:"
                f" {rate / of_chroma:.0%}; {rebuilt['timings']}",
                flush=True,
            )


def overlap(count: int) -> None:
    """How much of a full build is spent inside the packaged model."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for number in range(count):
            write(home / "posts", number)
        told = step("timed", home, False)
        print(
            f"{count:>8} posts, {told['chunks']} chunks: {told['run']:.1f} s, inside the model {told['inside'] / told['run']:.1%};"
            f" {told['timings']}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--posts", type=int, default=1000)
    parser.add_argument("--model-posts", type=int, default=40)
    parser.add_argument("--memory", default="", help="numbers of posts, with commas")
    parser.add_argument("--rebuild", default="", help="numbers of posts, with commas")
    parser.add_argument("--overlap", default="", help="numbers of posts, with commas")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    if arguments.posts:
        compare(arguments.posts, free=True)
    if arguments.model_posts:
        compare(arguments.model_posts, free=False)
    for count in filter(None, arguments.memory.split(",")):
        memory(int(count))
    for count in filter(None, arguments.rebuild.split(",")):
        rebuild_beside_add(int(count))
    for count in filter(None, arguments.overlap.split(",")):
        overlap(int(count))


if __name__ == "__main__":
    main()
