"""What an import would do: which jobs come in, which are refused, and why."""

from datetime import timedelta

from pipesched.errors import SettingsConflict
from pipesched.jobs.formats.model import Found, Reading, Refused
from pipesched.jobs.formats.plan import ImportPlan, plan_import
from pipesched.jobs.model import Defaults, JobFile, JobPolicy, OnceTrigger, Problem
from pipesched.options import PipelineConfig

EARLIER = timedelta(days=30)


def agree(job_file, ids) -> None:
    pass


def plan(now, *entries, job_file=None, replace=False, check=agree, defaults=None) -> ImportPlan:
    reading = Reading("a test", tuple(entries), (), defaults)
    return plan_import(reading, job_file or JobFile(), replace=replace, check=check, now=now)


def names(made: ImportPlan) -> tuple[list[str], list[str]]:
    return [job.id for job in made.jobs], [each.id for each in made.refused]


def test_an_id_that_exists_is_refused_unless_it_is_replaced(now, job, job_file) -> None:
    there = job_file(job("a"), job("b"))
    made = plan(now, Found(job("a")), Found(job("c")), job_file=there)
    assert names(made) == (["c"], ["a"])
    assert made.refused[0].exists
    made = plan(now, Found(job("a")), Found(job("c")), job_file=there, replace=True)
    assert names(made) == (["a", "c"], [])
    assert made.replaced == {"a"}


def test_a_job_of_the_file_that_cannot_be_used_has_its_id_all_the_same(now, job) -> None:
    there = JobFile({}, problems=(Problem("a", "bad"),), exists=True)
    assert names(plan(now, Found(job("a")), job_file=there)) == ([], ["a"])
    assert plan(now, Found(job("a")), job_file=there, replace=True).replaced == {"a"}


def test_an_id_that_is_in_the_file_twice_is_refused(now, job) -> None:
    made = plan(now, Found(job("a")), Found(job("a", "0 3 * * *")), replace=True)
    assert names(made) == (["a"], ["a"])
    assert "twice" in made.refused[0].reason


def test_slots_count_from_the_import_on_unless_the_schedule_was_there(now, job, job_file) -> None:
    old = job("a", since=now - EARLIER, created_at=now - EARLIER)
    (fresh,) = plan(now, Found(old, own=True)).jobs
    assert (fresh.since, fresh.created_at) == (now, now - EARLIER)
    same = job("a", since=now - timedelta(days=1), created_at=now)
    (kept,) = plan(now, Found(same), job_file=job_file(old), replace=True).jobs
    assert (kept.since, kept.created_at) == (now - EARLIER, now - EARLIER)
    (other,) = plan(now, Found(job("a", "0 3 * * *")), job_file=job_file(old), replace=True).jobs
    assert other.since == now
    assert other.since_schedule == other.schedule_key


def test_a_time_that_has_passed_is_kept_as_done_with_a_word(now, job) -> None:
    trigger = OnceTrigger(at=now - timedelta(hours=1), if_past="run")
    past = job("a", trigger=trigger, since=now - EARLIER)
    made = plan(now, Found(past, own=True))
    assert "done" in made.changes[0].warnings[0]
    timed = made.jobs[0].timed()
    assert timed.schedule.next(timed.since) is None


def test_one_that_waits_for_a_refused_job_is_refused_with_it(now, job) -> None:
    waits = job("b", policy=JobPolicy(after=("a",)))
    chain = job("c", policy=JobPolicy(after=("b",)))
    made = plan(now, Refused("a", "bad"), Found(waits), Found(chain), Found(job("d")))
    assert names(made) == (["d"], ["a", "b", "c"])
    assert "'a'" in made.refused[1].reason
    assert "--" not in made.refused[1].reason


def test_jobs_may_wait_for_one_another_in_any_order_and_for_those_that_are_there(now, job, job_file) -> None:
    first = job("b", policy=JobPolicy(after=("a", "z")))
    made = plan(now, Found(first), Found(job("a")), job_file=job_file(job("z")))
    assert names(made) == (["b", "a"], [])


def test_a_circle_is_refused(now, job) -> None:
    one, two = job("a", policy=JobPolicy(after=("b",))), job("b", policy=JobPolicy(after=("a",)))
    assert sorted(names(plan(now, Found(one), Found(two)))[1]) == ["a", "b"]


def test_those_that_do_not_fit_together_are_found_among_many_with_few_questions(now, job) -> None:
    asked = 0

    def check(job_file, ids) -> None:
        nonlocal asked
        asked += 1
        if {"j300", "j700"} & set(job_file.jobs):
            raise SettingsConflict("no", hint="make them agree")

    made = plan(now, *(Found(job(f"j{number}")) for number in range(1000)), check=check)
    assert sorted(names(made)[1]) == ["j300", "j700"]
    assert len(made.changes) == 998
    assert asked < 60


def test_the_defaults_come_into_a_file_without_any_and_are_named_else(now, job, job_file) -> None:
    theirs = Defaults(timezone="Asia/Tokyo", config=PipelineConfig(data_dir="x", chunk_size=700))
    assert plan(now, Found(job("a")), defaults=theirs).defaults == theirs
    mine = Defaults(config=PipelineConfig(chunk_size=700))
    made = plan(now, Found(job("a")), job_file=job_file(job("b"), defaults=mine), defaults=theirs)
    assert made.defaults is None
    assert "data_dir 'x'" in made.warnings[0]
    assert "chunk_size" not in made.warnings[0]
    assert (
        plan(now, Found(job("a")), job_file=job_file(job("b"), defaults=theirs), defaults=theirs).warnings
        == ()
    )
