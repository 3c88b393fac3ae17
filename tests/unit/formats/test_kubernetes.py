"""CronJob manifests, held against the documented fields of batch/v1."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from kubernetes.client import ApiClient  # comes with chromadb

from pipesched.jobs.formats import kubernetes
from pipesched.jobs.formats.place import Place
from pipesched.jobs.model import CronTrigger, IntervalTrigger, JobFile, JobPolicy, OnceTrigger
from pipesched.options import PipelineOptions
from pipesched.settings import Paths
from support.random_jobs import NOW, job_lists

HOME = Path("/srv/blog")
PATHS = Paths(HOME / "schedules.json", HOME / ".pipesched", HOME / "output")
INSIDE = PipelineOptions(data_dir="/srv/blog/data", storage_path="/srv/blog/db/store")


def closed(required: list[str], **properties: dict) -> dict:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
POSITIVE = {"type": "integer", "minimum": 1}
FLAG = {"type": "boolean"}
LABELS = {
    "type": "object",
    "additionalProperties": {
        "type": "string",
        "maxLength": 63,
        "pattern": r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$",
    },
}
NAME = {"type": "string", "maxLength": 52, "pattern": r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"}
CONTAINER = closed(
    ["name", "image"],
    name=NAME,
    image=TEXT,
    command={"type": "array", "items": TEXT},
    args={"type": "array", "items": TEXT},
    workingDir=TEXT,
    env={"type": "array"},
    securityContext=closed(
        [], allowPrivilegeEscalation=FLAG, readOnlyRootFilesystem=FLAG,
        capabilities=closed([], drop={"type": "array", "items": TEXT}, add={"type": "array", "items": TEXT}),
    ),
    volumeMounts={
        "type": "array", "items": closed(["name", "mountPath"], name=TEXT, mountPath=TEXT, readOnly=FLAG)
    },
)  # fmt: skip
POD = closed(
    ["containers"],
    restartPolicy={"enum": ["OnFailure", "Never"]},
    activeDeadlineSeconds=POSITIVE,
    automountServiceAccountToken=FLAG,
    securityContext=closed(
        [], runAsNonRoot=FLAG, runAsUser=COUNT, runAsGroup=COUNT, fsGroup=COUNT,
        seccompProfile=closed(["type"], type={"enum": ["RuntimeDefault", "Unconfined", "Localhost"]}),
    ),
    containers={"type": "array", "minItems": 1, "items": CONTAINER},
    volumes={
        "type": "array",
        "items": closed(
            ["name"], name=TEXT, emptyDir=closed([]), persistentVolumeClaim=closed(["claimName"], claimName=TEXT)
        ),
    },
)  # fmt: skip
RULE = closed(
    ["action"],
    action={"enum": ["FailJob", "FailIndex", "Ignore", "Count"]},
    onExitCodes=closed(
        ["operator", "values"],
        containerName=TEXT,
        operator={"enum": ["In", "NotIn"]},
        values={"type": "array", "minItems": 1, "maxItems": 255, "uniqueItems": True, "items": POSITIVE},
    ),
)
JOB = closed(
    ["template"],
    backoffLimit=COUNT,
    activeDeadlineSeconds=POSITIVE,
    podFailurePolicy=closed(["rules"], rules={"type": "array", "maxItems": 20, "items": RULE}),
    template=closed(["spec"], metadata=closed([], labels=LABELS, annotations={"type": "object"}), spec=POD),
)
SCHEMA = closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "batch/v1"},
    kind={"const": "CronJob"},
    metadata=closed(["name"], name=NAME, labels=LABELS, annotations={"type": "object", "additionalProperties": TEXT}),
    spec=closed(
        ["schedule", "jobTemplate"],
        # Its parser knows no L, # and 7, and reads macros of its own.
        schedule={"type": "string", "pattern": r"^[-0-9*,/]+ [-0-9*,/]+ [-0-9*,/]+ [-0-9*,/]+ (?:[-0-6*,]|/[0-9]+)+$"},
        timeZone=TEXT,
        concurrencyPolicy={"enum": ["Allow", "Forbid", "Replace"]},
        startingDeadlineSeconds={"type": "integer", "minimum": 10},
        suspend=FLAG,
        successfulJobsHistoryLimit=COUNT,
        failedJobsHistoryLimit=COUNT,
        jobTemplate=closed(["spec"], metadata={"type": "object"}, spec=JOB),
    ),
)  # fmt: skip
VALIDATOR = Draft202012Validator(SCHEMA)


def write(*jobs, options: PipelineOptions = INSIDE):
    place = Place(("pipesched",), PATHS, "UTC", "blog", {job.id: options for job in jobs})
    made = kubernetes.write(JobFile({job.id: job for job in jobs}), place=place, now=NOW)
    (text,) = made.files.values()
    return [document for document in yaml.safe_load_all(text) if document], made


@settings(max_examples=20)
@given(job_lists())
def test_the_official_client_knows_every_field_and_takes_every_value(jobs) -> None:
    api = ApiClient()
    for manifest in write(*jobs)[0]:
        # A field that it does not know, or a value of another type, would not come back.
        read = api.deserialize(json.dumps(manifest), "V1CronJob", "application/json")
        assert api.sanitize_for_serialization(read) == manifest


@given(job_lists())
def test_every_manifest_fits_the_schema_and_every_job_is_in_it_or_refused(jobs) -> None:
    manifests, made = write(*jobs)
    for manifest in manifests:
        VALIDATOR.validate(manifest)
    written = {manifest["metadata"]["annotations"]["pipesched/job-id"] for manifest in manifests}
    assert written | {each.id for each in made.refused} == {job.id for job in jobs}
    assert len({manifest["metadata"]["name"] for manifest in manifests}) == len(manifests)


def test_a_job_s_settings_are_said_in_the_manifest_s_words(job) -> None:
    policy = JobPolicy(grace="30m", overlap="replace", timeout="2h", retries=3)
    (manifest,), made = write(
        job("Nightly_Run", "0 2 * * 7", timezone="Europe/Berlin", policy=policy, enabled=False, paused_at=NOW)
    )
    spec = manifest["spec"]
    assert manifest["metadata"]["name"] == "nightly-run-48e013ed"
    assert (spec["schedule"], spec["timeZone"]) == ("0 2 * * 0", "Europe/Berlin")
    assert spec["concurrencyPolicy"] == "Replace"
    assert spec["startingDeadlineSeconds"] == 1800
    assert spec["suspend"] is True
    inner = spec["jobTemplate"]["spec"]
    assert inner["backoffLimit"] == 3
    assert inner["template"]["spec"]["activeDeadlineSeconds"] == 7200
    assert inner["activeDeadlineSeconds"] == 4 * 7200 + 10 + 20 + 40
    assert inner["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2, 3, 65, 77, 78]
    container = inner["template"]["spec"]["containers"][0]
    assert container["args"] == ["--file", "/srv/pipesched/schedules.json", "run", "Nightly_Run"]
    assert "its CronJob is named nightly-run-48e013ed" in made.warnings[0]


def test_the_defaults_forbid_an_overlap_and_keep_to_the_grace(job) -> None:
    (daily, prompt, timed), _ = write(
        job("a"),
        job("b", policy=JobPolicy(catch_up="none")),
        job("c", policy=JobPolicy(timeout="90.5s", grace="2s")),
    )
    assert daily["spec"]["concurrencyPolicy"] == "Forbid"
    assert daily["spec"]["startingDeadlineSeconds"] == 86_400
    assert daily["spec"]["suspend"] is False
    assert daily["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert "activeDeadlineSeconds" not in daily["spec"]["jobTemplate"]["spec"]
    assert prompt["spec"]["startingDeadlineSeconds"] == 60
    assert timed["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 91
    assert timed["spec"]["startingDeadlineSeconds"] == 10


def test_a_server_is_named_and_what_is_not_in_the_volume_is(job) -> None:
    server = PipelineOptions(data_dir="/srv/blog/data", storage_path="http://chroma:8000")
    (manifest,), made = write(job("a"), options=server)
    args = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[-2:] == ["--storage-path", "http://chroma:8000"]
    assert made.warnings == ()
    outside = PipelineOptions(
        data_dir="/mnt/posts", storage_path="/var/db/store", embedding_model="ollama:snowflake-arctic-embed2"
    )
    said = "\n".join(write(job("a"), options=outside)[1].warnings)
    assert "/mnt/posts" in said
    assert "/var/db/store" in said
    assert "OLLAMA_HOST" in said
    local = PipelineOptions(data_dir="/srv/blog/data", storage_path="http://127.0.0.1:8000")
    assert "the pod itself" in write(job("a"), options=local)[1].warnings[0]


def test_a_single_time_that_has_passed_is_left_out_by_name(job) -> None:
    manifests, made = write(job("a", trigger=OnceTrigger(at=NOW - timedelta(days=1))), job("b"))
    assert [manifest["metadata"]["name"] for manifest in manifests] == ["b"]
    assert (made.refused, made.done) == ((), ("a",))
    assert "a: its time has passed: it is left out" in made.warnings


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        (OnceTrigger(at=NOW + timedelta(days=1)), "single time"),
        (CronTrigger(expression="@reboot"), "@reboot"),
        (CronTrigger(expression="0 2 * * L5"), "L and #"),
        (CronTrigger(expression="0 2 */2 * mon"), "either"),
        (IntervalTrigger(seconds=420), "evenly"),
    ],
)
def test_a_schedule_that_a_cronjob_cannot_say_is_refused_by_name(job, trigger, reason: str) -> None:
    manifests, made = write(job("a", trigger=trigger), job("b"))
    assert [manifest["metadata"]["name"] for manifest in manifests] == ["b"]
    (refused,) = made.refused
    assert refused.id == "a"
    assert reason in refused.reason


@pytest.mark.parametrize(
    ("expression", "schedule"),
    [
        ("@daily", "0 0 * * *"),
        ("*/5 * * * *", "*/5 * * * *"),
        ("0 2 1,15 * mon", "0 2 1,15 * 1"),
        ("0 2 * jan-mar fri-sun", "0 2 * 1-3 0,5,6"),
        ("0 2 */2 * *", "0 2 */2 * *"),
    ],
)
def test_names_macros_and_sevens_are_written_as_numbers(job, expression: str, schedule: str) -> None:
    ((manifest,), _) = write(job("a", expression))
    assert manifest["spec"]["schedule"] == schedule


def test_what_kubernetes_does_otherwise_is_named(job) -> None:
    jobs = [
        job("spring", "30 2 * * *", timezone="Europe/Berlin"),
        job("queue", policy=JobPolicy(overlap="queue", catch_up="all", retries=1, after=("spring",))),
        job("grid", trigger=IntervalTrigger(seconds=1800, anchor=NOW + timedelta(seconds=7))),
        job("A_"), job("a-"),
    ]  # fmt: skip
    manifests, made = write(*jobs)
    said = "\n".join(made.warnings)
    assert "spring: Kubernetes skips" in said
    for word in ("overlap queue", "catch-up all", "retry_delay", "does not wait for spring"):
        assert word in said
    assert "grid: it runs at the whole minute" in said
    assert len({manifest["metadata"]["name"] for manifest in manifests}) == 5


def test_a_name_that_another_cronjob_has_got_by_its_digest_is_refused(job) -> None:
    taken = f"a-{hashlib.sha256(b'A').hexdigest()[:8]}"
    manifests, made = write(job(taken), job("a"), job("A"))
    assert [manifest["metadata"]["name"] for manifest in manifests] == [taken, "a"]
    (refused,) = made.refused
    assert (refused.id, taken in refused.reason) == ("A", True)


def test_a_timeout_that_a_pod_cannot_have_is_refused(job) -> None:
    manifests, made = write(
        job("a", policy=JobPolicy(timeout=2.0**31 - 1)), job("b", policy=JobPolicy(timeout=2.0**31))
    )
    assert [manifest["metadata"]["name"] for manifest in manifests] == ["a"]
    assert "68 years" in made.refused[0].reason


def test_what_looks_like_a_variable_of_the_container_is_none(job) -> None:
    server = PipelineOptions(data_dir="/srv/blog/data", storage_path="http://chroma:8000/$(HOME)")
    (manifest,), _ = write(job("a"), options=server)
    args = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[-1] == "http://chroma:8000/$$(HOME)"


def test_an_id_that_is_a_name_keeps_it_whoever_comes_before_and_goes(job) -> None:
    def names(*ids: str) -> dict[str, str]:
        manifests, _ = write(*(job(each) for each in ids))
        return {
            each["metadata"]["annotations"]["pipesched/job-id"]: each["metadata"]["name"]
            for each in manifests
        }

    every = names("a_b", "a.b", "a-b")
    assert every["a-b"] == "a-b"
    assert len(set(every.values())) == 3
    assert names("a.b") == {"a.b": every["a.b"]}
