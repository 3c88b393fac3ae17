"""The rules about collections and models, by facts on both sides of their lines."""

from datetime import UTC, datetime, timedelta

import pytest

from pipesched.views.health import HealthFacts, health
from pipesched.views.index_rules import (
    CollectionFacts,
    EmbedderFacts,
    check_deletes,
    check_drift,
    check_embedder,
)
from pipesched.views.scheduler import SchedulerFacts

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
THEN = NOW - timedelta(hours=3)
SOUND = CollectionFacts("posts", "nightly", THEN)
MODEL = "ollama:arctic"
DOWN = ("no Ollama server answers at http://127.0.0.1:11434: refused", "start it with `ollama serve`")


def test_collections_that_are_as_they_should_be_pass() -> None:
    never = CollectionFacts("drafts")
    assert check_deletes((SOUND, never), NOW).status == "pass"
    assert check_drift((SOUND, never), NOW).status == "pass"


def test_withheld_deletes_degrade_and_say_how_to_let_them_through() -> None:
    check = check_deletes((SOUND, CollectionFacts("notes", "weekly", THEN, withheld=12)), NOW)
    assert (check.status, check.message) == (
        "warn",
        "degraded: deletes are withheld, of 12 documents in the collection notes (job weekly, 3 h ago)",
    )
    assert "pipesched run weekly --allow-mass-delete" in check.hint


def test_drift_degrades_until_the_next_sync_and_says_how_to_look_closer() -> None:
    check = check_drift((CollectionFacts("notes", "weekly", THEN, drifted=1),), NOW)
    assert (check.status, check.message) == (
        "warn",
        "degraded: somebody else changed 1 chunk of the collection notes (found and mended by weekly, 3 h ago)",
    )
    assert "pipesched verify --deep --job weekly" in check.hint


def test_of_many_collections_three_are_named() -> None:
    many = [CollectionFacts(f"c{number}", "j", THEN, withheld=1, drifted=1) for number in range(5)]
    for check in (check_deletes(many, NOW), check_drift(many, NOW)):
        assert "c2" in check.message
        assert "c3" not in check.message
        assert check.message.endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("facts", "status", "words", "up"),
    [
        (EmbedderFacts("onnx:mini"), "pass", "onnx:mini needs no server", True),
        (EmbedderFacts(MODEL, asked=True), "pass", "ollama:arctic answers", True),
        (
            EmbedderFacts(MODEL, asked=True, down=DOWN),
            "warn",
            "the next run that has to embed would fail",
            False,
        ),
        (
            EmbedderFacts(MODEL, asked=True, down=DOWN, failed=("nightly", "no server")),
            "fail",
            "refused; the last run of nightly failed",
            False,
        ),
        (
            EmbedderFacts(MODEL, failed=("nightly", "no server")),
            "warn",
            "the last run of nightly failed: no server",
            False,
        ),
        (EmbedderFacts(MODEL, asked=True, failed=("nightly", "no server")), "pass", "answers again", True),
    ],
)
def test_an_embedder_is_judged_by_its_answer_then_by_the_last_runs(
    facts: EmbedderFacts, status: str, words: str, up: bool
) -> None:
    check = check_embedder((facts,))
    assert (check.status, words in check.message, facts.is_up) == (status, True, up), check
    assert bool(check.hint) == (status != "pass")


def test_the_worst_embedder_gives_the_status_and_the_hint() -> None:
    fine = EmbedderFacts("onnx:mini")
    recorded = EmbedderFacts("ollama:other", failed=("weekly", "timeout"))
    dead = EmbedderFacts(MODEL, asked=True, down=DOWN, failed=("nightly", "no server"))
    check = check_embedder((fine, recorded, dead))
    assert (check.status, check.hint) == ("fail", DOWN[1])
    assert check.message.startswith(MODEL)
    assert "onnx:mini" not in check.message


def test_health_has_these_checks_where_there_is_something_to_check() -> None:
    facts = HealthFacts(now=NOW, scheduler=SchedulerFacts(running=False), job_file="schedules.json")
    assert not {"deletes", "drift", "embedder"} & health(facts).checks.keys()
    facts = HealthFacts(
        now=NOW,
        scheduler=SchedulerFacts(running=False),
        job_file="schedules.json",
        collections=(CollectionFacts("notes", "weekly", THEN, withheld=2),),
        embedders=(EmbedderFacts("onnx:mini"),),
    )
    found = health(facts)
    assert {"deletes", "drift", "embedder"} <= found.checks.keys()
    assert found.status == "warn"
