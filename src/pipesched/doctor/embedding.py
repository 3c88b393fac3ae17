"""The embedding model: there, whole, of the dimensions that it says, and how fast."""

from __future__ import annotations

import time
from typing import Final

from pipesched.doctor.patient import Checks, Patient, failed
from pipesched.doctor.store import is_made_with
from pipesched.errors import PipeschedError
from pipesched.options import PipelineOptions
from pipesched.pipeline.embedders import identify, open_embedder
from pipesched.pipeline.model import EmbeddingFailure
from pipesched.pipeline.stores.inspection import inspect_folder
from pipesched.views.health import Check

TEXTS: Final = tuple(
    f"Text {number} of a few that are embedded to see whether it works, and how fast. " * 6
    for number in range(6)
)
SLOW: Final = 1.0
"""Texts a second, of 450 characters each."""


def check(patient: Patient) -> Checks:
    return {"embedder": check_embedder(patient)}


def check_embedder(patient: Patient) -> Check:
    model = patient.options.embedding_model
    try:
        spec = identify(model)
        embedder = open_embedder(spec)
        try:
            began = time.monotonic()
            embedder.embed(TEXTS[:1])  # loads it
            loaded = time.monotonic()
            vectors = embedder.embed(TEXTS)
            done = time.monotonic()
        finally:
            embedder.close()
    except PipeschedError as error:
        return failed(error)
    another = "choose another --embedding-model"
    sizes = set()
    for vector in vectors:
        if isinstance(vector, EmbeddingFailure):
            return Check("fail", f"{model} embeds nothing: {vector.message}", another)
        sizes.add(len(vector))
    if sizes != {spec.dimensions}:
        said = f"{model} gives {sorted(sizes)} numbers a text, and says {spec.dimensions}"
        return Check("fail", said, another)
    for options in patient.all_options:
        other = _dimensions_of_collection(options)
        if other not in {None, spec.dimensions}:
            return Check(
                "warn",
                f"{model} gives {spec.dimensions} dimensions, and the collection {options.collection_name}"
                f" has {other}: the next run embeds everything again",
                "pipesched run, when there is time for it",
            )
    speed = len(TEXTS) / max(done - loaded, 1e-6)
    message = f"{model}{_where(model)}: {spec.dimensions} dimensions, {speed:.0f} texts a second, {loaded - began:.1f} s for the first"
    if speed < SLOW:
        return Check("warn", f"{message}, which is slow", "give it more cores or a GPU")
    return Check("pass", message)


def _where(model: str) -> str:
    if not model.startswith("ollama:"):
        return ""
    from pipesched.pipeline.embedders.ollama_api import base_url

    return f" at {base_url()}"


def _dimensions_of_collection(options: PipelineOptions) -> int | None:
    """None where there is no collection of this model, or it cannot be told from outside."""
    found = None if options.store_is_server else inspect_folder(options.storage_path, options.collection_name)
    if found is None or found.mark is None:
        return None
    return found.mark.dimensions if is_made_with(found.mark, options.embedding_model) else None
