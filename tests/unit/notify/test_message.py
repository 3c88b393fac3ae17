"""The words of a notification."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pipesched.notify.decision import News
from pipesched.notify.message import LISTED, Surroundings, compose, digest
from pipesched.runs.model import Run

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
AROUND = Surroundings(
    host="web1",
    command=("pipesched", "--file", "/srv/my blog/schedules.json"),
    zone=ZoneInfo("Europe/Berlin"),
    schedule="0 2 * * * (Europe/Berlin)",
    next_at=NOW + timedelta(hours=16),
    hint="ollama pull some-model",
)


def news(kind: str = "failure", reason: str = "no model", **fields) -> News:
    run = Run(run_id="r1", job_id="nightly", status="failed", trigger="schedule", reason=reason)
    return News("nightly", kind, "failed", NOW - timedelta(hours=3), run, **fields)


def test_it_says_job_what_since_error_hint_and_what_to_run() -> None:
    message = compose(news(), AROUND, NOW)
    assert message.title == "nightly failed"
    assert message.urgency == "failure"
    assert message.body.splitlines() == [
        "Job nightly on web1 failed.",
        "Schedule: 0 2 * * * (Europe/Berlin)",
        "Since: Tue 2026-11-24 07:00 CET (3 h ago)",
        "Last error: no model",
        "Hint: ollama pull some-model",
        "Next run: Wed 2026-11-25 02:00 CET",
        "Run: pipesched --file '/srv/my blog/schedules.json' logs r1",
    ]


def test_a_job_that_paused_itself_comes_with_how_to_resume_it() -> None:
    body = compose(news("paused"), AROUND, NOW).body
    assert body.splitlines()[-1].endswith("resume nightly")


def test_what_a_shell_would_run_is_quoted_and_what_is_long_is_cut() -> None:
    message = compose(news(reason="$(id)\n" + "x" * 5000), AROUND, NOW)
    assert len(message.body) < 1500
    assert "Last error: $(id) xxx" in message.body  # as text, on one line


def test_many_at_once_are_one_message_with_the_bad_ones_first() -> None:
    good = News("job0", "recovery", "succeeded again")
    bad = [News(f"job{number}", "failure", "failed") for number in range(1, 80)]
    message = digest([good, *bad], "web1", AROUND.command)
    assert message.title == "79 jobs are not well"
    assert message.jobs == ("job0", *(f"job{number}" for number in range(1, 80)))
    lines = message.body.splitlines()
    assert lines[1] == "- job1 failed"
    assert len(lines) == LISTED + 3
    assert lines[-1].endswith("health")


def test_many_news_of_few_jobs_count_the_jobs() -> None:
    news = [News(job_id, kind, "failed") for job_id in ("a", "b") for kind in ("failure", "missed")]
    assert digest(news, "web1", AROUND.command).title == "2 jobs are not well"
    assert digest(news[:2], "web1", AROUND.command).title == "a is not well"


def test_many_at_once_are_as_urgent_as_the_worst_of_them() -> None:
    good, late, bad = (News("a", kind, "is so") for kind in ("recovery", "late", "failure"))
    for news, urgency in (([good], "success"), ([good, late], "warning"), ([late, bad, good], "failure")):
        assert digest(news, "web1", AROUND.command).urgency == urgency
