"""Models served by Ollama, through its own client: batches, bounded retries, one deadline a request, bisection."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Self

from pipesched.errors import ConfigurationError, PipeschedError, ServiceUnavailable
from pipesched.pipeline.embedders.ollama_api import base_url, missing, most_tokens, not_ollama, unreachable
from pipesched.pipeline.embedders.pieces import halves
from pipesched.pipeline.embedders.prefixes import prefixes
from pipesched.pipeline.embedders.vectors import unencodable, unit, weighted_mean
from pipesched.pipeline.model import OTHER_DIMENSIONS, EmbeddingFailure, ModelSpec

if TYPE_CHECKING:
    import ollama

    from pipesched.pipeline.embedders.transport import DeadlineTransport
    from pipesched.pipeline.model import Vector

    Result = Vector | EmbeddingFailure

logger = logging.getLogger(__name__)

CANARY: Final = "The quick brown fox jumps over the lazy dog."
"""What every working embedding model can embed: tells a bad text from a bad service."""

SMALLEST_PIECE: Final = 32
"""Characters below which a text is not cut any further."""

SMALLEST_BATCH_LIMIT: Final = 512
"""Tokens; llama.cpp's smallest default of a physical batch. No shorter text crashes a runner by its length."""

_TRANSIENT: Final = frozenset({408, 429, 502, 503, 504})
_LENGTH: Final = re.compile(
    r"context length|input length|too (?:long|large)|exceeds? .*(?:context|batch)", re.IGNORECASE
)
_NOT_A_NUMBER: Final = re.compile(r"\bNaN\b|\bInf\b|unsupported value", re.IGNORECASE)
_CANNOT_EMBED: Final = re.compile(r"does not support embed", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try. Times in seconds.

    `request` ends a request whatever it does; it has room for the load of a cold model (60 s) and for a batch waiting behind
    another, as Ollama runs an embedding model on one request at a time. `in_flight` requests only hide latency.
    """

    connect: float = 5.0
    request: float = 180.0
    attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 8.0
    jitter: float = 0.5
    batch: int = 8
    in_flight: int = 2


class _Refused(Exception):
    """The server is there and did not embed these texts; one of them alone may be the reason. Handled here, never shown."""

    def __init__(self, kind: Literal["too_long", "not_finite", "crashed"], message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class _Transient(Exception):
    """What may pass; carries what to raise when trying again did not help."""

    def __init__(self, failure: ServiceUnavailable | _Refused) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass(slots=True)
class _Call:
    """What the requests of one embed() share."""

    healthy: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)


class OllamaEmbedder:
    """Embeds with an Ollama server, OLLAMA_HOST or `host`. Connects at the first text.

    Raises ServiceUnavailable when the server fails, answers garbage or other dimensions than `spec` has, ModelMissing, and
    ConfigurationError for a model that cannot embed.
    """

    def __init__(self, spec: ModelSpec, *, host: str | None = None, effort: Effort | None = None) -> None:
        if not spec.dimensions:
            raise ValueError(f"the spec of {spec.model} was made offline and says too little to embed with")
        self._spec = spec
        self._name = spec.model.partition(":")[2]
        self._document_prefix = prefixes(self._name).document
        self._url = base_url(host)
        self._effort = effort or Effort()
        self._client: ollama.Client | None = None
        self._transport: DeadlineTransport | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._warm = False

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Also ends what is under way."""
        if self._transport is not None:
            self._transport.abort()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._transport is not None:
            self._transport.close()
        self._client = self._transport = self._pool = None

    def embed(self, texts: Sequence[str]) -> list[Result]:
        return self._embed(texts, self._document_prefix)

    def embed_query(self, text: str) -> Vector:
        (result,) = self._embed([text], self._spec.query_prefix)
        if isinstance(result, EmbeddingFailure):
            raise ServiceUnavailable(f"the query could not be embedded: {result.message}", code=result.code)
        return result

    def _embed(self, texts: Sequence[str], prefix: str) -> list[Result]:
        if not texts:
            return []
        self._open()
        call = _Call()
        results: list[Result | None] = [unencodable(text) for text in texts]
        batches = self._batches(texts, [at for at, result in enumerate(results) if result is None], prefix)

        def of_batch(batch: list[int]) -> list[Result]:
            return self._batch([texts[at] for at in batch], prefix, call)

        for batch, of_texts in zip(batches, self._all(of_batch, batches, call), strict=True):
            for at, result in zip(batch, of_texts, strict=True):
                results[at] = result
        return [result for result in results if result is not None]

    def _batches(self, texts: Sequence[str], usable: list[int], prefix: str) -> list[list[int]]:
        """A text that may be too long goes alone, so that its siblings need not be asked twice."""
        short, batches = [], []
        for at in usable:
            if most_tokens(prefix + texts[at]) <= self._spec.max_tokens:
                short.append(at)
            else:
                batches.append([at])
        size = self._effort.batch
        return [short[start : start + size] for start in range(0, len(short), size)] + batches

    def _all(
        self, function: Callable[[list[int]], list[Result]], batches: list[list[int]], call: _Call
    ) -> list[list[Result]]:
        """`function` of each batch, several at a time; the first error ends them all."""
        done: list[list[Result]] = []
        if not self._warm:
            # A cold model is loaded by one request; others would wait for it against their own deadlines.
            done = [function(batch) for batch in batches[:1]]
            self._warm = True
        rest = batches[len(done) :]
        if len(rest) < 2 or self._effort.in_flight == 1:
            return done + [function(batch) for batch in rest]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._effort.in_flight, thread_name_prefix="ollama")
        futures: list[Future[list[Result]]] = [self._pool.submit(function, batch) for batch in rest]
        try:
            return done + [future.result() for future in futures]
        except BaseException:
            call.stopped.set()
            for future in futures:
                future.cancel()
            raise

    def _batch(self, texts: list[str], prefix: str, call: _Call) -> list[Result]:
        try:
            answer = self._ask([prefix + text for text in texts], call)
        except _Refused as refused:
            return self._apart(texts, prefix, call, refused)
        results = [unit(values, self._spec.dimensions) for values in answer]
        call.healthy = call.healthy or not any(isinstance(result, EmbeddingFailure) for result in results)
        for at, result in enumerate(results):
            if isinstance(result, EmbeddingFailure):
                if result.code == "wrong_dimension":
                    raise self._changed(result)
                results[at] = self._once_more(texts[at], prefix, call, result, alone=len(texts) == 1)
        return results

    def _once_more(
        self, text: str, prefix: str, call: _Call, failure: EmbeddingFailure, *, alone: bool
    ) -> Result:
        """A vector that is none: asked for again without batch-mates, and then believed if the model works at all."""
        if not alone:
            return self._batch([text], prefix, call)[0]
        self._assert_healthy(call)
        return failure

    def _apart(self, texts: list[str], prefix: str, call: _Call, refused: _Refused) -> list[Result]:
        """Halve a refused batch down to the texts that are the reason; those alone get a failure, or go in pieces."""
        if refused.kind != "too_long":
            self._assert_healthy(call)
        if len(texts) > 1:
            middle = len(texts) // 2
            return self._batch(texts[:middle], prefix, call) + self._batch(texts[middle:], prefix, call)
        (text,) = texts
        may_be_length = refused.kind == "too_long" or (
            refused.kind == "crashed" and most_tokens(prefix + text) > SMALLEST_BATCH_LIMIT
        )
        parts = halves(text) if may_be_length and len(text) > SMALLEST_PIECE else None
        if parts is None:
            logger.warning(
                "%s could not embed a text of %d characters: %s", self._name, len(text), refused.message
            )
            return [
                EmbeddingFailure(refused.kind, f"{self._name} could not embed this text: {refused.message}")
            ]
        vectors: list[Vector] = []
        for part in parts:
            (vector,) = self._batch([part], prefix, call)
            if isinstance(vector, EmbeddingFailure):
                return [vector]
            vectors.append(vector)
        return [weighted_mean(vectors, [len(part.encode()) for part in parts])]

    def _assert_healthy(self, call: _Call) -> None:
        """Raises ServiceUnavailable unless the model embeds a text that every model can."""
        if call.healthy:
            return
        try:
            answer = self._ask([CANARY], call)
        except _Refused as refused:
            raise self._broken(refused.message) from None
        result = unit(answer[0], self._spec.dimensions)
        if isinstance(result, EmbeddingFailure):
            raise self._changed(result) if result.code == "wrong_dimension" else self._broken(result.message)
        call.healthy = True

    def _broken(self, message: str) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"Ollama cannot embed anything with {self._name}: {message}",
            hint=f"see the server's log, and try `ollama pull {self._name}` or another embedding model",
        )

    def _changed(self, failure: EmbeddingFailure) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"{self._name} is another model than at the start: {failure.message}",
            hint="run it again: the change is then noticed and the index built anew",
            code=OTHER_DIMENSIONS,
        )

    def _ask(self, inputs: list[str], call: _Call) -> Sequence[Sequence[float]]:
        """One embedding an input, unchecked, asked for again after what may pass. Raises _Refused."""
        import stamina

        effort, tries = self._effort, 0

        def again(error: Exception) -> bool:
            nonlocal tries
            tries += 1
            if call.stopped.is_set() or not isinstance(error, _Transient):
                return False
            logger.info("try %d of %d failed: %s", tries, effort.attempts, error)
            # A crash is most likely the text's own doing: once more is enough to tell it from an accident.
            return tries < 2 or not isinstance(error.failure, _Refused)

        try:
            for attempt in stamina.retry_context(
                on=again,
                attempts=effort.attempts,
                timeout=None,
                wait_initial=effort.first_pause,
                wait_max=effort.longest_pause,
                wait_jitter=effort.jitter,
            ):
                with attempt:
                    if call.stopped.is_set():
                        raise unreachable(self._url, "another request failed first")
                    return self._request(inputs)
        except _Transient as error:
            raise error.failure from None
        raise AssertionError("a retry context ends by a result or an error")

    def _request(self, inputs: list[str]) -> Sequence[Sequence[float]]:
        """The one place where errors of the client become ours."""
        import httpx
        import ollama
        from pydantic import ValidationError

        assert self._client is not None
        try:
            answer = self._client.embed(self._name, inputs, truncate=False)
        except ollama.ResponseError as error:
            raise self._translated(error.status_code, str(error.error)) from None
        except ConnectionError as error:
            raise _Transient(unreachable(self._url, error.__context__ or error)) from None
        except httpx.ConnectTimeout:
            raise _Transient(
                unreachable(self._url, f"no connection within {self._effort.connect:g} s")
            ) from None
        except httpx.TimeoutException:
            raise ServiceUnavailable(
                f"Ollama did not embed {len(inputs)} texts within {self._effort.request:g} s",
                hint="is its machine overloaded, or the model too large for it? see `ollama ps`",
            ) from None
        except httpx.HTTPError as error:
            raise _Transient(unreachable(self._url, str(error) or type(error).__name__)) from None
        except ValidationError:
            # Some versions answer 200 with null for what they could not embed.
            raise _Refused("not_finite", "the answer has something else than numbers") from None
        except (ValueError, TypeError):
            raise not_ollama(self._url, "POST /api/embed gave something else than its JSON") from None
        if len(answer.embeddings) != len(inputs):
            raise not_ollama(self._url, f"it gave {len(answer.embeddings)} vectors for {len(inputs)} texts")
        return answer.embeddings

    def _translated(self, status: int, said: str) -> PipeschedError | _Refused | _Transient:
        if _CANNOT_EMBED.search(said):
            return ConfigurationError(
                f"{self._name} is no embedding model: {said}",
                hint="choose one with --embedding-model, such as ollama:snowflake-arctic-embed2",
            )
        if status == 404 and "not found" in said and "<" not in said:
            return missing(self._name, self._url)
        if status in _TRANSIENT:
            return _Transient(
                ServiceUnavailable(
                    f"the Ollama server at {self._url} is too busy or not ready: {said:.200}",
                    hint="try again later",
                )
            )
        if status in {400, 413, 422, 500}:
            if _LENGTH.search(said):
                return _Refused("too_long", said[:200])
            if _NOT_A_NUMBER.search(said):
                return _Refused("not_finite", said[:200])
            # A crashed runner says EOF, with 500 or with 400; it is restarted for the next request.
            return _Transient(_Refused("crashed", said[:200] or f"HTTP status {status}"))
        return not_ollama(self._url, f"POST /api/embed gave HTTP status {status}")

    def _open(self) -> None:
        if self._client is not None:
            return
        import ollama
        import stamina

        from pipesched.pipeline.embedders.transport import DeadlineTransport

        # Its own log lines say less than ours, and its hook would import prometheus_client.
        stamina.instrumentation.set_on_retry_hooks(())
        self._transport = DeadlineTransport(connect=self._effort.connect, total=self._effort.request)
        self._client = ollama.Client(host=self._url, transport=self._transport)
