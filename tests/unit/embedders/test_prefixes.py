"""The prefixes of models."""

import pytest

from pipesched.pipeline.embedders.prefixes import Prefixes, prefixes


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("snowflake-arctic-embed2", "query: ", ""),
        ("snowflake-arctic-embed2:568m-l-fp16", "query: ", ""),
        ("Snowflake-Arctic-Embed2:latest", "query: ", ""),
        ("snowflake-arctic-embed:335m", "Represent this sentence for searching relevant passages: ", ""),
        ("mxbai-embed-large", "Represent this sentence for searching relevant passages: ", ""),
        ("nomic-embed-text:v1.5", "search_query: ", "search_document: "),
        ("nomic-embed-text-v2-moe", "search_query: ", "search_document: "),
        ("registry.example.org:5000/someone/multilingual-e5-large:q8", "query: ", "passage: "),
        ("embeddinggemma:300m", "task: search result | query: ", "title: none | text: "),
        ("all-minilm", "", ""),
        ("bge-m3", "", ""),
        ("unknown", "", ""),
    ],
)
def test_a_model_gets_what_its_makers_want(name: str, query: str, document: str) -> None:
    assert prefixes(name) == Prefixes(query, document)
