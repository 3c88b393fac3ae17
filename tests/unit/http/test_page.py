"""The page: everything that others wrote is text in it, and it needs nothing but itself."""

import re
import time
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.http.documents import Documents
from pipesched.http.markup import Markup, foreign, tag, text
from pipesched.http.page import stylesheet
from pipesched.http.panels import MAX_JOBS
from pipesched.jobs.model import IntervalTrigger, Job, JobPolicy
from pipesched.options import PipelineConfig
from pipesched.runs.model import DRIFTED, WITHHELD
from pipesched.views.scheduler import SchedulerFacts
from support.world import NOW, World, WorldSource

HELL = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'`&amp;\u202e\u2028 \U0001f9e8 漢字"


class Elements(HTMLParser):
    """The elements, their attributes, and the text between them."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    def said_whole(self) -> str:
        return "".join(self.said)


@pytest.fixture
def world(tmp_path: Path) -> World:
    running = SchedulerFacts(running=True, pid=42, started_at=NOW - timedelta(hours=3), last_tick=NOW)
    return World(tmp_path, facts=running)


def page(world: World) -> str:
    response = Documents(WorldSource(world)).page()
    assert response.content_type == "text/html; charset=utf-8"
    return response.body.decode()


def test_an_empty_world_has_a_page(world: World) -> None:
    world.facts = SchedulerFacts(running=False)
    said = " ".join(Elements(page(world)).said)
    assert "pipesched init" in said
    assert "Nothing has run yet." in said
    assert "there is no job file" in said


def test_a_job_file_that_is_gone_is_not_to_be_made_anew(world: World) -> None:
    said = " ".join(Elements(page(world)).said)
    assert "is gone" in said
    assert "pipesched init" not in said


def test_names_from_hell_are_text(world: World) -> None:
    world.job("nightly", name=HELL, description=HELL)
    world.job("weekly", "0 3 * * 0", policy=JobPolicy(pause_after_failures=2))
    run = world.ran("nightly", NOW - timedelta(hours=8), "failed", reason=HELL + "\x1b[31m\x00")
    world.report(run, "nightly", NOW - timedelta(hours=8), "failed", HELL)
    elements = Elements(page(world))
    names = {name for name, _ in elements.found}
    assert not names & {"script", "img", "iframe", "object", "embed", "form", "base"}
    assert not any(key.startswith("on") for _, attributes in elements.found for key in attributes)
    assert HELL in elements.said, "shown as it was written"
    said = elements.said_whole()
    assert "\x1b" not in said
    assert "\\x1b[31m\\x00" in said


def test_the_page_needs_nothing_but_itself(world: World) -> None:
    world.job("nightly")
    document = page(world)
    for name, attributes in Elements(document).found:
        for key in ("src", "href", "srcset", "action", "data"):
            target = attributes.get(key) or ""
            assert target.startswith(("/", "data:")) or not target, (name, target)
            assert not target.startswith("//")
    assert "url(" not in stylesheet()[0]
    assert "@import" not in stylesheet()[0]
    assert "style=" not in document, "an inline style would need a policy that lets others' in too"


def test_the_policy_lets_exactly_the_own_style_in(world: World) -> None:
    import base64
    import hashlib

    response = Documents(WorldSource(world)).page()
    policy = response.headers["Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", response.body.decode(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy


def test_what_is_not_well_comes_first_and_says_what_to_do(world: World) -> None:
    for job_id, hour in (("aaa", 2), ("bad", 3)):
        world.job(job_id, f"0 {hour} * * *", since=NOW - timedelta(hours=12))
        at = NOW.replace(hour=hour, minute=0)
        state = "failed" if job_id == "bad" else "succeeded"
        world.ran(job_id, at, state, reason="the model is missing", report=True)
    elements = Elements(page(world))
    said = elements.said
    assert "Works, but needs a look" in said
    listed = said[said.index("Jobs") :]
    assert listed.index("bad") < listed.index("aaa")
    verdict = said.index("bad: the last run failed: the model is missing")
    assert said[verdict + 1] == "pipesched logs bad", "what to do comes with what is wrong"
    assert "pipesched logs bad" in said
    links = [attributes["href"] for name, attributes in elements.found if name == "a"]
    assert any((link or "").startswith("/pipeline/reports/") for link in links)


def test_links_lead_only_to_reports_and_logs_that_are_kept(world: World) -> None:
    world.job("hourly", 3600.0)
    kept = world.ran("hourly", NOW - timedelta(hours=2), "failed", reason="no server", report=True)
    gone = world.ran("hourly", NOW - timedelta(hours=1), "failed", reason="a full disk")
    world.paths.logs_dir.mkdir()
    (world.paths.logs_dir / f"{gone}.log").write_text("error: a full disk\nhint: free some space: df -h\n")
    elements = Elements(page(world))
    links = [attributes["href"] for name, attributes in elements.found if name == "a"]
    assert f"/pipeline/reports/{kept}" in links
    assert f"/pipeline/reports/{gone}" not in links
    assert f"/pipeline/logs/{gone}" in links
    assert f"/pipeline/logs/{kept}" not in links
    assert "free some space: df -h" in elements.said, "the hint that the run gave"
    assert "pipesched logs hourly" in elements.said, "where it gave none"


def test_a_run_that_ended_before_it_began_is_shown_like_any_other(world: World) -> None:
    world.job("hourly", 3600.0)
    world.ran("hourly", NOW - timedelta(hours=2))
    world.ran("hourly", NOW - timedelta(hours=1), took=-5.0)  # the clock was set back meanwhile
    assert "the last 2: 2 succeeded, 0 s to 2 s" in Elements(page(world)).said


def test_a_success_rate_of_nothing_stands_out(world: World) -> None:
    world.job("hourly", 3600.0)
    world.ran("hourly", NOW - timedelta(hours=1), "failed", reason="no server")
    assert '<dt>Success, last 20</dt><dd class="bad">0%</dd>' in page(world)


def test_a_collection_says_how_old_it_is_and_what_is_wrong_with_it(world: World) -> None:
    world.job("blog", 3600.0, config=PipelineConfig(collection_name="posts"))
    world.job("docs", 3600.0, config=PipelineConfig(collection_name="guides"))
    counts = {"unchanged": 700, "failed": 2, "chunks": 4000, WITHHELD: 31, DRIFTED: 5}
    world.ran("blog", NOW - timedelta(hours=3), "partial", reason="2 documents failed", documents=counts)
    said = Elements(page(world)).said_whole()
    listed = said[said.index("What is wrong") :]
    assert listed.index("posts") < listed.index("guides"), "what failed comes first"
    for words in (
        "2 h 59 min old",
        "4,000 chunks",
        "no sync by its jobs yet",
        "2 documents failed",
        "31 deletes withheld",
        "5 chunks changed",
    ):
        assert words in listed, words


def test_refreshing_can_be_turned_off_for_who_reads_slowly(world: World) -> None:
    documents = Documents(WorldSource(world))
    by_itself, still = documents.page(), documents.still_page()
    assert by_itself.headers["Refresh"] == "15"
    assert "Refresh" not in still.headers
    assert 'href="/?refresh=off"' in by_itself.body.decode()
    assert 'href="/"' in still.body.decode()


def test_the_next_run_counts_down_from_load_to_load(world: World) -> None:
    world.job("hourly", 3600.0, name=HELL)
    world.now = NOW.replace(minute=59, second=18)
    said = Elements(page(world)).said
    first = said.index("Next run")
    assert said[first + 1 : first + 3] == ["in 42 s", HELL], "the countdown, and whose it is"


def test_one_cause_of_many_failures_is_told_once(world: World) -> None:
    world.job("hourly", 3600.0)
    for hours in range(5, 0, -1):
        world.ran("hourly", NOW - timedelta(hours=hours, minutes=30), "failed", reason="no server")
    document = page(world)
    assert "failed 1 h 29 min ago, 5 times" in document


def test_a_crowd_of_jobs_is_cut_and_counted(world: World) -> None:
    since = NOW - timedelta(days=1)
    jobs = [
        Job(
            id=f"job{n}",
            trigger=IntervalTrigger(seconds=3600 + n),
            timezone="UTC",
            created_at=since,
            since=since,
        )
        for n in range(MAX_JOBS + 50)
    ]
    world.store.add(jobs, since)
    document = page(world)
    assert f"{MAX_JOBS} of {MAX_JOBS + 50}: the worst, then the next" in document
    assert document.count("<tr") <= MAX_JOBS + 20


@given(st.text())
def test_any_text_survives_as_text(value: str) -> None:
    elements = Elements(f"<p>{foreign(value)}</p>")
    assert [name for name, _ in elements.found] == ["p", "bdi"]
    cleaned = re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", lambda match: f"\\x{ord(match[0]):02x}", value
    )
    assert elements.said_whole() == cleaned


@given(st.text())
def test_any_attribute_survives_as_an_attribute(value: str) -> None:
    [(name, attributes)] = Elements(tag("p", title=value)).found
    assert name == "p"
    assert set(attributes) == {"title"}
    assert attributes["title"] == Elements(f"<p>{text(value)}</p>").said_whole()


def test_markup_is_not_escaped_twice() -> None:
    assert tag("b", tag("i", "<")) == "<b><i>&lt;</i></b>"
    assert isinstance(tag("b"), Markup)
    assert tag("p", class_="a", data_label="x", hidden=None) == '<p class="a" data-label="x"></p>'


@pytest.mark.slow
def test_ten_thousand_jobs_make_a_page_in_no_time(world: World) -> None:
    since = NOW - timedelta(days=1)
    jobs = [
        Job(
            id=f"job{number}",
            trigger=IntervalTrigger(seconds=60 if number < 50 else 3600 + number),
            timezone="UTC",
            created_at=since,
            since=since,
        )
        for number in range(10_000)
    ]
    world.store.add(jobs, since)
    source = WorldSource(world)
    loaded = world.store.load()
    source.job_file = lambda: loaded  # type: ignore[method-assign]
    documents = Documents(source)
    assert documents.health().body  # what it shows is gathered for all documents alike
    began = time.process_time()
    body = documents.page().body
    assert time.process_time() - began < 1, "0.1 s measured"
    assert len(body) < 500_000
