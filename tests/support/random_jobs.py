"""Random jobs: every trigger, option, policy and zone, as hypothesis strategies."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from pipesched.jobs.model import CronTrigger, IntervalTrigger, Job, JobPolicy, OnceTrigger
from pipesched.options import PipelineConfig

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/New_York",
    "Africa/Casablanca",
)

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
words = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc")), max_size=30
)
zones = st.sampled_from(ZONES)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """A field that every cron knows: a star, a step, a number, a range, a list."""
    number = st.integers(low, high)
    pairs = st.lists(number, min_size=2, max_size=2, unique=True).map(sorted)
    lists = st.lists(number, min_size=2, max_size=4, unique=True).map(sorted)
    return st.one_of(
        st.just("*"),
        st.integers(2, 12).map(lambda step: f"*/{step}"),
        number.map(str),
        pairs.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        lists.map(lambda values: ",".join(map(str, values))),
    )


@st.composite
def plain_expressions(draw: st.DrawFn) -> str:
    """Five fields that every cron knows and that fire."""
    minute, hour = draw(field(0, 59)), draw(field(0, 23))
    day = draw(field(1, 28))
    month = draw(st.one_of(field(1, 12), st.sampled_from(["jan", "mar-oct", "feb,aug"])))
    weekday = draw(st.one_of(field(0, 6), st.sampled_from(["7", "sun", "mon-fri", "fri-sun", "SAT,SUN"])))
    return f"{minute} {hour} {day} {month} {weekday}"


plain_macros = st.sampled_from(
    ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@reboot"]
)
extended_expressions = st.sampled_from(
    [
        "0 2 L * *",
        "30 1 * * L5",
        "0 9 * * fri#2",
        "H H * * *",
        "H/15 H(0-5) * * *",
        "0 2 1,15,L * *",
        "0 0 1-7 * 1#1",
    ]
)
times = st.integers(1_800_000_000, 2_050_000_000).map(lambda at: datetime.fromtimestamp(at, UTC))
seconds = st.one_of(st.integers(1, 200_000).map(float), st.sampled_from([0.5, 90.25, 3600.0, 86400.0]))


def crons(expressions: st.SearchStrategy[str]) -> st.SearchStrategy[CronTrigger]:
    return expressions.map(lambda text: CronTrigger(expression=text))


intervals = st.builds(
    IntervalTrigger,
    seconds=st.one_of(
        st.integers(1, 1_000_000).map(float),
        st.sampled_from([60.0, 300.0, 900.0, 3600.0, 7200.0, 86400.0, 604800.0]),
    ),
    anchor=st.integers(1_577_836_800, 1_767_225_600).map(lambda at: datetime.fromtimestamp(at, UTC)),
)
even_intervals = st.builds(
    IntervalTrigger,
    seconds=st.sampled_from([10.0, 45.0, 60.0, 900.0, 3600.0, 5400.0, 7200.0, 21_600.0, 86_400.0, 604_800.0]),
    anchor=st.integers(1_577_836_800, 1_767_225_600).map(lambda at: datetime.fromtimestamp(at, UTC)),
)
onces = st.builds(OnceTrigger, at=times, if_past=st.sampled_from([None, "run"]))
triggers = st.one_of(
    crons(plain_expressions()), crons(plain_macros), crons(extended_expressions), intervals, onces
)


START = datetime(2027, 1, 1, tzinfo=UTC)
policies = st.fixed_dictionaries(
    {},
    optional={
        "catch_up": st.sampled_from(["latest", "all", "none"]),
        "grace": seconds,
        "overlap": st.sampled_from(["skip", "queue", "replace"]),
        "timeout": seconds,
        "retries": st.integers(0, 9),
        "retry_delay": st.one_of(st.just(0.0), seconds),
        "jitter": st.one_of(st.just(0.0), seconds),
        "trigger_on": st.sampled_from(["success", "failure", "any"]),
        "not_during": st.sampled_from([(), ("22:00-02:00",), ("Sat,Sun 22:00-02:00", "Mon 09:00-10:00")]),
        "start": st.just(START),
        "end": st.integers(1, 10**8).map(lambda after: START + timedelta(seconds=after)),
        "max_runs": st.integers(1, 99),
        "pause_after_failures": st.integers(1, 9),
        "notify": st.sampled_from([(), ("env:HOOK",), ("env:HOOK", "mailto://u:p@x.example")]),
        "ping": st.sampled_from(["env:PING", "https://ping.example/secret-uuid"]),
    },
).map(lambda values: JobPolicy(**values))

configs = st.fixed_dictionaries(
    {},
    optional={
        "data_dir": st.sampled_from(["posts", "/srv/blog/my posts", "a%b"]),
        "data_dir_pattern": st.just("*.mdx"),
        "storage_path": st.sampled_from(["db", "http://chroma.example:8000"]),
        "collection_name": st.sampled_from(["posts_1", "posts_2"]),
        "embedding_model": st.just("ollama:snowflake-arctic-embed2:latest"),
        "chunk_size": st.integers(500, 2000),
        "chunk_overlap": st.integers(0, 400),
        "use_chunking": st.booleans(),
        "incremental_mode": st.sampled_from(["auto", "incremental", "full"]),
        "force_recreate": st.booleans(),
        "dry_run": st.booleans(),
        "ci_mode": st.booleans(),
        "should_save_stats": st.booleans(),
        "blog_base_url": st.just("https://blog.example"),
        "base_url": st.just("/media"),
        "index_drafts": st.booleans(),
        "allow_mass_delete": st.booleans(),
        "adopt": st.booleans(),
    },
).map(lambda values: PipelineConfig(**values))


@st.composite
def jobs(draw: st.DrawFn, *, job_id: str | None = None, trigger: st.SearchStrategy = triggers) -> Job:
    paused = draw(st.booleans())
    job = Job(
        id=job_id if job_id is not None else draw(ids),
        name=draw(words),
        description=draw(words),
        tags=tuple(draw(st.lists(st.from_regex(r"[a-z:]{1,9}", fullmatch=True), max_size=3, unique=True))),
        timezone=draw(zones),
        trigger=draw(trigger),
        policy=draw(policies),
        config=draw(configs),
        enabled=not paused,
        created_at=draw(st.one_of(st.none(), st.just(NOW - timedelta(days=3)))),
        since=NOW - timedelta(days=draw(st.integers(0, 5))),
        paused_at=NOW if paused else None,
    )
    return job.model_copy(update={"since_schedule": job.schedule_key})


@st.composite
def job_lists(draw: st.DrawFn, *, trigger: st.SearchStrategy = triggers, most: int = 4) -> list[Job]:
    """Jobs of different ids, later ones after earlier ones."""
    found: list[Job] = []
    for job_id in draw(st.lists(ids, max_size=most, unique=True)):
        job = draw(jobs(job_id=job_id, trigger=trigger))
        if found and job.trigger.key.strip().lower() != "@reboot" and draw(st.booleans()):
            after = tuple(
                draw(st.lists(st.sampled_from([each.id for each in found]), unique=True, max_size=2))
            )
            policy = job.policy.model_dump(exclude_unset=True) | ({"after": after} if after else {})
            job = job.model_copy(update={"policy": JobPolicy(**policy)})
        found.append(job)
    return found
