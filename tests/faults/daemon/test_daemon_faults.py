"""A real daemon, its runs shell scripts, killed, signalled and starved."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest

from pipesched.daemon.cancel import Patience, cancel
from pipesched.daemon.cancellation import Cancellations
from pipesched.daemon.jobwatch import LARGE_BYTES
from pipesched.errors import NotFound, UsageError
from pipesched.files import KernelLock, private_dir
from pipesched.runs.ledger import Ledger
from pipesched.runs.process import alive
from pipesched.views.scheduler import read_facts
from support.disk import on_a_full_disk
from support.endpoint import get
from support.shell_daemon import due_in, every, paths_of


def test_what_is_due_runs_and_is_recorded(daemon):
    daemon.add(due_in("a", 1), "echo hello; exit 3")
    process = daemon.start()
    run = daemon.wait_for(lambda: [each for each in daemon.runs("a") if each.status == "partial"])[0]

    assert run.exit_code == 3
    assert (run.started_at - run.scheduled_for).total_seconds() < 1
    assert (daemon.paths.logs_dir / f"{run.run_id}.log").read_text() == "hello\n"
    process.terminate()
    assert process.wait(10) == 0
    assert not (daemon.paths.state_dir / "daemon.json").exists()


def test_a_second_daemon_is_refused_and_names_the_first(daemon):
    daemon.add(every("a", 3600), "true")
    first = daemon.start()
    daemon.wait_for_log("1 jobs")
    second = daemon.start()

    assert second.wait(10) == 1  # the driver's: the command line makes it 75
    assert f"Busy: another daemon runs on this state folder: pid {first.pid}" in daemon.log


def test_after_a_sigkill_the_next_daemon_starts_with_nothing_to_clean(daemon):
    daemon.add(every("a", 3600), "true")
    first = daemon.start()
    daemon.wait_for_log("1 jobs")
    first.kill()
    first.wait()
    second = daemon.start()
    daemon.wait_for(lambda: daemon.log.count("1 jobs") == 2)

    second.terminate()
    assert second.wait(10) == 0


def test_a_standby_takes_over_within_seconds_of_a_sigkill(daemon):
    daemon.add(every("a", 3600), "true")
    first = daemon.start()
    daemon.wait_for_log("1 jobs")
    standby = daemon.start(standby=True)
    daemon.wait_for_log(f"standing by: pid {first.pid}")
    first.kill()
    killed = time.monotonic()
    daemon.wait_for_log("taking over")

    assert time.monotonic() - killed < 2
    daemon.wait_for(lambda: KernelLock(daemon.paths.daemon_lock).holder().pid == standby.pid)
    standby.terminate()
    assert standby.wait(10) == 0


def test_a_standby_takes_over_what_waits_of_a_job_that_was_added_meanwhile(daemon):
    daemon.add(due_in("a", -10), "exec sleep 60")
    first = daemon.start(workers=1)
    daemon.wait_for(lambda: daemon.runs("a"))
    standby = daemon.start(workers=1, standby=True)
    daemon.wait_for_log(f"standing by: pid {first.pid}")
    many = [every(f"idle-{number}", 86_400) for number in range(LARGE_BYTES // 300)]
    daemon.add_all([due_in("b", -1), *many], "true")
    assert daemon.paths.job_file.stat().st_size > LARGE_BYTES
    daemon.wait_for(lambda: daemon.statuses("b") == ["queued"])
    first.kill()
    daemon.wait_for_log(f"jobs, pid {standby.pid}")

    assert daemon.statuses("b") == ["queued"]


def test_a_standby_that_is_told_to_stop_stops(daemon):
    daemon.add(every("a", 3600), "true")
    daemon.start()
    daemon.wait_for_log("1 jobs")
    standby = daemon.start(standby=True)
    daemon.wait_for_log("standing by")
    standby.terminate()

    assert standby.wait(5) == 0


def test_sigterm_lets_a_run_end_and_starts_no_other(daemon):
    daemon.add(due_in("a", 0.5), "echo up > up; sleep 1; exit 0")
    daemon.add(every("b", 1), "echo b >> b")
    (daemon.folder / "scripts" / "a").write_text(f"echo up > {daemon.folder}/up; sleep 1.5; exit 0")
    process = daemon.start()
    daemon.written("up")
    process.terminate()
    before = len(daemon.runs("b"))

    assert process.wait(10) == 0
    assert daemon.statuses("a") == ["succeeded"]
    assert len(daemon.runs("b")) <= before + 1


def test_a_run_that_outlives_the_drain_timeout_is_ended_with_its_group_and_interrupted(daemon):
    daemon.add(
        due_in("a", 0.5),
        f"trap '' TERM; sleep 300 & echo $! > {daemon.folder}/grandchild; while :; do sleep 1; done",
    )
    process = daemon.start(drain=0.5)
    grandchild = int(daemon.written("grandchild"))
    process.terminate()
    started = time.monotonic()

    assert process.wait(10) == 0
    assert time.monotonic() - started < 5
    (run,) = daemon.runs("a")
    assert (run.status, run.exit_code) == ("interrupted", 137)
    assert "drain timeout" in run.reason
    daemon.wait_for(lambda: not alive(grandchild, None), "the end of the grandchild", 2)


def test_what_the_stop_cut_off_is_started_again_by_the_next_daemon(daemon):
    daemon.add(due_in("a", 0.5), f"echo $PIPESCHED_ATTEMPT >> {daemon.folder}/ran; exec sleep 60")
    process = daemon.start(drain=0.2)
    daemon.written("ran")
    process.terminate()
    assert process.wait(10) == 0
    daemon.start()
    daemon.wait_for(lambda: daemon.written("ran").split() == ["1", "2"])

    assert daemon.statuses("a") == ["interrupted", "running"]


def test_a_second_signal_ends_everything_at_once(daemon):
    daemon.add(due_in("a", 0.5), f"trap '' TERM; echo up > {daemon.folder}/up; while :; do sleep 1; done")
    process = daemon.start(drain=60)
    daemon.written("up")
    process.terminate()
    daemon.wait_for_log("nothing is started any more")
    process.send_signal(signal.SIGINT)

    assert process.wait(3) == 128 + signal.SIGINT
    assert [(run.status, run.reason) for run in daemon.runs("a")] == [
        ("interrupted", "the daemon was told to stop at once")
    ]


def test_a_timeout_kills_a_group_that_ignores_term(daemon):
    daemon.add(
        due_in("a", 0.5, timeout=0.5),
        f"trap '' TERM; sleep 300 & echo $! > {daemon.folder}/grandchild; while :; do sleep 1; done",
    )
    daemon.start()
    grandchild = int(daemon.written("grandchild"))
    run = daemon.wait_for(lambda: [each for each in daemon.runs("a") if each.status == "timeout"])[0]

    assert run.exit_code == 137
    assert run.duration_seconds < 5
    daemon.wait_for(lambda: not alive(grandchild, None), "the end of the grandchild", 2)


def test_a_daemon_killed_in_mid_run_leaves_a_run_that_the_next_one_watches_to_its_end(daemon):
    daemon.add(due_in("a", 0.5), f"echo $$ >> {daemon.folder}/ran; sleep 2")
    first = daemon.start()
    pid = int(daemon.written("ran"))
    daemon.wait_for(lambda: any(run.pid for run in daemon.runs("a")))
    first.kill()
    first.wait()
    daemon.start()
    daemon.wait_for_log("of an earlier daemon still runs")
    assert daemon.statuses("a") == ["running"]
    daemon.wait_for(lambda: daemon.statuses("a") == ["lost"])

    assert not alive(pid, None)
    assert daemon.written("ran").split() == [str(pid)]


def test_a_run_that_died_with_its_daemon_is_lost_tried_again_and_never_doubled(daemon):
    daemon.add(
        due_in("a", 0.5, retries=1, retry_delay=0.5),
        f"echo $$ $PIPESCHED_ATTEMPT >> {daemon.folder}/ran; sleep 60",
    )
    first = daemon.start()
    pid = int(daemon.written("ran").split()[0])
    daemon.wait_for(lambda: any(run.pid for run in daemon.runs("a")))
    first.kill()
    os.killpg(pid, signal.SIGKILL)
    first.wait()
    daemon.start()
    daemon.wait_for(lambda: daemon.statuses("a") == ["lost", "running"])
    daemon.wait_for(lambda: len(daemon.written("ran").splitlines()) == 2)

    assert [line.split()[1] for line in daemon.written("ran").splitlines()] == ["1", "2"]


def test_a_daemon_killed_between_claim_and_spawn_starts_the_run_once(daemon):
    """The other daemon has claimed, marked the start, and dies there: it may have run, so it does not run again."""
    daemon.add(due_in("a", 1.5), f"echo ran >> {daemon.folder}/ran")
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from support import shell_daemon
from pipesched.daemon.children import Children
Children.launch = lambda self, launch: os.kill(os.getpid(), signal.SIGKILL)
shell_daemon.main(shell_daemon.Path({str(daemon.folder)!r}), {{}})
"""
    dying = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=20, check=False)
    assert dying.returncode == -signal.SIGKILL, dying.stderr
    assert daemon.recorded("a") == [("running", None)]

    second = daemon.start()
    daemon.wait_for(lambda: daemon.recorded("a") == [("lost", None)])
    time.sleep(0.5)
    second.terminate()
    assert second.wait(10) == 0
    assert not (daemon.folder / "ran").exists()


def test_without_descriptors_runs_fail_with_the_reason_and_the_daemon_lives(daemon):
    daemon.add(every("a", 1), "exit 0")
    process = daemon.start()
    daemon.wait_for(lambda: "succeeded" in daemon.statuses("a"))
    used = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used, hard))
    daemon.wait_for(lambda: "failed" in daemon.statuses("a"))
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (hard, hard))
    daemon.wait_for(lambda: daemon.statuses("a")[-1] == "succeeded")

    failed = [run for run in daemon.runs("a") if run.status == "failed"]
    assert all("Too many open files" in run.reason for run in failed)
    assert process.poll() is None


def test_edits_of_the_job_file_are_followed_and_a_bad_one_changes_nothing(daemon):
    daemon.add(every("a", 1), f"echo a >> {daemon.folder}/a")
    process = daemon.start()
    daemon.written("a")
    daemon.add(every("b", 1), f"echo b >> {daemon.folder}/b")
    daemon.written("b")
    good = daemon.paths.job_file.read_bytes()
    daemon.paths.job_file.write_bytes(good[: len(good) // 2])
    daemon.wait_for_log("the last good jobs go on")
    count = len(daemon.runs("b"))
    daemon.wait_for(lambda: len(daemon.runs("b")) > count)
    daemon.paths.job_file.write_bytes(good)
    daemon.wait_for_log("the job file can be used again")

    process.send_signal(signal.SIGHUP)
    daemon.wait_for(lambda: daemon.log.count("job file read") >= 3)
    process.terminate()
    assert process.wait(10) == 0


def test_the_service_manager_hears_ready_watchdog_reloading_and_stopping(daemon, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        daemon.add(every("a", 3600), f"env > {daemon.folder}/env; echo >> {daemon.folder}/env")
        daemon.add(due_in("b", 0.5), f"env > {daemon.folder}/env; echo >> {daemon.folder}/env")
        process = daemon.start(env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"})
        heard: list[str] = []

        def hear(word: str) -> None:
            while not any(word in each for each in heard):
                heard.append(manager.recv(4096).decode())

        hear("READY=1")
        hear("WATCHDOG=1")
        process.send_signal(signal.SIGHUP)
        hear("RELOADING=1")
        heard.clear()
        hear("READY=1")
        # A loop that does not turn does not feed the watchdog.
        process.send_signal(signal.SIGSTOP)
        manager.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while True:
                manager.recv(4096)
        with pytest.raises(TimeoutError):
            manager.recv(4096)
        manager.settimeout(10)
        process.send_signal(signal.SIGCONT)
        heard.clear()
        hear("WATCHDOG=1")
        assert "NOTIFY_SOCKET" not in daemon.written("env")
        process.terminate()
        hear("STOPPING=1")
        assert process.wait(10) == 0


@pytest.mark.slow
def test_a_loop_that_hangs_feeds_no_watchdog_and_fails_livez_until_it_turns_again(daemon, tmp_path):
    """It hangs in the start of a run, in a read that does not return; the process and its other threads live on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))

        def watchdog_is_fed(seconds: float) -> bool:
            manager.settimeout(0)
            with contextlib.suppress(BlockingIOError):  # what it has heard so far
                while True:
                    manager.recv(4096)
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                manager.settimeout(left)
                with contextlib.suppress(TimeoutError):
                    if b"WATCHDOG=1" in manager.recv(4096):
                        return True
            return False

        os.mkfifo(daemon.folder / "gate")
        daemon.add(due_in("a", 3), "true")
        daemon.start(http=True, env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"})
        address = daemon.address()
        assert watchdog_is_fed(5)
        daemon.let_pass(60)  # no matter to a loop that turns
        daemon.wait_for(lambda: get(address, "/livez").status == 200, "a turn", 5)

        daemon.wait_for(lambda: "running" in daemon.statuses("a") or None, "the hanging start", 20)
        assert not watchdog_is_fed(2)
        assert get(address, "/livez").status == 200  # for a while it may be busy
        daemon.let_pass(60 + 120)
        daemon.set_clock(120)
        assert get(address, "/livez").status == 503
        daemon.wait_for(lambda: get(address, "/readyz").status == 503, "a failing health", 5)
        assert get(address, "/scheduler/status").status == 200

        with (daemon.folder / "gate").open("wb"):
            (daemon.folder / "gate").unlink()
        assert watchdog_is_fed(5)
        daemon.wait_for(lambda: get(address, "/livez").status == 200, "a turn", 5)
        daemon.wait_for(lambda: daemon.statuses("a") == ["succeeded"], "the end of the run")


def test_once_runs_what_is_due_waits_for_it_and_exits(daemon):
    daemon.add(due_in("past", -30), "sleep 0.3; exit 0")
    daemon.add(due_in("future", 3600), "exit 0")
    assert daemon.start(once=True).wait(10) == 0
    assert daemon.statuses("past") == ["succeeded"]
    assert daemon.statuses("future") == []


def test_once_says_by_its_exit_status_that_a_run_failed(daemon):
    daemon.add(due_in("past", -30), "exit 69")

    assert daemon.start(once=True).wait(10) == 1


@pytest.mark.slow
def test_a_thousand_jobs_due_in_one_second_all_run_once_and_in_order_while_the_endpoint_answers(daemon):
    jobs = [due_in(f"j{number:04}", 3 + number / 1000) for number in range(1000)]
    daemon.add_all(jobs, f"echo ${{0##*/}} >> {daemon.folder}/ran")
    process = daemon.start(http=True, workers=4)
    address = daemon.address()
    took = []

    def all_ran() -> bool:
        answer = get(address, "/scheduler/status")
        assert answer.status == 200
        took.append(answer.seconds)
        time.sleep(0.05)  # the endpoint lets nobody ask more than 20 times a second
        return answer.json["jobs_executed"] == len(jobs)

    daemon.wait_for(all_ran, "the end of all runs", 120)
    process.terminate()
    assert process.wait(10) == 0

    names = [job.id for job in jobs]
    assert re.findall(r"job (\S+): run \S+ started", daemon.log) == names
    assert sorted((daemon.folder / "ran").read_text().split()) == names
    assert [run.status for run in daemon.runs()] == ["succeeded"] * len(jobs)
    took.sort()
    assert took[len(took) // 2] < 0.2, (
        f"half of {len(took)} answers took longer than {took[len(took) // 2]} s"
    )
    assert took[-1] < 3


def test_cancel_ends_a_run_of_a_daemon_which_records_it(daemon):
    daemon.add(due_in("a", 0.5, retries=2, retry_delay=0.2), f"echo up > {daemon.folder}/up; sleep 60")
    daemon.start()
    daemon.written("up")
    run = daemon.wait_for(lambda: [each for each in daemon.runs("a") if each.pid])[0]
    ended = cancel(run.run_id, daemon.paths)

    assert (ended.status, ended.reason, ended.exit_code) == (
        "interrupted",
        "cancelled with pipesched cancel",
        143,
    )
    assert not alive(run.pid, run.pid_started)
    time.sleep(0.5)
    assert len(daemon.runs("a")) == 1
    with pytest.raises(UsageError, match="interrupted already"):
        cancel(run.run_id, daemon.paths)


def test_a_run_that_ends_by_itself_when_it_is_cancelled_leaves_no_request_behind(tmp_path):
    paths = paths_of(tmp_path)
    requests = Cancellations(private_dir(paths.state_dir))
    with Ledger.open(paths.ledger, create=True) as ledger:
        at = datetime.now(UTC)
        ledger.claim("r", "a", scheduled_for=at, attempt=1, trigger="schedule", now=at)
        ledger.started("r", pid=None, pid_started=None, now=at)

    def end_it() -> None:
        """As a daemon that had the run's exit before it could see the request."""
        with Ledger.open(paths.ledger, create=True) as ledger:
            for _ in range(5000):
                if requests.pending():
                    break
                time.sleep(0.001)
            ledger.finish("r", status="succeeded", now=datetime.now(UTC))

    lock = KernelLock(paths.daemon_lock)
    assert lock.try_acquire()
    with lock, ThreadPoolExecutor() as pool:
        done = pool.submit(end_it)
        assert cancel("r", paths).status == "succeeded"
        done.result()

    assert requests.pending() == []


def test_a_request_can_be_made_while_another_is_settled(tmp_path):
    requests = Cancellations(private_dir(tmp_path / "state"))
    asked = Event()

    def settle() -> None:
        while not asked.is_set():
            for run_id in requests.pending():
                requests.settle(run_id)

    with ThreadPoolExecutor() as pool:
        done = pool.submit(settle)
        try:
            for number in range(300):
                requests.ask(f"run-{number}")
        finally:
            asked.set()
        done.result()


def test_cancel_without_a_daemon_ends_the_run_and_records_it(daemon):
    daemon.add(due_in("a", 0.5), f"trap '' TERM; echo up > {daemon.folder}/up; while :; do sleep 0.1; done")
    process = daemon.start()
    daemon.written("up")
    run = daemon.wait_for(lambda: [each for each in daemon.runs("a") if each.pid])[0]
    process.kill()
    process.wait()
    ended = cancel(run.run_id, daemon.paths, patience=Patience(term=0.3))

    assert (ended.status, ended.reason) == ("interrupted", "cancelled with pipesched cancel")
    assert not alive(run.pid, run.pid_started)


def test_cancel_of_a_run_that_nobody_knows_is_refused(daemon):
    with pytest.raises(NotFound, match="no run"):
        cancel("unknown", daemon.paths)


def test_cancel_never_signals_a_process_that_has_got_the_pid_since(daemon):
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        with Ledger.open(daemon.paths.ledger, create=True) as ledger:
            ledger.begin_manual(
                "stale", None, now=datetime.now(UTC), pid=other.pid, pid_started=1, dry_run=False
            )
        with pytest.raises(UsageError, match="it is lost already"):
            cancel("stale", daemon.paths)
        assert other.poll() is None
        other.kill()


def test_a_reader_of_the_log_that_has_stopped_does_not_stop_the_schedule(daemon):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    daemon.add(every("a", 1), "exit 0")
    process = daemon.start(stderr=writer)
    daemon.wait_for(lambda: daemon.statuses("a").count("succeeded") >= 2)
    process.terminate()

    assert process.wait(10) == 0
    os.close(reader)
    os.close(writer)


def test_a_clock_that_is_set_forward_gives_one_run_and_one_that_is_set_back_none(daemon):
    daemon.add(every("a", 3600), "exit 0")
    daemon.add(due_in("first", 0), "exit 0")
    daemon.start()
    daemon.wait_for(lambda: daemon.statuses("first") == ["succeeded"], "a turn of the loop")
    daemon.set_clock(3 * 3600 + 60)
    daemon.wait_for_log("the clock went forward by 10860 s")
    daemon.wait_for(lambda: "succeeded" in daemon.statuses("a"))
    daemon.set_clock(3600)
    daemon.wait_for_log("the clock went back by 7260 s")
    time.sleep(1.5)

    assert daemon.statuses("a") == ["missed", "succeeded"]
    assert daemon.runs("a")[0].count == 2


@pytest.mark.slow
def test_a_disk_that_fills_up_and_is_freed_again_costs_no_occurrence_its_record(tmp_path):
    done = on_a_full_disk(
        tmp_path,
        f"""
import contextlib, json, sys, time
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from support.disk import on_a_full_disk
from support.endpoint import get
from support.shell_daemon import ShellDaemon, every
daemon = ShellDaemon(Path.cwd())
try:
    daemon.add(every("a", 1), "sleep 0.3")
    process = daemon.start()
    daemon.wait_for(lambda: "succeeded" in daemon.statuses("a"))
    fill = Path("fill").open("wb", buffering=0)
    with contextlib.suppress(OSError):
        while True:
            fill.write(b"x" * 512)
    time.sleep(3)
    assert process.poll() is None
    before = len(daemon.runs("a"))
    fill.close()
    Path("fill").unlink()
    daemon.wait_for(lambda: daemon.statuses("a")[before:].count("succeeded") >= 2)
    process.terminate()
    assert process.wait(10) == 0
    slots = []
    for run in daemon.runs("a"):
        slots += [run.scheduled_for + timedelta(seconds=number) for number in range(run.count)]
    gaps = [(after - before).total_seconds() for before, after in zip(slots, slots[1:])]
    print(json.dumps({{"all": daemon.statuses("a"), "gaps": sorted(set(gaps))}}))
finally:
    daemon.end()
""",
        size="3m",
    )

    assert done.returncode == 0, done.stderr
    statuses = json.loads(done.stdout)
    assert statuses["gaps"] == [1.0]
    assert set(statuses["all"]) <= {"succeeded", "missed", "skipped"}


@pytest.mark.parametrize("replaced", [False, True])
def test_a_daemon_whose_state_folder_is_taken_away_ends_instead_of_running_unseen(daemon, replaced):
    """Another one could run beside it, and start everything a second time."""
    daemon.add(every("often", 1), "true")
    process = daemon.start()
    daemon.wait_for(lambda: "succeeded" in daemon.statuses("often"), "a run")
    shutil.rmtree(daemon.paths.state_dir)
    if replaced:
        other = daemon.start()
        daemon.wait_for(lambda: read_facts(daemon.paths, datetime.now(UTC)).pid == other.pid, "the other one")

    assert process.wait(10) == 74
    assert "the state folder was removed or replaced under the daemon" in daemon.log
    if replaced:
        assert read_facts(daemon.paths, datetime.now(UTC)).pid == other.pid
        assert other.poll() is None
