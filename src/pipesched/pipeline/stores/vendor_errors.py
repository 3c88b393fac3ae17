"""Chroma's errors, and those of its HTTP client, as ours."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from typing import Final

from pipesched.errors import (
    CannotCreate,
    ConfigurationError,
    DataError,
    InputOutputError,
    NotFound,
    NotPermitted,
    PipeschedError,
    ServiceUnavailable,
)
from pipesched.options import is_server

# Chroma's Rust part tells the file system's errors by their number only, in the text.
_NOT_PERMITTED = ("Permission denied", "(os error 13)", "(os error 1)", "readonly database")
_IN_THE_WAY = ("(os error 17)", "(os error 20)", "(os error 21)")
_DISK = (
    "disk is full",
    "disk I/O error",
    "(os error 28)",
    "(os error 5)",
    "(os error 122)",
    "readonly database",
)
REBUILD: Final = "pipesched rebuild makes it anew from the embedding cache"

_TAKEN = ("already exists", "UNIQUE constraint failed: collections.name")


@contextlib.contextmanager
def translated(where: str) -> Iterator[None]:
    """What Chroma raises inside becomes an error of ours that names the store `where`."""
    try:
        yield
    except PipeschedError:
        raise
    except OSError as error:
        raise _of_the_system(where, error) from error
    except sqlite3.Error as error:
        raise damaged(where, error) from error
    except BaseException as error:
        # A panic in Chroma's Rust part is no Exception.
        if not _is_vendor(error):
            raise
        raise _of_chroma(where, error) from error


def _is_vendor(error: BaseException) -> bool:
    module = type(error).__module__.partition(".")[0]
    if module == "builtins":
        return isinstance(error, ValueError | RuntimeError) and not isinstance(error, RecursionError)
    return module in {
        "chromadb",
        "chromadb_rust_bindings",
        "pyo3_runtime",
        "httpx",
        "httpcore",
        "pydantic_core",
    }


def _of_the_system(where: str, error: OSError) -> PipeschedError:
    message = f"the vector store {where}: {error.strerror or error}"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return NotPermitted(message, hint="the folder must belong to the user who runs pipesched")
    if error.errno in {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}:
        return CannotCreate(message, hint="something that is no folder is in the way; see --storage-path")
    return InputOutputError(message, hint="check the disk: df -h")


def _of_chroma(where: str, error: BaseException) -> PipeschedError:
    from chromadb.errors import (
        InvalidArgumentError,
        InvalidDimensionException,
        UniqueConstraintError,
    )

    message = " ".join(str(error).split()) or type(error).__name__
    if type(error).__module__.startswith("pydantic"):
        return ConfigurationError(
            f"Chroma's settings in the environment: {message[:300]}", hint="unset the variable that it names"
        )
    if isinstance(error, UniqueConstraintError) or any(part in message for part in _TAKEN):
        return CannotCreate(
            f"the vector store {where} has a collection of this name already: {message}",
            hint="choose another one with --collection-name",
        )
    if isinstance(error, InvalidArgumentError | InvalidDimensionException) or (
        isinstance(error, ValueError) and not message.startswith("Could not connect")
    ):
        return DataError(
            f"the vector store {where} refused: {message}", hint="pipesched rebuild builds a new collection"
        )
    if is_server(where):
        return ServiceUnavailable(
            f"the Chroma server {where}: {message}", hint="is it up? chroma run --path db/vector_store"
        )
    if any(part in message for part in _NOT_PERMITTED):
        return NotPermitted(
            f"the vector store {where}: {message}",
            hint="the folder must belong to the user who runs pipesched",
        )
    if any(part in message for part in _IN_THE_WAY):
        return CannotCreate(
            f"the vector store {where}: {message}",
            hint="something that is no folder is in the way; see --storage-path",
        )
    if any(part in message for part in _DISK):
        return InputOutputError(f"the vector store {where}: {message}", hint="check the disk: df -h")
    return damaged(where, error)


def damaged(where: str, why: object) -> DataError:
    """The error of a store whose content is not what Chroma wrote."""
    return DataError(f"the vector store {where} is damaged: {why}", hint=REBUILD, code="store_damaged")


def no_collection(name: str, where: str) -> NotFound:
    return NotFound(
        f"there is no collection {name} in {where}",
        hint="index something first: pipesched run",
        code="collection_not_found",
    )
