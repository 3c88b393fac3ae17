"""The manifest of one collection: what was put into it, from which files, and what a run was about to do."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from pipesched.options import is_server
from pipesched.pipeline.database import Database
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.mode import Generation, GenerationState
from pipesched.pipeline.plan import RecordedFile
from pipesched.pipeline.rows import UNKNOWN, Row
from pipesched.pipeline.stores import Probe
from pipesched.report import LengthStatistics

MIGRATIONS: Final = (
    """
    CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE generations (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        uuid TEXT NOT NULL,
        state TEXT NOT NULL,
        settings TEXT NOT NULL,
        data_dir TEXT NOT NULL,
        pattern TEXT NOT NULL,
        documents TEXT NOT NULL,
        mode TEXT NOT NULL,
        reason TEXT NOT NULL,
        fresh_after INTEGER,
        since TEXT NOT NULL
    );
    CREATE TABLE files (
        generation INTEGER NOT NULL,
        source TEXT NOT NULL,
        stamp TEXT NOT NULL,
        mtime INTEGER NOT NULL,
        raw_hash TEXT NOT NULL,
        parse TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        chunks INTEGER NOT NULL,
        characters INTEGER NOT NULL,
        PRIMARY KEY (generation, source)
    ) WITHOUT ROWID;
    CREATE TABLE chunks (
        generation INTEGER NOT NULL,
        id TEXT NOT NULL,
        source TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        text_hash BLOB NOT NULL,
        metadata_hash TEXT NOT NULL,
        PRIMARY KEY (generation, id)
    ) WITHOUT ROWID;
    CREATE INDEX chunks_by_source ON chunks (generation, source);
    CREATE INDEX chunks_by_text ON chunks (generation, text_hash);
    CREATE TABLE intents (
        generation INTEGER NOT NULL,
        source TEXT NOT NULL,
        rows TEXT NOT NULL,
        PRIMARY KEY (generation, source)
    ) WITHOUT ROWID
    """,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A document as it is now in the collection: its file's record and its rows; no rows for one that is left out."""

    file: RecordedFile
    rows: Sequence[Row]
    characters: int


def manifest_path(index_dir: Path, storage_path: str, collection: str) -> Path:
    """One file for each collection of each store, by the store's resolved path."""
    where = storage_path if is_server(storage_path) else os.path.realpath(storage_path)
    digest = hashlib.sha256(f"{where}\n{collection}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return index_dir / f"{re.sub(r'[^A-Za-z0-9_-]', '_', collection)[:60]}-{digest}.sqlite3"


class Manifest:
    """All of it for one open file; what is committed is durable."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(cls, path: Path) -> Self:
        return cls(Database.open(path, MIGRATIONS))

    @classmethod
    def copy(cls, path: Path) -> Self:
        """A copy in memory, to be read and written without a trace; an empty one where there is no file."""
        return cls(Database.copy(path, MIGRATIONS))

    def close(self) -> None:
        self.database.close()

    # what is known of the collection as a whole

    def get(self, key: str) -> Any:
        found = self.database.rows("SELECT value FROM state WHERE key = ?", (key,))
        return json.loads(found[0][0]) if found else None

    def put(self, key: str, value: Any) -> None:
        """None removes the key."""
        if value is None:
            self.database.execute("DELETE FROM state WHERE key = ?", (key,))
        else:
            self.database.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, json.dumps(value)))

    def probe(self) -> Probe | None:
        """What the store looked like when the last run left it."""
        found = self.get("probe")
        return Probe(**found) if found else None

    def put_probe(self, probe: Probe | None) -> None:
        self.put("probe", probe and asdict(probe))

    def put_place(self, storage_path: str, collection: str) -> None:
        """Which collection this manifest is of: its file's name has only a hash of it."""
        place = [storage_path if is_server(storage_path) else os.path.realpath(storage_path), collection]
        if self.get("place") != place:
            self.put("place", place)

    def place(self) -> tuple[str, str] | None:
        """The store's resolved path or URL, and the collection; None in a manifest that no run has written to since it is noted."""
        found = self.get("place")
        return (str(found[0]), str(found[1])) if found else None

    # generations

    def generations(self, state: GenerationState | None = None) -> list[Generation]:
        columns = [field.name for field in fields(Generation)]
        found = []
        for row in self.database.rows(f"SELECT {', '.join(columns)} FROM generations ORDER BY number"):  # noqa: S608  constants
            values = dict(zip(columns, row, strict=True))
            values["settings"] = IndexSettings.from_json(values["settings"])
            found.append(Generation(**values))
        return [generation for generation in found if state in (None, generation.state)]

    def generation(self, state: GenerationState) -> Generation | None:
        found = self.generations(state)
        return found[-1] if found else None

    def put_generation(self, generation: Generation) -> Generation:
        values = [
            (value.to_json() if value else "") if name == "settings" else value
            for name, value in ((name, getattr(generation, name)) for name in generation.__slots__)
        ]
        self.database.execute(
            f"INSERT OR REPLACE INTO generations VALUES ({','.join('?' * len(values))})",  # noqa: S608  question marks
            values,
        )
        return generation

    def forget_generation(self, number: int) -> None:
        """The generation and all that is recorded of it, in the caller's transaction if there is one."""
        self.clear(number)
        self.database.execute("DELETE FROM generations WHERE number = ?", (number,))

    def clear(self, number: int) -> None:
        for table in ("files", "chunks", "intents"):
            self.database.execute(f"DELETE FROM {table} WHERE generation = ?", (number,))  # noqa: S608  constants

    # documents

    def files(self, generation: int) -> dict[str, RecordedFile]:
        rows = self.database.stream(
            "SELECT source, stamp, mtime, raw_hash, parse, state, reason, chunks FROM files WHERE generation = ?",
            (generation,),
        )
        return {row[0]: RecordedFile._make(row) for row in rows}

    def pending(self, generation: int) -> list[str]:
        """The documents that a dead run had begun to put in."""
        sql = "SELECT source FROM files WHERE generation = ? AND state = 'pending'"
        return [row[0] for row in self.database.rows(sql, (generation,))]

    def rows_of(self, generation: int, sources: Sequence[str]) -> dict[str, dict[str, str]]:
        """The metadata hash of each recorded row by id, by source."""
        found: dict[str, dict[str, str]] = {source: {} for source in sources}
        sql = "SELECT source, id, metadata_hash FROM chunks WHERE generation = ? AND source IN"
        for source, row, known in self.database.rows_in(sql, (generation,), sources):
            found[source][row] = known
        return found

    def hashes_of(self, generation: int, ids: Sequence[str]) -> dict[str, tuple[bytes, str]]:
        """The hashes of text and metadata of those of `ids` that are recorded."""
        sql = "SELECT id, text_hash, metadata_hash FROM chunks WHERE generation = ? AND id IN"
        rows = self.database.rows_in(sql, (generation,), ids)
        return {row: (text, metadata) for row, text, metadata in rows}

    def rows_with_text(self, generation: int, texts: Sequence[bytes]) -> dict[bytes, str]:
        """For each of the text hashes, the id of a row that has it and is known to be whole."""
        # Left to itself, SQLite reads the whole generation.
        sql = (
            "SELECT text_hash, id FROM chunks INDEXED BY chunks_by_text"
            " WHERE generation = ? AND metadata_hash != ? AND text_hash IN"
        )
        return dict(self.database.rows_in(sql, (generation, UNKNOWN), texts))

    def restamp(self, generation: int, stamps: Iterable[tuple[str, str]]) -> None:
        """Record (source, stamp) of files whose content is the same."""
        with self.database.transaction():
            self.database.execute_many(
                "UPDATE files SET stamp = ?2 WHERE generation = ?3 AND source = ?1",
                [(source, stamp, generation) for source, stamp in stamps],
            )

    def intend(self, generation: int, rows: Mapping[str, Sequence[str]]) -> None:
        """Before the store is touched: the ids that may be in it from now on, by source."""
        with self.database.transaction():
            self.database.execute_many(
                "INSERT OR REPLACE INTO intents VALUES (?, ?, ?)",
                [(generation, source, json.dumps(list(ids))) for source, ids in rows.items()],
            )

    def commit(self, generation: int, entries: Sequence[Entry], removed: Sequence[str]) -> None:
        """After the store has them: the new state of these documents, and their intents are done."""
        gone = [(generation, source) for source in (*removed, *(entry.file.source for entry in entries))]
        with self.database.transaction():
            self.database.execute_many("DELETE FROM chunks WHERE generation = ? AND source = ?", gone)
            self.database.execute_many("DELETE FROM intents WHERE generation = ? AND source = ?", gone)
            self.database.execute_many(
                "DELETE FROM files WHERE generation = ? AND source = ?", gone[: len(removed)]
            )
            self.database.execute_many(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(generation, *entry.file, entry.characters) for entry in entries],
            )
            self.database.execute_many(
                "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (generation, row.id, row.source, row.ordinal, row.text_hash, row.metadata_hash)
                    for entry in entries
                    for row in entry.rows
                ],
            )

    def recover(self, generation: int) -> int:
        """Take open intents for what they are: documents of whose rows nobody knows which are in the collection.

        Old and new rows are recorded as unknown, so that the plan writes what is wanted and drops the rest. Returns how many
        documents there were.
        """
        intents = self.database.rows("SELECT source, rows FROM intents WHERE generation = ?", (generation,))
        if not intents:
            return 0
        with self.database.transaction():
            for source, rows in intents:
                self.database.execute(
                    "INSERT OR IGNORE INTO files VALUES (?, ?, '', 0, '', '', 'pending', '', 0, 0)",
                    (generation, source),
                )
                self.database.execute_many(
                    "INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, 0, x'', '')",
                    [(generation, row, source) for row in json.loads(rows)],
                )
                self._unknown(generation, source)
            self.database.execute("DELETE FROM intents WHERE generation = ?", (generation,))
        return len(intents)

    def _unknown(self, generation: int, source: str) -> None:
        self.database.execute(
            "UPDATE chunks SET metadata_hash = ? WHERE generation = ? AND source = ?",
            (UNKNOWN, generation, source),
        )
        self.database.execute(
            "UPDATE files SET stamp = '', parse = '' WHERE generation = ? AND source = ?",
            (generation, source),
        )

    def has_intents(self) -> bool:
        return bool(self.database.rows("SELECT 1 FROM intents LIMIT 1"))

    # counts

    def counts(self, generation: int) -> tuple[int, int]:
        """Indexed documents, and their chunks."""
        row = self.database.rows(
            "SELECT count(*), coalesce(sum(chunks), 0) FROM files WHERE generation = ? AND state = 'indexed'",
            (generation,),
        )[0]
        return int(row[0]), int(row[1])

    def differences(self, old: int | None, new: int) -> tuple[int, int, int]:
        """Chunks of generation `new` that `old` lacks, that it has with other metadata, and that only `old` has."""

        def count(sql: str) -> int:
            return int(self.database.rows(f"SELECT count(*) FROM {sql}", {"old": old, "new": new})[0][0])  # noqa: S608  constants

        both = "chunks a JOIN chunks b ON a.id = b.id AND b.generation = :new WHERE a.generation = :old"
        shared = count(both)
        return (
            count("chunks WHERE generation = :new") - shared,
            count(f"{both} AND a.metadata_hash != b.metadata_hash"),
            count("chunks WHERE generation = :old") - shared,
        )

    def lengths(self, generation: int) -> LengthStatistics:
        row = self.database.rows(
            "SELECT count(*), coalesce(sum(characters), 0), coalesce(min(characters), 0), coalesce(max(characters), 0)"
            " FROM files WHERE generation = ? AND state = 'indexed'",
            (generation,),
        )[0]
        return LengthStatistics(
            total_documents=row[0],
            total_characters=row[1],
            min_length=row[2],
            max_length=row[3],
            avg_length=round(row[1] / row[0], 1) if row[0] else 0.0,
        )
