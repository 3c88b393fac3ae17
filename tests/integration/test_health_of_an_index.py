"""What the engineer on call is told by the commands when the embedder goes away and comes back, and when a folder empties."""

import time
from pathlib import Path

import pytest

from support.command import pipesched
from support.ollama_server import Model, OllamaServer


def checks(home: Path, env: dict[str, str]) -> tuple[int, dict[str, tuple[str, str]], float]:
    began = time.monotonic()
    found = pipesched("health", "--no-scheduler", "--json", cwd=home, env=env)
    taken = time.monotonic() - began
    told = {name: (check["status"], check["message"]) for name, check in found.json["checks"].items()}
    return found.code, told, taken


@pytest.mark.slow
def test_health_follows_an_embedder_that_goes_away_and_a_folder_that_empties(tmp_path: Path) -> None:
    posts = tmp_path / "posts"
    posts.mkdir()
    (posts / "one.md").write_text("# One\n\nText.")
    job = (
        "add-interval",
        "often",
        "--every",
        "1h",
        "--data-dir",
        "posts",
        "--embedding-model",
        "ollama:arctic",
    )
    assert pipesched(*job, cwd=tmp_path).code == 0
    with OllamaServer(Model("arctic:latest")) as server:
        env = {"OLLAMA_HOST": server.url}
        assert pipesched("run", "often", cwd=tmp_path, env=env).code == 0
        code, told, _ = checks(tmp_path, env)
        assert (code, told["embedder"]) == (0, ("pass", "ollama:arctic answers"))
        asked = [each.path for each in server.asked]
        assert checks(tmp_path, env)[0] == 0
        assert [each.path for each in server.asked][len(asked) :] == ["/api/tags"], "no text is embedded"
        server.fail("hang", path="/api/tags", seconds=30)
        code, told, taken = checks(tmp_path, env)
        assert (code, told["embedder"][0]) == (0, "warn")
        assert taken < 4
    (posts / "two.md").write_text("# Two\n\nMore text.")
    assert pipesched("run", "often", cwd=tmp_path, env=env).code == 69
    code, told, _ = checks(tmp_path, env)
    assert (code, told["embedder"][0], told["job:often"][0]) == (1, "fail", "warn")
    printed = pipesched("health", "--no-scheduler", cwd=tmp_path, env=env).out
    assert "fail  embedder: ollama:arctic: no Ollama server answers" in printed
    assert "hint: start it with `ollama serve`" in printed
    for path in posts.iterdir():
        path.unlink()
    assert pipesched("run", "often", cwd=tmp_path, env=env).code == 3
    code, told, _ = checks(tmp_path, env)
    assert (code, told["deletes"][0]) == (0, "warn")
    (collection,) = pipesched("status", "--json", cwd=tmp_path, env=env).json["collections"]
    assert (collection["withheld_deletes"], collection["last_status"]) == (1, "partial")
    assert collection["age_seconds"] < 60
    assert pipesched("run", "often", "--allow-mass-delete", cwd=tmp_path, env=env).code == 0
    assert checks(tmp_path, env)[1]["deletes"] == ("pass", "none withheld")
