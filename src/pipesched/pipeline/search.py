"""Ask a collection, with the model that made it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from pipesched.errors import CollectionNotOurs, ConfigurationError, InvalidValue
from pipesched.options import PipelineOptions
from pipesched.pipeline.backends import Backends
from pipesched.pipeline.canary import as_told, base
from pipesched.pipeline.model import METADATA_KEYS, CollectionInfo, Hit, VectorStore
from pipesched.pipeline.stores.mark import Mark
from pipesched.pipeline.stores.vendor_errors import no_collection

Value = str | int | float | bool

_NUMBERS: Final = frozenset({"content_length", "chunk_index", "chunk_count"})
_SHORT: Final = {"title": "post_title", "slug": "post_slug", "category": "categories"}


@dataclass(frozen=True, slots=True)
class Result:
    """One chunk; `score` is the cosine similarity of its text and the query."""

    score: float
    source: str
    url: str
    title: str
    chunk_index: int
    text: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Condition:
    """`key` has one of `values`: front matter may have given a number or a text, and either is meant."""

    key: str
    values: tuple[Value, ...]


def parse_where(conditions: Sequence[str]) -> list[Condition]:
    """Conditions from `key=value`. Raises InvalidValue for one that no chunk could ever fulfil."""
    found = []
    for text in conditions:
        key, equals, value = text.partition("=")
        key = _SHORT.get(key.strip(), key.strip())
        value = value.strip()
        if not equals or not key:
            raise InvalidValue(
                f"--where: {text!r} is no KEY=VALUE", hint="for example --where categories=linux"
            )
        if key not in METADATA_KEYS:
            near = difflib.get_close_matches(key, METADATA_KEYS, n=1)
            raise InvalidValue(
                f"--where: chunks have no {key}",
                hint=f"did you mean {near[0]}?" if near else "the keys: " + ", ".join(METADATA_KEYS),
            )
        found.append(Condition(key, _typed(key, value)))
    return found


def _typed(key: str, text: str) -> tuple[Value, ...]:
    if key == "published":
        word = text.lower()
        if word not in {"true", "false"}:
            raise InvalidValue(
                f"--where: published is true or false, not {text!r}", hint="--where published=true"
            )
        return (word == "true",)
    if key in _NUMBERS:
        try:
            return (int(text),)
        except ValueError:
            raise InvalidValue(f"--where: {key} is a number, not {text!r}", hint=f"--where {key}=0") from None
    if key != "reading_time":
        return (text,)
    values: list[Value] = [text]
    for number in (int, float):
        try:
            values.append(number(text))
            break
        except ValueError:
            continue
    return tuple(values)


def search(
    options: PipelineOptions,
    query: str,
    *,
    limit: int,
    where: Sequence[Condition] = (),
    backends: Backends | None = None,
) -> list[Result]:
    """The chunks nearest to `query`, best first.

    The collection says which model made it, and with what prefix it is asked; `--embedding-model` does not matter here.
    Raises NotFound (collection_not_found), CollectionNotOurs, ConfigurationError (model_changed), ServiceUnavailable.
    """
    if not query.strip():
        raise InvalidValue("the query is empty", hint='pipesched search "how do I ..."')
    backends = backends or Backends()

    def ask() -> list[Result]:
        return _search(options, query, limit=limit, where=where, backends=backends)

    if options.store_is_server:
        return ask()
    from pipesched.pipeline.stores.inspection import check_index
    from pipesched.pipeline.stores.isolation import isolated

    check_index(options.storage_path, options.collection_name)
    return isolated(ask, storage_path=options.storage_path)


def _search(
    options: PipelineOptions, query: str, *, limit: int, where: Sequence[Condition], backends: Backends
) -> list[Result]:
    store = backends.open_store(options.storage_path, create=False)
    try:
        info = find(store, options.collection_name)
        if info is None:
            raise no_collection(options.collection_name, options.storage_path)
        mark = Mark.from_metadata(info.metadata)
        if mark is None:
            raise CollectionNotOurs(
                f"the collection {info.name} was not made by pipesched, so that its model is not known",
                hint="name one of pipesched's with --collection-name",
            )
        if info.count == 0:
            return []
        spec = backends.identify(mark.model, recorded=as_told(mark.spec))
        if spec.fingerprint != base(mark.fingerprint):
            raise ConfigurationError(
                f"the collection {info.name} was made with another version of {mark.model} than there is now",
                hint="bring it up to date first: pipesched run",
                code="model_changed",
            )
        embedder = backends.open_embedder(spec)
        try:
            vector = embedder.embed_query(query)
        finally:
            embedder.close()
        hits: dict[str, Hit] = {}
        for condition in _combinations(where):
            for hit in store.query(
                info.name, vector, limit=limit if info.count < 0 else min(limit, info.count), where=condition
            ):
                hits[hit.record.id] = hit
    finally:
        store.close()
    best = sorted(hits.values(), key=lambda hit: (-hit.score, hit.record.id))[:limit]
    return [_result(hit) for hit in best]


def find(store: VectorStore, name: str) -> CollectionInfo | None:
    """The collection `name`; where a run died between the two renames of a swap, the generation that was to take its place."""
    info = store.find(name)
    if info is not None:
        return info
    generations = [
        (mark.generation, other)
        for other in store.collections()
        if other.name.startswith(f"{name}__g")
        and (mark := Mark.from_metadata(other.metadata)) is not None
        and not mark.filling
    ]
    return max(generations, key=lambda found: found[0])[1] if generations else None


def _combinations(where: Sequence[Condition]) -> list[Mapping[str, Value]]:
    found: list[dict[str, Value]] = [{}]
    for condition in where:
        found = [{**left, condition.key: value} for left in found for value in condition.values]
    return found  # type: ignore[return-value]  # a list of dicts is a list of mappings that nobody changes


def _result(hit: Hit) -> Result:
    metadata = hit.record.metadata
    index = metadata.get("chunk_index", 0)
    return Result(
        score=round(max(min(hit.score, 1.0), -1.0), 6),  # floats of 32 bits come out above 1
        source=str(metadata.get("source", "")),
        url=str(metadata.get("url", "")),
        title=str(metadata.get("post_title", "")),
        chunk_index=index if isinstance(index, int) else 0,
        text=hit.record.text,
    )
