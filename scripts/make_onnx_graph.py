"""Write the graph and the weight table of onnx:all-MiniLM-L6-v2 from the packaged model (development only; needs `onnx`).

The packaged model.onnx stores int8 weights and expands them on every call. This script writes, into
src/pipesched/pipeline/embedders/minilm/,

- graph.onnx: the same network without weights, on onnxruntime's fused operators, for token ids without padding (so it has
  no attention mask);
- weights.json: for each weight of the graph, where its bytes are in model.onnx.

Run it after a change of the network, then put the sha256 that it prints into weights.py.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipesched.pipeline.embedders import weights

LAYERS: Final = 6
HEADS: Final = 12
HIDDEN: Final = 384
OPSET: Final = 17
CONTRIB: Final = "com.microsoft"
TARGET: Final = Path(weights.__file__).parent / "minilm"


class Source:
    """The packaged model: its tensors by name, and where each one's bytes are in the file."""

    def __init__(self, path: Path) -> None:
        self.bytes = path.read_bytes()
        self.model = onnx.load_from_string(self.bytes)
        self.tensors = {tensor.name: tensor for tensor in self.model.graph.initializer}

    def _offset(self, name: str) -> int:
        data = self.tensors[name].raw_data
        offset = self.bytes.find(data)
        # Equal tensors may be found in each other's place; the bytes are what counts.
        assert offset > 0
        assert self.bytes[offset : offset + len(data)] == data
        return offset

    def plain(self, name: str, *, shape: list[int] | None = None) -> dict[str, Any]:
        tensor = self.tensors[name]
        dtype = {TensorProto.FLOAT: "float32", TensorProto.INT8: "int8"}[tensor.data_type]
        return {"offset": self._offset(name), "shape": shape or list(tensor.dims), "dtype": dtype}

    def scaled(self, name: str) -> dict[str, Any]:
        scale = self.plain(f"{name}_scale")
        assert scale["dtype"] == "float32"
        part = self.plain(f"{name}_q")
        assert part["dtype"] == "int8"
        return {**part, "scale_offset": scale["offset"], "scale_shape": scale["shape"]}

    def linear_weights(self) -> list[str]:
        """The weights of the matrix products in order: query, key, value, output, intermediate, output of each layer."""
        found = [
            node.input[1]
            for node in self.model.graph.node
            if node.op_type == "MatMul" and f"{node.input[1]}_q" in self.tensors
        ]
        assert len(found) == 6 * LAYERS
        return found

    def epsilon(self) -> float:
        (value,) = {
            attribute.f
            for node in self.model.graph.node
            if node.op_type == "LayerNormalization"
            for attribute in node.attribute
            if attribute.name == "epsilon"
        }
        return float(value)


class Network:
    """Collects nodes, and the weights that they name."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.nodes: list[onnx.NodeProto] = []
        self.table: list[dict[str, Any]] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, op: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], domain=domain, **attributes))
        return output

    def weight(self, name: str, *parts: dict[str, Any]) -> str:
        """A weight made of `parts`, joined along the last axis."""
        self.table.append({"name": name, "parts": list(parts)})
        shape = [*parts[0]["shape"][:-1], sum(part["shape"][-1] for part in parts)]
        kept_int8 = parts[0]["dtype"] == "int8" and "scale_offset" not in parts[0]
        tensor = TensorProto(
            name=name,
            dims=shape,
            data_type=TensorProto.INT8 if kept_int8 else TensorProto.FLOAT,
            data_location=TensorProto.EXTERNAL,
        )
        tensor.external_data.add(key="location", value="weights")
        self.initializers.append(tensor)
        return name

    def constant(self, name: str, *values: int) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def embeddings(self, epsilon: float) -> str:
        """Gather int8 rows and expand only those: the table of words stays a quarter of its size in memory."""
        source, base = self.source, "inner.embeddings."
        self.weight("word", source.plain(f"{base}word_embeddings.weight_q"))
        self.weight("word_scale", source.plain(f"{base}word_embeddings.weight_scale"))
        self.weight("position", source.scaled(f"{base}position_embeddings.weight"))
        # Every token is of the first segment, so that only the first row is used.
        self.weight("segment", source.plain(f"{base}token_type_embeddings.weight", shape=[HIDDEN]))
        self.weight("embed_norm", source.plain(f"{base}LayerNorm.weight"))
        self.weight("embed_norm_bias", source.plain(f"{base}LayerNorm.bias"))
        self.constant("zero", 0)
        self.constant("one", 1)
        self.node("Gather", ["word", "input_ids"], "rows", axis=0)
        self.node("Gather", ["word_scale", "input_ids"], "row_scales", axis=0)
        self.node("Cast", ["rows"], "rows_float", to=TensorProto.FLOAT)
        self.node("Mul", ["rows_float", "row_scales"], "words")
        self.node("Add", ["words", "segment"], "words_segments")
        self.node("Shape", ["input_ids"], "length", start=1, end=2)
        self.node("Slice", ["position", "zero", "length", "zero", "one"], "positions")
        self.node("Add", ["words_segments", "positions"], "embedded")
        return self.node(
            "LayerNormalization",
            ["embedded", "embed_norm", "embed_norm_bias"],
            "layer0",
            axis=-1,
            epsilon=epsilon,
        )

    def layer(self, index: int, hidden: str, linear: list[str], epsilon: float, output: str) -> str:
        source, name = self.source, f"l{index}_"
        base = f"inner.encoder.layer.{index}."
        query, key, value, attended, inner, outer = linear

        def bias(what: str) -> dict[str, Any]:
            return source.plain(f"{base}{what}.bias")

        self.weight(f"{name}qkv", *(source.scaled(weight) for weight in (query, key, value)))
        self.weight(
            f"{name}qkv_bias", *(bias(f"attention.self.{which}") for which in ("query", "key", "value"))
        )
        self.weight(f"{name}attended", source.scaled(attended))
        self.weight(f"{name}attended_bias", bias("attention.output.dense"))
        self.weight(f"{name}norm1", source.plain(f"{base}attention.output.LayerNorm.weight"))
        self.weight(f"{name}norm1_bias", source.plain(f"{base}attention.output.LayerNorm.bias"))
        self.weight(f"{name}inner", source.scaled(inner))
        self.weight(f"{name}inner_bias", bias("intermediate.dense"))
        self.weight(f"{name}outer", source.scaled(outer))
        self.weight(f"{name}outer_bias", bias("output.dense"))
        self.weight(f"{name}norm2", source.plain(f"{base}output.LayerNorm.weight"))
        self.weight(f"{name}norm2_bias", source.plain(f"{base}output.LayerNorm.bias"))

        def norm(which: int, values: str, residual: str, values_bias: str, result: str) -> str:
            inputs = [values, residual, f"{name}norm{which}", f"{name}norm{which}_bias", values_bias]
            return self.node("SkipLayerNormalization", inputs, result, domain=CONTRIB, epsilon=epsilon)

        self.node(
            "Attention",
            [hidden, f"{name}qkv", f"{name}qkv_bias"],
            f"{name}heads",
            domain=CONTRIB,
            num_heads=HEADS,
        )
        self.node("MatMul", [f"{name}heads", f"{name}attended"], f"{name}attention")
        norm(1, f"{name}attention", hidden, f"{name}attended_bias", f"{name}middle")
        self.node("MatMul", [f"{name}middle", f"{name}inner"], f"{name}wide")
        self.node("BiasGelu", [f"{name}wide", f"{name}inner_bias"], f"{name}active", domain=CONTRIB)
        self.node("MatMul", [f"{name}active", f"{name}outer"], f"{name}narrow")
        return norm(2, f"{name}narrow", f"{name}middle", f"{name}outer_bias", output)

    def model(self) -> onnx.ModelProto:
        epsilon = self.source.epsilon()
        linear = self.source.linear_weights()
        hidden = self.embeddings(epsilon)
        for index in range(LAYERS):
            output = f"layer{index + 1}" if index + 1 < LAYERS else "hidden"
            hidden = self.layer(index, hidden, linear[6 * index : 6 * index + 6], epsilon, output)
        graph = helper.make_graph(
            self.nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
            [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["batch", "tokens", HIDDEN])],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="pipesched")


def main() -> None:
    network = Network(Source(weights.packaged_file()))
    graph = network.model().SerializeToString(deterministic=True)
    table = json.dumps(network.table, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n"
    for name, data in (("graph.onnx", graph), ("weights.json", table.encode())):
        (TARGET / name).write_bytes(data)
        print(f"{name}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
