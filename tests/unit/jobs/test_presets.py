"""Presets: those that come along, those of a project, broken ones."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipesched.errors import DataError, InvalidValue, NotFound
from pipesched.jobs.model import IntervalTrigger
from pipesched.jobs.presets import load_presets, shipped_folder
from pipesched.jobs.store import JobStore
from pipesched.options import PipelineConfig

SHIPPED = {
    "business_hours",
    "daily_2am",
    "every_30_minutes",
    "hourly",
    "monthly_rebuild",
    "nightly_with_jitter",
    "twice_daily",
    "weekly_sunday_1am",
}


def build(
    name: str, now: datetime, *, job_id: str = "x", given=None, folder: Path = Path("/nowhere"), **config
):
    preset = load_presets(folder).get(name)
    return preset.build(job_id, given or {}, PipelineConfig(**config), zone="UTC", now=now)


def test_all_that_come_along_can_be_used_and_say_what_they_are() -> None:
    presets = load_presets(Path("/nowhere"))
    assert set(presets.known) == SHIPPED
    assert presets.broken == {}
    for preset in presets.known.values():
        assert preset.shipped
        assert preset.description
        assert len(preset.about) > len("why one would want it")
        assert not preset.replaces


def test_a_project_whose_presets_are_the_shipped_ones_sees_them_as_shipped() -> None:
    assert load_presets(shipped_folder()).known["hourly"].shipped


@pytest.mark.parametrize(
    ("name", "fires"),
    [
        ("daily_2am", [datetime(2026, 3, 3, 2, tzinfo=UTC)]),
        ("weekly_sunday_1am", [datetime(2026, 3, 8, 1, tzinfo=UTC)]),
        ("hourly", [datetime(2026, 3, 2, 13, tzinfo=UTC)]),
        ("every_30_minutes", [datetime(2026, 3, 2, 12, 30, tzinfo=UTC)]),
        ("twice_daily", [datetime(2026, 3, 3, 6, tzinfo=UTC), datetime(2026, 3, 2, 18, tzinfo=UTC)]),
        ("business_hours", [datetime(2026, 3, 2, 12, 15, tzinfo=UTC)]),
        ("nightly_with_jitter", [datetime(2026, 3, 3, 2, tzinfo=UTC)]),
        ("monthly_rebuild", [datetime(2026, 4, 1, 3, tzinfo=UTC)]),
    ],
)
def test_each_fires_when_its_name_says(now, name: str, fires: list) -> None:
    jobs = build(name, now)
    assert [job.schedule().next(now).at for job in jobs] == fires
    assert [job.id for job in jobs] == (["x_1", "x_2"] if name == "twice_daily" else ["x"])


def test_options_go_over_the_presets_own(now) -> None:
    (plain,) = build("monthly_rebuild", now)
    assert plain.config.set_values() == {"incremental_mode": "full", "force_recreate": True}
    assert plain.policy.grace == 2 * 86_400
    assert plain.description
    (changed,) = build(
        "monthly_rebuild",
        now,
        given={"grace": "1h", "description": "mine", "tag": ["t"], "paused": True},
        force_recreate=False,
        data_dir="posts",
    )
    assert changed.config.set_values() == {
        "incremental_mode": "full",
        "force_recreate": False,
        "data_dir": "posts",
    }
    assert (changed.policy.grace, changed.description, changed.tags, changed.enabled) == (
        3600,
        "mine",
        ("t",),
        False,
    )


def test_a_project_puts_its_own_over_and_beside_them(tmp_path: Path, now) -> None:
    (tmp_path / "hourly.toml").write_text('description = "mine"\n[[jobs]]\nid = "{job_id}"\nevery = "61m"\n')
    (tmp_path / "own.toml").write_text(
        'description = "own"\n[[jobs]]\nid = "{job_id}.a"\nname = "own {job_id}"\ncron = "@daily"\ntags = ["t"]\n'
    )
    presets = load_presets(tmp_path)
    assert set(presets.known) == {*SHIPPED, "own"}
    assert not presets.known["hourly"].shipped
    assert presets.known["hourly"].replaces
    assert (presets.known["own"].replaces, presets.known["own"].about) == (False, "")
    (hourly,) = build("hourly", now, folder=tmp_path)
    assert hourly.trigger == IntervalTrigger(seconds=3660, anchor=now)
    (own,) = build("own", now, folder=tmp_path)
    assert (own.id, own.name, own.tags) == ("x.a", "own x", ("t",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("description = ", "no TOML"),
        ("\x00", "no TOML"),
        ('[[jobs]]\nid = "{job_id}"\ncron = "@daily"', "description"),
        ('description = "d"', "jobs"),
        ('description = "d"\njobs = []', "jobs"),
        ('description = "d"\n[[jobs]]\nid = "fixed"\ncron = "@daily"', "{job_id}"),
        ('description = "d"\n[[jobs]]\nid = "{job_id} x"\ncron = "@daily"', "1 to 64"),
        ('description = "d"\n[[jobs]]\nid = "{job_id}"\ncron = "@daily"\ntags = ["a b"]', "a b"),
        (
            'description = "d"\n[[jobs]]\nid = "{job_id}"\ncron = "@daily"\n[jobs.policy]\nnotify = 5',
            "notify",
        ),
        (
            'description = "d"\n[[jobs]]\nid = "{job_id}"\ncron = "@daily"\n[jobs.policy]\nafter = "abc"',
            "abc",
        ),
        (
            'description = "d"\n[[jobs]]\nid = "{job_id}"\ncron = "@daily"\n[jobs.policy]\njitter = "2d"',
            "jitter",
        ),
        ('description = "d"\n[[jobs]]\nid = "{job_id}"', "one of cron, every, at"),
        (
            'description = "d"\n[[jobs]]\nid = "{job_id}"\ncron = "@daily"\nevery = "1h"',
            "one of cron, every, at",
        ),
        ('description = "d"\n[[jobs]]\nid = "{job_id}"\ncron = "61 * * * *"', "61"),
        (
            'description = "d"\n[[jobs]]\nid = "{job_id}"\ncron = "@daily"\n[jobs.policy]\ntimout = "1m"',
            "timout",
        ),
        (
            'description = "d"\n[[jobs]]\nid = "{job_id}"\ncron = "@daily"\n[jobs.policy]\ngrace = "x"',
            "grace",
        ),
        (
            'description = "d"\n[[jobs]]\nid = "{job_id}"\ncron = "@daily"\n[jobs.config]\nchunk_sise = 1',
            "chunk_sise",
        ),
        ('description = "d"\ntimezone = "Nowhere"\n[[jobs]]\nid = "{job_id}"\ncron = "@daily"', "Nowhere"),
    ],
)
def test_a_broken_one_is_named_and_hides_none_but_itself(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "hourly.toml").write_text(content)
    presets = load_presets(tmp_path)
    assert set(presets.known) == SHIPPED - {"hourly"}
    with pytest.raises(DataError) as caught:
        presets.get("hourly")
    assert said in caught.value.message
    assert "hourly.toml" in caught.value.message


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (
            'titel = "d"\ndescription = "d"\n[[jobs]]\nid = "{job_id}"\ncron = "@daily"',
            "known here: description, timezone, jobs",
        ),
        ('description = "d"\n[[jobs]]\nid = "{job_id}"\ncrn = "@daily"', "did you mean cron?"),
        (
            'description = "d"\n[[jobs]]\nid = "{job_id}"\n[jobs.config]\ndata_dirr = "x"',
            "did you mean data_dir?",
        ),
    ],
)
def test_a_misspelled_key_is_answered_with_those_of_its_place(
    tmp_path: Path, content: str, hint: str
) -> None:
    (tmp_path / "own.toml").write_text(content)
    with pytest.raises(DataError) as caught:
        load_presets(tmp_path).get("own")
    assert caught.value.hint == hint


def test_an_unknown_one_is_named_with_the_nearest() -> None:
    with pytest.raises(NotFound) as caught:
        load_presets(Path("/nowhere")).get("houry")
    assert (caught.value.code, caught.value.hint) == ("preset_not_found", "did you mean hourly?")
    for name in ("../hourly", "/etc/passwd", "hourly.toml", ""):
        with pytest.raises(NotFound):
            load_presets(Path("/nowhere")).get(name)


def test_an_id_that_becomes_too_long_is_refused(now) -> None:
    with pytest.raises(InvalidValue, match="1 to 64"):
        build("twice_daily", now, job_id="x" * 63)


def test_an_anchor_is_when_the_job_is_added(now) -> None:
    (job,) = build("hourly", now + timedelta(minutes=7))
    assert job.trigger.anchor == now + timedelta(minutes=7)


def test_the_documented_examples_are_true(tmp_path: Path, now) -> None:
    docs = Path(__file__).parents[3] / "docs"
    text = (docs / "presets.md").read_text()
    (tmp_path / "newsletter.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    (job,) = build("newsletter", now, folder=tmp_path)
    assert (job.policy.retries, job.config.data_dir) == (2, "content/posts")
    assert {name for name in SHIPPED if f"`{name}`" in text} == SHIPPED
    (tmp_path / "schedules.json").write_text(
        (docs / "job-file.md").read_text().split("```json\n")[1].split("```")[0]
    )
    loaded = JobStore(tmp_path / "schedules.json").load()
    assert loaded.problems == ()
    assert loaded.job("nightly").timezone == "Europe/Riga"


def test_a_pipe_and_an_endless_file_among_the_presets_hold_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    with (tmp_path / "large.toml").open("wb") as large:
        large.truncate(2**30)
    found = load_presets(tmp_path)
    assert found.broken.keys() == {"pipe", "endless", "large"}
    assert "daily_2am" in found.known
