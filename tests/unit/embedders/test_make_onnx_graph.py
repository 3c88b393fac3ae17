"""The committed graph and table are what the development script makes."""

import runpy
from pathlib import Path

import pytest

from pipesched.pipeline.embedders import weights

SCRIPT = Path(__file__).parents[3] / "scripts" / "make_onnx_graph.py"


@pytest.mark.slow
def test_the_script_makes_the_committed_files_anew() -> None:
    pytest.importorskip("onnx", reason="only the development script needs the package onnx")
    script = runpy.run_path(str(SCRIPT))
    network = script["Network"](script["Source"](weights.packaged_file()))
    assert network.model().SerializeToString(deterministic=True) == weights.graph()
