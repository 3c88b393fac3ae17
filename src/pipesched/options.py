"""The pipeline options: their types, defaults, checks and order of precedence."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from pipesched.errors import InvalidValue
from pipesched.settings import ENV_PREFIX, ENV_RUN_OPTIONS, absolute

DEFAULT_MODEL: Final = "onnx:all-MiniLM-L6-v2"
IncrementalMode = Literal["auto", "incremental", "full"]

# Chroma's own rule for a collection name; ours add up to 12 characters for a generation.
_COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,498}[A-Za-z0-9]")
_MODEL = re.compile(r"(onnx|ollama):[^\s:/\\][^\s\\]*")
_BASE_URL = re.compile(r"(https?://[^\s\x00-\x1f\x7f/]+|/)[^\s\x00-\x1f\x7f]*", re.IGNORECASE)
_USER = re.compile(r"//[^/@\s]*@")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def _boolean(value: object) -> object:
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
    return value


def _too_much_overlap(overlap: int, size: int) -> str:
    return f"--chunk-overlap ({overlap}) must be below --chunk-size ({size})"


Flag = Annotated[bool, BeforeValidator(_boolean)]


class PipelineConfig(BaseModel):
    """What was set at one level (a job, the defaults, the environment, the flags); None: not set there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: str | None = None
    data_dir_pattern: str | None = None
    storage_path: str | None = None
    collection_name: str | None = None
    embedding_model: str | None = None
    chunk_size: Annotated[int, Field(ge=50, le=100_000)] | None = None
    chunk_overlap: Annotated[int, Field(ge=0, le=50_000)] | None = None
    use_chunking: Flag | None = None
    incremental_mode: IncrementalMode | None = None
    force_recreate: Flag | None = None
    dry_run: Flag | None = None
    ci_mode: Flag | None = None
    should_save_stats: Flag | None = None
    blog_base_url: str | None = None
    base_url: str | None = None
    index_drafts: Flag | None = None
    allow_mass_delete: Flag | None = None
    adopt: Flag | None = None

    @field_validator("data_dir", "storage_path", "data_dir_pattern")
    @classmethod
    def _not_empty(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("must not be empty")
        if value is not None and "\0" in value:
            raise ValueError("must not hold a NUL character")
        return value

    @field_validator("storage_path")
    @classmethod
    def _folder_or_server(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            from urllib.parse import urlsplit

            wrong = "must be a folder or http(s)://host:port"
            try:
                url = urlsplit(value)
                port = url.port  # raises ValueError above 65535
            except ValueError:
                raise ValueError(wrong) from None
            if (
                url.scheme not in {"http", "https"}
                or not url.hostname
                or port == 0
                or url.query
                or url.fragment
            ):
                raise ValueError(wrong)
            if url.username is not None or url.password is not None:
                raise ValueError(
                    "a user and a password do not belong into it: it is shown wherever the job is"
                )
        return value

    @field_validator("data_dir_pattern")
    @classmethod
    def _pattern_stays_inside(cls, value: str | None) -> str | None:
        if value is not None and (value.startswith("/") or ".." in value.split("/")):
            raise ValueError("must be a pattern below the data folder, such as *.md or posts/**/*.md")
        return value

    @field_validator("collection_name")
    @classmethod
    def _collection_name(cls, value: str | None) -> str | None:
        if value is not None and (not _COLLECTION_NAME.fullmatch(value) or ".." in value):
            raise ValueError(
                "must be 3 to 500 letters, digits, dots, dashes or underscores, a letter or digit at both ends"
            )
        return value

    @field_validator("embedding_model")
    @classmethod
    def _model(cls, value: str | None) -> str | None:
        if value is not None and (not _MODEL.fullmatch(value) or ".." in value):
            raise ValueError(f"must be onnx:NAME or ollama:NAME, such as {DEFAULT_MODEL}")
        return value

    @field_validator("blog_base_url", "base_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value and not _BASE_URL.fullmatch(value):
            raise ValueError("must be an http or https URL, or a path that starts with /, without spaces")
        return value

    @model_validator(mode="after")
    def _overlap_below_size(self) -> Self:
        if (
            self.chunk_size is not None
            and self.chunk_overlap is not None
            and self.chunk_overlap >= self.chunk_size
        ):
            raise ValueError(_too_much_overlap(self.chunk_overlap, self.chunk_size))
        return self

    def set_values(self) -> dict[str, Any]:
        """What is set here, as plain JSON values."""
        # All are plain values already, and 10,000 jobs are asked five times each.
        return {name: value for name, value in self.__dict__.items() if value is not None}

    @classmethod
    def checked(cls, values: Mapping[str, Any], *, where: str = "") -> Self:
        """The config of `values`. Raises InvalidValue naming the first bad option in the flag's spelling."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise invalid_value(error, where=where) from error


def flag(name: str) -> str:
    """An option's name as it is written on the command line."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """An option's name as it is written in the environment."""
    return ENV_PREFIX + name.upper()


def got(value: object) -> str:
    """What was given, at an error's end, without a password that is part of a URL."""
    return f" (got {_USER.sub('//...@', f'{value!r:.200}')[:80]})"


def invalid_value(
    error: ValidationError, *, where: str = "", spelling: Callable[[str], str] = flag
) -> InvalidValue:
    """One readable error of ours for pydantic's list: what is wrong first, the option in the `spelling` of its level."""
    import difflib

    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    message = first["msg"].removeprefix("Value error, ")
    if not location:  # of several options together, which the message names
        return InvalidValue(f"{where}{message}", hint="give both, one with the other in mind")
    name = location[-1]
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, PIPELINE_OPTIONS, n=1)
        hint = f"did you mean {spelling(near[0])}?" if near else "see pipesched run --help for all of them"
        return InvalidValue(f"{where}{spelling(name)}: there is no such setting", hint=hint)
    return InvalidValue(
        f"{where}{spelling(name)}: {message}{got(first.get('input'))}",
        hint=f"see pipesched run --help for {flag(name)}",
    )


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """Every option resolved. `data_dir` is an absolute path; `storage_path` an absolute path or a server's URL."""

    data_dir: str = "data/"
    data_dir_pattern: str = "*.md"
    storage_path: str = "db/vector_store"
    collection_name: str = "blog_documents"
    embedding_model: str = DEFAULT_MODEL
    chunk_size: int = 1000
    chunk_overlap: int = 200
    use_chunking: bool = True
    incremental_mode: IncrementalMode = "auto"
    force_recreate: bool = False
    dry_run: bool = False
    ci_mode: bool = False
    should_save_stats: bool = True
    blog_base_url: str = ""
    base_url: str = ""
    index_drafts: bool = False
    allow_mass_delete: bool = False
    adopt: bool = False

    @property
    def store_is_server(self) -> bool:
        return is_server(self.storage_path)


PIPELINE_OPTIONS: Final = tuple(field.name for field in fields(PipelineOptions))
PATH_OPTIONS: Final = ("data_dir", "storage_path")
BUILT_IN: Final = PipelineOptions()
_BUILT_IN_VALUES: Final = asdict(BUILT_IN)


def check_text(options: PipelineOptions) -> None:
    """Raises InvalidValue for a folder whose name is no text in this locale: neither Chroma nor a record can keep it."""
    for name in PATH_OPTIONS:
        path = getattr(options, name)
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise InvalidValue(
                f"{flag(name)}: {path!r} is not UTF-8 here, which the index needs",
                hint="use a UTF-8 locale, such as LANG=C.UTF-8, or rename that folder",
            ) from error


def is_server(storage_path: str) -> bool:
    return storage_path.lower().startswith(("http://", "https://"))


def from_environment(environ: Mapping[str, str]) -> PipelineConfig:
    """The level that PIPESCHED_<OPTION> variables make; an empty one counts as unset. Raises InvalidValue naming it."""
    found = {name: value for name in PIPELINE_OPTIONS if (value := environ.get(variable(name)))}
    try:
        return PipelineConfig.model_validate(found)
    except ValidationError as error:
        bad = invalid_value(error, spelling=variable)
        raise InvalidValue(
            f"in the environment: {bad.message}", hint="unset it or give it another value"
        ) from error


def hand_over(job: PipelineConfig, defaults: PipelineConfig) -> str:
    """The two levels that a job file holds, as text for the process that is to run the job."""
    return json.dumps({"job": job.set_values(), "defaults": defaults.set_values()})


def taken_over(text: str) -> tuple[PipelineConfig, PipelineConfig]:
    """The job's and the defaults' level of what `hand_over` made. Raises InvalidValue."""
    try:
        levels = json.loads(text)
        return PipelineConfig.checked(levels["job"]), PipelineConfig.checked(levels["defaults"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidValue(
            f"{ENV_RUN_OPTIONS} in the environment cannot be used: {error}", hint="unset it"
        ) from error


def merge(levels: Sequence[PipelineConfig]) -> dict[str, Any]:
    """What holds when `levels` (strongest first) lie over the built-in defaults; paths still as written."""
    merged: dict[str, Any] = dict(_BUILT_IN_VALUES)
    for level in reversed(levels):
        merged.update(level.set_values())
    if merged["chunk_overlap"] >= merged["chunk_size"]:
        if any(level.chunk_overlap is not None for level in levels):
            raise InvalidValue(
                _too_much_overlap(merged["chunk_overlap"], merged["chunk_size"]),
                hint="give both, for example --chunk-size 500 --chunk-overlap 100",
            )
        merged["chunk_overlap"] = merged["chunk_size"] // 5  # the built-in's proportion, for a smaller chunk
    return merged


def resolve(
    *,
    flags: PipelineConfig,
    job: PipelineConfig,
    environment: PipelineConfig,
    defaults: PipelineConfig,
    home: Path,
    cwd: Path,
) -> PipelineOptions:
    """The options of one run: flag, job, environment, job file's defaults, built-in.

    Flags' relative paths are taken from `cwd`, all others from `home`, the job file's folder.
    Raises InvalidValue when the levels do not fit together.
    """
    merged = merge([flags, job, environment, defaults])
    for name in PATH_OPTIONS:
        base = cwd if getattr(flags, name) is not None else home
        merged[name] = anchored(str(merged[name]), base)
    return PipelineOptions(**merged)


def anchored(path: str, base: Path) -> str:
    """`path` made absolute from `base`; a server's URL as it is. Raises InvalidValue (~somebody unknown)."""
    if is_server(path):
        return path.rstrip("/")
    if path.startswith("~") or ".." in path or "\0" in path:
        return str(absolute(path, base))
    # The same without pathlib: `list` does this for 10,000 jobs.
    return os.path.normpath(os.path.join(base, path))  # noqa: PTH118


def for_job_file(path: str, *, home: Path, cwd: Path) -> str:
    """A path given on the command line as the job file keeps it: relative to `home` when below it, else absolute."""
    if is_server(path):
        return path
    anchor = Path(anchored(path, cwd))
    try:
        return anchor.relative_to(home).as_posix()
    except ValueError:
        return str(anchor)
