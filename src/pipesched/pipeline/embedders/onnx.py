"""The embedded model: all-MiniLM-L6-v2 on onnxruntime, exact and reproducible."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from pipesched.errors import ServiceUnavailable
from pipesched.pipeline.embedders import weights
from pipesched.pipeline.embedders.pieces import token_cuts
from pipesched.pipeline.embedders.vectors import unencodable, unit, weighted_mean
from pipesched.pipeline.model import EmbeddingFailure, ModelSpec

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Encoding

    from pipesched.pipeline.model import Vector

logger = logging.getLogger(__name__)

NAME: Final = "all-MiniLM-L6-v2"
DIMENSIONS: Final = 384
WINDOW: Final = 256
"""The model's own limit (sentence-transformers' max_seq_length), its two special tokens included."""

MAX_TOKENS: Final = WINDOW - 2
CODE_VERSION: Final = 1
"""Goes up whenever cutting, pooling or normalising change a vector; the files' hashes speak for themselves."""

BATCH_TOKENS: Final = 512
"""Tokens of one call of the model. More make it slower, not faster: the activations fall out of the CPU's cache."""

SLICE: Final = 1024
"""Texts whose tokens are held at a time."""


def spec() -> ModelSpec:
    """The model's constants; reads no file."""
    parts = (weights.WEIGHTS_SHA256, weights.TOKENIZER_SHA256, weights.GRAPH_SHA256, str(CODE_VERSION))
    return ModelSpec(
        model=f"onnx:{NAME}",
        fingerprint=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        dimensions=DIMENSIONS,
        max_tokens=MAX_TOKENS,
    )


def count_tokens(text: str) -> int:
    """Tokens of `text` without the two special ones; lone surrogates count as one character each."""
    if unencodable(text):
        text = text.encode("utf-8", "replace").decode()
    return len(weights.tokenizer().encode(text, add_special_tokens=False).ids)


class OnnxEmbedder:
    """Embeds on the CPU, one thread for each core that the process may use.

    Texts run together only with texts of exactly their length: no padding, so no attention mask, so that neither what a
    vector is nor what it costs depends on its batch-mates. Several batches run side by side, each on one thread, which is
    faster than one after the other on all; a single one has all threads. The two ways give the same bits, and each has a
    session of its own, made when it is first needed.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or _cores()
        self._sessions: dict[int, Any] = {}
        self._arrays: dict[str, NDArray[np.float32] | NDArray[np.int8]] = {}
        self._pool: ThreadPoolExecutor | None = None

    @property
    def spec(self) -> ModelSpec:
        return spec()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = None
        self._sessions = {}
        self._arrays = {}

    def embed(self, texts: Sequence[str]) -> list[Vector | EmbeddingFailure]:
        """One entry a text, in order. Raises ModelMissing for missing or damaged files."""
        return [
            result
            for start in range(0, len(texts), SLICE)
            for result in self._slice(texts[start : start + SLICE])
        ]

    def embed_query(self, text: str) -> Vector:
        (result,) = self.embed([text])
        if isinstance(result, EmbeddingFailure):
            raise ServiceUnavailable(f"the query could not be embedded: {result.message}", code=result.code)
        return result

    def _slice(self, texts: Sequence[str]) -> list[Vector | EmbeddingFailure]:
        refused = {at: failure for at, text in enumerate(texts) if (failure := unencodable(text))}
        usable = [at for at in range(len(texts)) if at not in refused]
        encodings = weights.tokenizer().encode_batch([texts[at] for at in usable], add_special_tokens=True)
        pieces = {at: _pieces(encoding) for at, encoding in zip(usable, encodings, strict=True)}
        vectors = iter(self._run([ids for of_text in pieces.values() for ids in of_text]))
        results: list[Vector | EmbeddingFailure] = []
        for at in range(len(texts)):
            if at in refused:
                results.append(refused[at])
                continue
            of_text = [next(vectors) for _ in pieces[at]]
            results.append(_joined(of_text, [len(ids) - 2 for ids in pieces[at]]))
        return results

    def _run(self, sequences: Sequence[list[int]]) -> list[Vector | EmbeddingFailure]:
        """The unit vector of each token sequence, in order."""
        by_length: dict[int, list[int]] = {}
        for at, ids in enumerate(sequences):
            by_length.setdefault(len(ids), []).append(at)
        batches = [
            group[start : start + rows]
            # The longest first, so that no thread is left with one at the end.
            for length, group in sorted(by_length.items(), reverse=True)
            for rows in (max(1, BATCH_TOKENS // length),)
            for start in range(0, len(group), rows)
        ]

        session = self._open(1 if len(batches) > 1 else self._threads)

        def vectors(batch: list[int]) -> list[Vector | EmbeddingFailure]:
            import numpy as np

            ids = np.array([sequences[at] for at in batch], dtype=np.int64)
            (hidden,) = session.run(["hidden"], {"input_ids": ids})
            # Text by text: a mean over all at once may add in another order for another number of texts.
            return [unit(states.mean(axis=0, dtype=np.float64), DIMENSIONS) for states in hidden]

        results: list[Vector | EmbeddingFailure] = [_UNSET] * len(sequences)
        for batch, of_batch in zip(batches, self._map(vectors, batches), strict=True):
            for at, vector in zip(batch, of_batch, strict=True):
                results[at] = vector
        return results

    def _map(self, function: Any, batches: list[list[int]]) -> Iterable[list[Vector | EmbeddingFailure]]:
        if self._threads == 1 or len(batches) < 2:
            return map(function, batches)
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="embed")
        return self._pool.map(function, batches)

    def _open(self, threads: int) -> Any:
        if threads not in self._sessions:
            # Held as long as the sessions, which read the weights where they are.
            self._arrays = self._arrays or weights.arrays()
            self._sessions[threads] = _session(weights.graph(), self._arrays, threads)
            logger.debug("opened %s on %d threads", NAME, threads)
        return self._sessions[threads]


def _cores() -> int:
    """Cores that this process may run on; macOS has no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_UNSET: Final = EmbeddingFailure("not_embedded", "the model was not asked")


def _session(graph: bytes, arrays: dict[str, NDArray[np.float32] | NDArray[np.int8]], threads: int) -> Any:
    # Else it writes a device id into the home folder, and tells Microsoft about the process once it has run for a while.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # It keeps a plan for every shape, and there are as many shapes as lengths.
    options.enable_mem_pattern = False
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
    options.add_external_initializers(list(arrays), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _pieces(encoding: Encoding) -> list[list[int]]:
    """The token ids to run, special tokens included: one sequence, or several for a text over the window."""
    ids = encoding.ids
    if len(ids) <= WINDOW:
        return [ids]
    first, last, inner = ids[0], ids[-1], ids[1:-1]
    cuts = token_cuts(encoding.offsets[1:-1], encoding.word_ids[1:-1], MAX_TOKENS)
    return [[first, *inner[cut], last] for cut in cuts]


def _joined(vectors: list[Vector | EmbeddingFailure], lengths: list[int]) -> Vector | EmbeddingFailure:
    whole: list[Vector] = []
    for vector in vectors:
        if isinstance(vector, EmbeddingFailure):
            return vector
        whole.append(vector)
    return whole[0] if len(whole) == 1 else weighted_mean(whole, lengths)
