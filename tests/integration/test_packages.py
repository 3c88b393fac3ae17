"""The built wheel and source distribution: complete, and the wheel works away from the checkout."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipesched import __version__
from support.command import clean_environment

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_has_what_the_program_reads_at_run_time(distributions: Path) -> None:
    with zipfile.ZipFile(next(distributions.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    presets = {f"pipesched/presets/{path.name}" for path in (ROOT / "presets").glob("*.toml")}
    assert len(presets) > 3
    minilm = {
        f"pipesched/pipeline/embedders/minilm/{name}"
        for name in ("graph.onnx", "tokenizer.json", "weights.json", "NOTICE")
    }
    assert (presets | minilm | {"pipesched/py.typed"}) - names == set()
    assert not [name for name in names if "test" in name.split("/")[0] or "__pycache__" in name]
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert [name for name in names if name.endswith(".data/data/share/man/man1/pipesched.1")]


def test_the_source_distribution_has_what_make_test_needs(distributions: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "Makefile", "constraints.txt", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "schedules.json",
        ".ci/run", "scripts/command_reference.py", "benchmarks/startup.py", "docs/commands.md",
        "examples/blog/sourdough-starter.md", "tests/conftest.py", "presets/daily_2am.toml",
        "deploy/prometheus/alerts.yml",
    }  # fmt: skip
    assert wanted - names == set()


def test_the_installed_wheel_does_the_main_job_away_from_the_checkout(
    distributions: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    # The dependencies are lent by this environment: installing them again would take minutes.
    site = next((environment / "lib").glob("python*/site-packages"))
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wheel = next(distributions.glob("*.whl"))
    install = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
        wheel,
    ]
    subprocess.run(install, check=True)

    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "blog", project / "data")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [environment / "bin" / "pipesched", *arguments],
            cwd=project,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [python, "-c", "import pipesched; print(pipesched.__file__)"],
        cwd=project,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(environment))
    assert run("--version") == f"pipesched {__version__}\n"
    assert "daily_2am" in run("presets")
    run("init")
    run("add-preset", "daily_2am", "mine")
    assert "12 new" in run("run", "mine")
    assert "Keeping a sourdough starter alive" in run("search", "sourdough", "-n", "1")
