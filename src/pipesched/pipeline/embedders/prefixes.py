"""What the model's makers want before a query and before a document, by the model's name at Ollama."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Prefixes:
    query: str = ""
    document: str = ""


_PASSAGES: Final = Prefixes("Represent this sentence for searching relevant passages: ")
_NOMIC: Final = Prefixes("search_query: ", "search_document: ")
_E5: Final = Prefixes("query: ", "passage: ")

# As documented for each model by its makers or by what serves it. The longest name that a model's name starts with counts.
_KNOWN: Final = {
    "snowflake-arctic-embed2": Prefixes("query: "),
    "snowflake-arctic-embed": _PASSAGES,
    "mxbai-embed-large": _PASSAGES,
    "bge-m3": Prefixes(),
    "bge-small-en": _PASSAGES,
    "bge-base-en": _PASSAGES,
    "bge-large-en": _PASSAGES,
    "nomic-embed-text": _NOMIC,
    "embeddinggemma": Prefixes("task: search result | query: ", "title: none | text: "),
    "qwen3-embedding": Prefixes(
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
    ),
    "multilingual-e5": _E5,
    "e5-": _E5,
}


def prefixes(name: str) -> Prefixes:
    """Those of `name`, without its namespace and tag; none for a model that is not known."""
    base = name.rpartition("/")[2].partition(":")[0].lower()
    known = max((key for key in _KNOWN if base.startswith(key)), key=len, default=None)
    return _KNOWN[known] if known else Prefixes()
