"""All checks, family by family; what a family cannot find out is a failed check, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pipesched.doctor import clocks, embedding, folders, leftovers, service, software, store, telling
from pipesched.doctor.patient import Checks, Patient, failed
from pipesched.errors import PipeschedError
from pipesched.views.health import Check, Health

FAMILIES: Final[dict[str, Callable[[Patient], Checks]]] = {
    "software": software.check,
    "clock": clocks.check,
    "folders": folders.check,
    "store": store.check,
    "leftovers": leftovers.check,
    "embedder": embedding.check,
    "service": service.check,
    "notifications": telling.check,
}


def examine(patient: Patient, families: Mapping[str, Callable[[Patient], Checks]] = FAMILIES) -> Health:
    found: Checks = {}
    for name, check in families.items():
        try:
            found.update(check(patient))
        except PipeschedError as error:
            found[name] = failed(error)
        except (OSError, ImportError) as error:  # the machine itself: a disk, a broken package
            found[name] = Check("fail", f"{type(error).__name__}: {error}", "see the message")
    return Health(found)
