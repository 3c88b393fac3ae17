"""Heartbeat pings, sent to a real server: well, slow, dead, failing, redirecting."""

import socket
import threading
import time
import uuid

import pytest

from pipesched.notify.pinger import Pinger
from pipesched.notify.pings import Ping, send, suffix_of
from support.webhook import Webhook

NO_PAUSE = {"pause": lambda _: None}


def ping(url: str, suffix: str = "") -> Ping:
    return Ping(url, suffix, "20261124T020000.000Z-nightly-1f0c9a5e")


def test_the_suffix_goes_before_the_query_and_the_run_is_a_uuid() -> None:
    start, end = ping("https://hc.example/abc/?a=1&b=", "start"), ping("https://hc.example/abc/?a=1&b=")
    assert start.full_url.startswith("https://hc.example/abc/start?a=1&b=&rid=")
    assert end.full_url.startswith("https://hc.example/abc?a=1&b=&rid=")
    rid = start.full_url.rpartition("rid=")[2]
    assert str(uuid.UUID(rid)) == rid == end.full_url.rpartition("rid=")[2]


@pytest.mark.parametrize(
    ("status", "code", "retrying", "suffix"),
    [
        ("succeeded", 0, False, ""), ("partial", 3, False, ""), ("failed", 69, False, "69"), ("failed", None, False, "fail"),
        ("failed", 69, True, None), ("timeout", 143, False, "fail"), ("lost", None, False, "fail"),
        ("interrupted", 143, False, None), ("skipped", None, False, None),
    ],
)  # fmt: skip
def test_how_each_end_is_pinged(status, code, retrying, suffix) -> None:
    assert suffix_of(status, code, retrying=retrying) == suffix


def test_a_server_that_takes_it_is_asked_once() -> None:
    with Webhook() as hook:
        assert send(ping(f"http://{hook.address}/x", "start"), {}) == ""
        assert [request.method for request in hook.requests] == ["GET"]
        assert hook.paths[0].startswith("/x/start?rid=")


def test_a_user_and_a_password_become_a_header_that_no_redirect_gets() -> None:
    with Webhook() as end, Webhook(status=302, location=f"http://{end.address}/there") as hook:
        assert send(ping(f"http://me:s%40cret@{hook.address}/x"), {}) == ""
        assert hook.requests[0].headers["Authorization"] == "Basic bWU6c0BjcmV0"
        assert "Authorization" not in end.requests[0].headers


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (503, 3), (429, 3), (404, 1), (400, 1)])
def test_what_may_pass_is_tried_again_and_what_will_not_is_not(status: int, tries: int) -> None:
    with Webhook(status=status) as hook:
        assert send(ping(f"http://{hook.address}/x"), {}, **NO_PAUSE) == f"it answered {status}"
        assert len(hook.requests) == tries


def test_a_dead_server_is_said_without_its_url() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert (
        send(ping(f"http://127.0.0.1:{port}/CANARY"), {}, **NO_PAUSE) == "no connection: Connection refused"
    )


@pytest.mark.parametrize("slow", [{"delay": 30.0}, {"drip": True}])
def test_a_slow_server_ends_at_the_deadline(slow) -> None:
    with Webhook(**slow) as hook:
        began = time.monotonic()
        reason = send(ping(f"http://{hook.address}/x"), {}, tries=1, total=0.7)
        assert reason == "it did not answer in time"
        assert time.monotonic() - began < 3


def test_a_url_that_cannot_be_used_is_said_without_it() -> None:
    for url in ("http://127.0.0.1:99999999/CANARY", "http://[::1/CANARY", "http://\u2024\u2024/CANARY"):
        reason = send(ping(url), {}, tries=1)
        assert reason
        assert "CANARY" not in reason


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/x", "http://[fe80::1]/", "http://2852039166/", "http://metadata/"]
)
def test_link_local_and_metadata_targets_are_refused_at_once(url: str) -> None:
    began = time.monotonic()
    assert "PIPESCHED_ALLOW_LINK_LOCAL" in send(ping(url), {}, **NO_PAUSE)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("where", ["http://169.254.169.254/latest/", "http://[::ffff:169.254.169.254]/"])
def test_a_redirect_to_one_is_not_followed(where: str) -> None:
    with Webhook(status=302, location=where) as hook:
        assert "PIPESCHED_ALLOW_LINK_LOCAL" in send(ping(f"http://{hook.address}/x"), {}, **NO_PAUSE)


def test_a_name_that_leads_to_one_is_refused_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    answers = {"rebound.example": "fd00:ec2::254", "hop.example": "127.0.0.1"}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: real(answers.get(host, host), *rest, **more)
    )  # a name server's answers
    assert "PIPESCHED_ALLOW_LINK_LOCAL" in send(ping("https://rebound.example/x"), {}, **NO_PAUSE)
    with Webhook(status=302, location="http://rebound.example/latest/") as hook:
        port = hook.address.rpartition(":")[2]
        assert "PIPESCHED_ALLOW_LINK_LOCAL" in send(ping(f"http://hop.example:{port}/x"), {}, **NO_PAUSE)
        assert len(hook.requests) == 1


def test_another_redirect_is_followed_but_not_to_another_scheme() -> None:
    with Webhook() as end, Webhook(status=302, location=f"http://{end.address}/there") as hook:
        assert send(ping(f"http://{hook.address}/x"), {}) == ""
        assert end.paths == ["/there"]
    with Webhook(status=302, location="file:///etc/passwd") as hook:
        assert send(ping(f"http://{hook.address}/x"), {}) == "it answered 302"


def test_where_it_is_allowed_it_is_tried() -> None:
    reason = send(ping("http://169.254.1.2:1/"), {"PIPESCHED_ALLOW_LINK_LOCAL": "1"}, tries=1, total=0.5)
    assert "PIPESCHED_ALLOW_LINK_LOCAL" not in reason


def test_pings_go_in_their_order_and_stop_waits_for_them() -> None:
    with Webhook(delay=0.1) as hook:
        pinger = Pinger({"PING": f"http://{hook.address}/x"})
        pinger.put("env:PING", "start", "r1")
        pinger.put("env:PING", "69", "r1")
        pinger.stop(10)
        assert [path.partition("?")[0] for path in hook.paths] == ["/x/start", "/x/69"]


def test_a_ping_that_no_thread_could_be_started_for_goes_with_the_next_one(monkeypatch, caplog) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Webhook() as hook:
        pinger = Pinger({})
        with monkeypatch.context() as machine:
            machine.setattr(threading.Thread, "start", refuse)
            pinger.put(f"http://{hook.address}/x", "start", "r1")
        assert "can't start new thread" in caplog.text
        pinger.put(f"http://{hook.address}/x", "", "r1")
        pinger.stop(10)
        assert [path.partition("?")[0] for path in hook.paths] == ["/x/start", "/x"]


def test_putting_never_waits_and_the_oldest_go_first(caplog) -> None:
    with Webhook(delay=30) as hook:
        pinger = Pinger({}, length=3)
        began = time.monotonic()
        for number in range(100):
            pinger.put(f"http://{hook.address}/x", str(number), "r1")
        assert time.monotonic() - began < 0.5
        assert pinger.dropped >= 96
        assert list(pinger._queue)[-1][1] == "99"
        pinger.stop(0.1)
        assert time.monotonic() - began < 3
    assert "dropped" in caplog.text
    assert "were not sent" in caplog.text


def test_a_server_that_does_not_answer_is_complained_of_once(caplog) -> None:
    with Webhook(status=404) as hook:
        pinger = Pinger({"NO_URL": "http://[::1/CANARY"})
        for number in range(3):
            pinger.put(f"http://{hook.address}/CANARY", "", f"r{number}")
        pinger.put("env:NOT_SET", "", "r4")
        pinger.put("env:NO_URL", "", "r5")
        pinger.stop(10)
        assert len(hook.requests) == 3
    assert caplog.text.count("it answered 404") == 1
    assert "NOT_SET is not set" in caplog.text
    assert "the ping env:NO_URL: its URL cannot be used" in caplog.text
    assert "CANARY" not in caplog.text
