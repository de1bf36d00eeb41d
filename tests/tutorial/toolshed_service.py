#!/usr/bin/env python3
"""The toolshed: a small service that runs jobs, for the tutorial "Writing an executor". Not for anything else.

    PUT    /jobs/{id}           {"command": [...], "env": {...}}   201 it begins, 200 it is there already, 403 not allowed
    GET    /jobs/{id}           {"id", "state": "running" | "ended", "exit_code", "stdout", "stderr"}, or 404
    DELETE /jobs/{id}?grace=3   ends it: SIGTERM, SIGKILL after so many seconds; 200 with its last state, or 404
    GET    /health              200

A job that nobody has asked about for LEASE seconds is ended and removed: whoever began it is gone for good. One that has
ended by itself stays KEPT_FOR seconds.
Of each stream of output the first 4 MiB are kept. The exit code of one that was killed is 128 and the signal.
"""

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

LEASE = 10
KEPT_FOR = 3600
KEPT = 4 << 20
FORBIDDEN = "forbidden-program"


class Job:
    def __init__(self, name, command, variables):
        self.name, self.begun_at, self.asked_at = name, time.time(), time.monotonic()
        self.output, self.fault = {"stdout": b"", "stderr": b""}, None
        try:
            self.process = subprocess.Popen(command, env={"PATH": "/usr/bin:/bin", **variables}, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        except (OSError, ValueError) as error:
            self.process, self.fault = None, f"{command[0]}: {error}\n".encode()
            return
        self.readers = [threading.Thread(target=self.read, args=("stdout", self.process.stdout), daemon=True),
                        threading.Thread(target=self.read, args=("stderr", self.process.stderr), daemon=True)]
        for reader in self.readers:
            reader.start()

    def read(self, name, pipe):
        with pipe:
            while piece := pipe.read1(65536):
                self.output[name] = (self.output[name] + piece)[:KEPT]

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def end(self, grace):
        if self.runs():
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
                self.process.wait()
        elif self.process is not None:
            self.signal(signal.SIGKILL)  # children that it left

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def state(self):
        if self.runs():
            return {"id": self.name, "state": "running"}
        if self.process is None:
            return {"id": self.name, "state": "ended", "exit_code": 127, "stdout": "", "stderr": self.fault.decode()}
        for reader in self.readers:
            reader.join(1)
        code = self.process.returncode
        texts = {key: value.decode("utf-8", "replace") for key, value in self.output.items()}
        return {"id": self.name, "state": "ended", "exit_code": code if code >= 0 else 128 - code, **texts}


class Toolshed(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port=0):
        self.jobs, self.lock, self.over = {}, threading.Lock(), threading.Event()
        self.begun, self.heard = [], []  # (time, id) of each job; every PUT, as text
        self.slow = 0.0  # seconds before a DELETE does anything
        self.removed = lambda: None  # called when a DELETE has removed a job, before it is answered
        super().__init__(("127.0.0.1", port), Request)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        threading.Thread(target=self.sweep, daemon=True).start()

    def handle_error(self, *_):
        """Of a connection that broke: whoever was on it asks again."""

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def running(self):
        with self.lock:
            return sorted(job.name for job in self.jobs.values() if job.runs())

    def sweep(self):
        while not self.over.wait(0.5):
            with self.lock:
                late = [job for job in self.jobs.values()
                        if time.monotonic() - job.asked_at > (LEASE if job.runs() else KEPT_FOR)]
                for job in late:
                    del self.jobs[job.name]
            for job in late:
                job.end(0)

    def clear(self):
        with self.lock:
            jobs, self.jobs = list(self.jobs.values()), {}
        for job in jobs:
            job.end(0)

    def close(self):
        self.over.set()
        self.clear()
        self.shutdown()
        self.server_close()


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data)
        except OSError:
            pass  # nobody waits for it any more

    def name(self):
        found = re.fullmatch(r"/jobs/([A-Za-z0-9-]{1,80})(?:\?grace=([0-9.]+))?", self.path)
        if not found:
            self.answer(404, {"detail": "there is no such call"})
        return found

    def do_PUT(self):
        raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
        found, wanted = self.name(), json.loads(raw)
        if not found:
            return None
        if wanted["command"][0] == FORBIDDEN:
            return self.answer(403, {"detail": f"nobody may run {FORBIDDEN} here"})
        with self.server.lock:
            self.server.heard.append(f"{self.path} {self.headers} {raw}")
            job = self.server.jobs.get(found[1])
            made = job is None
            if made:
                job = self.server.jobs[found[1]] = Job(found[1], wanted["command"], wanted["env"])
                self.server.begun.append((job.begun_at, job.name))
            job.asked_at = time.monotonic()
        return self.answer(201 if made else 200, {"id": found[1]})

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, {"status": "healthy"})
        found = self.name()
        with self.server.lock:
            job = found and self.server.jobs.get(found[1])
            if job:
                job.asked_at = time.monotonic()
        if found:
            self.answer(200, job.state()) if job else self.answer(404, {"detail": "there is no such job"})
        return None

    def do_DELETE(self):
        found = self.name()
        time.sleep(self.server.slow)
        with self.server.lock:
            job = found and self.server.jobs.get(found[1])
        if job:
            job.end(float(urllib.parse.unquote(found[2] or "0")))
            state = job.state()
            with self.server.lock:
                self.server.jobs.pop(job.name, None)
            self.server.removed()
            self.answer(200, state)
        elif found:
            self.answer(404, {"detail": "there is no such job"})


if __name__ == "__main__":
    shed = Toolshed(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(f"TOOLSHED_URL={shed.url()}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        shed.close()
