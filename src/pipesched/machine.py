"""The machine's own IANA zone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

DEFAULT_ZONE: Final = "UTC"
_FOLDERS: Final = ("zoneinfo", "zoneinfo.default")


def machine_zone(*, environ: Mapping[str, str] | None = None, root: Path = Path("/")) -> str:
    """The IANA name from TZ, /etc/localtime (where it leads), /etc/timezone; UTC where none of them names a zone.

    TZ may be a name, with or without its colon, or a path into a zoneinfo folder. A POSIX rule such as `CET-1CEST` names
    no place and is passed over. Never raises.
    """
    variables = os.environ if environ is None else environ
    if "TZ" in variables:
        text = variables["TZ"].removeprefix(":")
        name = _from_path(text) if text.startswith("/") else text or DEFAULT_ZONE
        if name is not None and _is_zone(name):
            return name
    for found in (_from_path(str(root / "etc/localtime")), _from_file(root / "etc/timezone")):
        if found is not None and _is_zone(found):
            return found
    return DEFAULT_ZONE


def _from_path(path: str) -> str | None:
    """`Europe/Berlin` for a link that ends in .../zoneinfo/Europe/Berlin, followed one step at a time.

    One step, since the last file may have another name: Debian's Europe/Berlin is no link, others' Asia/Calcutta is.
    """
    current = Path(path)
    for _ in range(8):
        for folder in _FOLDERS:
            if folder in current.parts:
                name = "/".join(current.parts[current.parts.index(folder) + 1 :])
                return name.removeprefix("posix/")
        try:
            current = current.parent / current.readlink()
        except OSError:
            return None
    return None


def _from_file(path: Path) -> str | None:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").split("\n")
    except OSError:
        return None
    return next((word for line in lines if (word := line.partition("#")[0].strip())), None)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
