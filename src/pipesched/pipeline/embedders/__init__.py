"""Text to vectors: one Protocol, several engines, chosen by the model's name (`onnx:NAME`, `ollama:NAME[:TAG]`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pipesched.errors import InvalidValue, PipeschedError
from pipesched.pipeline.model import ModelSpec, TokenCounter

if TYPE_CHECKING:
    from pipesched.pipeline.model import Embedder


def identify(model: str, *, recorded: ModelSpec | None = None, offline: bool = False) -> ModelSpec:
    """What `model` is now, cheaply: no import of onnxruntime or ollama, no weights read.

    An Ollama model costs one short GET, and where `recorded` is not what the server has, one or two questions more.
    `offline` asks nobody: `recorded` where it is of that model, else a spec whose fingerprint is "" and whose dimensions
    are 0 (unknown). Raises InvalidValue, ServiceUnavailable, ModelMissing.
    """
    engine, name = _engine(model)
    if engine == "onnx":
        from pipesched.pipeline.embedders import onnx

        if name != onnx.NAME:
            raise InvalidValue(
                f"there is no embedded model {name}", hint=f"the embedded model is onnx:{onnx.NAME}"
            )
        return onnx.spec()
    from pipesched.pipeline.embedders import ollama_api

    return ollama_api.identify(name, recorded=recorded, offline=offline)


def look(models: Collection[str]) -> dict[str, PipeschedError | None]:
    """What is wrong with those of `models` that have a server (None: nothing), asked within a second and without embedding."""
    names = {model: model.partition(":")[2] for model in models if model.startswith("ollama:")}
    if not names:
        return {}
    from pipesched.pipeline.embedders import ollama_api

    found = ollama_api.look(names.values())
    return {model: found[name] for model, name in names.items()}


def token_counter(spec: ModelSpec) -> TokenCounter:
    """Counts a text's tokens for `spec`: exactly for ONNX, an upper bound for Ollama (see ollama_api.most_tokens)."""
    if _engine(spec.model)[0] == "onnx":
        from pipesched.pipeline.embedders import onnx

        return onnx.count_tokens
    from pipesched.pipeline.embedders import ollama_api

    return ollama_api.most_tokens


def open_embedder(spec: ModelSpec) -> Embedder:
    """The embedder of `spec`, a context manager. Loads and connects at the first text."""
    if _engine(spec.model)[0] == "onnx":
        from pipesched.pipeline.embedders.onnx import OnnxEmbedder

        return OnnxEmbedder()
    from pipesched.pipeline.embedders.ollama import OllamaEmbedder

    return OllamaEmbedder(spec)


def _engine(model: str) -> tuple[str, str]:
    engine, _, name = model.partition(":")
    if engine not in {"onnx", "ollama"} or not name:
        raise InvalidValue(
            f"{model!r} names no embedding model",
            hint="onnx:all-MiniLM-L6-v2, or ollama:NAME such as ollama:snowflake-arctic-embed2",
        )
    return engine, name
