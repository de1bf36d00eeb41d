"""Starts the real binary on a state folder of its own and talks to it as a client would."""

import http.client
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

MARKERS = uuid.UUID("5d1c0b0e-7b52-4f0a-9c41-361f2a7790d8")  # as in src/base/random.cpp
BINARY = os.environ.get("WA_BINARY", "build/release/worker-agents")
# Workers get little of the tests' environment. What a sanitizer is to do, it has to know in them too.
PASSED_ON = {"PATH", "HOME", "LANG", "TMPDIR", "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS",
             "ASAN_SYMBOLIZER_PATH", "TSAN_SYMBOLIZER_PATH"}
REPORT = re.compile(r"^(=+\n)?(WARNING: ThreadSanitizer|==\d+==ERROR: |\S+: runtime error: )", re.M)


def passed_on():
    """What of the environment of the tests the worker gets."""
    return {key: value for key, value in os.environ.items() if key in PASSED_ON}


def last_words(log, size=3000):
    """The end of what a worker wrote; what a sanitizer found in it comes last, where it is not cut off."""
    report = REPORT.search(log)
    return log[-size:] + ("\n" + log[report.start():][:6000] if report else "")


class Worker:
    """One `worker-agents dev` process; its state folder outlives it, so it can be started again."""

    def __init__(self, settings=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wa-e2e-"))
        self.state = self.folder / "state"
        self.work = self.folder / "work"
        self.settings = {
            "LOCAL_RUNTIME_WORKING_DIR": str(self.work),
            "HTTP_PORT": "0",
            "PROMETHEUS_PORT": "0",
            "LOG_FORMAT": "json",
            **(settings or {}),
        }
        self.process = None
        self.around = []  # a command that becomes the worker: what stands before it
        self.helpers = set()
        self.log = open(self.folder / "log", "ab")

    def start(self, *arguments, wait=True, command="dev"):
        environment = passed_on()
        environment.update(self.settings)
        self.process = subprocess.Popen(
            [*self.around, BINARY, command, "--state-dir", str(self.state), *arguments],
            env=environment, stdout=self.log, stderr=self.log, start_new_session=True)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, limit=20.0):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the worker ended with {self.process.returncode}: {self.tail()}")
            try:
                if self.endpoints()["pid"] == self.process.pid and self.request("GET", "/ready")[0] == 200:
                    self.helpers.add(self.helper())
                    return
            except (OSError, KeyError, ValueError, http.client.HTTPException):
                pass
            time.sleep(0.02)
        raise AssertionError(f"the worker did not become ready: {self.tail()}")

    def endpoints(self):
        return json.loads((self.state / "endpoints").read_text())

    def address(self):
        host, port = self.endpoints()["http"].removeprefix("http://").split(":")
        return host, int(port)

    def token(self):
        return (self.state / "token").read_text().strip()

    def request(self, method, path, body=None, token=True, headers=None, timeout=30):
        connection = http.client.HTTPConnection(*self.address(), timeout=timeout)
        try:
            data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
            all_headers = {"Content-Type": "application/json"} if data is not None else {}
            if token:
                all_headers["Authorization"] = "Bearer " + self.token()
            all_headers.update(headers or {})
            connection.request(method, path, body=data, headers=all_headers)
            answer = connection.getresponse()
            text = answer.read()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text.decode("utf-8", "replace")
        finally:
            connection.close()

    def cli(self, *arguments, timeout=60, check=None):
        environment = passed_on()
        done = subprocess.run([BINARY, "--state-dir", str(self.state), *arguments], env=environment, text=True,
                              capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if check is not None and done.returncode != check:
            raise AssertionError(f"{arguments} gave {done.returncode}, not {check}:\n{done.stdout}\n{done.stderr}")
        return done

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, limit=60):
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit)

    def marker(self):
        """The value of WORKER_AGENTS_STATE in its tasks, and in the names of its cgroups."""
        return str(uuid.uuid5(MARKERS, f"state:{self.state.resolve()}"))

    def helper(self):
        """The process id of its spawn helper, while it runs."""
        for child in children(self.process.pid):
            if b"worker-agents-spawn-helper" in read_bytes(f"/proc/{child}/cmdline"):
                return child
        return None

    def processes(self):
        """Its tasks, and its spawn helpers: whatever must be gone when it is."""
        helpers = [pid for pid in self.helpers if b"worker-agents-spawn-helper" in read_bytes(f"/proc/{pid}/cmdline")]
        return processes_with(f"WORKER_AGENTS_STATE={self.marker()}\0") + helpers

    def tail(self):
        self.log.flush()
        return last_words((self.folder / "log").read_text(errors="replace"))

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def read_bytes(path):
    try:
        return pathlib.Path(path).read_bytes()
    except OSError:
        return b""


def children(pid):
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        fields = read_bytes(entry / "stat").rpartition(b")")[2].split()
        if len(fields) > 1 and int(fields[1]) == pid:
            found.append(int(entry.name))
    return found


def processes_with(text):
    """Process ids whose command line or environment holds `text`."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            whole = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in whole:
            found.append(int(entry.name))
    return found


def wait_until(condition, limit=60.0, every=0.05):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(every)
    return condition()


def on_terminal(arguments, environment, keys=(), limit=60):
    """Runs the binary on a terminal; gives the exit code and all that was drawn.

    `keys` are pairs: when the first has been drawn (and some frames more), the second is typed."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(environment)
        os.environ.pop("NO_COLOR", None)
        os.execv(BINARY, [BINARY, *arguments])
    drawn, keys, end = b"", list(keys), time.monotonic() + limit
    while time.monotonic() < end:
        if keys and keys[0][0] in drawn:
            time.sleep(0.3)
            os.write(terminal, keys.pop(0)[1])
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    else:
        os.kill(child, signal.SIGKILL)  # nothing that was started is left
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), drawn.decode("utf-8", "replace")
