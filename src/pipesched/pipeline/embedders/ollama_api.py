"""What an Ollama server has, asked with the standard library alone: the client would cost 200 ms of imports."""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import json
import os
import re
import threading
import time
import unicodedata
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pipesched.errors import InvalidValue, ModelMissing, PipeschedError, ServiceUnavailable
from pipesched.pipeline.embedders.prefixes import prefixes
from pipesched.pipeline.model import ModelSpec

DEFAULT_PORT: Final = 11434
CODE_VERSION: Final = 1
"""Goes up whenever what is sent, or what is done with the answer, changes a vector."""

MOST_CONTEXT: Final = 2048
"""Of a model's window no more is used: Ollama's runner batches 2,048 tokens, and texts over that crash some versions
(ollama issues 6094 and 16582)."""

SPECIAL_TOKENS: Final = 2
_LARGEST_ANSWER: Final = 16 * 2**20
_HOST: Final = re.compile(r"[a-zA-Z0-9._:%-]+")
_PATH: Final = re.compile(r"[!-~]*")
_RETRIED: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the questions of identify() may take, in seconds: one connect, all together, and the pauses between tries."""

    connect: float = 3.0
    total: float = 15.0
    pauses: tuple[float, ...] = (0.3, 0.9)
    probe: float = 180.0


def identify(
    name: str,
    *,
    recorded: ModelSpec | None = None,
    offline: bool = False,
    host: str | None = None,
    patience: Patience | None = None,
) -> ModelSpec:
    """The spec of the model `name` as the server at `host` (OLLAMA_HOST) has it now.

    GET /api/tags gives the digest. Only where that is not the one of `recorded`, POST /api/show gives dimensions and context
    length; a server that does not say is asked for one embedding. `offline`: see embedders.identify.
    """
    model = f"ollama:{with_tag(name)}"
    same = recorded if recorded is not None and _canonical(recorded.model) == model else None
    affixes = prefixes(name)
    if offline:
        return same or ModelSpec(model, "", 0, MOST_CONTEXT - SPECIAL_TOKENS, affixes.query)
    server = _Server(base_url(host), patience or Patience())
    digest = server.digest(with_tag(name))
    if same is not None and same.fingerprint == fingerprint(name, digest, same.dimensions):
        return same
    dimensions, context = server.shape(with_tag(name))
    return ModelSpec(
        model=model,
        fingerprint=fingerprint(name, digest, dimensions),
        dimensions=dimensions,
        max_tokens=max(1, min(context, MOST_CONTEXT) - SPECIAL_TOKENS),
        query_prefix=affixes.query,
    )


QUICK: Final = Patience(connect=1.0, total=1.0, pauses=())
"""For a look in passing."""


def look(
    names: Iterable[str], *, host: str | None = None, patience: Patience = QUICK
) -> dict[str, PipeschedError | None]:
    """Whether the server answers and has the models `names`, by one GET /api/tags; nothing is loaded. None: it has."""
    wanted = list(names)
    try:
        server = _Server(base_url(host), patience)
        digests = server.digests()
    except PipeschedError as error:
        return dict.fromkeys(wanted, error)
    return {
        name: None if with_tag(name) in digests else missing(with_tag(name), server.url) for name in wanted
    }


def fingerprint(name: str, digest: str, dimensions: int) -> str:
    """Everything that decides a vector besides the text: the weights, the affixes, how the model is asked."""
    affixes = prefixes(name)
    parts = ["ollama", CODE_VERSION, digest, dimensions, affixes.query, affixes.document, {"truncate": False}]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def with_tag(name: str) -> str:
    """A name without a tag means `:latest`; the port of a registry is no tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _canonical(model: str) -> str:
    engine, _, name = model.partition(":")
    return f"{engine}:{with_tag(name)}"


def most_tokens(text: str) -> int:
    """No tokenizer of the usual kinds makes more tokens than this of `text`; typical English has a quarter.

    Byte-level BPE and SentencePiece with byte fallback make at most a token a UTF-8 byte, SentencePiece one more for the space
    that it puts in front, and WordPiece at most one a character. Where the tokenizer normalises first (NFKC), the bytes of the
    longer form count.
    """
    raw = len(text.encode("utf-8", "replace"))
    if text.isascii():
        return raw + 1
    return max(raw, len(unicodedata.normalize("NFKC", text).encode("utf-8", "replace"))) + 1


def base_url(host: str | None = None) -> str:
    """Where the server is, read from `host` or OLLAMA_HOST exactly as the ollama client reads it. Raises InvalidValue."""
    given = host or os.environ.get("OLLAMA_HOST") or ""
    scheme, _, rest = given.partition("://")
    if not rest:
        scheme, rest = "http", given
        port = DEFAULT_PORT
    else:
        port = {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT)
    try:
        parts = urllib.parse.urlsplit(f"{scheme}://{rest}")
        name, port = parts.hostname or "127.0.0.1", parts.port or port
        wrong = "" if _HOST.fullmatch(name.encode("idna").decode()) else f"there is no host {name!r}"
    except ValueError as error:
        wrong = str(error)
    if wrong or not _PATH.fullmatch(parts.path):
        raise InvalidValue(
            f"OLLAMA_HOST={re.sub('[^/]*@', '***@', given)} is no address: {wrong or 'its path has spaces'}",
            hint="for example OLLAMA_HOST=127.0.0.1:11434 or https://ollama.example.org",
        )
    if _is_ipv6(name):
        name = f"[{name}]"
    path = parts.path.strip("/")
    return f"{scheme}://{name}:{port}" + (f"/{path}" if path else "")


def _is_ipv6(name: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(name), ipaddress.IPv6Address)
    except ValueError:
        return False


def unreachable(url: str, why: object) -> ServiceUnavailable:
    """The one wording for a server that cannot be had, for identify() and for embedding."""
    return ServiceUnavailable(
        f"no Ollama server answers at {url}: {why}",
        hint="start it with `ollama serve`, or set OLLAMA_HOST to where it runs",
    )


def missing(name: str, url: str) -> ModelMissing:
    return ModelMissing(f"the Ollama server at {url} has no model {name}", hint=f"ollama pull {name}")


def not_ollama(url: str, what: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"what answers at {url} is not an Ollama server: {what}",
        hint="set OLLAMA_HOST to where Ollama runs; the default is 127.0.0.1:11434",
    )


class _Status(Exception):
    """An answer of the server other than 200; told apart by the callers, never shown."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.text = body.decode("utf-8", "replace")

    def said(self) -> str:
        try:
            return str(json.loads(self.text)["error"])
        except (ValueError, KeyError, TypeError):
            return f"HTTP status {self.status}"


class _Server:
    """One server; each question has a total deadline, so that an answer that drips ends too."""

    def __init__(self, url: str, patience: Patience) -> None:
        self.url = url
        self._patience = patience
        self._until = time.monotonic() + patience.total

    def digest(self, name: str) -> str:
        """The digest of the weights that `name` stands for now."""
        digests = self.digests()
        if name not in digests:
            raise missing(name, self.url)
        return digests[name]

    def digests(self) -> dict[str, str]:
        """Of all models that the server has, by name and tag."""
        try:
            answer = self._ask("GET", "/api/tags")
            models = answer["models"]
            return {
                with_tag(str(model.get("model") or model.get("name"))): str(model["digest"])
                for model in models
            }
        except _Status as error:
            raise not_ollama(self.url, f"GET /api/tags gave {error.said()}") from None
        except (KeyError, TypeError, AttributeError):
            raise not_ollama(self.url, "GET /api/tags gave no list of models") from None

    def shape(self, name: str) -> tuple[int, int]:
        """Dimensions and context length, the latter the smaller of the model's own and of what its Modelfile sets."""
        try:
            answer = self._ask("POST", "/api/show", {"model": name})
        except _Status as error:
            if error.status == http.client.NOT_FOUND and "not found" in error.said():
                raise missing(name, self.url) from None
            answer = {}
        answer = answer if isinstance(answer, dict) else {}
        information = answer.get("model_info")
        information = information if isinstance(information, dict) else {}
        dimensions = _number(information, "embedding_length")
        context = _number(information, "context_length") or MOST_CONTEXT
        # Parameters are lines of a Modelfile: `num_ctx    8192`.
        limits = re.findall(
            r"^num_(?:ctx|batch)\s+(\d+)\s*$", str(answer.get("parameters") or ""), re.MULTILINE
        )
        context = min([context, *(int(limit) for limit in limits if int(limit) > 0)])
        return dimensions or self._measured(name), context

    def _measured(self, name: str) -> int:
        self._until = time.monotonic() + self._patience.probe
        try:
            answer = self._ask("POST", "/api/embed", {"model": name, "input": ["dimensions"]})
            (vector,) = answer["embeddings"]
            return len(vector)
        except _Status as error:
            raise ServiceUnavailable(
                f"Ollama could not embed with {name}: {error.said()}",
                hint="choose an embedding model, such as snowflake-arctic-embed2",
            ) from None
        except (KeyError, TypeError, ValueError):
            raise not_ollama(self.url, "POST /api/embed gave no embedding") from None

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        pauses = iter(self._patience.pauses)
        while True:
            try:
                return self._once(method, path, body)
            except _Status as error:
                failure = ServiceUnavailable(
                    f"the Ollama server at {self.url} answers {error.said()}", hint="try again later"
                )
                if error.status not in _RETRIED:
                    raise
            except (OSError, http.client.HTTPException) as error:
                failure = unreachable(self.url, _reason(error, self._until))
            pause = next(pauses, None)
            if pause is None or time.monotonic() + pause >= self._until:
                raise failure
            time.sleep(pause)

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        parts = urllib.parse.urlsplit(self.url)
        remaining = self._until - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=min(self._patience.connect, remaining))
        headers = {"Accept": "application/json", "Content-Type": "application/json", **_authorization()}
        watch: threading.Timer | None = None
        try:
            connection.connect()
            # A timeout of the socket is for one read, and begins anew with each byte: the deadline is kept by a clock.
            watch = threading.Timer(max(0.0, self._until - time.monotonic()), _hang_up, [connection])
            watch.daemon = True
            watch.start()
            connection.sock.settimeout(None)
            connection.request(method, parts.path + path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            data = response.read(_LARGEST_ANSWER)
        finally:
            if watch is not None:
                watch.cancel()
            connection.close()
        if response.status != http.client.OK:
            raise _Status(response.status, data)
        if time.monotonic() >= self._until:
            raise TimeoutError
        try:
            return json.loads(data)
        except ValueError:
            kind_of = response.headers.get_content_type()
            raise not_ollama(self.url, f"{method} {path} gave {kind_of} instead of JSON") from None


def _authorization() -> dict[str, str]:
    key = os.environ.get("OLLAMA_API_KEY")
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):  # what http.client says of it would show it
        raise InvalidValue(
            "OLLAMA_API_KEY has characters that a header cannot carry",
            hint="is there a line end in it, or a letter with an accent?",
        )
    return {"Authorization": f"Bearer {key}"}


def _hang_up(connection: http.client.HTTPConnection) -> None:
    import contextlib
    import socket

    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _reason(error: Exception, until: float) -> str:
    if isinstance(error, TimeoutError) or time.monotonic() >= until:
        return "it did not answer in time"
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def _number(information: dict[str, Any], suffix: str) -> int:
    """The value of the key `<architecture>.suffix`; 0 where there is none.

    A model that also sees has a second one below `<architecture>.vision`, which is longer.
    """
    keys = sorted((key for key in information if key.endswith(f".{suffix}")), key=len)
    found = information[keys[0]] if keys else 0
    return found if isinstance(found, int) and found > 0 else 0
