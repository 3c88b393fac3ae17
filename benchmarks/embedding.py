"""The embedded model against the same weights as plain fp32 and as they ship: speed, likeness, memory (needs `onnx`).

    python benchmarks/embedding.py [--texts 64] [--rounds 5] [--corpus FOLDER]

Every engine gets the same calls of `batch` texts and the same number of threads, in rounds that take turns, so that a busy machine
is busy for all of them; what counts is the ratio to fp32 in one column. fp32 and int8 pad each call to its longest text.
"""

import argparse
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

BATCHES: Final = (1, 8, 32)
ENGINES: Final = ("fp32", "as shipped", "pipesched")
Embed = Callable[[Sequence[str], int], np.ndarray]


def fp32_model() -> bytes:
    """The packaged model with its int8 weights expanded into plain fp32 ones, otherwise as exported."""
    import onnx
    from onnx import numpy_helper

    from pipesched.pipeline.embedders import weights

    model = onnx.load_from_string(weights.packaged_file().read_bytes())
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    expanded = set()
    kept = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0].endswith("_q"):
            continue
        if node.op_type == "Mul" and node.input[1].endswith("_scale"):
            name = node.output[0]
            values = numpy_helper.to_array(tensors.pop(f"{name}_q")).astype(np.float32)
            scale = numpy_helper.to_array(tensors.pop(f"{name}_scale"))
            tensors[name] = numpy_helper.from_array(values * scale, name)
            expanded.add(name)
            continue
        kept.append(node)
    assert len(expanded) == 38
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(tensors.values())
    return bytes(model.SerializeToString())


def padded(model: bytes, threads: int) -> Embed:
    """An engine as one would write it: padded to the longest, masked, mean of the tokens, unit length."""
    import onnxruntime

    from pipesched.pipeline.embedders import weights

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def embed(texts: Sequence[str], batch: int) -> np.ndarray:
        out = []
        for start in range(0, len(texts), batch):
            ids = [each.ids for each in weights.tokenizer().encode_batch(list(texts[start : start + batch]))]
            tokens = np.zeros((len(ids), max(map(len, ids))), np.int64)
            mask = np.zeros_like(tokens)
            for row, of_text in enumerate(ids):
                tokens[row, : len(of_text)] = of_text
                mask[row, : len(of_text)] = 1
            inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
            hidden = session.run(None, inputs)[0]
            means = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
            out.append(means / np.linalg.norm(means, axis=1, keepdims=True))
        return np.concatenate(out)

    return embed


def ours(threads: int) -> Embed:
    from pipesched.pipeline.embedders.onnx import OnnxEmbedder

    embedder = OnnxEmbedder(threads=threads)

    def embed(texts: Sequence[str], batch: int) -> np.ndarray:
        rows: list[Any] = []
        for start in range(0, len(texts), batch):
            rows += embedder.embed(texts[start : start + batch])
        return np.array(rows)

    return embed


def engine(name: str, threads: int) -> Embed:
    if name == "pipesched":
        return ours(threads)
    from pipesched.pipeline.embedders import weights

    return padded(fp32_model() if name == "fp32" else weights.packaged_file().read_bytes(), threads)


def sample(folder: Path | None, count: int, low: int, high: int) -> list[str]:
    """`count` texts of `low` to `high` characters, none over the window: from Markdown below `folder`, or of random words."""
    from pipesched.pipeline.embedders.onnx import MAX_TOKENS, count_tokens

    draw = random.Random(1)
    if folder is not None:
        whole = "\n\n".join(path.read_text(errors="replace") for path in sorted(folder.rglob("*.md"))[:300])
    else:
        words = (
            "the",
            "of",
            "index",
            "vector",
            "blog",
            "compiler",
            "quickly",
            "reader",
            "memory",
            "schedule",
            "with",
        )
        whole = " ".join(draw.choice(words) for _ in range(200_000))
    texts = []
    while len(texts) < count:
        start = draw.randrange(len(whole) - high)
        text = whole[start : start + draw.randint(low, high)]
        if count_tokens(text) <= MAX_TOKENS:
            texts.append(text)
    return texts


def peak_memory(name: str, batch: int, threads: int, texts: list[str]) -> int:
    """MB of a process of its own that embeds `texts`, what Python and numpy take included."""
    script = (
        "import json, re, sys; sys.path.insert(0, sys.argv[1]); import embedding\n"
        "name, batch, threads, model = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]\n"
        "run = embedding.padded(open(model, 'rb').read(), threads) if model else embedding.ours(threads)\n"
        "run(json.load(sys.stdin), batch)\n"
        # Not getrusage(): what the parent had at its fork would count.
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)"
    )
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        model = ""
        if name == "fp32":
            # Expanded here and not there, so that the expansion is not counted.
            file.write(fp32_model())
            file.flush()
            model = file.name
        elif name == "as shipped":
            from pipesched.pipeline.embedders import weights

            model = str(weights.packaged_file())
        done = subprocess.run(
            [sys.executable, "-c", script, str(Path(__file__).parent), name, str(batch), str(threads), model],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            check=True,
        )
    return int(done.stdout)


def speeds(engines: dict[str, Embed], texts: list[str], rounds: int) -> dict[tuple[str, int], list[float]]:
    """Texts a second of each engine and batch size, one value a round, the first round left out."""
    taken: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds + 1):
        for batch in BATCHES:
            for name, embed in engines.items():
                gc.collect()
                begun = time.perf_counter()
                embed(texts, batch)
                if number:
                    taken.setdefault((name, batch), []).append(len(texts) / (time.perf_counter() - begun))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--corpus", type=Path, help="a folder of Markdown; random words without it")
    given = parser.parse_args()
    engines = {name: engine(name, given.threads) for name in ENGINES}
    kinds = {
        "long": (700, 1000, given.texts),
        "mixed": (40, 1000, given.texts),
        "short": (20, 120, 4 * given.texts),
    }
    print(
        f"{given.threads} threads, {given.rounds} rounds; median texts/s, (median of the ratios to fp32 in the same round)\n"
    )
    print(
        f"{'texts':<8}{'engine':<14}"
        + "".join(f"{f'batch {batch}':>18}" for batch in BATCHES)
        + f"{'least cosine':>16}"
    )
    for kind, (low, high, count) in kinds.items():
        texts = sample(given.corpus, count, low, high)
        reference = engines["fp32"](texts, 1)
        taken = speeds(engines, texts, given.rounds)
        for name, embed in engines.items():
            cells = ""
            for batch in BATCHES:
                values, base = taken[name, batch], taken["fp32", batch]
                ratio = statistics.median(mine / other for mine, other in zip(values, base, strict=True))
                cells += f"{f'{statistics.median(values):.1f} ({ratio:.2f})':>18}"
            cosine = float((embed(texts, 8) * reference).sum(axis=1).min())
            print(f"{kind:<8}{name:<14}{cells}{cosine:>16.7f}", flush=True)
    texts = sample(given.corpus, 32, 700, 1000)
    print(f"\n{'peak memory, MB':<22}" + "".join(f"{f'batch {batch}':>18}" for batch in BATCHES))
    for name in ENGINES:
        print(
            f"{name:<22}"
            + "".join(f"{peak_memory(name, batch, given.threads, texts):>18}" for batch in BATCHES)
        )


if __name__ == "__main__":
    main()
