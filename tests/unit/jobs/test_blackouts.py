"""Windows, calendars and `--trigger-on`: from a command or the file to what the scheduler knows."""

import json
from datetime import UTC, datetime

import pytest

from pipesched.errors import InvalidValue
from pipesched.jobs.build import Edit, build_job, edited
from pipesched.jobs.model import CronTrigger, Defaults
from pipesched.jobs.triggers import TriggerOptions, build_trigger
from pipesched.options import PipelineConfig
from pipesched.schedule.model import Progress
from pipesched.schedule.outlook import upcoming

NOTHING = PipelineConfig()


def new(now, *, zone="UTC", calendar=(), given=None, **options):
    built = build_trigger(TriggerOptions(**options), job_id="a", zone=zone, now=now)
    return build_job("a", built, given or {}, NOTHING, zone=zone, now=now, calendar=calendar)


def change(job, now, *, unset=(), **given):
    return edited(job, Edit(given, NOTHING, TriggerOptions(), unset), default_zone="UTC", now=now)


def fires(job, now, count=2):
    found = upcoming(job.timed(), Progress(), now)
    return [next(found).at for _ in range(count)]


def write(path, *, calendar=None, zone=None, **job):
    defaults = {
        key: value for key, value in (("calendar", calendar), ("timezone", zone)) if value is not None
    }
    document = {"id": "a", "trigger": {"expression": "0 2 * * *"}, "since": "2026-03-01T00:00:00Z", **job}
    path.write_text(json.dumps({"defaults": {"1": defaults}, "jobs": {"1": document}}))


def test_a_window_is_kept_as_it_is_always_written_and_is_one_of_the_jobs_zone(now) -> None:
    given = {"not_during": ["sat, sun 1:00-3:00", "Sat,Sun 01:00-03:00"]}
    job = new(now, expression="0 2 * * *", zone="Asia/Tokyo", given=given)
    assert job.policy.not_during == ("Sat,Sun 01:00-03:00",)
    assert fires(job, datetime(2026, 3, 5, 18, tzinfo=UTC)) == [
        datetime(2026, 3, 8, 17, tzinfo=UTC),  # Monday; Friday's, at 17:00 UTC on the 5th, has passed
        datetime(2026, 3, 9, 17, tzinfo=UTC),
    ]


def test_a_window_that_cannot_be_used_is_named_with_its_option(now) -> None:
    with pytest.raises(InvalidValue, match=r"--not-during: .*funday") as caught:
        new(now, expression="0 2 * * *", given={"not_during": ["Funday 01:00-02:00"]})
    assert caught.value.hint


def test_a_job_whose_every_slot_is_closed_is_refused(now) -> None:
    with pytest.raises(InvalidValue, match=r"would never run: .* fires only inside --not-during 01:00-03:00"):
        new(now, expression="0 2 * * *", given={"not_during": ["01:00-03:00"]})
    with pytest.raises(InvalidValue, match="only inside the calendar"):
        new(now, at="2026-12-25 09:00", calendar=("2026-12-24..2026-12-26",))
    job = new(now, expression="0 2 * * *")
    with pytest.raises(InvalidValue, match="never run"):
        change(job, now, not_during=["01:00-03:00"])
    with pytest.raises(InvalidValue, match="never run"):
        change(job.with_calendar(("2026-01-01..9999-12-31",)), now, not_during=["22:00-23:00"])


def test_an_edit_replaces_the_windows_and_takes_them_away(now) -> None:
    job = new(now, expression="0 2 * * *", given={"not_during": ["Sat,Sun"], "retries": 2})
    assert change(job, now, not_during=["Mon"]).policy.not_during == ("Mon",)
    bare = change(job, now, unset=("not_during",))
    assert (bare.policy.not_during, bare.policy.retries) == ((), 2)
    assert change(job, now, not_during=["Mon"]).since == job.since  # its slots are the same ones


def test_what_to_wait_for_goes_with_a_job_to_wait_for(now) -> None:
    given = {"after": ["b"], "trigger_on": "failure"}
    job = new(now, expression="0 2 * * *", given=given)
    assert (job.timed().policy.after, job.timed().policy.trigger_on) == (("b",), "failure")
    with pytest.raises(InvalidValue, match="--trigger-on goes with --after"):
        new(now, expression="0 2 * * *", given={"trigger_on": "any"})
    with pytest.raises(InvalidValue, match="--trigger-on goes with --after") as caught:
        change(job, now, unset=("after",))
    assert "--unset trigger-on" in caught.value.hint
    assert change(job, now, unset=("after", "trigger_on")).policy.trigger_on == "success"
    with pytest.raises(InvalidValue, match=r"--trigger-on: .*maybe"):
        new(now, expression="0 2 * * *", given={**given, "trigger_on": "maybe"})


def test_the_files_calendar_is_each_jobs_in_its_own_zone(store) -> None:
    write(store.path, calendar=["2026-03-03", "2026-03-05..2026-03-06"], zone="Asia/Tokyo")
    job = store.load().jobs["a"]
    assert fires(job, datetime(2026, 3, 1, 18, tzinfo=UTC), 3) == [
        datetime(2026, 3, 3, 17, tzinfo=UTC),  # the 4th, 02:00 in Tokyo
        datetime(2026, 3, 6, 17, tzinfo=UTC),
        datetime(2026, 3, 7, 17, tzinfo=UTC),
    ]
    west = job.model_copy(update={"timezone": "America/New_York"})
    assert fires(west, datetime(2026, 3, 2, 12, tzinfo=UTC), 1) == [datetime(2026, 3, 4, 7, tzinfo=UTC)]


def test_jobs_of_one_zone_share_one_blackout(store, job, now) -> None:
    jobs = [job(name, trigger=CronTrigger(expression="0 3 * * *")) for name in ("a", "b", "c")]
    store.create(jobs, defaults=Defaults(calendar=("2026-12-24",)))
    loaded = store.load().jobs.values()
    assert len({id(each.timed().policy.blackout) for each in loaded}) == 1
    assert len({id(each.timed().policy) for each in loaded}) == 1


def test_a_save_keeps_the_calendar_where_it_is_and_puts_it_into_no_job(store, job, now) -> None:
    write(store.path, calendar=["2026-03-03"])
    after = store.add([job("b")], now)
    assert after.jobs["b"].calendar == ("2026-03-03",)
    store.edit("a", lambda old: old.model_copy(update={"description": "changed"}))
    tables = json.loads(store.path.read_text())
    assert tables["defaults"]["1"]["calendar"] == ["2026-03-03"]
    assert all("calendar" not in document for document in tables["jobs"].values())
    assert store.load().jobs["b"].calendar == ("2026-03-03",)


def test_another_calendar_makes_other_jobs(store) -> None:
    """So that a daemon that follows the file looks at each of them again."""
    write(store.path, calendar=["2026-03-03"])
    before = store.load().jobs["a"]
    write(store.path, calendar=["2026-03-04"])
    assert store.load().jobs["a"] != before
    write(store.path, calendar=["2026-03-03"])
    assert store.load().jobs["a"] == before


@pytest.mark.parametrize("bad", ["2026-02-30", "Christmas", 20261224, "2026-12-26..2026-12-24"])
def test_a_date_that_is_none_is_said_and_the_others_hold(store, bad) -> None:
    write(store.path, calendar=["2026-03-03", bad], zone="Asia/Tokyo")
    loaded = store.load()
    (problem,) = loaded.problems
    assert problem.message.startswith("defaults: calendar")
    assert (loaded.defaults.calendar, loaded.defaults.timezone) == (("2026-03-03",), "Asia/Tokyo")
    write(store.path, calendar="2026-03-03")
    assert store.load().defaults.calendar == ()
    assert store.load().problems


def test_a_calendar_in_a_job_is_said_to_belong_under_defaults(store) -> None:
    write(store.path, calendar=["2026-03-03"])
    tables = json.loads(store.path.read_text())
    tables["jobs"]["1"]["calendar"] = ["2026-03-04"]
    store.path.write_text(json.dumps(tables))
    (problem,) = store.load().problems
    assert "calendar" in problem.message
    assert "defaults" in problem.hint


def test_a_window_in_the_file_that_cannot_be_used_leaves_its_job_out(store) -> None:
    write(store.path, policy={"not_during": ["25:00-26:00"]})
    (problem,) = store.load().problems
    assert (problem.job_id, "25:00" in problem.message) == ("a", True)
    write(store.path, policy={"not_during": ["sat,sun"], "after": [], "trigger_on": "any"})
    assert store.load().jobs["a"].policy.not_during == ("Sat,Sun",)
