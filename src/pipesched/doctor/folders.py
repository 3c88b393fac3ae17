"""The job file, the folders, who may write them, and the disks that they are on."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from pipesched.doctor.patient import Checks, Patient, failed
from pipesched.errors import PipeschedError
from pipesched.files import PRIVATE_DIR, check_owner, os_error
from pipesched.views.absence import is_gone
from pipesched.views.checks import put_back
from pipesched.views.health import Check, check_disk
from pipesched.views.vitals import disk_facts

NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"})
"""File systems on which the locks of SQLite and of ours are not to be relied on."""
LEAST_INODES: Final = 1000
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
"""How a blank, a tab, a newline and a backslash are written in the list of mounts (proc_mounts(5))."""


def check(patient: Patient) -> Checks:
    paths = patient.paths
    found = {
        "job_file": check_job_file(patient),
        "state_folder": check_state_folder(paths.state_dir),
        "output_folder": check_writable(paths.output_dir, "reports", "--output-dir"),
        "disk": check_disks(patient),
    }
    system = file_system(_existing(paths.state_dir))
    if system:
        found["file_system"] = check_file_system(system)
    return found


def check_data(patient: Patient) -> Checks:
    return {"data_folder": check_data_folder(Path(patient.options.data_dir))}


def check_file_system(system: str) -> Check:
    if system in NETWORK:
        return Check(
            "warn",
            f"the state folder is on {system}, whose locks cannot be relied on",
            "name a local folder with --state-dir",
        )
    return Check("pass", f"the state folder is on {system}")


def check_job_file(patient: Patient) -> Check:
    path = patient.paths.job_file
    if patient.job_file_error is not None:
        return failed(patient.job_file_error)
    if not patient.job_file.exists:
        if is_gone(patient.paths, patient.now):
            return Check("fail", f"the job file {path} is gone", put_back(str(path)))
        return Check("warn", f"there is no job file {path}", "pipesched init, or name it with --file PATH")
    if problems := patient.job_file.problems:
        return Check("warn", problems[0].message, problems[0].hint or "pipesched edit JOB_ID")
    if not os.access(path.parent, os.W_OK):
        return Check(
            "warn",
            f"{path} can be read, and not changed: {path.parent} is not writable",
            f"ls -ld {path.parent}",
        )
    return Check("pass", f"{path}: {len(patient.job_file.jobs)} jobs")


def check_state_folder(folder: Path) -> Check:
    if not folder.is_symlink() and not folder.exists():
        return check_creatable(folder, "--state-dir")
    try:
        check_owner(folder)
        mode = stat.S_IMODE(folder.stat().st_mode)
    except PipeschedError as error:
        return failed(error)
    except OSError as error:
        return failed(os_error("use", folder, error))
    if mode & 0o077:
        return Check("warn", f"{folder} is open to others ({mode:04o})", f"chmod {PRIVATE_DIR:o} {folder}")
    for path in sorted(folder.rglob("*"))[:10_000]:
        if is_anothers(path):
            return Check("fail", f"{path} cannot be written by you", f"ls -l {path}")
    return Check("pass", f"{folder}, private and writable")


def is_anothers(path: Path) -> bool:
    """Whether we may not read or write `path`; what a run has removed meanwhile is nobody's."""
    if path.is_symlink() or os.access(path, os.R_OK | os.W_OK):
        return False
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:  # in a folder that we may not look into
        return True
    return True


def check_writable(folder: Path, what: str, option: str) -> Check:
    if not folder.exists():
        return check_creatable(folder, option)
    if not folder.is_dir():
        return Check("fail", f"{folder} is no folder", f"name another one with {option}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("fail", f"no {what} can be written to {folder}", f"ls -ld {folder}")
    return Check("pass", f"{folder}, writable")


def check_creatable(folder: Path, option: str) -> Check:
    parent = _existing(folder)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        return Check(
            "fail",
            f"{folder} cannot be made in {parent}",
            f"mkdir -p {folder}, or name another one with {option}",
        )
    return Check("pass", f"{folder} is made when it is needed")


def _existing(folder: Path) -> Path:
    return next((each for each in (folder, *folder.parents) if each.exists()), folder)


def check_data_folder(folder: Path) -> Check:
    hint = "name the folder of your posts with --data-dir, or mount it"
    if not folder.exists():
        return Check("fail", f"the data folder {folder} does not exist", hint)
    if not folder.is_dir():
        return Check("fail", f"{folder} is no folder", hint)
    try:
        with os.scandir(folder) as entries:
            empty = next(entries, None) is None
    except OSError as error:
        return failed(os_error("read", folder, error))
    if empty:
        return Check("warn", f"the data folder {folder} is empty", hint)
    return Check("pass", f"{folder}, readable")


def check_disks(patient: Patient) -> Check:
    stores = [Path(each.storage_path) for each in patient.all_options if not each.store_is_server]
    for folder in {_existing(store) for store in stores}:
        usage = os.statvfs(folder)
        if usage.f_files and usage.f_favail < LEAST_INODES:
            return Check(
                "fail", f"only {usage.f_favail} more files can be made on {folder}", f"df -i {folder}"
            )
    disks = list(disk_facts(patient.paths, stores))
    return check_disk(disks) if disks else Check("warn", "no disk could be asked", "df -h")


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the file system that `path` is on; empty where it cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n").split("\n")
    except OSError:
        return ""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in lines:
        _, mount, system, *_ = line.split(" ")
        mount = _OCTAL.sub(lambda code: chr(int(code[1], 8)), mount)
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, system
    return kind
