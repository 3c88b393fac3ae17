"""Hands messages to their targets, several side by side, each within a deadline; says what failed once, without the secret."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from pipesched.jobs.masking import masked
from pipesched.jobs.targets import HINT, host_of, is_allowed, is_refused
from pipesched.notify.message import Message
from pipesched.settings import for_children

log = logging.getLogger(__name__)

DEADLINE_SECONDS: Final = 30.0
TRIES: Final = 2
SIDE_BY_SIDE: Final = 4
NOT_INSTALLED: Final = "Apprise is not installed"
INSTALL: Final = "pip install 'pipesched[notify]'"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one message for one target; `reason` is "" where it was taken."""

    target: str
    reason: str = ""

    @property
    def ok(self) -> bool:
        return not self.reason


def is_installed() -> bool:
    return find_spec("apprise") is not None


def resolve(target: str, environ: Mapping[str, str]) -> str:
    """The URL of a target as it is written: itself, or the value of `env:NAME`, "" where that is not set."""
    if target.startswith("env:"):
        return environ.get(target.removeprefix("env:"), "").strip()
    return target


class Courier:
    """Sends; nothing it does raises. `stop` ends what is under way."""

    def __init__(
        self, environ: Mapping[str, str], *, deadline: float = DEADLINE_SECONDS, tries: int = TRIES
    ) -> None:
        """`deadline`: seconds for each of `tries`."""
        self._environ = environ
        self._deadline = deadline
        self._tries = tries
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def send_all(self, letters: Sequence[tuple[str, Message]]) -> list[Delivered]:
        """One answer a letter, in order; a target is its URL, or `env:NAME`."""
        if len(letters) < 2:
            return [self.send(target, message) for target, message in letters]
        with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="notify") as pool:
            return list(pool.map(lambda letter: self.send(*letter), letters))

    def send(self, target: str, message: Message) -> Delivered:
        """A try that failed is followed by another, within a deadline for each; what cannot succeed is not tried."""
        if unusable := self.unusable(target):
            return Delivered(target, unusable)
        url = resolve(target, self._environ)
        if not is_installed():
            return Delivered(target, f"{NOT_INSTALLED}: {INSTALL}")
        reason = ""
        for _ in range(self._tries):
            reason = self._try(url, message)
            if not reason or self._stopped:
                break
        return Delivered(target, reason)

    def unusable(self, target: str) -> str:
        """Why nothing can be sent there, whatever it is; "" where it can be tried."""
        url = resolve(target, self._environ)
        if not url:
            return f"the variable {target.removeprefix('env:')} is not set"
        if not is_allowed(self._environ) and is_refused(host_of(url)):
            return f"link-local addresses and metadata services are no targets; {HINT}"
        return ""

    def _try(self, url: str, message: Message) -> str:
        request = {"url": url, "title": message.title, "body": message.body, "urgency": message.urgency}
        try:
            # Standard error is dropped: a plugin's traceback may show its URL.
            child = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-m", "pipesched.notify.deliver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=for_children(self._environ),
                start_new_session=True,
            )
        except OSError as error:
            return f"no process can be started for it: {error.strerror}"
        with self._lock:
            self._children.add(child)
        try:
            if self._stopped:
                _end(child)
            said, _ = child.communicate(json.dumps(request).encode(), timeout=self._deadline)
        except subprocess.TimeoutExpired:
            _end(child)
            said, _ = child.communicate()
            if not said:
                return f"it took longer than {self._deadline:g} s"
        except OSError:
            said = b""
        finally:
            with self._lock:
                self._children.discard(child)
        return _reason(said)

    def stop(self) -> None:
        """End what is under way; nothing is sent any more."""
        self._stopped = True
        with self._lock:
            for child in self._children:
                _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """With its group: what a plugin has started may hold the output open."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def _reason(said: bytes) -> str:
    try:
        answer = json.loads(said)
        return "" if answer["ok"] else str(answer["reason"]) or "it did not take the message"
    except (ValueError, KeyError, TypeError):
        return "the process that sends it ended without an answer"


class Complaints:
    """Says once that a target does not work, and once that it does again."""

    def __init__(self, say: Callable[..., None] = log.warning) -> None:
        self._say = say
        self._bad: dict[str, str] = {}

    def note(self, what: str, target: str, reason: str) -> None:
        """`reason` "" means that it worked."""
        before = self._bad.get(target, "")
        if reason and reason != before:
            self._say("%s %s: %s", what, masked(target), reason)
        if reason:
            self._bad[target] = reason
        elif before:
            del self._bad[target]
            log.info("%s %s works again", what, masked(target))


def hostname() -> str:
    return os.uname().nodename
