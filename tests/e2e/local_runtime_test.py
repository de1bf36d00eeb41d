"""The runtime "local", processes of this machine: the common cases. What is its own: attack_test.py, crash_test.py."""

import os
import pathlib
import re
import shutil
import signal
import tempfile
import unittest

from harness import processes_with, read_bytes
from runtime_cases import Backend, RuntimeTest, conformance


class Local(Backend):
    runtime = "local"
    has = {"command", "huge_output", "live_log", "stop", "retry", "refusal"}
    lacks = {
        "record": "a process leaves none when it has ended",
        "image": "it runs what is installed here",
        "memory_limit": "a setting, not a ticket, says it (attack_test.py has it reached)",
        "adoption": "its processes end with the worker (crash_test.py)",
        "start_time": "nothing is adopted",
        "engine_away": "it is this machine",
        "engine_stop": "it is this machine",
    }

    def __init__(self):
        self.workers = []

    def start(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wa-e2e-programs-"))
        broken = self.folder / "broken-program"
        broken.write_bytes(b"\x7fELF and nothing that follows from it")
        broken.chmod(0o755)
        self.folder.chmod(0o755)

    def close(self):
        shutil.rmtree(self.folder)

    def has_worker(self, worker):
        self.workers.append(worker)

    def refused(self):
        settings = {"LOCAL_RUNTIME_PATH": f"/usr/bin:/bin:{self.folder}", "LOCAL_RUNTIME_ALLOWED_COMMANDS": "broken-program"}
        return {**self.ticket(""), "run": ["broken-program"]}, settings, "broken-program"

    def processes(self):
        return [pid for worker in self.workers for pid in processes_with(f"WORKER_AGENTS_STATE={worker.marker()}\0")]

    def running(self):
        """The attempts that have a process."""
        found = {re.search(rb"WORKER_AGENTS_ATTEMPT=([^\0]+)", read_bytes(f"/proc/{pid}/environ")) for pid in self.processes()}
        return sorted({match[1].decode() for match in found if match})

    def left(self):
        folders = [str(path) for worker in self.workers for path in (worker.state / "work").glob("*/*")]
        return [f"process {pid}" for pid in self.processes()] + folders

    def clean(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.workers.clear()


@conformance
class LocalRuntimeTest(RuntimeTest):
    backend = Local()


if __name__ == "__main__":
    unittest.main()
