"""The Dockerfile is built elsewhere; here it is read: what it copies is there and suffices, what it starts exists."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipesched.cli.registry import COMMANDS
from pipesched.settings import ENV_FILE, ENV_HTTP_TOKEN, HTTP_ADDRESS
from support.command import PIPESCHED

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "Dockerfile").read_text()
PORT = HTTP_ADDRESS.partition(":")[2]


def instructions() -> list[tuple[str, str]]:
    lines = re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    split = [line.partition(" ") for line in lines if line.strip()]
    return [(word, rest.strip()) for word, _, rest in split]


INSTRUCTIONS = instructions()


def last(word: str) -> str:
    return [rest for name, rest in INSTRUCTIONS if name == word][-1]


def copied() -> list[str]:
    """What comes from the repository."""
    return [
        name.rstrip("/").removeprefix("./")
        for word, rest in INSTRUCTIONS
        if word == "COPY" and not rest.startswith("--from")
        for name in shlex.split(rest)[:-1]
    ]


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(PIPESCHED).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert copied()
    for name in copied():
        assert (ROOT / name).exists(), name
        kept = False
        for rule in rules:  # the last that fits decides
            if fnmatch(name, rule.removeprefix("!")):
                kept = rule.startswith("!")
        assert kept, name
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == set(copied())


def test_what_is_copied_is_all_that_the_package_is_built_from(tmp_path: Path) -> None:
    context = tmp_path / "build"
    context.mkdir()
    for name in copied():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, context / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, context]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "pipesched/presets/daily_2am.toml" in names
    assert "pipesched/pipeline/embedders/minilm/graph.onnx" in names


def test_the_extras_and_constraints_that_it_installs_exist() -> None:
    (install,) = [rest for word, rest in INSTRUCTIONS if word == "RUN" and "pip install" in rest]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"\.\[([\w,]+)\]", install)[0].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    assert "-c constraints.txt" in install


def test_pipesched_itself_is_the_first_process_and_gets_the_signals() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["pipesched"]
    (command, *_) = json.loads(last("CMD"))
    assert command in COMMANDS
    assert last("STOPSIGNAL") == "SIGTERM"
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert "pipesched" in scripts


def test_it_runs_as_nobody_in_particular_in_the_folder_that_is_its_own() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) == int(group) > 0
    words = [word for word, _ in INSTRUCTIONS]
    assert words.index("USER") > max(number for number, word in enumerate(words) if word in {"RUN", "COPY"})
    home = last("VOLUME")
    assert home == last("WORKDIR")
    assert f"{ENV_FILE}={home}/schedules.json" in last("ENV")
    assert last("EXPOSE") == PORT


def test_the_health_check_asks_whether_the_loop_turns() -> None:
    command = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    assert command[0].startswith("/opt/pipesched/bin/")
    compile(command[2], "healthcheck", "exec")
    assert f"http://127.0.0.1:{PORT}/livez" in command[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "docker" / "compose.yml").read_text())
    return document


def test_the_compose_file_publishes_on_loopback_and_insists_on_a_token(compose: dict[str, Any]) -> None:
    service = compose["services"]["pipesched"]
    assert (ROOT / "deploy" / "docker" / service["build"] / "Dockerfile").resolve() == ROOT / "Dockerfile"
    assert service["command"][0] in COMMANDS
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["environment"][ENV_HTTP_TOKEN].startswith(f"${{{ENV_HTTP_TOKEN}:?")
    assert [volume.split(":")[-1] for volume in service["volumes"]] == [last("VOLUME"), "ro"]
