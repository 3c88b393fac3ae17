"""At DEBUG, why each document is kept, read, embedded or removed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipesched.pipeline.batches import Item
    from pipesched.pipeline.plan import DocumentPlan, RecordedFile

log = logging.getLogger(__name__)


def explain_plan(plan: DocumentPlan, recorded: Mapping[str, RecordedFile]) -> None:
    """Each document once; what is read is told of again when it was compared (`explain_items`)."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    decided = {
        reading.found.source: f"is read: {reading.reason or _UNSAID[reading.change]}"
        for reading in plan.readings
    }
    decided |= {removal.source: f"is removed: {removal.reason}" for removal in plan.removals}
    decided |= dict.fromkeys(plan.withheld, f"stays: its removal is withheld, {plan.withheld_reason}")
    decided |= {
        failure.source: f"stays as it was: {failure.message}" for failure in (*plan.kept, *plan.failures)
    }
    decided |= {source: f"is left out: {reason}" for source, reason in plan.skipped if source not in decided}
    touched = {found.source for found in plan.restamp}
    gone = {reading.renamed_from for reading in plan.readings} | set(plan.forgotten)
    for source in recorded.keys() - decided.keys() - gone:
        same = "its content is the same" if source in touched else "its file has not changed"
        decided[source] = f"is kept: {same}"
    for source, what in sorted(decided.items()):
        log.debug("document %s %s", source, what)


_UNSAID = {
    "new": "it is new",
    "modified": "it changed",
    "renamed": "it was renamed",
    "check": "to see whether it changed",
}


def explain_items(items: Iterable[Item]) -> None:
    """What reading each document has come to."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    for item in items:
        plan = item.plan
        what = f"{item.change}, {item.reason}" if item.reason else item.change or "nothing changed"
        log.debug(
            "document %s: %s; %d chunks to write, %d with new metadata only, %d to delete, %d as they are",
            item.source, what, len(plan.write), len(plan.describe), len(plan.drop), plan.unchanged,
        )  # fmt: skip
