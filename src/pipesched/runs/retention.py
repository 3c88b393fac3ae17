"""What of past runs is kept: which rows, logs, reports and statistics go by age and count, and in which order they go.

Files first, their removal made durable, then the rows: a prune that is killed in between leaves rows without files, which the
next one takes; the other way round it would leave files that nobody knows of any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pipesched.files import fsync_dir, os_error
from pipesched.runs.ids import is_run_id
from pipesched.runs.logs import log_path
from pipesched.runs.model import ACTIVE, Run
from pipesched.runs.reports import OUTPUT
from pipesched.settings import KEEP_DAYS, KEEP_LOG_BYTES, KEEP_RUNS, Paths

if TYPE_CHECKING:
    from pipesched.runs.ledger import Ledger

Kind = Literal["log", "report", "statistics"]
BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of the past stays. `runs` is for each job; `log_bytes` for all logs together."""

    days: int = KEEP_DAYS
    runs: int = KEEP_RUNS
    log_bytes: int = KEEP_LOG_BYTES


@dataclass(frozen=True, slots=True)
class OldFile:
    kind: Kind
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class OldRun:
    """`row`: the ledger's row goes too, after the files."""

    run_id: str
    job_id: str
    reason: str
    files: tuple[OldFile, ...] = ()
    row: bool = True


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What goes, oldest first."""

    runs: tuple[OldRun, ...] = ()

    def files(self, kind: Kind) -> int:
        return sum(file.kind == kind for run in self.runs for file in run.files)

    @property
    def rows(self) -> int:
        return sum(run.row for run in self.runs)

    @property
    def bytes(self) -> int:
        return sum(file.size for run in self.runs for file in run.files)


def plan(ledger: Ledger, paths: Paths, keep: Keep, now: datetime) -> RetentionPlan:
    """Only runs that the ledger knows, that have ended, and that are no job's last run or last sync. Raises what the ledger raises."""
    reasons: dict[str, tuple[Run, str]] = {}
    for run in ledger.expired(now - timedelta(days=keep.days)):
        reasons[run.run_id] = (run, f"older than {keep.days} days")
    for run in ledger.surplus(keep.runs):
        reasons.setdefault(run.run_id, (run, f"beyond the newest {keep.runs} of its job"))
    outputs = _outputs(paths.output_dir)
    old = [
        OldRun(run_id, run.job_id or "", reason, tuple(_files(run_id, paths, outputs)))
        for run_id, (run, reason) in reasons.items()
    ]
    old += _logs_over(ledger, paths, keep.log_bytes, reasons.keys())
    return RetentionPlan(tuple(old))


def _outputs(folder: Path) -> dict[str, list[tuple[Kind, str]]]:
    """The names of reports and statistics by run id; a folder that is not there has none."""
    found: dict[str, list[tuple[Kind, str]]] = {}
    try:
        names = os.listdir(folder)  # noqa: PTH208  names only
    except (FileNotFoundError, NotADirectoryError):
        return found
    except OSError as error:
        raise os_error("read", folder, error) from error
    for name in names:
        match = OUTPUT.fullmatch(name)
        if match:
            kind: Kind = "report" if match["kind"] == "report" else "statistics"
            found.setdefault(match["own"] or match["given"], []).append((kind, name))
    return found


def _files(run_id: str, paths: Paths, outputs: Mapping[str, Sequence[tuple[Kind, str]]]) -> Iterator[OldFile]:
    if is_run_id(run_id):
        yield from _sized("log", log_path(paths.logs_dir, run_id))
    for kind, name in outputs.get(run_id, ()):
        yield from _sized(kind, paths.output_dir / name)


def _sized(kind: Kind, path: Path) -> Iterator[OldFile]:
    with suppress(OSError):
        yield OldFile(kind, path, path.lstat().st_size)


def _logs_over(ledger: Ledger, paths: Paths, most: int, going: Iterable[str]) -> list[OldRun]:
    """The oldest logs of known, ended runs that are over `most` bytes together; each job's last run keeps its log."""
    gone = set(going)
    logs: list[tuple[str, OldFile]] = []
    with suppress(OSError):
        for path in sorted(paths.logs_dir.glob("*.log")):  # run ids sort by time
            if path.stem not in gone and is_run_id(path.stem):
                logs += [(path.stem, file) for file in _sized("log", path)]
    over = sum(file.size for _, file in logs) - most
    if over <= 0:
        return []
    last = {run.run_id for summary in ledger.summaries().values() if (run := summary.last_run) is not None}
    found: list[OldRun] = []
    for run_id, file in logs:
        if over <= 0:
            break
        run = None if run_id in last else ledger.run(run_id)
        if run is None or run.status in ACTIVE:
            continue
        found.append(OldRun(run_id, run.job_id or "", "all logs together are too large", (file,), row=False))
        over -= file.size
    return found


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went. `kept`: files that could not be removed, whose rows stay so that the next time tries again."""

    gone: RetentionPlan = RetentionPlan()
    kept: tuple[str, ...] = ()


def execute(plan: RetentionPlan, ledger: Ledger) -> Pruned:
    """Remove what the plan names; may be killed anywhere, and done again. Raises what the ledger raises."""
    done = remove_files(plan)
    forget(done, ledger)
    return done


def remove_files(plan: RetentionPlan) -> Pruned:
    """The first half: durable, without the ledger, which cannot be written to while the disk is full."""
    gone: list[OldRun] = []
    kept: list[str] = []
    for run in plan.runs:
        try:
            _remove(run)
        except OSError as error:
            kept.append(f"{error.filename}: {error.strerror}")
        else:
            gone.append(run)
    for folder in {file.path.parent for run in gone for file in run.files}:
        with suppress(OSError):
            fsync_dir(folder)
    return Pruned(RetentionPlan(tuple(gone)), tuple(kept))


def forget(done: Pruned, ledger: Ledger) -> None:
    """The second half: the rows of the runs whose files went. Raises what the ledger raises."""
    rows = [run.run_id for run in done.gone.runs if run.row]
    for start in range(0, len(rows), BATCH):
        ledger.forget(rows[start : start + BATCH])


def _remove(run: OldRun) -> None:
    """Raises OSError."""
    for file in run.files:
        file.path.unlink(missing_ok=True)
        if file.kind == "log":
            file.path.with_name(f".{file.path.name}.tmp").unlink(missing_ok=True)
