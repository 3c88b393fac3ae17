"""The error tree: each error has a machine code, an exit code and a hint.

    PipeschedError (1)
    ├── RunFailed 1
    ├── UsageError 2            a value that cannot be used
    │   ├── InvalidValue 2      ├── JobExists 2     ├── DataDirMissing 2    └── SettingsConflict 2
    ├── NotFound 4              no such job, run, report or preset
    ├── DataError 65            a file's content cannot be used
    ├── ServiceUnavailable 69   embedder or store
    │   └── ModelMissing 69
    ├── CannotCreate 73
    ├── InputOutputError 74
    ├── Busy 75
    ├── NotPermitted 77
    ├── ConfigurationError 78
    │   └── CollectionNotOurs 78
    └── Interrupted 130, 143

The numbers follow BSD sysexits(3) from 65 on.
"""

from __future__ import annotations

from typing import ClassVar


class PipeschedError(Exception):
    """Base of every error that pipesched raises on purpose.

    `code` is the word in JSON, `exit_code` the process's exit status, `hint` what to do next.
    """

    code: str = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def as_dict(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "hint": self.hint}


class RunFailed(PipeschedError):
    code = "run_failed"
    exit_code = 1


class UsageError(PipeschedError):
    code = "usage"
    exit_code = 2


class InvalidValue(UsageError):
    code = "invalid_value"


class JobExists(UsageError):
    code = "job_exists"


class DataDirMissing(UsageError):
    code = "data_dir_missing"


class SettingsConflict(UsageError):
    code = "settings_conflict"


class NotFound(PipeschedError):
    """`code` is given at the raise: job_not_found, run_not_found, report_not_found, preset_not_found."""

    code = "not_found"
    exit_code = 4


class DataError(PipeschedError):
    code = "data_error"
    exit_code = 65


class ServiceUnavailable(PipeschedError):
    code = "service_unavailable"
    exit_code = 69


class ModelMissing(ServiceUnavailable):
    code = "model_missing"


class CannotCreate(PipeschedError):
    code = "cannot_create"
    exit_code = 73


class InputOutputError(PipeschedError):
    code = "io_error"
    exit_code = 74


class Busy(PipeschedError):
    code = "busy"
    exit_code = 75


class NotPermitted(PipeschedError):
    code = "not_permitted"
    exit_code = 77


class ConfigurationError(PipeschedError):
    code = "configuration"
    exit_code = 78


class CollectionNotOurs(ConfigurationError):
    code = "collection_not_ours"


class Interrupted(PipeschedError):
    """A run ended by a signal at a safe boundary; exit 128 + signal number."""

    code = "interrupted"

    def __init__(self, signal_number: int) -> None:
        super().__init__(
            f"interrupted by signal {signal_number}", hint="run it again; it goes on where it stopped"
        )
        self.signal_number = signal_number

    @property
    def exit_status(self) -> int:
        return 128 + self.signal_number


def exit_status(error: PipeschedError) -> int:
    """The process's exit status for `error`."""
    return error.exit_status if isinstance(error, Interrupted) else error.exit_code
