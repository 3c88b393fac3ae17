"""Files that mean harm, or are merely odd: each job is read or refused by name, nothing is changed without a word."""

import json
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipesched.errors import DataError
from pipesched.jobs.formats import detect
from pipesched.jobs.formats.foreign import FORMAT
from pipesched.jobs.formats.model import Context, Found, Refused
from pipesched.jobs.formats.plan import plan_import
from pipesched.jobs.model import Defaults, JobFile
from pipesched.options import PIPELINE_OPTIONS, PipelineConfig
from support.random_jobs import NOW

CONTEXT = Context("Europe/Riga", NOW)
KEYS = (
    "id", "job_id", "name", "description", "type", "timezone", "enabled", "config", "trigger", "next_run_time", "hour",
    "minute", "day_of_week", "cron_expression", "weeks", "days", "hours", "minutes", "seconds", "run_date", "args", "kwargs",
    "policy", "tags", "since", "created_at", "paused_at", "expression", "every", "at", "anchor", "calendar",
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "cron", "interval", "date", "a", "2027-01-31T09:00:00", "cron[hour='2', minute='0']", "interval[1 day, 0:00:00]",
            "interval[-1 day, 23:59:59]", "interval[99999999999:00:00]", "date[2027-06-20 15:30:00 CST]", "0 2 * * *", "UTC",
            "../../etc/passwd", "CronTrigger", "mon-fri", "*/0", "9" * 400,
        ]
    ),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-5, 70), st.just(10**400), st.floats(), TEXTS, st.just("\ud800")
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(
                ["type", "fields", "name", "expressions", "first", "last", "step", *PIPELINE_OPTIONS]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
JOBS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
TOPS = st.fixed_dictionaries(
    {"jobs": st.lists(JOBS, max_size=2)},
    optional={"schema_version": st.sampled_from([1, 0, 99, "1"]), "defaults": VALUES, "exported_at": VALUES},
)


def read(text: str | bytes):
    return detect.read(text if isinstance(text, bytes) else text.encode(), name="f", context=CONTEXT)


@settings(max_examples=300)
@given(TOPS)
def test_whatever_json_says_each_job_is_read_or_refused(document) -> None:
    try:
        reading = read(json.dumps(document))
    except DataError:
        return
    assert all(isinstance(entry, Found | Refused) for entry in reading.entries)
    assert all(entry.reason for entry in reading.entries if isinstance(entry, Refused))
    assert len(reading.entries) >= len(document["jobs"])


LINES = st.lists(
    st.one_of(
        st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=("Cs",)), max_size=20),
        st.sampled_from(
            [
                "0 2 * * *", " pipesched run nightly", "pipesched", " --data-dir ", "'", '"', "$HOME", "\\%", "%", "# one",
                "CRON_TZ=", "Nowhere", "@daily ", "cd /srv && ", "2>&1", ">>", "\n", "\r\n", "\x0b", "\u2028", "--dry-run=no",
            ]
        ),
    ),
    max_size=8,
).map("".join)  # fmt: skip


@settings(max_examples=300)
@given(LINES)
def test_whatever_a_crontab_says_each_line_is_read_or_refused(text: str) -> None:
    try:
        reading = read(text)
    except DataError:
        return
    assert len(reading.entries) <= text.count("\n") + 1


# ---- crontabs


def refused(text: str) -> Refused:
    (entry,) = read(text).entries
    assert isinstance(entry, Refused), entry
    return entry


def found(text: str) -> Found:
    (entry,) = read(text).entries
    assert isinstance(entry, Found), entry
    return entry


@pytest.mark.parametrize("sign", ["\u2028", "\x0b", "\x0c", "\x85", "\x1c", "\r"])
def test_a_line_for_cron_is_a_line_here(sign: str) -> None:
    text = f"# harmless{sign}* * * * * pipesched run hidden\n0 2 * * * pipesched run nightly\n"
    assert found(text).job.id == "nightly"


def test_lines_may_end_as_on_windows() -> None:
    job = found("# nightly\r\n0 2 * * * pipesched run --collection-name posts\r\n").job
    assert (job.id, job.config.collection_name) == ("nightly", "posts")


def test_jobs_below_a_zone_that_cannot_be_used_are_refused_up_to_the_next_zone() -> None:
    text = (
        "0 1 * * * pipesched run a\nCRON_TZ=Europe/Nowhere\n0 2 * * * pipesched run b\n"
        "CRON_TZ=Asia/Tokyo\n0 3 * * * pipesched run c\n"
    )
    a, line, b, c = read(text).entries
    assert isinstance(a, Found)
    assert a.job.timezone == "Europe/Riga"
    assert isinstance(line, Refused)
    assert isinstance(b, Refused)
    assert "zone" in b.reason
    assert isinstance(c, Found)
    assert c.job.timezone == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("words", "sign"),
    [
        ("--blog-base-url \"it's $HOME, it's\"", "$"),
        ("--blog-base-url \\'$HOME\\'", "$"),
        ('--blog-base-url "`date`"', "`"),
        ("--data-dir-pattern *.md", "*"),
        ("--data-dir post?", "?"),
        ("--data-dir post[s]", "["),
    ],
)
def test_what_the_shell_would_replace_is_refused(words: str, sign: str) -> None:
    assert f"replace the {sign}" in refused(f"0 2 * * * pipesched run a {words}").reason


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        ("'*.md'", "*.md"), ('"*.md"', "*.md"), ("\\*.md", "*.md"), ("'$a*'", "$a*"),
        ("'x 2>y'", "x 2>y"), ('"x 2>y"', "x 2>y"),
    ],
)  # fmt: skip
def test_what_is_quoted_comes_in_as_it_is(words: str, pattern: str) -> None:
    job = found(f"0 2 * * * pipesched run a --data-dir-pattern {words} > /dev/null 2>&1").job
    assert job.config.data_dir_pattern == pattern


@pytest.mark.parametrize("value", ["false", "no", "0", "true", ""])
def test_a_switch_with_a_value_is_refused_and_not_taken_for_on(value: str) -> None:
    assert refused(f"0 2 * * * pipesched run a --dry-run={value}").reason == "--dry-run takes no value"


def test_the_folder_of_a_line_is_told_where_its_options_are_taken_from_another_one() -> None:
    said = found("0 2 * * * cd /srv/blog && pipesched run a").warnings
    assert said == (
        "it ran in /srv/blog: what its line does not say is taken from the job file's folder now",
    )
    entry = found("0 2 * * * cd blog && pipesched run a --data-dir posts")
    assert entry.job.config.data_dir == "blog/posts"
    assert any("data-dir blog/posts is now taken" in warning for warning in entry.warnings)


def test_variables_and_folders_of_the_old_place_are_named() -> None:
    reading = read(
        "PIPESCHED_DATA_DIRS=posts\nPIPESCHED_STATE_DIR=/var/x\nPIPESCHED_DATA_DIR=/srv/posts\n"
        "0 2 * * * PIPESCHED_CHUNKSIZE=7 pipesched --state-dir /s --output-dir /o run a\n"
    )
    (entry,) = reading.entries
    assert isinstance(entry, Found)
    assert entry.job.config.data_dir == "/srv/posts"
    assert reading.warnings == (
        "the variable PIPESCHED_DATA_DIRS does not come along; did you mean PIPESCHED_DATA_DIR?",
        *(warning for warning in reading.warnings if "PIPESCHED_STATE_DIR" in warning),
    )
    assert len(reading.warnings) == 2
    text = "\n".join(entry.warnings)
    for word in (
        "PIPESCHED_CHUNKSIZE",
        "did you mean PIPESCHED_CHUNK_SIZE",
        "--state-dir /s",
        "--output-dir /o",
    ):
        assert word in text


# ---- the other scheduler's files


def foreign(**job) -> Found | Refused:
    reading = read(json.dumps({"jobs": [{"job_id": "a", **job}]}))
    assert reading.format == FORMAT
    (entry,) = reading.entries
    return entry


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"type": "interval", "hours": 1, "minute": 30}, "minute was left out: it is not for type interval; did you mean 'minutes'?"),
        ({"type": "cron", "hour": 2, "minutes": 30}, "minutes was left out: it is not for type cron; did you mean 'minute'?"),
        ({"type": "date", "run_date": "2027-01-31T09:00:00", "hour": 2}, "hour was left out: it is not for type date"),
        ({"trigger": "interval[1:00:00]", "hours": 2}, "hours 2 beside its trigger were left out: the trigger holds"),
    ],
)  # fmt: skip
def test_keys_of_another_kind_of_schedule_are_named(job, said: str) -> None:
    entry = foreign(**job)
    assert isinstance(entry, Found)
    assert said in entry.warnings


def test_units_that_agree_with_the_trigger_s_text_are_no_matter() -> None:
    entry = foreign(
        trigger="interval[1 day, 1:30:00]", type="interval", days=1, hours=1, minutes=30, config={}
    )
    assert isinstance(entry, Found)
    assert entry.warnings == ()


@pytest.mark.parametrize(
    ("kind", "trigger"),
    [
        (kind, trigger)
        for kind, trigger in product(
            ("cron", "interval", "date"),
            ("cron[hour='2']", "interval[1:00:00]", "date[2027-06-20 15:30:00 UTC]"),
        )
        if not trigger.startswith(kind)
    ],
)
def test_a_type_that_its_trigger_s_text_denies_is_refused(kind: str, trigger: str) -> None:
    entry = foreign(type=kind, trigger=trigger)
    assert isinstance(entry, Refused)
    assert "its type is" in entry.reason


# ---- ours


@pytest.mark.parametrize("defaults", [[], "", 0, False, "x", [1]])
def test_defaults_of_the_wrong_shape_are_refused_and_not_taken_for_none(defaults) -> None:
    (entry,) = read(json.dumps({"schema_version": 1, "jobs": [], "defaults": defaults})).entries
    assert isinstance(entry, Refused)
    assert entry.id == "defaults"


def test_dates_that_do_not_come_along_are_named() -> None:
    document = {"schema_version": 1, "jobs": [], "defaults": {"calendar": ["2026-12-24", "2026-12-25"]}}
    here = JobFile({}, Defaults(calendar=("2026-12-24",), config=PipelineConfig(chunk_size=700)), exists=True)
    plan = plan_import(
        read(json.dumps(document)), here, replace=False, check=lambda *_: None, now=NOW
    )  # fmt: skip
    (warning,) = plan.warnings
    assert "calendar '2026-12-25'" in warning
    assert plan.defaults is None
