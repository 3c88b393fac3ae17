"""Our matcher of wall-clock times against croniter's, on naive times, and against a count of every minute."""
# ruff: noqa: DTZ001  naive times are what is tested

from datetime import datetime, timedelta

from croniter import croniter
from hypothesis import assume, given
from hypothesis import strategies as st

from pipesched.errors import InvalidValue
from pipesched.schedule.fields import split
from pipesched.schedule.wall import wall_times
from unit.schedule.expressions import expressions

EPOCH = datetime(1970, 1, 1)
days = st.one_of(
    st.just("L"),
    st.just("15,L"),
    st.sampled_from(["fri#1", "1#5", "L5", "mon#2,mon#4", "0#3"]).map(lambda nth: "* " + nth),
)
quartz = st.tuples(st.sampled_from(["0 0", "30 12", "*/20 5"]), days, st.sampled_from(["*", "2", "1-6"])).map(
    lambda parts: f"{parts[0]} {parts[1].split()[0]} {parts[2]} {[*parts[1].split(), '*'][1]}"
)


def matcher(expression):
    fields = split(expression, job_id="job")
    walls = wall_times(fields.fields, both_days=fields.both_days)
    assume(walls.days.exists())
    return walls


@given(st.one_of(expressions, quartz), st.datetimes(datetime(1971, 1, 1), datetime(2090, 1, 1)))
def test_the_next_and_previous_minutes_are_croniters(expression, at):
    # A day of week of `0,*` begins with no star, so that either day is enough for Debian; croniter takes it for `*`.
    assume(",*" not in expression)
    try:
        walls = matcher(expression)
    except InvalidValue as error:
        assume("is only" not in error.message)
        raise
    at = at.replace(second=0, microsecond=0)
    minute = (at - EPOCH) // timedelta(minutes=1)
    theirs = croniter(expression, at, ret_type=datetime, implement_cron_bug=True)
    found = minute
    for _ in range(3):
        found = walls.next(found)
        assert EPOCH + timedelta(minutes=found) == theirs.get_next()
    theirs = croniter(expression, at, ret_type=datetime, implement_cron_bug=True)
    found = minute
    for _ in range(3):
        found = walls.previous(found - 1)
        assert EPOCH + timedelta(minutes=found) == theirs.get_prev()


@given(expressions, st.integers(0, 20_000_000), st.integers(0, 60 * 24 * 400))
def test_counting_is_what_walking_gives(expression, start, length):
    try:
        walls = matcher(expression)
    except InvalidValue:
        assume(False)
    walked, at = 0, walls.next(start)
    while at is not None and at <= start + length and walked < 3000:
        walked, at = walked + 1, walls.next(at)
    assume(walked < 3000)
    assert walls.count(start, start + length) == walked
    assert walls.count(start, start - 1) == 0
