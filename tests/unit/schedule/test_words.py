import pytest
from hypothesis import given

from pipesched.errors import InvalidValue
from pipesched.schedule.words import explain
from unit.schedule.expressions import expressions


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("*/7 * * * *", "at every 7th minute from 0 to 56 of every hour"),
        ("5 * * * *", "at minute 5 of every hour"),
        ("@hourly", "at minute 0 of every hour"),
        ("10-20,30 3-5,9 * * *", "at minutes 10 to 20 and 30 of hours 3 to 5 and 9 every day"),
        ("0 2 * * *", "at 02:00 every day"),
        ("0,30 1-2 * * *", "at 01:00, 01:30, 02:00 and 02:30 every day"),
        ("*/15 9-17 * * mon-fri", "every 15 minutes from 09:00 to 17:45 on Monday to Friday"),
        ("30 */2 * * *", "at minute 30 of every 2nd hour from 0 to 22 every day"),
        ("0 0 * * 0,6", "at 00:00 on Saturday and Sunday"),
        ("0 0 1,15 * *", "at 00:00 on days 1 and 15 of the month"),
        ("0 0 13 * fri", "at 00:00 on day 13 of the month or on Friday"),
        ("0 0 */2 * mon", "at 00:00 on every 2nd day from 1 to 31 of the month where that is Monday"),
        ("0 0 1-31 * mon", "at 00:00 on every day or on Monday"),
        ("0 0 15,L * *", "at 00:00 on day 15 of the month and the last day of the month"),
        ("0 0 * * fri#2,L1", "at 00:00 on the last Monday of the month and the second Friday of the month"),
        ("0 0 * jun-aug *", "at 00:00 every day in June to August"),
        ("* * 1 1 *", "every minute on day 1 of the month in January"),
        ("H H * * *", "at a minute of the job's own (H) of an hour of the job's own (H) every day"),
        ("0 0 H H(6-8) *", "at 00:00 on a day of the job's own (H) in a month of the job's own (H(6-8))"),
        ("0 0 * * H", "at 00:00 on a weekday of the job's own (H)"),
        ("@reboot", "when the scheduler starts"),
    ],
)
def test_an_expression_is_said_in_words(expression, words):
    assert explain(expression).words == words


def test_for_a_job_its_own_values_are_said():
    assert explain("H H * * *", job_id="nightly").words == "at 17:07 every day"


@pytest.mark.parametrize(
    ("expression", "rule"),
    [
        ("0 0 13 * fri", "either day of month or day of week is enough, as neither field starts with *"),
        ("0 0 * * fri", "day of week alone decides, as day of month is *"),
        ("30 1 28 3 *", "day of month alone decides, as day of week is *"),
        ("0 0 */2 * *", "day of month alone decides, as day of week is *"),
        ("0 0 * * *", "neither day of month nor day of week restricts anything, as both fields are *"),
        ("0 0 */2 * fri", "day of month and day of week must both match, as day of month starts with *"),
        ("0 0 13 * */2", "day of month and day of week must both match, as day of week starts with *"),
        ("0 0 */2 * */2", "day of month and day of week must both match, as both fields start with *"),
    ],
)
def test_the_rule_for_days_is_said_with_its_reason(expression, rule):
    assert explain(expression).rule == rule


def test_whether_it_keeps_to_the_wall_clock_is_said():
    assert explain("0 2 * * *").fixed
    assert not explain("0 * * * *").fixed


@given(expressions)
def test_every_expression_has_words(expression):
    try:
        explanation = explain(expression)
    except InvalidValue:
        return
    assert explanation.words
    assert "  " not in explanation.words
