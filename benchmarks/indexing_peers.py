"""pipesched beside LangChain's index() and LlamaIndex's IngestionPipeline over the same posts: time, texts embedded, memory.

    python benchmarks/indexing_peers.py --with-peers [FOLDER] [--posts 1000] [--rounds 3]
    python benchmarks/indexing_peers.py --with-peers [FOLDER] --posts 10000 --only no-change

With --with-peers each peer is installed from its packages into an environment of its own (kept in FOLDER if one is given),
with the chromadb version that pipesched has; a peer that cannot be installed or imported is named and left out. Every
measurement is a whole process, imports included, with the same embedder that costs nothing and a Chroma folder of its own.
Steps but the first are done `--rounds` times, in turns, each with other posts; the table has the medians.

"pipesched" is its pipeline called as a library, since the command has no embedder that costs nothing; without changes no
embedder is needed, and it is the command `pipesched run` as users start it.
"""

import argparse
import hashlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

DIMENSIONS: Final = 384
CHUNK_SIZE: Final = 1000
CHUNK_OVERLAP: Final = 200
ROWS_A_CALL: Final = 500
"""What suits Chroma best; both peers are given it, and do worse with their defaults."""

FOLDERS: Final = 20
EDITED_EACH: Final = 100
"""One post of this many is edited in each round."""

SETTLED_SECONDS: Final = 2.1
"""pipesched hashes a file again that changed less than two seconds before it looked."""

ALONE: Final = "Chroma alone"
"""Not a peer: what nobody who uses Chroma can be faster than."""

MODEL: Final = "onnx:all-MiniLM-L6-v2"
PIPESCHED: Final = str(Path(sys.executable).with_name("pipesched"))
REFERENCE: Final = "import typer, rich.table; from pydantic import BaseModel"
WALK: Final = """
import os, sys
pending = [sys.argv[1]]
while pending:
    with os.scandir(pending.pop()) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            else:
                entry.stat(follow_symlinks=False)
"""
PEERS: Final = {
    # SQLAlchemy 2.1 leaves greenlet to those who use it, and the record manager does.
    "LangChain": (
        "langchain-core",
        "langchain-chroma",
        "langchain-text-splitters",
        "langchain-community",
        "greenlet",
    ),
    "LlamaIndex": ("llama-index-core", "llama-index-vector-stores-chroma"),
}

# The posts.

_NOUNS = (
    "oven dough crust flour loaf kitchen garden tomato seedling window river bridge station ticket train evening letter"
    " notebook server release deploy branch commit review test queue socket timeout cache index vector query document"
    " heading paragraph photograph lens shutter harbour market village mountain valley path bicycle wheel repair budget"
)
_VERBS = (
    "keeps needs changes holds moves breaks shows makes finds leaves takes brings turns writes reads builds"
)
_ADJECTIVES = "quiet slow plain careful early late broken simple small bright heavy dry warm old new patient"
NOUNS, VERBS, ADJECTIVES = _NOUNS.split(), _VERBS.split(), _ADJECTIVES.split()
LINKS = (
    "for a week",
    "in the end",
    "without a plan",
    "as the notes say",
    "by hand",
    "before noon",
    "once more",
)


def sentence(chance: random.Random) -> str:
    words = [
        "The",
        chance.choice(ADJECTIVES),
        chance.choice(NOUNS),
        chance.choice(VERBS),
        "the",
        chance.choice(NOUNS),
        chance.choice(LINKS),
    ]
    if chance.random() < 0.4:
        words += ["and", "a", chance.choice(NOUNS), chance.choice(VERBS), "every", chance.choice(NOUNS)]
    if chance.random() < 0.1:
        words += [f"([see]({chance.choice(NOUNS)}-{chance.randrange(100)}.md))"]
    return " ".join(words) + "."


def section(chance: random.Random) -> Iterator[str]:
    yield f"## {chance.choice(ADJECTIVES).capitalize()} {chance.choice(NOUNS)} {chance.randrange(1000)}"
    for _ in range(chance.randint(1, 3)):
        yield " ".join(sentence(chance) for _ in range(chance.randint(3, 7)))
    if chance.random() < 0.3:
        yield "\n".join(f"- {sentence(chance)}" for _ in range(chance.randint(3, 5)))
    if chance.random() < 0.2:
        calls = (f"    {chance.choice(VERBS)}_{chance.choice(NOUNS)}()" for _ in range(3))
        yield "\n".join(["```python", f"def {chance.choice(NOUNS)}():", *calls, "```"])


def post(number: int) -> str:
    """About 4 KB of Markdown with front matter, the same for a number always."""
    chance = random.Random(number)
    blocks = [block for _ in range(chance.randint(3, 9)) for block in section(chance)]
    written = date(2016, 1, 1) + timedelta(days=number % 3000)
    return "\n".join(
        (
            "---",
            f"title: Post {number} on the {chance.choice(ADJECTIVES)} {chance.choice(NOUNS)}",
            f"date: {written}",
            f"tags: [{chance.choice(NOUNS)}, {chance.choice(NOUNS)}]",
            f"description: {sentence(chance)}".replace("[see]", "see"),
            "---",
            "",
            "\n\n".join(blocks),
            "",
        )
    )


def write_posts(posts: Path, count: int) -> None:
    for number in range(count):
        path = posts / f"series-{number % FOLDERS:02}" / f"post-{number:06}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(post(number))


def edit(posts: Path, round_number: int) -> None:
    """One sentence in a paragraph in the middle of each hundredth post, other posts in each round."""
    for path in sorted(posts.rglob("*.md")):
        number = int(path.stem.removeprefix("post-"))
        if number % EDITED_EACH != round_number:
            continue
        blocks = path.read_text().split("\n\n")
        paragraphs = [at for at, block in enumerate(blocks) if block.startswith("The ")]
        at = paragraphs[len(paragraphs) // 2]
        first, _, rest = blocks[at].partition(". ")
        blocks[at] = f"{first}. This sentence was put in later, in round {round_number}. {rest}"
        path.write_text("\n\n".join(blocks))


def rename(posts: Path, round_number: int) -> None:
    (posts / f"series-{round_number:02}").rename(posts / f"renamed-{round_number:02}")


# The embedder, and what uses it. This part runs in the peers' environments too: nothing of pipesched at the top.


class Free:
    """Texts to unit vectors by their hash; counts them."""

    def __init__(self, spec: Any = None) -> None:
        self.spec = spec
        self.embedded = 0

    def embed(self, texts: Sequence[str]) -> list[Any]:
        import numpy as np

        self.embedded += len(texts)
        drawn = b"".join(hashlib.shake_128(text.encode()).digest(DIMENSIONS) for text in texts)
        values = np.frombuffer(drawn, dtype=np.uint8).reshape(len(texts), DIMENSIONS)
        values = values.astype(np.float32) - np.float32(127.5)
        return list(values / np.linalg.norm(values, axis=1, keepdims=True))

    def lists(self, texts: Sequence[str]) -> list[list[float]]:
        """As the peers want them."""
        return [vector.tolist() for vector in self.embed(texts)] if texts else []

    def close(self) -> None: ...


FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)


def parsed(posts: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Each post's path, text and metadata, with the fastest YAML parser, as a short script of one's own would."""
    import yaml

    for path in sorted(posts.rglob("*.md")):
        match = FRONT_MATTER.match(path.read_text(encoding="utf-8"))
        assert match
        head = yaml.load(match[1], Loader=yaml.CSafeLoader)
        source = path.relative_to(posts).as_posix()
        yield (
            source,
            match[2].strip(),
            {
                "source": source,
                "title": head["title"],
                "date": str(head["date"]),
                "tags": ", ".join(head["tags"]),
                "description": head["description"],
            },
        )


def chroma(folder: Path) -> Any:
    import chromadb

    return chromadb.PersistentClient(
        str(folder / "store"), settings=chromadb.Settings(anonymized_telemetry=False)
    )


COSINE: Final = {"hnsw": {"space": "cosine"}}


def langchain(posts: Path, folder: Path) -> dict[str, int]:
    """index() with "full" cleanup: what the folder has not any more goes; a chunk is known by its text and metadata."""
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_chroma import Chroma

    # Its own import costs 1 s less than langchain_classic's, which has the same class.
    from langchain_community.indexes._sql_record_manager import SQLRecordManager
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.indexing import index
    from langchain_text_splitters import MarkdownTextSplitter

    free = Free()

    class Embedding(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return free.lists(texts)

        def embed_query(self, text: str) -> list[float]:
            return free.lists([text])[0]

    folder.mkdir(parents=True, exist_ok=True)
    store = Chroma("posts", Embedding(), client=chroma(folder), collection_configuration=COSINE)
    records = SQLRecordManager("posts", db_url=f"sqlite:///{folder / 'records.sqlite3'}")
    records.create_schema()
    splitter = MarkdownTextSplitter(chunk_size=CHUNK_SIZE, chunk_overlap=CHUNK_OVERLAP)
    documents = [Document(text, metadata=metadata) for _, text, metadata in parsed(posts)]
    index(
        splitter.split_documents(documents),
        records,
        store,
        cleanup="full",
        source_id_key="source",
        batch_size=ROWS_A_CALL,
        key_encoder="blake2b",
    )
    return {"embedded": free.embedded, "rows": chroma(folder).get_collection("posts").count()}


def llamaindex(posts: Path, folder: Path) -> dict[str, int]:
    """IngestionPipeline with a docstore and "upserts and delete"; without its cache, which would be written out each time."""
    from llama_index.core.embeddings import BaseEmbedding
    from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.core.schema import Document
    from llama_index.core.storage.docstore import SimpleDocumentStore
    from llama_index.vector_stores.chroma import ChromaVectorStore

    free = Free()

    class Embedding(BaseEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            return free.lists([text])[0]

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return free.lists(texts)

        _get_query_embedding = _get_text_embedding

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

    class Store(ChromaVectorStore):
        def add(self, nodes: Sequence[Any], **rest: Any) -> list[str]:
            """In calls that Chroma takes: by itself it sends up to 41,665 rows, and Chroma takes 5,461."""
            slices = (nodes[at : at + ROWS_A_CALL] for at in range(0, len(nodes), ROWS_A_CALL))
            return [row for part in slices for row in super(Store, self).add(list(part), **rest)]

    client = chroma(folder)
    collection = client.get_or_create_collection("posts", embedding_function=None, configuration=COSINE)
    kept = folder / "docstore.json"
    docstore = SimpleDocumentStore.from_persist_path(str(kept)) if kept.exists() else SimpleDocumentStore()
    pipeline = IngestionPipeline(
        transformations=[
            # Length in characters, so that its chunks are as long as the others'.
            SentenceSplitter(chunk_size=CHUNK_SIZE, chunk_overlap=CHUNK_OVERLAP, tokenizer=lambda text: text),
            Embedding(embed_batch_size=ROWS_A_CALL),
        ],
        docstore=docstore,
        vector_store=Store(chroma_collection=collection),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
        disable_cache=True,
    )
    pipeline.run(
        documents=[
            Document(
                text=text,
                id_=source,
                metadata=metadata,
                # Only the text is embedded, as by the others.
                excluded_embed_metadata_keys=list(metadata),
                excluded_llm_metadata_keys=list(metadata),
            )
            for source, text, metadata in parsed(posts)
        ]
    )
    docstore.persist(str(kept))
    return {"embedded": free.embedded, "rows": collection.count()}


def pipesched(posts: Path, folder: Path) -> dict[str, int]:
    """The pipeline as the packaged model's would be, but for the vectors (and the tokens, which the peers do not count)."""
    from dataclasses import replace

    from pipesched.options import PipelineOptions
    from pipesched.pipeline.backends import Backends
    from pipesched.pipeline.run import run

    opened: list[Free] = []

    def open_free(spec: Any) -> Any:
        opened.append(Free(spec))
        return opened[-1]

    out = run(
        replace(
            PipelineOptions(),
            data_dir=str(posts),
            storage_path=str(folder / "store"),
            collection_name="posts",
            embedding_model=MODEL,
            chunk_size=CHUNK_SIZE,
            chunk_overlap=CHUNK_OVERLAP,
        ),
        index_dir=folder / "state" / "index",
        now=lambda: datetime.now(UTC),
        backends=Backends(open_embedder=open_free, token_counter=lambda _: lambda text: len(text) // 5),
    )
    assert out.status == "succeeded", out.message
    return {"embedded": sum(free.embedded for free in opened), "rows": out.stats.total_chunks}


def chroma_alone(posts: Path, folder: Path) -> dict[str, int]:
    """As little as can be done with Chroma: no record of anything, pieces of fixed length, ids known beforehand.

    The first time all rows; then one row for each post that a step may have touched: a hundredth of them.
    """
    free = Free()
    collection = chroma(folder).get_or_create_collection(
        "posts", embedding_function=None, configuration=COSINE
    )
    first = collection.count() == 0
    rows: list[tuple[str, str, dict[str, str]]] = []
    for number, (source, text, metadata) in enumerate(parsed(posts)):
        if first:
            cuts = range(0, len(text), CHUNK_SIZE - CHUNK_OVERLAP)
            rows += [(f"{source}#{at}", text[at : at + CHUNK_SIZE], metadata) for at in cuts]
        elif number % EDITED_EACH == 0:
            rows.append((f"{source}#0", text[:CHUNK_SIZE], metadata))
    for at in range(0, len(rows), ROWS_A_CALL):
        ids, texts, metadatas = (list(column) for column in zip(*rows[at : at + ROWS_A_CALL], strict=True))
        write = collection.add if first else collection.upsert
        write(ids=ids, documents=texts, metadatas=metadatas, embeddings=free.embed(texts))
    return {"embedded": free.embedded, "rows": collection.count()}


CHILDREN: Final[dict[str, Callable[[Path, Path], dict[str, int]]]] = {
    "pipesched": pipesched,
    "LangChain": langchain,
    "LlamaIndex": llamaindex,
    ALONE: chroma_alone,
}

# The measurement.


@dataclass(frozen=True)
class Measured:
    """One process: seconds of wall and of processor time, megabytes of peak memory, and what it told."""

    seconds: float
    cpu: float
    megabytes: float
    told: dict[str, Any] = field(default_factory=dict)


class ChildFailed(Exception):
    """The last thing that it said."""


def environment() -> dict[str, str]:
    """Without what would steer one of them, or have bytecode compiled anew at each start; nobody reports anything."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PIPESCHED_", "PYTHON"))}
    return env | {
        "ANONYMIZED_TELEMETRY": "False",
        "LANGSMITH_TRACING": "false",
        "LANGCHAIN_TRACING_V2": "false",
        "DO_NOT_TRACK": "1",
    }


def measure(command: Sequence[str]) -> Measured:
    """The process waited for by itself, so that the memory is its own."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment()
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            lines = err.read().strip().splitlines()
            raise ChildFailed(lines[-1] if lines else f"exit code {process.returncode}")
        lines = out.read().strip().splitlines()
    return Measured(
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        json.loads(lines[-1]) if lines else {},
    )


@dataclass(frozen=True)
class Contender:
    name: str
    python: str

    def run(self, home: Path) -> Measured:
        return measure(
            [self.python, __file__, "--child", self.name, str(home / "posts"), str(home / self.name)]
        )

    def run_unchanged(self, home: Path) -> Measured:
        if self.name != "pipesched":
            return self.run(home)
        folder = home / self.name
        return measure(
            [
                PIPESCHED,
                *("--file", str(folder / "schedules.json"), "--state-dir", str(folder / "state")),
                *("--output-dir", str(folder / "output"), "run", "--data-dir", str(home / "posts")),
                *("--storage-path", str(folder / "store"), "--collection-name", "posts"),
                *("--chunk-size", str(CHUNK_SIZE), "--chunk-overlap", str(CHUNK_OVERLAP), "--json"),
            ]
        )


def unchanged_told(found: Measured) -> dict[str, Any]:
    """The command's document in the words of the children."""
    stats = found.told.get("stats")
    if stats is None:
        return found.told
    assert stats["unchanged_documents"] == stats["total_documents"], stats
    return {"embedded": stats["chunks_embedded"], "rows": stats["total_chunks"]}


def child(name: str, posts: str, folder: str) -> None:
    told: dict[str, Any] = dict(CHILDREN[name](Path(posts), Path(folder)))
    told["versions"] = {}
    for package in (name.lower(), *PEERS.get(name, ()), "chromadb"):
        try:
            told["versions"][package] = version(package)
        except PackageNotFoundError:
            continue
    print(json.dumps(told), flush=True)


def installed(name: str, folder: Path) -> Contender | str:
    """The peer in an environment below `folder`, or why there is none."""
    home = folder / name
    python = home / "bin" / "python"
    if not python.exists():
        print(f"installing {name}...", file=sys.stderr)
        venv.create(home, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, f"chromadb=={version('chromadb')}", *PEERS[name]],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), "pip failed")
    return Contender(name, str(python))


STEPS: Final[dict[str, Callable[[Path, int], None] | None]] = {
    "no-change": None,
    "edit": edit,
    "rename": rename,
}
TITLES: Final = {
    "build": "full build",
    "no-change": "run without change",
    "edit": "a sentence in 1% of the posts",
    "rename": "a folder renamed",
}
POINTLESS: Final = {(ALONE, "no-change"), (ALONE, "rename")}
Results = dict[tuple[str, str], list[Measured]]


def run_steps(
    contenders: list[Contender], home: Path, count: int, rounds: int, only: Sequence[str]
) -> tuple[Results, dict[str, str]]:
    """What was measured by (step, contender), and who failed, with the reason."""
    results: Results = {}
    failed: dict[str, str] = {}

    def each(step: str, turn: int, call: Callable[[Contender], Measured]) -> None:
        standing = [
            contender
            for contender in contenders
            if contender.name not in failed and (contender.name, step) not in POINTLESS
        ]
        for at in range(len(standing)):
            contender = standing[(at + turn) % len(standing)]
            try:
                found = call(contender)
            except ChildFailed as error:
                failed[contender.name] = f"{TITLES[step]}: {error}"
                continue
            results.setdefault((step, contender.name), []).append(found)
            told = f"{found.seconds:.2f} s, {found.megabytes:.0f} MB"
            print(f"{TITLES[step]}, {contender.name}: {told}", file=sys.stderr)

    write_posts(home / "posts", count)
    time.sleep(SETTLED_SECONDS)
    each("build", 0, lambda contender: contender.run(home))
    for step in only:
        change = STEPS[step]
        for turn in range(rounds):
            if change is None:
                each(step, turn, lambda contender: contender.run_unchanged(home))
                for name, code in (("walk + stat", WALK), ("the imports", REFERENCE)):
                    found = measure([sys.executable, "-c", code, str(home / "posts")])
                    results.setdefault((step, name), []).append(found)
            else:
                change(home / "posts", turn)
                time.sleep(SETTLED_SECONDS)
                each(step, turn, lambda contender: contender.run(home))
    return results, failed


def print_table(results: Results) -> None:
    print(
        f"{'step':<30} {'':<14} {'seconds':>8} {'(least)':>8} {'ratio':>6} {'cpu s':>6} {'embedded':>9} {'rows':>8} {'MB':>6}"
    )
    for (step, name), found in results.items():
        seconds = statistics.median(each.seconds for each in found)
        ours = statistics.median(each.seconds for each in results[step, "pipesched"])
        told = unchanged_told(found[-1])
        print(
            f"{TITLES[step]:<30} {name:<14} {seconds:>8.2f} {min(each.seconds for each in found):>8.3f}"
            f" {seconds / ours:>6.2f} {statistics.median(each.cpu for each in found):>6.2f} {told.get('embedded', ''):>9} {told.get('rows', ''):>8}"
            f" {max(each.megabytes for each in found):>6.0f}"
        )


def print_target(results: Results) -> None:
    """A run without change against the time to import what the command line stands on and to look at every file."""
    least = {
        name: min(each.seconds for each in found)
        for (step, name), found in results.items()
        if step == "no-change"
    }
    if not least:
        return
    allowed = least["the imports"] + 3 * least["walk + stat"]
    print(
        f"\nwithout change (least): {least['pipesched'] * 1e3:.0f} ms; the imports + 3 times walk + stat:"
        f" {allowed * 1e3:.0f} ms"
    )
    timings = min(results["no-change", "pipesched"], key=lambda each: each.seconds).told["timings"]
    print("of that, in its steps:", ", ".join(f"{name} {s * 1e3:.0f} ms" for name, s in timings.items()))
    if peers := [least[name] for name in PEERS if name in least]:
        print(f"the fastest peer takes {min(peers) / least['pipesched']:.1f} times as long; the target is 50")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--posts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", choices=STEPS, action="append", help="after the full build; may be given again"
    )
    parser.add_argument("--with-peers", nargs="?", const="", metavar="FOLDER")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    if not 1 <= arguments.rounds <= FOLDERS:
        parser.error(f"--rounds: 1 to {FOLDERS}, since each renames another folder")
    only = arguments.only or list(STEPS)
    contenders = [Contender("pipesched", sys.executable)]
    if "edit" in only:
        contenders.append(Contender(ALONE, sys.executable))
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        if arguments.with_peers is not None:
            for peer in PEERS:
                found = installed(peer, Path(arguments.with_peers or home / "peers").absolute())
                if isinstance(found, str):
                    skipped[peer] = found
                else:
                    contenders.append(found)
        before = os.getloadavg()[0]
        results, failed = run_steps(contenders, home, arguments.posts, arguments.rounds, only)
    versions: dict[str, str] = {}
    for found in results.values():
        versions |= found[0].told.get("versions", {})
    print(f"{arguments.posts} posts, {arguments.rounds} rounds; load {before:.1f} before,", end=" ")
    print(f"{os.getloadavg()[0]:.1f} after, of {os.cpu_count()} cores; {datetime.now(UTC):%Y-%m-%d}")
    print(", ".join(f"{package} {number}" for package, number in versions.items()) + "\n")
    print_table(results)
    print_target(results)
    for peer, reason in (skipped | failed).items():
        print(f"\n{peer} left out: {reason}")


if __name__ == "__main__":
    main()
