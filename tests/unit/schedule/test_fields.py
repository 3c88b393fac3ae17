"""What of a cron expression is refused, and how `H` is made."""

import string
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.errors import InvalidValue
from pipesched.schedule.expansion import expand
from pipesched.schedule.fields import split
from pipesched.schedule.parse import cron


def values(expression, place, job_id="job"):
    return expand(place, split(expression, job_id=job_id).fields[place]).values


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "it is empty"),
        ("* * * *", "4 fields"),
        ("0 0 2 * * *", "6 fields"),
        ("0 0 2 * * * 2027", "7 fields"),
        ("@fortnightly", "no macro"),
        ("@", "no macro"),
        ("R 2 * * *", "random"),
        ("R(0-29) 2 * * *", "random"),
        ("r/5 2 * * *", "random"),
        ("5-5 * * * *", "range of one"),
        ("50-10 * * * *", "backwards"),
        ("0 0 * nov-feb *", "backwards"),
        ("0 0 * * sat-mon", "backwards"),
        ("59/15 * * * *", "is only 59"),
        ("0 23/2 * * *", "is only 23"),
        ("*/0 * * * *", "step of 0"),
        ("*/99999 * * * *", "step of 99999"),
        ("60 * * * *", "out of range"),
        ("* 24 * * *", "out of range"),
        ("* * 0 * *", "out of range"),
        ("* * 32 * *", "out of range"),
        ("* * * 13 *", "out of range"),
        ("* * * * 8", "out of range"),
        ("-5 * * * *", "cannot be read"),
        ("5- * * * *", "cannot be read"),
        ("*-5 * * * *", "cannot be read"),
        ("1-2-3 * * * *", "cannot be read"),
        ("*/-5 * * * *", "cannot be read"),
        ("1,,2 * * * *", "comma too many"),
        (", * * * *", "comma too many"),
        ("jan * * * *", "is no number"),
        ("* * * foo *", "no number or name"),
        ("* * * mon *", "no number or name"),
        ("0 0 ? * *", "Quartz"),
        ("0 0 15W * *", "nearest working day"),
        ("0 0 LW * *", "nearest working day"),
        ("0 0 L-2 * *", "cannot be read"),
        ("0 0 * * 5L", "cannot be read"),
        ("0 0 * * L", "cannot be read"),
        ("0 0 * * fri#6", "at most five"),
        ("0 0 * * fri#0", "at most five"),
        ("0 0 * * 1,fri#2", "mixes"),
        ("H(5-5) * * * *", "empty range"),
        ("H(0-60) * * * *", "out of range"),
        ("H/61 * * * *", "steps over"),
        ("H-30 * * * *", "cannot be read"),
        ("٣ * * * *", "cannot be read"),
        ("0\u00a02 * * *", "fields"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 2,4,6,9,11 *", "never fires"),
        ("0 0 31 4 */2", "never fires"),
        ("0 0 1-7,30 2 8", "out of range"),
    ],
)
def test_an_expression_that_cron_would_not_have_is_refused_with_its_reason(expression, reason):
    with pytest.raises(InvalidValue, match=reason) as caught:
        cron(expression, zone="UTC", job_id="job")
    assert caught.value.hint
    assert "Traceback" not in caught.value.message


def test_a_long_expression_is_refused_before_it_is_read():
    with pytest.raises(InvalidValue, match="100009 characters"):
        cron("1," * 50_000 + "1 * * * *", zone="UTC", job_id="job")


@given(
    st.text(string.printable, max_size=40)
    | st.lists(st.text("0159*/-,HhLR#W?()jansuf", max_size=8), min_size=5, max_size=5).map(" ".join)
)
def test_whatever_is_given_is_a_schedule_or_refused(expression):
    try:
        schedule = cron(expression, zone="Europe/Berlin", job_id="job")
    except InvalidValue:
        pass
    else:
        assert schedule.at_start or schedule.next(datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    ("expression", "place", "expected"),
    [
        ("5/15 * * * *", 0, (5, 20, 35, 50)),
        ("*/25 * * * *", 0, (0, 25, 50)),
        ("*/90 * * * *", 0, (0,)),
        ("01,1,001 * * * *", 0, (1,)),
        ("0 0 * JAN,Mar-May *", 3, (1, 3, 4, 5)),
        ("0 0 * jan-dec/3 *", 3, (1, 4, 7, 10)),
        ("0 0 * * MON-fri", 4, (1, 2, 3, 4, 5)),
        ("0 0 * * 7", 4, (0,)),
        ("0 0 * * 0-7", 4, (0, 1, 2, 3, 4, 5, 6)),
        ("0 0 * * 5-7", 4, (0, 5, 6)),
        ("0 0 * * fri-sun", 4, (0, 5, 6)),
        ("0 0 * * 5-7/2", 4, (0, 5)),
        ("0 0 * * sun-tue", 4, (0, 1, 2)),
        ("0 0 * * 6-7", 4, (0, 6)),
        ("0 0 * * 2/2", 4, (2, 4, 6)),
        ("0 0 * * */3", 4, (0, 3, 6)),
    ],
)
def test_a_field_stands_for_what_cron_reads(expression, place, expected):
    assert values(expression, place) == expected


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("@hourly", "2026-01-01T01:00Z"),
        ("@daily", "2026-01-02T00:00Z"),
        ("@midnight", "2026-01-02T00:00Z"),
        ("@Weekly", "2026-01-04T00:00Z"),
        ("@monthly", "2026-02-01T00:00Z"),
        ("@yearly", "2027-01-01T00:00Z"),
        ("@ANNUALLY", "2027-01-01T00:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00Z"),
        ("0 0 * 2 1#5", "2044-02-29T00:00Z"),
        ("0 0 31 2 0", "2026-02-01T00:00Z"),  # either is enough
        ("0 0 L 2 *", "2026-02-28T00:00Z"),
        ("0 0 * * L5", "2026-01-30T00:00Z"),
        ("0 0 * * 5#L", "2026-01-30T00:00Z"),
        ("0 0 * * fri#2", "2026-01-09T00:00Z"),
        ("0 0 13 * fri", "2026-01-02T00:00Z"),
        ("0 0 */13 * fri", "2026-02-27T00:00Z"),
        ("  0\t0  1 7 * ", "2026-07-01T00:00Z"),
    ],
)
def test_the_first_fire_is_right_however_far_away(expression, first):
    schedule = cron(expression, zone="UTC", job_id="job")
    assert schedule.next(datetime(2026, 1, 1, tzinfo=UTC)).at == datetime.fromisoformat(first)


def test_reboot_is_due_at_the_start_alone():
    schedule = cron("@Reboot", zone="UTC", job_id="job")
    assert schedule.at_start
    assert schedule.text == "@reboot"
    assert schedule.next(datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_a_schedule_is_fixed_unless_a_time_field_begins_with_a_star():
    fixed = ["0 2 * * *", "0-59 0-23 * * *", "H 2 * * *", "H/15 H * * *", "5,*/10 2 * * *"]
    wildcard = ["* 2 * * *", "*/5 2 * * *", "0 * * * *", "0 */2 * * *", "*,5 2 * * *", "H * * * *"]
    assert all(split(expression, job_id="job").fixed for expression in fixed)
    assert not any(split(expression, job_id="job").fixed for expression in wildcard)


@given(job_id=st.text(string.ascii_letters, min_size=1, max_size=12))
def test_h_is_one_value_for_a_job_for_ever(job_id):
    for expression in ("H H H H H", "H(10-20) H(1-3) H(1-28) H(6-8) H(1-5)"):
        fields = split(expression, job_id=job_id)
        assert fields == split(expression, job_id=job_id)
        assert all(field.isdigit() for field in fields.fields)
    minute, hour, day, month, weekday = map(int, split("H H H H H", job_id=job_id).fields)
    assert 0 <= minute <= 59
    assert 0 <= hour <= 23
    assert 1 <= day <= 28
    assert 1 <= month <= 12
    assert 0 <= weekday <= 6
    assert 10 <= values("H(10-20) * * * *", 0, job_id)[0] <= 20

    fifteen = values("H/15 * * * *", 0, job_id)
    assert len(fifteen) == 4
    assert {later - earlier for earlier, later in pairwise(fifteen)} == {15}
    assert values("H(0-29)/10 * * * *", 0, job_id) == tuple(
        range(values("H(0-29)/10 * * * *", 0, job_id)[0], 30, 10)
    )
    assert len(values("h,30-35 * * * *", 0, job_id)) in {6, 7}
    assert values("0 0 H/40 * *".replace("/40", "/7"), 2, job_id)[-1] <= 28


def test_h_is_pinned_so_that_no_release_moves_a_job():
    assert split("H H H H H", job_id="nightly").fields == ("7", "17", "27", "12", "2")


def test_h_spreads_jobs_over_the_hour():
    minutes = {split("H * * * *", job_id=f"job-{number}").fields[0] for number in range(600)}
    assert len(minutes) == 60
