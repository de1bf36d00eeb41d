"""Real servers of tests/peers for tests, each an instance of its own that ends with the test program."""

import os
import pathlib
import secrets
import shlex
import signal
import subprocess
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
START_SECONDS = 300  # a peer that has to be fetched first


class Peer:
    """`settings` go to its start script."""

    def __init__(self, name, **settings):
        self.name, self.folder = name, HERE / name
        self.instance = f"test-{os.getpid()}-{secrets.token_hex(3)}"
        self.settings = {key: str(value) for key, value in settings.items()}
        self.values = {}

    def start(self):
        """Starts it, or says its address again. The first time it cannot be had skips the test."""
        started = self.script("start")
        if started.returncode != 0:
            reason = " ".join(started.stderr.split())[-300:]
            if self.values:
                raise AssertionError(f"{self.name} did not start again: {reason}")
            self.close()
            raise unittest.SkipTest(f"{self.name} cannot be had here: {reason}")
        for line in started.stdout.splitlines():
            if line.startswith("export "):
                key, value = shlex.split(line)[1].split("=", 1)
                self.values[key] = value
        return self

    def stop(self):
        """In good order; port and data stay for the next start."""
        self.script("stop")

    def kill(self):
        """Gone when this returns."""
        os.kill(self.pid(), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while self._runs() and time.monotonic() < deadline:
            time.sleep(0.02)

    def freeze(self):
        os.kill(self.pid(), signal.SIGSTOP)

    def thaw(self):
        os.kill(self.pid(), signal.SIGCONT)

    def pid(self):
        return next(int(value) for key, value in self.values.items() if key.endswith("_PID"))

    def close(self):
        self.script("stop", "--purge")

    def __getitem__(self, key):
        return self.values[key]

    def _runs(self):
        try:
            return bool(os.readlink(f"/proc/{self.pid()}/exe"))
        except OSError:  # ended; its number may not be free yet
            return False

    def script(self, script, *arguments):
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("KAFKA_", "REDIS_", "SCHEMA_REGISTRY_", "JAEGER_", "KUBE"))}
        environment.update(self.settings, WA_PEER_OWNER=str(os.getpid()))
        try:
            return subprocess.run([str(self.folder / script), self.instance, *arguments], env=environment, text=True,
                                  capture_output=True, stdin=subprocess.DEVNULL, timeout=START_SECONDS)
        except subprocess.TimeoutExpired as late:
            return subprocess.CompletedProcess(late.cmd, 1, "", f"{script} took longer than {START_SECONDS} s")
