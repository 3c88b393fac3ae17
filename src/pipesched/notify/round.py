"""One round: look how the jobs stand, decide what is to be told, tell it, remember what was told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from pipesched.notify.decision import News, Told, decide
from pipesched.notify.delivery import Complaints, Courier, hostname
from pipesched.notify.message import MOST_ALONE, Message, Surroundings, compose, digest
from pipesched.notify.standing import Looker, Source, schedule_words
from pipesched.notify.told import ToldFiles
from pipesched.runs.hints import last_hint
from pipesched.runs.refusals import Refusal, Refusals
from pipesched.settings import Paths
from pipesched.views.snapshot import JobView

log = logging.getLogger(__name__)

BACK_OFF: Final = timedelta(seconds=30)
MOST_BACK_OFF: Final = timedelta(hours=1)
"""A target that took nothing is left alone so long, doubled each time: what it was to be told is told when it works again."""


@dataclass(slots=True)
class _Pause:
    until: datetime
    length: timedelta


@dataclass(slots=True)
class Rounds:
    """Tells each thing until one of the job's targets has taken it, then not again."""

    source: Source
    courier: Courier
    told: ToldFiles
    _looker: Looker = field(init=False)
    _refusals: Refusals = field(init=False)
    _paused: dict[str, _Pause] = field(default_factory=dict)
    _complaints: Complaints = field(default_factory=Complaints)

    def __post_init__(self) -> None:
        self._looker = Looker(self.source)
        self._refusals = Refusals(self.source.paths.notified_dir)

    @property
    def idle(self) -> bool:
        """Nobody is to be told of anything."""
        return not self._looker.jobs().jobs

    def go(self, only: str | None = None) -> None:
        """One round over all jobs, or over one. Raises what the ledger raises."""
        now = self.source.now()
        self._note_unusable(only)
        pending: dict[str, Told] = {}
        letters: dict[str, list[tuple[News, Message]]] = {}
        for view, standing in self._looker.look():
            job = view.job
            if only is not None and job.id != only:
                continue
            news, told = decide(self.told.get(job.id), standing, now)
            open_targets = tuple(t for t in job.policy.notify if not self._is_paused(t, now))
            if not news:
                self.told.put(job.id, told)
                continue
            if not open_targets:
                continue
            pending[job.id] = told
            for each in news:
                message = compose(each, self._around(view, each), now)
                for target in open_targets:
                    letters.setdefault(target, []).append((each, message))
        if letters:
            self._send(letters, pending)
        if only is None:
            self.told.keep(self.source.job_file().jobs.keys())

    def _note_unusable(self, only: str | None) -> None:
        """Before there is anything to tell: who looks at health is to know that nobody would be told."""
        jobs = self._looker.jobs().jobs.values()
        targets = {t for job in jobs if only is None or job.id == only for t in job.policy.notify}
        found: list[tuple[str, Refusal | None]] = []
        for target in sorted(targets):
            known = self._refusals.of(target)
            if reason := self.courier.unusable(target):
                found.append((target, Refusal(reason, unusable=True)))
            elif known is not None and known.unusable:
                found.append((target, None))
        self._refusals.note(found, keep=targets if only is None else None)

    def _send(
        self,
        letters: Mapping[str, list[tuple[News, Message]]],
        pending: Mapping[str, Told],
    ) -> None:
        todo = [(target, message) for target, each in letters.items() for message in self._messages(each)]
        taken: set[str] = set()
        reasons: dict[str, str] = {}
        for (target, message), answer in zip(todo, self.courier.send_all(todo), strict=True):
            self._complaints.note("the notification for", target, answer.reason)
            reasons[target] = reasons.get(target) or answer.reason
            if answer.ok:
                taken.update(message.jobs)
                log.info("told %s: %s", ", ".join(message.jobs), message.title)
        self._refusals.note(
            (target, Refusal(reason) if reason else None)
            for target, reason in reasons.items()
            if not self.courier.unusable(target)
        )
        now = self.source.now()
        for target, reason in reasons.items():
            if reason:
                self._pause(target, now)
            else:
                self._paused.pop(target, None)
        for job_id, told in pending.items():
            if job_id in taken:
                self.told.put(job_id, told)

    def _messages(self, letters: list[tuple[News, Message]]) -> list[Message]:
        if len(letters) <= MOST_ALONE:
            return [message for _, message in letters]
        return [digest([news for news, _ in letters], hostname(), base_command(self.source.paths))]

    def _around(self, view: JobView, news: News) -> Surroundings:
        return Surroundings(
            host=hostname(),
            command=base_command(self.source.paths),
            zone=_zone(view.job.timezone),
            schedule=schedule_words(view),
            next_at=None if view.next is None or view.state == "paused" else view.next.at,
            hint=last_hint(news.run, self.source.paths),
        )

    def _is_paused(self, target: str, now: datetime) -> bool:
        pause = self._paused.get(target)
        return pause is not None and now < pause.until <= now + MOST_BACK_OFF  # else the clock went back

    def _pause(self, target: str, now: datetime) -> None:
        before = self._paused.get(target)
        length = BACK_OFF if before is None else min(before.length * 2, MOST_BACK_OFF)
        self._paused[target] = _Pause(now + length, length)


def base_command(paths: Paths) -> tuple[str, ...]:
    """The command line that finds this installation's files from any folder."""
    found = ["pipesched", "--file", str(paths.job_file)]
    beside = Paths.resolve(file=str(paths.job_file), environ={}, cwd=paths.home)
    if paths.state_dir != beside.state_dir:
        found += ["--state-dir", str(paths.state_dir)]
    if paths.output_dir != beside.output_dir:
        found += ["--output-dir", str(paths.output_dir)]
    return tuple(found)


def _zone(name: str) -> tzinfo:
    from pipesched.errors import InvalidValue
    from pipesched.schedule.zones import load_zone

    try:
        return load_zone(name)
    except InvalidValue:
        return UTC
