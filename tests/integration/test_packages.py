"""The built wheel and source distribution: complete, and the wheel works away from the checkout."""

import email
import itertools
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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
    parts = {
        f"{path.relative_to(ROOT / 'src')}"
        for path in (ROOT / "src" / "pipesched").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    wanted = ("graph.onnx", "tokenizer.json", "weights.json", "NOTICE", "page.css", "py.typed")
    assert all(any(part.endswith(f"/{name}") for part in parts) for name in wanted)
    assert (presets | parts) - names == set()
    assert not [name for name in names if "test" in name.split("/")[0] or "__pycache__" in name]
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert [name for name in names if name.endswith(".data/data/share/man/man1/pipesched.1")]


def test_the_source_distribution_has_what_make_test_needs(distributions: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "Makefile", "constraints.txt", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "schedules.json",
        ".ci/run", "scripts/command_reference.py", "benchmarks/startup.py", "mkdocs.yml", "Dockerfile", ".dockerignore",
        "deploy/docker/compose.yml", "docs/schemas/report.json", "examples/ci/check-posts.sh", "man/pipesched.1", "docs/commands.md",
        "examples/blog/sourdough-starter.md", "tests/conftest.py", "presets/daily_2am.toml",
        "deploy/prometheus/alerts.yml",
    }  # fmt: skip
    assert wanted - names == set()


def test_an_index_would_take_and_show_both(distributions: Path) -> None:
    twine = Path(sys.executable).with_name("twine")
    command = [twine, "check", "--strict", *distributions.iterdir()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_the_metadata_agrees_with_the_program(distributions: Path) -> None:
    wheel = next(distributions.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"pipesched-{__version__}.dist-info/METADATA"))
        scripts = archive.read(f"pipesched-{__version__}.dist-info/entry_points.txt").decode()
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra")) == {"dev", "docs", "notify"}
    assert scripts.split() == ["[console_scripts]", "pipesched", "=", "pipesched.cli.main:main"]
    # Needed as it is, so that `pip install` takes what was tested from wherever it is told to.
    assert not [need for need in metadata.get_all("Requires-Dist") if "@" in need]


def test_the_constraints_are_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0])
    for line in lines:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][\w.!+]*", line), line
    pinned = {line.partition("==")[0] for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for need in [*project["dependencies"], *itertools.chain(*extras)]:
        assert Requirement(need).name.lower().replace("_", "-") in pinned, need


@pytest.fixture(scope="module")
def environment(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel, away from the checkout."""
    environment = tmp_path_factory.mktemp("away") / "venv"
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
    return environment


@pytest.fixture(scope="module")
def unpacked(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution without its sources, so that only what is installed can be imported."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    shutil.rmtree(root / "src")
    return root


def test_the_installed_wheel_passes_tests_away_from_the_checkout(environment: Path, unpacked: Path) -> None:
    some = ("tests/unit/jobs", "tests/unit/chunks", "tests/contract/test_times_contract.py")
    command = [
        environment / "bin" / "python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
        *some,
    ]
    done = subprocess.run(
        command, cwd=unpacked, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 100


def test_the_installed_wheel_does_the_main_job_away_from_the_checkout(
    environment: Path, tmp_path: Path
) -> None:
    python = environment / "bin" / "python"
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
