"""Presets: ready-made jobs in TOML files, those of the package under those of the project."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

import pipesched
from pipesched.errors import DataError, InvalidValue, NotFound
from pipesched.files import os_error
from pipesched.jobs.build import POLICY_OPTIONS, build_job
from pipesched.jobs.model import Job
from pipesched.jobs.refusal import explain
from pipesched.jobs.triggers import AnyTrigger, TriggerOptions, build_trigger
from pipesched.options import PipelineConfig
from pipesched.settings import JOB_ID_PATTERN, PRESETS_DIR

JOB_ID: Final = "{job_id}"
MOST_BYTES: Final = 2**20
_NAME: Final = re.compile(JOB_ID_PATTERN)


def _with_job_id(value: str) -> str:
    if JOB_ID not in value:
        raise ValueError(f"must have {JOB_ID} in it, which stands for the id that is given")
    return value


class PresetJob(BaseModel):
    """One job of a preset. `{job_id}` in `id` and `name` stands for the id that the user gives; one trigger key is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, AfterValidator(_with_job_id)]
    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    cron: str | None = None
    every: str | None = None
    at: str | None = None
    policy: Mapping[str, Any] = {}
    config: PipelineConfig = PipelineConfig()

    @model_validator(mode="after")
    def _one_trigger(self) -> PresetJob:
        if sum(value is not None for value in (self.cron, self.every, self.at)) != 1:
            raise ValueError("a job of a preset has one of cron, every, at")
        return self

    def trigger(self, *, job_id: str, zone: str, now: datetime) -> AnyTrigger:
        options = TriggerOptions(expression=self.cron, every=self.every, at=self.at)
        return build_trigger(options, job_id=job_id, zone=zone, now=now)

    @property
    def schedule_text(self) -> str:
        if self.every is not None:
            return f"every {self.every}"
        return self.cron if self.cron is not None else f"once at {self.at}"


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    timezone: str | None = None
    jobs: tuple[PresetJob, ...] = Field(min_length=1)


_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "": _Content,
    "jobs": PresetJob,
    "jobs.config": PipelineConfig,
}


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset file. `shipped`: it comes with pipesched rather than with the project; `replaces`: it goes over one that does.

    `about`: the comment that the file begins with, as one line.
    """

    name: str
    path: Path
    shipped: bool
    description: str
    timezone: str | None
    jobs: tuple[PresetJob, ...]
    about: str = ""
    replaces: bool = False

    def build(
        self,
        job_id: str,
        given: Mapping[str, Any],
        config: PipelineConfig,
        *,
        zone: str,
        now: datetime,
        calendar: tuple[str, ...] = (),
    ) -> list[Job]:
        """The preset's jobs under `job_id`, the job options `given` and `config` over the preset's own, in a file with `calendar`.

        Raises InvalidValue.
        """
        jobs = []
        for part in self.jobs:
            own_id = part.id.replace(JOB_ID, job_id)
            options = dict(given)
            options.setdefault("description", part.description or self.description)
            if part.tags:
                options.setdefault("tag", part.tags)
            jobs.append(
                build_job(
                    own_id,
                    part.trigger(job_id=own_id, zone=zone, now=now),
                    options,
                    PipelineConfig.checked({**part.config.set_values(), **config.set_values()}),
                    zone=zone,
                    now=now,
                    name=part.name.replace(JOB_ID, job_id),
                    base_policy=part.policy,
                    calendar=calendar,
                )
            )
        return jobs


@dataclass(frozen=True, slots=True)
class Presets:
    """Every preset that can be used, by name, and what is wrong with the others."""

    known: Mapping[str, Preset]
    broken: Mapping[str, DataError]

    def get(self, name: str) -> Preset:
        """Raises NotFound (preset_not_found), DataError for one that is there and cannot be used."""
        if name in self.known:
            return self.known[name]
        if name in self.broken:
            raise self.broken[name]
        near = difflib.get_close_matches(name, self.known, n=1)
        raise NotFound(
            f"there is no preset {name!r}",
            hint=f"did you mean {near[0]}?" if near else "see pipesched presets",
            code="preset_not_found",
        )


def shipped_folder() -> Path:
    """In the package where it was installed, beside src/ in a checkout."""
    package = Path(pipesched.__file__).parent
    installed = package / PRESETS_DIR
    return installed if installed.is_dir() else package.parents[1] / PRESETS_DIR


def load_presets(project_folder: Path) -> Presets:
    """The shipped presets with those in `project_folder` over them. Raises NotPermitted or InputOutputError."""
    known: dict[str, Preset] = {}
    broken: dict[str, DataError] = {}
    shipped = shipped_folder()
    folders = [shipped]
    if os.path.realpath(shipped) != os.path.realpath(project_folder):
        folders.append(project_folder)
    for folder in folders:
        for path in _files(folder):
            replaces = known.pop(path.stem, None) is not None
            try:
                known[path.stem] = replace(read_preset(path, shipped=folder is shipped), replaces=replaces)
                broken.pop(path.stem, None)
            except DataError as error:
                broken[path.stem] = error
    return Presets(dict(sorted(known.items())), broken)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.suffix == ".toml" and _NAME.fullmatch(p.stem))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise os_error("read", folder, error) from error


def read_preset(path: Path, *, shipped: bool) -> Preset:
    """One preset, with every value in it checked. Raises DataError."""
    try:
        if (
            not path.is_file() or path.stat().st_size > MOST_BYTES
        ):  # a pipe that nobody writes to would be waited for
            raise DataError(f"{path} is no preset: it is no file, or a large one", hint="remove it")
        text = path.read_text(encoding="utf-8-sig")
        content = _Content.model_validate(tomllib.loads(text))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="look at its permissions") from error
    except ValidationError as error:
        bad = explain(error, models=_MODELS)
        raise DataError(f"{path}: {bad.message}", hint=bad.hint) from error
    except ValueError as error:  # TOML's or UTF-8's
        raise DataError(
            f"{path} is no TOML: {error}", hint="see docs/presets.md for what one looks like"
        ) from error
    preset = Preset(
        name=path.stem,
        path=path,
        shipped=shipped,
        description=content.description,
        timezone=content.timezone,
        jobs=content.jobs,
        about=_leading_comment(text),
    )
    _try_out(preset)
    return preset


def _leading_comment(text: str) -> str:
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line.lstrip("#").strip() for line in lines).strip()


def _try_out(preset: Preset) -> None:
    """Whether it makes jobs. Raises DataError."""
    example = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
    try:
        for part in preset.jobs:
            _known_settings(part.policy)
        preset.build("example", {}, PipelineConfig(), zone=preset.timezone or "UTC", now=example)
    except InvalidValue as error:
        raise DataError(f"{preset.path}: {error.message}", hint=error.hint) from error


def _known_settings(policy: Mapping[str, Any]) -> None:
    for name in policy:
        if name not in POLICY_OPTIONS:
            near = difflib.get_close_matches(name, POLICY_OPTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(POLICY_OPTIONS)}"
            raise InvalidValue(f"policy.{name}: there is no such setting", hint=hint)
