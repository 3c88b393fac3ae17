"""The endpoint of a real daemon: found through status, asked by health, its counts kept over a restart."""

import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.certificate import make_pair
from support.command import pipesched, start
from support.endpoint import Answer, get


@contextmanager
def daemon(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with start("daemon", *arguments, cwd=home, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def address_of(home: Path) -> tuple[str, int]:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        url = pipesched("status", "--json", cwd=home).json["http"]
        if url:
            parts = urlsplit(url)
            return str(parts.hostname), int(parts.port or 0)
    raise AssertionError("the daemon names no address")


def metric(answer: Answer, name: str) -> float:
    return next(
        float(line.rpartition(" ")[2]) for line in answer.text.splitlines() if line.startswith(name + " ")
    )


@pytest.mark.slow
def test_a_daemons_endpoint_is_found_asked_and_remembers_over_a_restart(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    added = pipesched(
        "add-interval", "often", "--every", "1h", "--data-dir", "data", "--dry-run", cwd=tmp_path
    )
    assert added.code == 0, added.err
    assert pipesched("run", "often", cwd=tmp_path).code == 0
    done = 'pipesched_job_runs_total{job_id="often",status="succeeded"}'
    with daemon(tmp_path, "--http", "127.0.0.1:0"):
        address = address_of(tmp_path)
        assert get(address, "/livez").status == 200
        assert metric(get(address, "/metrics"), done) == 1
        asked = pipesched("health", "--url", f"{address[0]}:{address[1]}", "--json", cwd=tmp_path)
        assert (asked.code, asked.json["status"]) == (0, "pass"), asked.out
        second = pipesched("daemon", "--http", "127.0.0.1:0", cwd=tmp_path)
        assert second.code == 75
    with daemon(tmp_path, "--http", "127.0.0.1:0"):
        assert metric(get(address_of(tmp_path), "/metrics"), done) == 1
    assert pipesched("status", "--json", cwd=tmp_path).json["http"] is None


@pytest.mark.slow
def test_a_daemon_speaks_https_and_takes_a_new_certificate_on_hup(tmp_path: Path) -> None:
    assert pipesched("init", cwd=tmp_path).code == 0
    pair, new = make_pair(tmp_path, "first"), make_pair(tmp_path, "second", days=90)
    options = ("--http", "127.0.0.1:0", "--tls-cert", pair.cert.name, "--tls-key", pair.key.name)
    with daemon(tmp_path, *options) as process:
        address = address_of(tmp_path)
        url = f"https://127.0.0.1:{address[1]}"
        assert pipesched("status", "--json", cwd=tmp_path).json["http"] == url
        trusting = {"SSL_CERT_FILE": str(pair.cert)}
        asked = pipesched("health", "--url", url, "--json", cwd=tmp_path, env=trusting)
        assert asked.json["checks"]["scheduler"]["status"] == "pass", asked.out
        assert certificate_check(tmp_path) == asked.json["checks"]["certificate"]
        assert certificate_check(tmp_path)["status"] == "warn", "it is good for two days"
        known = tmp_path / "known.pem"
        known.write_bytes(new.cert.read_bytes())
        pair.cert.write_bytes(new.cert.read_bytes())
        pair.key.write_bytes(new.key.read_bytes())
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 15
        while ssl.get_server_certificate(address) != known.read_text():
            assert time.monotonic() < deadline, "it shows the old one"
            time.sleep(0.05)
        while certificate_check(tmp_path)["status"] != "pass":
            assert time.monotonic() < deadline, "its end is not said anew"


def certificate_check(folder: Path) -> dict[str, str]:
    checks: dict[str, dict[str, str]] = pipesched("health", "--json", cwd=folder).json["checks"]
    return checks["certificate"]


def test_a_certificate_that_cannot_be_used_ends_the_daemon_at_once(tmp_path: Path) -> None:
    assert pipesched("init", cwd=tmp_path).code == 0
    alone = pipesched("daemon", "--tls-cert", "cert.pem", cwd=tmp_path)
    assert (alone.code, "go together" in alone.err) == (2, True)
    missing = pipesched("daemon", "--tls-cert", "cert.pem", "--tls-key", "key.pem", cwd=tmp_path)
    assert missing.code == 78
    assert "--tls-cert: there is no file cert.pem" in missing.err
    assert "openssl req" in missing.err


def test_a_port_in_use_ends_the_daemon_with_a_hint(tmp_path: Path) -> None:
    assert pipesched("init", cwd=tmp_path).code == 0
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ended = pipesched("daemon", "--http", f"127.0.0.1:{other.getsockname()[1]}", cwd=tmp_path)
    assert ended.code == 75
    assert "in use" in ended.err
    assert "--no-http" in ended.err


def test_another_address_without_a_token_ends_the_daemon_with_exit_78(tmp_path: Path) -> None:
    assert pipesched("init", cwd=tmp_path).code == 0
    ended = pipesched("daemon", "--http", "0.0.0.0:0", cwd=tmp_path)
    assert ended.code == 78
    assert "PIPESCHED_HTTP_TOKEN" in ended.err
