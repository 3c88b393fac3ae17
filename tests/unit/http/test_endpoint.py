"""Each path of a serving endpoint, over a real job file, ledger and report folder."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.errors import DataError
from pipesched.http.documents import LOG_BYTES
from pipesched.http.server import StatusServer
from pipesched.views.scheduler import SchedulerFacts
from support.endpoint import exchange, get
from support.machine import program
from support.world import NOW, World, WorldSource

STATUS_KEYS = {
    "scheduler_running", "pid", "http", "started_at", "active_jobs", "jobs_executed", "jobs_failed", "jobs_missed",
    "jobs_skipped", "success_rate", "last_execution", "last_error", "running", "next",
}  # fmt: skip
PATHS = (
    "/", "/health", "/livez", "/readyz", "/scheduler/status", "/scheduler/jobs", "/scheduler/health",
    "/pipeline/reports", "/metrics",
)  # fmt: skip
RUNNING = SchedulerFacts(
    running=True, pid=42, http="http://127.0.0.1:8765", started_at=NOW - timedelta(hours=3), last_tick=NOW
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, facts=RUNNING)
    made.job("nightly", "0 2 * * *", timezone="Europe/Berlin")
    made.job("hourly", 3600.0)
    made.ran(
        "nightly", NOW - timedelta(hours=8), documents={"new": 2, "unchanged": 10, "chunks": 40}, report=True
    )
    made.ran("hourly", NOW - timedelta(minutes=30), documents={"unchanged": 3, "modified": 1}, report=True)
    return made


@pytest.fixture
def source(world: World) -> WorldSource:
    return WorldSource(world)


@pytest.fixture
def address(source: WorldSource) -> Iterator[tuple[str, int]]:
    server = StatusServer("127.0.0.1:0", token=None, source=source)
    yield server.start()
    server.stop()


@pytest.mark.parametrize("path", PATHS)
def test_each_path_answers_get_and_head_alike(address: tuple[str, int], path: str) -> None:
    whole = get(address, path)
    assert whole.status == 200, whole.text
    assert whole.body
    head = get(address, path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "date": ""} == {**whole.headers, "date": ""}
    assert int(whole.headers["content-length"]) == len(whole.body)


def test_the_status_is_the_commands(address: tuple[str, int]) -> None:
    document = get(address, "/scheduler/status").json
    assert document["schema_version"] == 1
    assert document.keys() >= STATUS_KEYS
    assert (document["scheduler_running"], document["pid"], document["jobs_executed"]) == (True, 42, 2)


def test_the_jobs_are_the_commands(address: tuple[str, int]) -> None:
    jobs = {job["id"]: job for job in get(address, "/scheduler/jobs").json["jobs"]}
    assert jobs.keys() == {"nightly", "hourly"}
    assert jobs["nightly"]["next_run_time"] == "2026-11-25T02:00:00+01:00"
    assert jobs["nightly"]["last_run"]["status"] == "succeeded"


def test_health_is_200_on_pass_and_warn_and_503_on_fail(
    world: World, source: WorldSource, address: tuple[str, int]
) -> None:
    assert get(address, "/health").json["status"] == "pass"
    failing = replace(RUNNING, last_tick=NOW - timedelta(minutes=5))
    world.facts = failing
    server = StatusServer("127.0.0.1:0", token=None, source=source)
    other = server.start()
    try:
        answer = get(other, "/health")
        assert (answer.status, answer.json["status"]) == (503, "fail")
        assert answer.json["checks"]["loop"]["status"] == "fail"
        ready = get(other, "/readyz")
        assert (ready.status, ready.json) == (503, {"schema_version": 1, "status": "fail"})
        assert get(other, "/scheduler/health").status == 503
        assert get(other, "/livez").status == 200
    finally:
        server.stop()


def test_a_job_file_that_broke_under_the_daemon_is_told(
    world: World, address: tuple[str, int], source: WorldSource
) -> None:
    world.error = DataError("schedules.json: line 3 is no JSON", hint="mend it")
    check = get(address, "/health").json["checks"]["job_file"]
    assert "line 3" in check["message"]
    assert "degraded" in check["message"]
    assert get(address, "/scheduler/status").status == 200, "with the last good jobs"


def test_livez_depends_on_the_loop_alone(world: World, address: tuple[str, int]) -> None:
    assert get(address, "/livez").status == 200
    world.paths.ledger.write_bytes(b"this is no ledger at all, not in the least" * 100)
    world.paths.job_file.write_bytes(b"\0")
    assert get(address, "/livez").status == 200
    assert get(address, "/readyz").status == 503
    world.is_alive = False
    assert (get(address, "/livez").status, get(address, "/livez").json["status"]) == (503, "fail")


def test_a_damaged_ledger_is_an_error_document_not_a_traceback(
    world: World, address: tuple[str, int]
) -> None:
    world.paths.ledger.write_bytes(b"this is no ledger at all, not in the least" * 100)
    answer = get(address, "/scheduler/status")
    assert (answer.status, answer.json["error"]["code"]) == (500, "data_error")
    assert answer.json["error"]["hint"]


@pytest.mark.parametrize(
    "path",
    ["/nope", "/health/", "//health", "/HEALTH", "/.", "/%2e%2e/etc/passwd", "/pipeline/reports/%2e%2e%2fschedules.json",
     "/pipeline/reports/..%2f..%2fetc%2fpasswd", "/pipeline/reports/", "/pipeline/reports/nope.json", "/pipeline/reports/a/b"],
)  # fmt: skip
def test_what_is_not_there_is_an_error_document(address: tuple[str, int], path: str) -> None:
    answer = get(address, path)
    assert answer.status == 404
    assert answer.json["error"]["message"]


def test_reports_are_listed_and_read_by_name_and_by_run_id(address: tuple[str, int]) -> None:
    listed = get(address, "/pipeline/reports").json["reports"]
    assert [report["job_id"] for report in listed] == ["hourly", "nightly"]
    assert "documents" not in listed[0]
    for name in (listed[0]["filename"], listed[0]["run_id"]):
        report = get(address, f"/pipeline/reports/{name}").json
        assert (report["run_id"], report["documents"]) == (listed[0]["run_id"], [])
    assert len(get(address, "/pipeline/reports?limit=1").json["reports"]) == 1
    for limit in ("0", "x", "-1", "99999999999999999999", "1001", "0010005", "%D9%A3"):
        assert get(address, f"/pipeline/reports?limit={limit}").status == 400, limit


def test_a_runs_output_is_text_whatever_it_holds(world: World, address: tuple[str, int]) -> None:
    world.paths.logs_dir.mkdir()
    run_id = world.ran("nightly", NOW - timedelta(hours=1))
    log = world.paths.logs_dir / f"{run_id}.log"
    log.write_bytes(b"<script>\x1b[31mred\x00 \xff\r\nt\xc3\xa4b\tend")
    answer = get(address, f"/pipeline/logs/{run_id}")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.text == "<script>\\x1b[31mred\\x00 \\xff\ntäb\tend\n"
    log.write_bytes(b"begin\n" + b"x" * LOG_BYTES + b"\nend\n")
    long = get(address, f"/pipeline/logs/{run_id}")
    assert long.text.startswith("[the last 1 MiB of 1,048,587 bytes]\nxxx")
    assert long.text.endswith("x\nend\n")


@pytest.mark.parametrize(
    "name",
    ["", "nope", "..", "%2e%2e%2fschedules.json", "..%2f..%2f..%2fetc%2fpasswd", "a/b", "%00", "x.log"],
)
def test_what_is_no_runs_output_is_not_there(world: World, address: tuple[str, int], name: str) -> None:
    world.paths.logs_dir.mkdir()
    (world.paths.state_dir / "outside.log").write_text("secret")
    (world.paths.logs_dir / "link.log").symlink_to(world.paths.state_dir / "outside.log")
    assert get(address, f"/pipeline/logs/{name}").status in {400, 404}
    assert get(address, "/pipeline/logs/link").status != 200, "no link is followed"


def test_errors_are_clean_and_say_what_is_allowed(address: tuple[str, int]) -> None:
    posted = exchange(
        address, b"POST /scheduler/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n{}\n"
    )
    assert (posted.status, posted.headers["allow"]) == (405, "GET, HEAD")
    assert get(address, "/", host="evil.example").status == 421
    long = exchange(address, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert long.status == 414
    many = b"".join(b"X-%d: y\r\n" % n for n in range(150))
    assert exchange(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n").status == 431
    for answer in (posted, long):
        assert answer.json["error"]["code"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_token_is_asked_for_and_taken(source: WorldSource) -> None:
    server = StatusServer("127.0.0.1:0", token="s3cret", source=source)
    address = server.start()
    try:
        refused = get(address, "/health")
        assert (refused.status, refused.json["error"]["code"]) == (401, "unauthorized")
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert get(address, "/health", Authorization="Bearer s3cret").status == 200
        assert get(address, "/health", Authorization="Bearer s\xe9cret").status == 401
        assert get(address, "/readyz").json == {"schema_version": 1, "status": "pass"}
    finally:
        server.stop()


def test_documents_are_made_once_a_second_however_often_they_are_asked_for(
    source: WorldSource, address: tuple[str, int]
) -> None:
    for _ in range(20):
        assert get(address, "/health").status == 200
        assert get(address, "/scheduler/status").status == 200
    assert 1 <= source.loads <= 3


def test_metrics_have_the_names_of_the_contract(world: World, address: tuple[str, int]) -> None:
    world.skipped("hourly", NOW - timedelta(minutes=5), NOW, 3, "skipped", "overlap")
    world.ran("hourly", NOW + timedelta(seconds=1), "running")
    lines = get(address, "/metrics").text.splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert {name: float(value) for name, value in samples.items() if "hourly" in name} == {
        'pipesched_job_last_success_timestamp_seconds{job_id="hourly"}': (NOW - timedelta(minutes=29, seconds=58)).timestamp(),
        'pipesched_job_last_run_timestamp_seconds{job_id="hourly"}': (NOW + timedelta(seconds=1)).timestamp(),
        'pipesched_job_next_run_timestamp_seconds{job_id="hourly"}': (NOW + timedelta(minutes=30)).timestamp(),
        'pipesched_job_last_run_duration_seconds{job_id="hourly"}': 2.0,
        'pipesched_job_running{job_id="hourly"}': 1.0,
        'pipesched_job_last_start_delay_seconds{job_id="hourly"}': 0.0,
        'pipesched_job_unmet_occurrences{job_id="hourly"}': 0.0,
        'pipesched_job_failures_in_row{job_id="hourly"}': 0.0,
        'pipesched_job_paused{job_id="hourly"}': 0.0,
        'pipesched_job_health_status{job_id="hourly"}': 0.0,
        'pipesched_job_documents{job_id="hourly"}': 4.0,
        'pipesched_job_runs_total{job_id="hourly",status="succeeded"}': 1.0,
        'pipesched_job_runs_total{job_id="hourly",status="partial"}': 0.0,
        'pipesched_job_runs_total{job_id="hourly",status="failed"}': 0.0,
        'pipesched_job_runs_total{job_id="hourly",status="timeout"}': 0.0,
        'pipesched_job_runs_total{job_id="hourly",status="lost"}': 0.0,
        'pipesched_job_runs_total{job_id="hourly",status="skipped"}': 3.0,
    }  # fmt: skip
    assert float(samples['pipesched_documents_total{outcome="unchanged"}']) == 13
    assert float(samples['pipesched_documents_total{outcome="failed"}']) == 0
    assert float(samples["pipesched_scheduler_last_tick_timestamp_seconds"]) == NOW.timestamp()
    assert any(name.startswith("pipesched_build_info{version=") for name in samples)
    assert 'outcome="chunks"' not in "".join(samples)


def test_promtool_finds_nothing_wrong_with_the_metrics(address: tuple[str, int]) -> None:
    checked = subprocess.run(
        [program("promtool", "prometheus"), "check", "metrics"],
        input=get(address, "/metrics").body,
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
