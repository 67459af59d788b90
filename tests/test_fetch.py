"""Downloads, from a server on this machine that misbehaves in every way that mirrors do."""

import ctypes
import gzip
import hashlib
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastgrad.datasets import fetch as fetch_module
from fastgrad.datasets.fetch import FILES, Source, fetch

CONTENT = {name: name.encode() * 100 for name in FILES}
CERTIFICATE = Path(__file__).with_name("loopback.pem")
BOMB = gzip.compress(bytes(2**26), 9)
SLOW = {"hang", "stall", "drip", "drip_headers", "drip_status"}
# As long as a good answer may take on a busy machine.
PATIENCE = 0.5


class Handler(BaseHTTPRequestHandler):
    """The first part of the path says how to answer, the last which file is meant."""

    def do_GET(self):
        _, manner, name = self.path.split("/")
        self.server.requests.append((manner, name))
        if manner in SLOW and name != FILES[0]:
            manner = "good"  # one that is waited for is enough
        getattr(self, f"send_{manner}")(CONTENT[name])

    def send_good(self, content, *, length=None, **headers):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def send_truncated(self, content):
        self.send_good(content[: len(content) // 2], length=len(content))

    def send_short(self, content):
        self.send_good(content[: len(content) // 2])

    def send_other(self, content):
        self.send_good(b"<html>please log in to the network</html>")

    def send_500(self, content):
        self.send_error(500)

    def send_404(self, content):
        self.send_error(404)

    def send_hang(self, content):
        self.server.release.wait(3)

    def send_stall(self, content):
        self.send_good(content[:10], length=len(content))
        self.wfile.flush()
        self.server.release.wait(3)

    def send_endless(self, content):
        self.send_response(200)
        self.end_headers()
        for _ in range(256):  # endless enough: 16 times the bound of the tests
            self.wfile.write(bytes(2**16))

    def send_drip(self, content):
        self.send_good(b"", length=len(content))
        self.send_drip_on()

    def send_drip_headers(self, content):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Comment: ")
        self.send_drip_on()

    def send_drip_status(self, content):
        self.send_drip_on()

    def send_drip_on(self):
        while not self.server.release.wait(0.02):
            self.wfile.write(b"x")

    def send_bomb(self, content):
        self.send_good(BOMB, Content_Encoding="gzip")

    def send_bombs(self, content):
        self.send_good(gzip.compress(BOMB), Content_Encoding="gzip, gzip")

    def send_elsewhere(self, content):
        self.send_response(302)
        self.send_header("Location", CERTIFICATE.as_uri())
        self.end_headers()

    def send_named(self, content):
        self.send_good(content, Content_Disposition="attachment; filename=../../outside")

    def send_nonsense(self, content):
        self.send_good(content, length="many")

    def send_third(self, content):
        asked = self.server.requests.count(tuple(self.path.split("/")[1:]))
        self.send_good(content) if asked == 3 else self.send_error(503)

    def send_together(self, content):
        self.server.both.wait(30)
        self.send_good(content)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # a client that hangs up is what the tests want


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server, a cache folder, and a timeout that a test can wait for."""
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    monkeypatch.setenv("FASTGRAD_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch_module, "TIMEOUT", (PATIENCE, PATIENCE))
    monkeypatch.setattr(fetch_module, "WAITS", (0.0,))
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests, server.release = [], threading.Event()
        server.both = threading.Barrier(2)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield SimpleNamespace(
            url=f"http://127.0.0.1:{server.server_port}",
            requests=server.requests,
            cache=tmp_path / "cache",
            http=server,
        )
        server.release.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def use(server, monkeypatch):
    """Make 'mnist' the small files of the server, with one mirror for each manner."""

    def use(*manners):
        hashes = tuple(hashlib.sha256(CONTENT[name]).hexdigest() for name in FILES)
        mirrors = tuple(m if "//" in m else f"{server.url}/{m}/" for m in manners)
        monkeypatch.setitem(fetch_module.SOURCES, "mnist", Source(mirrors, hashes))

    return use


@pytest.fixture
def closed_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}/"


def assert_complete(paths, server):
    assert paths == [server.cache / "mnist" / name for name in FILES]
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert sorted(os.listdir(server.cache / "mnist")) == sorted(FILES)


def test_each_file_comes_from_the_first_mirror_in_one_request(server, use):
    use("good", "500")
    assert_complete(fetch("mnist"), server)
    assert server.requests == [("good", name) for name in FILES]


def test_the_second_call_makes_no_request(server, use):
    use("good")
    fetch("mnist")
    server.requests.clear()
    assert_complete(fetch("mnist"), server)
    assert server.requests == []


BAD = [
    "truncated", "short", "other", "500", "404", "hang", "stall", "endless", "drip", "bomb",
    "bombs", "elsewhere", "nonsense",
]  # fmt: skip


@pytest.mark.parametrize("manner", BAD)
def test_a_bad_mirror_is_passed_over(server, use, monkeypatch, manner):
    monkeypatch.setattr(fetch_module, "MAX_BYTES", 2**20)
    monkeypatch.setattr(fetch_module, "MAX_SECONDS", PATIENCE)
    use(manner, "good")
    assert_complete(fetch("mnist"), server)
    tried = [mirror for mirror, name in server.requests if name == FILES[0]]
    assert tried == [manner, "good"]


def test_a_mirror_that_is_down_is_passed_over(server, use, closed_port):
    use(closed_port, "good")
    assert_complete(fetch("mnist"), server)


def test_one_error_names_every_address_and_what_to_do(server, use, closed_port):
    use("truncated", "500", "other", "hang", closed_port)
    with pytest.raises(OSError, match="every mirror failed") as caught:
        fetch("mnist")
    message = str(caught.value)
    lines = message.splitlines()
    assert str(server.cache / "mnist") in lines[0]
    for line, manner, reason in zip(
        lines[1:5],
        ("truncated", "500", "other", "hang"),
        ("IncompleteRead", "500 Server Error", "does not match", "timed out"),
        strict=True,
    ):
        assert line.startswith(f"  {server.url}/{manner}/{FILES[0]}: ")
        assert reason in line
    assert lines[5].startswith(f"  {closed_port}{FILES[0]}: ")
    assert "data_dir=" in lines[6]


@pytest.mark.parametrize("manner", ["truncated", "short", "500", "endless", "drip", "bomb"])
def test_nothing_half_written_stays(server, use, monkeypatch, manner):
    monkeypatch.setattr(fetch_module, "MAX_BYTES", 2**20)
    monkeypatch.setattr(fetch_module, "MAX_SECONDS", PATIENCE)
    use(manner)
    with pytest.raises(OSError, match="every mirror failed"):
        fetch("mnist")
    assert os.listdir(server.cache / "mnist") == []


def test_an_endless_answer_is_cut_at_the_bound(server, use, monkeypatch):
    monkeypatch.setattr(fetch_module, "MAX_BYTES", 2**18)
    use("endless")
    with pytest.raises(OSError, match="longer than 262,144 bytes"):
        fetch("mnist")


@pytest.mark.parametrize("manner", ["drip", "drip_headers", "drip_status"])
def test_an_answer_that_drips_is_cut_when_its_time_is_over(server, use, monkeypatch, manner):
    monkeypatch.setattr(fetch_module, "MAX_SECONDS", PATIENCE)
    use(manner)  # it would go on for ever
    with pytest.raises(OSError, match=r"took longer than 0\.5 seconds"):
        fetch("mnist")


@pytest.mark.parametrize("manner", ["bomb", "bombs"])
def test_what_calls_itself_packed_is_not_unpacked(server, use, monkeypatch, manner):
    monkeypatch.setattr(fetch_module, "MAX_BYTES", 2**20)  # unpacked, it would be longer
    use(manner)
    tracemalloc.start()
    try:
        with pytest.raises(OSError, match="does not match"):
            fetch("mnist")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**24  # one of them is 2**26 bytes long, of which 2**16 travel


def test_when_all_mirrors_fail_they_are_asked_again_later_and_later(server, use, monkeypatch):
    waits = []
    monkeypatch.setattr(fetch_module, "WAITS", (0.0, 1.0, 4.0))
    monkeypatch.setattr(fetch_module.time, "sleep", waits.append)
    use("500", "third")
    assert_complete(fetch("mnist"), server)
    assert waits == [0.0, 1.0, 4.0] * len(FILES)
    asked = [manner for manner, name in server.requests if name == FILES[0]]
    assert asked == ["500", "third"] * 3


def test_it_gives_up_in_the_end_without_waiting_once_more(server, use, monkeypatch):
    waits = []
    monkeypatch.setattr(fetch_module, "WAITS", (0.0, 1.0, 4.0))
    monkeypatch.setattr(fetch_module.time, "sleep", waits.append)
    use("500", "404")
    with pytest.raises(OSError, match=r"asked 3 time\(s\)"):
        fetch("mnist")
    assert waits == [0.0, 1.0, 4.0]
    assert len(server.requests) == 6


def test_no_answer_says_where_its_file_goes(server, use):
    use("named")
    assert_complete(fetch("mnist"), server)
    assert os.listdir(server.cache.parent) == ["cache"]


@pytest.mark.parametrize("trusted", [False, True])
def test_a_certificate_that_nobody_vouches_for_is_refused(server, use, monkeypatch, trusted):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    use(f"{server.url.replace('http', 'https')}/good/")
    if trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
        assert_complete(fetch("mnist"), server)
    else:
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch("mnist")
        assert server.requests == []


def test_ctrl_c_leaves_nothing_half_written(server, use, monkeypatch):
    def interrupt(self, count):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch_module.tqdm, "update", interrupt)
    use("good", "good")
    with pytest.raises(KeyboardInterrupt):
        fetch("mnist")
    assert os.listdir(server.cache / "mnist") == []


def test_a_damaged_file_in_the_cache_is_downloaded_anew(server, use):
    use("good")
    damaged = fetch("mnist")[2]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    server.requests.clear()
    assert_complete(fetch("mnist"), server)
    assert server.requests == [("good", FILES[2])]


def test_a_download_that_broke_off_goes_on_with_the_missing_files(server, use):
    use("good")
    for path in fetch("mnist")[2:]:
        path.unlink()
    server.requests.clear()
    assert_complete(fetch("mnist"), server)
    assert server.requests == [("good", name) for name in FILES[2:]]


def test_a_cache_that_cannot_be_made_is_named(server, use, monkeypatch, tmp_path):
    (tmp_path / "a-file").write_bytes(b"")
    monkeypatch.setenv("FASTGRAD_DATA_DIR", str(tmp_path / "a-file" / "cache"))
    use("good", "good")
    with pytest.raises(OSError, match="cannot keep") as caught:
        fetch("mnist")
    for word in (str(tmp_path / "a-file" / "cache" / "mnist"), "FASTGRAD_DATA_DIR", "data_dir="):
        assert word in str(caught.value)
    assert server.requests == []


def start(server, *manners, **options):
    """Start a process that fetches; `options` are those of `subprocess.Popen`."""
    script = (
        "import json, sys\n"
        "from fastgrad.datasets import fetch as module\n"
        "mirrors, hashes = json.loads(sys.argv[1])\n"
        "module.SOURCES['mnist'] = module.Source(mirrors, hashes)\n"
        "module.fetch('mnist')\n"
    )
    mirrors = [f"{server.url}/{manner}/" for manner in manners]
    hashes = [hashlib.sha256(CONTENT[name]).hexdigest() for name in FILES]
    command = [sys.executable, "-c", script, json.dumps([mirrors, hashes])]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def test_two_processes_at_once_both_have_every_file(server):
    processes = [start(server, "together") for _ in range(2)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert server.requests == [("together", name) for name in FILES for _ in range(2)]
    assert_complete([server.cache / "mnist" / name for name in FILES], server)


def test_a_full_disk_is_not_blamed_on_the_mirror(server):
    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    _, error = start(server, "good", "good", preexec_fn=fill).communicate()
    *_, last = error.strip().splitlines()
    assert last.startswith(f"OSError: cannot keep {FILES[0]} in the cache folder {server.cache}")
    assert "File too large" in last
    assert "data_dir=" in last
    assert server.requests == [("good", FILES[0])]
    assert os.listdir(server.cache / "mnist") == []


def test_a_read_only_cache_is_named(server):
    def obey():
        # Root may write everywhere unless it lays down that right: PR_CAPBSET_DROP, and
        # CAP_DAC_OVERRIDE.
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)

    server.cache.mkdir()
    server.cache.chmod(0o500)
    _, error = start(server, "good", preexec_fn=obey).communicate()
    *_, last = error.strip().splitlines()
    assert last.startswith(f"OSError: cannot keep {FILES[0]} in the cache folder {server.cache}")
    assert "FASTGRAD_DATA_DIR" in last
    assert server.requests == []


def test_a_complete_cache_needs_no_right_to_write(server, use, monkeypatch):
    use("good")
    fetch("mnist")

    def refuse(*args, **kwargs):
        raise PermissionError("read-only")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    assert_complete(fetch("mnist"), server)


def test_each_set_has_a_folder_of_its_own(server, use):
    use("good")
    fetch_module.SOURCES["other"] = fetch_module.SOURCES["mnist"]
    try:
        folders = {path.parent for name in ("mnist", "other") for path in fetch(name)}
    finally:
        del fetch_module.SOURCES["other"]
    assert folders == {server.cache / "mnist", server.cache / "other"}


def test_the_cache_folder_is_the_users_unless_the_variable_names_one(monkeypatch, tmp_path):
    import pooch

    monkeypatch.setenv("FASTGRAD_DATA_DIR", str(tmp_path))
    assert fetch_module.cache_dir() == tmp_path
    monkeypatch.setenv("FASTGRAD_DATA_DIR", "~/digits")
    assert fetch_module.cache_dir() == fetch_module.Path.home() / "digits"
    monkeypatch.setenv("FASTGRAD_DATA_DIR", "")
    assert fetch_module.cache_dir() == pooch.os_cache("fastgrad")


@pytest.mark.parametrize("terminal", [True, False])
def test_the_progress_bar_shows_only_at_a_terminal(server, use, monkeypatch, capsys, terminal):
    use("good")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    fetch("mnist")
    assert ("100%" in capsys.readouterr().err) == terminal


def test_no_stderr_at_all_is_no_reason_to_fail(server, use, monkeypatch):
    use("good")
    monkeypatch.setattr(sys, "stderr", None)
    assert_complete(fetch("mnist"), server)


def test_the_registry_is_well_formed():
    hashes = [sha256 for source in fetch_module.SOURCES.values() for sha256 in source.sha256]
    assert len(set(hashes)) == 8
    assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in hashes)
    for source in fetch_module.SOURCES.values():
        assert len(source.mirrors) == 2
        assert all(m.startswith("https://") and m.endswith("/") for m in source.mirrors)
