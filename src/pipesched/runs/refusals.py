"""Which notification targets took nothing when they were asked last, kept in one small file, without their secrets."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pipesched.errors import PipeschedError
from pipesched.files import PRIVATE_FILE, private_dir, write_atomic

log = logging.getLogger(__name__)

_FILE: Final = ".refusals.json"
"""No job's: their ids begin with a letter or a digit."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """`unusable`: as whoever sends is set up, nothing could be sent at all."""

    reason: str
    unusable: bool = False


class Refusals:
    """Read anew each time: the daemon, runs and `notify-test` write it. One that cannot be read holds none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, target: str) -> Refusal | None:
        return self._read().get(_key(target))

    def among(self, targets: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, Refusal]]:
        """Of (job id, target): those that were refused."""
        known = self._read()
        if known:
            yield from (
                (job_id, target, known[key]) for job_id, target in targets if (key := _key(target)) in known
            )

    def note(self, found: Iterable[tuple[str, Refusal | None]], *, keep: Iterable[str] | None = None) -> None:
        """What came of each target, None: it took it. `keep`: forget all other targets."""
        before = self._read()
        after = dict(before)
        if keep is not None:
            kept = set(map(_key, keep)) if before else set()
            after = {key: refusal for key, refusal in before.items() if key in kept}
        for target, refusal in found:
            if refusal is None:
                after.pop(_key(target), None)
            else:
                after[_key(target)] = refusal
        if after == before:
            return
        data = json.dumps({key: asdict(refusal) for key, refusal in after.items()}).encode()
        try:
            write_atomic(private_dir(self._folder) / _FILE, data, mode=PRIVATE_FILE)
        except PipeschedError as error:
            log.debug("which targets took nothing is not kept: %s", error.message)

    def _read(self) -> dict[str, Refusal]:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            data: Any = json.loads((self._folder / _FILE).read_bytes())
            return {key: Refusal(str(each["reason"]), bool(each["unusable"])) for key, each in data.items()}
        return {}


def _key(target: str) -> str:
    return hashlib.sha256(target.encode("utf-8", "surrogatepass")).hexdigest()[:16]
