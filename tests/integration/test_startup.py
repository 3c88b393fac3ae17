"""What starting a command costs: what it imports, and how long it takes beside what it is built on."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from support.command import PIPESCHED, clean_environment, pipesched

ROOT = Path(__file__).parents[2]
HEAVY = {"chromadb", "onnxruntime", "ollama", "tokenizers", "apprise", "grpc", "opentelemetry", "kubernetes"}

IMPORTED = """
import sys
from pipesched.cli.main import execute
from pipesched.cli.output import Output
code = execute(sys.argv[1:], Output())
print(code, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after its first day: three jobs, an index, a run in the ledger."""
    folder = tmp_path_factory.mktemp("startup")
    (folder / "data").mkdir()
    (folder / "data" / "post.md").write_text("# A post\n\nSome text.\n")
    for arguments in (["init"], ["run", "daily_incremental"]):
        done = pipesched(*arguments, cwd=folder)
        assert done.code == 0, done.err
    return folder


def imported(*arguments: str, cwd: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    code, *names = done.stderr.split()
    assert code == "0", done.stderr
    return set(names)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["next"],
        ["status"],
        ["show", "daily_incremental"],
        ["run", "daily_incremental"],
        ["run", "--dry-run"],
    ],
    ids=" ".join,
)
def test_what_needs_no_vectors_imports_neither_store_nor_models(project: Path, arguments: list[str]) -> None:
    names = imported(*arguments, cwd=project)
    assert not names & HEAVY
    if arguments[0] != "run":
        assert "numpy" not in names


def test_pydantic_does_not_ask_every_installed_package_whether_it_is_a_plugin(project: Path) -> None:
    env = clean_environment({"PYTHONPROFILEIMPORTTIME": "1"})
    done = subprocess.run(
        [PIPESCHED, "list"], cwd=project, env=env, capture_output=True, text=True, check=True
    )
    assert "pipesched.jobs.model" in done.stderr
    assert "importlib.metadata" not in done.stderr


def test_whatever_else_is_asked_of_pydantics_loader_comes_from_the_real_one() -> None:
    code = (
        "from pipesched.cli import plugins; plugins.look_for_none();"
        "from pydantic.plugin._loader import PYDANTIC_ENTRY_POINT_GROUP, get_plugins;"
        "print(get_plugins(), PYDANTIC_ENTRY_POINT_GROUP)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "() pydantic\n"


def test_a_pipe_needs_no_rich(project: Path) -> None:
    assert "rich" not in imported("list", cwd=project)


@contextmanager
def benchmark(name: str) -> Iterator[ModuleType]:
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[name]


@pytest.mark.slow
def test_a_command_takes_little_longer_than_importing_what_it_is_built_on(project: Path) -> None:
    # The target is 1.5 (benchmarks/startup.py measures it); the margin is for a machine that does other things too.
    with benchmark("startup") as startup:
        least = startup.measure(startup.COMMANDS, project, rounds=6)
        reference = least.pop("reference")
        ratios = {name: round(found.cpu / reference.cpu, 2) for name, found in least.items()}
    assert all(ratio <= startup.TARGET * 1.25 for ratio in ratios.values()), ratios
