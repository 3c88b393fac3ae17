"""One message to one target, through Apprise in a process of its own."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from pipesched.notify.delivery import Complaints, Courier
from pipesched.notify.message import Message
from support.webhook import Webhook

MESSAGE = Message("nightly failed", "Last error: $(id) `id` ; \x1b[31m", "failure", ("nightly",))


def courier(**options) -> Courier:
    return Courier({**os.environ, "PYTHONWARNINGS": "error"}, **options)


def test_a_message_arrives_as_it_is() -> None:
    with Webhook() as hook:
        assert courier().send(f"json://{hook.address}/hook", MESSAGE).ok
        [request] = hook.requests
        assert (request.json["title"], request.json["type"]) == ("nightly failed", "failure")
        assert "$(id) `id` ;" in request.json["message"]


def test_a_failing_target_is_tried_twice_and_said_without_its_secret() -> None:
    with Webhook(status=500) as hook:
        answer = courier().send(f"json://user:CANARY@{hook.address}/CANARY?+X-Token=CANARY", MESSAGE)
        assert answer.reason == "it answered 500"
        assert len(hook.requests) == 2


def test_a_dead_target_fails() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert courier(tries=1).send(f"json://127.0.0.1:{port}/", MESSAGE).reason == "no connection"


@pytest.mark.parametrize("slow", [{"delay": 60.0}, {"drip": True}])
def test_a_target_that_never_answers_is_ended_by_the_deadline(slow) -> None:
    with Webhook(**slow) as hook:
        began = time.monotonic()
        # rto: Apprise's own timeout, which a drip of bytes never reaches.
        answer = courier(deadline=2.5, tries=1).send(f"json://{hook.address}/?rto=60", MESSAGE)
        assert answer.reason == "it took longer than 2.5 s"
        assert time.monotonic() - began < 6


LINGERING = """
import subprocess
subprocess.Popen(["sleep", "30"])
"""


def test_what_a_plugin_has_started_cannot_hold_the_deadline_up(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LINGERING)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with Webhook(delay=60) as hook:
        began = time.monotonic()
        answer = Courier(environ, deadline=2.5, tries=1).send(f"json://{hook.address}/?rto=60", MESSAGE)
        assert answer.reason == "it took longer than 2.5 s"
        assert time.monotonic() - began < 6
    with Webhook() as hook:
        assert Courier(environ, deadline=2.5).send(f"json://{hook.address}/", MESSAGE).ok
        assert len(hook.requests) == 1


def test_targets_are_told_side_by_side() -> None:
    with Webhook(delay=60) as slow, Webhook() as good:
        letters = [(f"json://{hook.address}/", MESSAGE) for hook in (slow, good)]
        answers = courier(deadline=3.0).send_all([*letters, ("env:NOT_SET", MESSAGE)])
        assert [answer.ok for answer in answers] == [False, True, False]
        assert answers[2].reason == "the variable NOT_SET is not set"


def test_stopping_ends_what_is_under_way() -> None:
    import threading

    with Webhook(delay=60) as hook:
        sender = courier(deadline=60)
        threading.Timer(1.5, sender.stop).start()
        began = time.monotonic()
        assert not sender.send(f"json://{hook.address}/?rto=60", MESSAGE).ok
        assert time.monotonic() - began < 6


def test_a_link_local_target_is_refused_before_anything_is_started() -> None:
    began = time.monotonic()
    assert "PIPESCHED_ALLOW_LINK_LOCAL" in courier().send("json://169.254.169.254/", MESSAGE).reason
    assert time.monotonic() - began < 0.2


def test_a_redirect_to_a_metadata_service_is_not_followed() -> None:
    with Webhook(status=307, location="http://169.254.169.254/latest/meta-data/") as hook:
        answer = courier(tries=1).send(f"json://{hook.address}/", MESSAGE)
        assert "metadata service" in answer.reason


LYING_NAMES = """
import socket
real = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    return real({"rebound.example": "169.254.169.254"}.get(host, host), *rest, **more)
socket.getaddrinfo = getaddrinfo
"""


def test_a_name_that_leads_to_a_metadata_service_is_refused_when_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LYING_NAMES)  # a name server's answer
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for url in ("json://rebound.example/", "mailto://rebound.example?from=a@b.example&to=c@d.example"):
        answer = Courier(environ, tries=1).send(url, MESSAGE)
        assert "metadata service" in answer.reason, url


def test_a_redirect_to_a_metadata_service_does_not_get_there_through_a_proxy_either() -> None:
    with Webhook(status=307, location="http://169.254.169.254/latest/meta-data/") as proxy:
        environ = {**os.environ, "http_proxy": f"http://{proxy.address}", "no_proxy": ""}
        answer = Courier(environ, tries=1).send("json://hooks.example/", MESSAGE)
        assert "metadata service" in answer.reason
        assert len(proxy.requests) == 1


def test_an_unknown_scheme_is_said_so() -> None:
    assert courier(tries=1).send("nosuch://CANARY", MESSAGE).reason == "Apprise does not know such a URL"


def test_no_secret_is_in_the_arguments_of_the_process_that_sends() -> None:
    with Webhook(delay=3) as hook:
        import threading

        sender = courier(deadline=2.5)
        thread = threading.Thread(target=sender.send, args=(f"json://x:CANARY@{hook.address}/", MESSAGE))
        thread.start()
        hook.wait_for(1)
        seen = [
            (folder / "cmdline").read_bytes()
            for folder in Path("/proc").glob("[0-9]*")
            if (folder / "cmdline").exists()
        ]
        assert any(b"pipesched.notify.deliver" in line for line in seen)
        assert not any(b"CANARY" in line for line in seen)
        sender.stop()
        thread.join()


def test_without_apprise_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    answer = courier().send("json://127.0.0.1/", MESSAGE)
    assert answer.reason == "Apprise is not installed: pip install 'pipesched[notify]'"


def test_a_process_that_cannot_be_started_is_a_reason(monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "No such file" in courier().send("json://127.0.0.1/", MESSAGE).reason


def test_a_target_is_complained_of_once_until_it_works_again() -> None:
    said: list[tuple[str, ...]] = []
    complaints = Complaints(lambda text, *values: said.append(values))
    for reason in ("500", "500", "", "500"):
        complaints.note("the notification for", "json://x:CANARY@host/CANARY", reason)
    assert said == [("the notification for", "json://***@host/***", "500")] * 2
