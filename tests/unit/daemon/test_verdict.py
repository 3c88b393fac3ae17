"""How a run ended."""

import pytest

from pipesched.daemon.launch import Exit
from pipesched.daemon.verdict import Stop, Verdict, document_counts, judge

TIMEOUT = Stop("timeout", "ran longer than its timeout of 5 s")
DRAINED = Stop("drained", "the daemon stopped")


@pytest.mark.parametrize(
    ("ended", "status", "code", "reason"),
    [
        (Exit("r", code=0), "succeeded", 0, ""),
        (Exit("r", code=3), "partial", 3, "some documents failed"),
        (Exit("r", code=1), "failed", 1, "exit status 1"),
        (Exit("r", code=69), "failed", 69, "exit status 69"),
        (Exit("r", code=143), "interrupted", 143, "ended by SIGTERM from outside"),
        (Exit("r", code=130), "interrupted", 130, "ended by SIGINT from outside"),
        (Exit("r", signal=15), "interrupted", 143, "ended by SIGTERM from outside"),
        (Exit("r", signal=9), "failed", 137, "killed by SIGKILL, possibly out of memory"),
        (
            Exit("r", signal=9, out_of_memory=True),
            "failed",
            137,
            "killed by SIGKILL: out of memory (the kernel counted an OOM kill)",
        ),
        (Exit("r", signal=11), "failed", 139, "crashed: SIGSEGV"),
        (Exit("r", signal=12), "failed", 140, "killed by SIGUSR2"),
        (Exit("r"), "lost", None, "its process is gone, and left no word of how it ended"),
    ],
)
def test_exit_codes_signals_and_the_want_of_memory_are_told_apart(ended, status, code, reason):
    assert judge(ended, stop=None, report=None) == Verdict(status, code, reason)


def test_a_busy_store_is_no_failure_but_another_try():
    verdict = judge(Exit("r", code=75, tail="error: pid 12 writes to this store\n"), stop=None, report=None)

    assert verdict.busy
    assert verdict.reason == "pid 12 writes to this store"


@pytest.mark.parametrize(
    "ended", [Exit("r", signal=15), Exit("r", signal=9), Exit("r", code=143), Exit("r", code=1)]
)
def test_a_run_that_was_ended_for_its_timeout_is_a_timeout_however_it_went(ended):
    verdict = judge(ended, stop=TIMEOUT, report=None)

    assert (verdict.status, verdict.reason) == ("timeout", TIMEOUT.reason)


def test_a_run_that_was_done_before_the_signal_came_has_succeeded():
    assert judge(Exit("r", code=0), stop=TIMEOUT, report=None).status == "succeeded"
    assert judge(Exit("r", code=3), stop=DRAINED, report=None).status == "partial"


def test_a_run_that_the_daemon_ended_is_interrupted_and_says_why():
    assert judge(Exit("r", signal=9), stop=DRAINED, report=None) == Verdict(
        "interrupted", 137, DRAINED.reason
    )
    assert judge(Exit("r", code=75), stop=DRAINED, report=None).status == "interrupted"


def test_the_reason_is_the_reports_message_else_the_last_error_printed():
    tail = "error: first\nsome words\nerror: the model is missing\nhint: ollama pull x\n"

    assert (
        judge(Exit("r", code=69, tail=tail), stop=None, report={"message": "from the report"}).reason
        == "from the report"
    )
    assert judge(Exit("r", code=69, tail=tail), stop=None, report=None).reason == "the model is missing"
    tail = "".join(
        f'{{"time": "2026", "level": "{level}", "logger": "pipesched", "message": "{said}", "run_id": "r"}}\n'
        for level, said in (
            ("error", "first"),
            ("error", 'the \\"model\\" is missing'),
            ("info", "hint: pull it"),
        )
    )
    assert judge(Exit("r", code=69, tail=tail), stop=None, report=None).reason == 'the "model" is missing'


@pytest.mark.parametrize(
    "line",
    [
        r'{"level": "error", "message": "C:\docs"}',
        '{"level": "error", "message": "a\tb"}',
        '{"level": "error", "message": "cut off in the mid',
        '{"level": "error"}',
        '{"level": ["error"], "message": "x"}',
        '{"level": ' + "[" * 4000,
    ],
)
def test_output_that_looks_like_a_log_line_and_is_none_gives_no_reason_and_ends_nothing(line):
    tail = f'{line}\nand so on", "run_id": "r"}}\n'

    assert judge(Exit("r", code=1, tail=tail), stop=None, report=None).reason == "exit status 1"


def test_a_traceback_gives_its_last_line_as_the_reason():
    tail = 'Traceback (most recent call last):\n  File "x"\nchromadb.errors.InternalError: broken\n'

    assert (
        judge(Exit("r", code=1, tail=tail), stop=None, report=None).reason
        == "chromadb.errors.InternalError: broken"
    )


def test_a_run_that_nobody_watched_ended_as_its_report_says():
    report = {"status": "partial", "exit_code": 3, "message": "1 document failed"}

    assert judge(Exit("r"), stop=None, report=report) == Verdict("partial", 3, "1 document failed")
    assert judge(Exit("r"), stop=None, report={"status": "rubbish"}).status == "lost"
    assert judge(Exit("r"), stop=None, report={"status": ["partial"]}).status == "lost"
    assert judge(Exit("r"), stop=TIMEOUT, report=None).status == "timeout"


def test_documents_are_counted_from_the_report_of_a_run_that_wrote():
    stats = {"new_documents": 2, "deleted_sources": 1, "unchanged_documents": 7, "failed_documents": "none"}
    counted = document_counts({"stats": stats, "dry_run": False})

    assert counted is not None
    assert (counted["new"], counted["deleted"], counted["unchanged"], counted["failed"]) == (2, 1, 7, 0)
    assert document_counts({"stats": stats, "dry_run": True}) is None
    assert document_counts(None) is None
