"""AWS Lambda, as far as EXECUTE uses it: checks each signature by itself, runs the function as a process of this machine,
and is as difficult as it is told to be.

The function does what tickets ask for: it runs `command` and `args`, and answers with exit_code, stdout and stderr.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import shlex
import signal
import subprocess
import threading
import time
import urllib.parse
import uuid

KEY, SECRET = "AKIDOFTHETEST", "not+so/secret-key-of-the-test"


def signature(secret, method, path, query, headers, signed, body, stamp, scope):
    """Of version 4, after AWS's description of it."""
    pairs = sorted(part.partition("=")[::2] for part in query.split("&") if part)
    canonical = "\n".join([
        method, urllib.parse.quote(path, safe="/-_.~"), "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{' '.join(headers[name].split())}" for name in signed), "", ";".join(signed),
        hashlib.sha256(body).hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class LambdaService(http.server.ThreadingHTTPServer):
    """`how`: what happens to the next calls, in order, the last one for ever: "run", "hang", "reset", or an answer as
    (status, body, headers)."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, *how, region="us-east-1", session=None):
        self.how, self.region, self.session = list(how) or ["run"], region, session
        self.calls, self.running, self.lock, self.over = [], [], threading.Lock(), threading.Event()
        self.called_at = []  # of each of calls, in seconds of the wall clock
        super().__init__(("127.0.0.1", 0), Request)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def settings(self):
        return {"LAMBDA_ENABLED": "true", "LAMBDA_ENDPOINT_URL": self.url(), "LAMBDA_ACCESS_KEY": KEY,
                "LAMBDA_SECRET_KEY": SECRET, "LAMBDA_REGION": self.region}

    def end_functions(self):
        with self.lock:
            running = list(self.running)
        for process in running:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # its answer is on its way

    def close(self):
        self.over.set()
        self.end_functions()
        self.shutdown()
        self.server_close()


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body, headers=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"x-amzn-RequestId": str(uuid.uuid4()), **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status, kind, message):
        self.send(status, {"message": message}, {"x-amzn-ErrorType": kind})

    def do_GET(self):  # the look whether somebody is there
        self.refuse(403, "MissingAuthenticationTokenException", "Missing Authentication Token")

    def is_signed(self, path, query, body):
        found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8}/([^/]+)/lambda/aws4_request), "
                             r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})", self.headers.get("Authorization", ""))
        if not found or found[1] != KEY or found[3] != self.server.region:
            return self.refuse(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
        headers = {name.lower(): value for name, value in self.headers.items()}
        signed, stamp = found[4].split(";"), headers.get("x-amz-date", "")
        wanted = {"host", "x-amz-date", "x-amz-invocation-type", "x-amz-log-type", "content-type"}
        if self.server.session:
            wanted.add("x-amz-security-token")
        right = signature(SECRET, self.command, path, query, headers, signed, body, stamp, found[2])
        age = abs(time.time() - time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) + time.timezone) if stamp else 1e9
        if not wanted <= set(signed) or right != found[5] or age > 300 or headers.get("x-amz-security-token") != self.server.session:
            return self.refuse(403, "InvalidSignatureException", "The request signature we calculated does not match.")
        return True

    def do_POST(self):
        server, body = self.server, self.rfile.read(int(self.headers["Content-Length"]))
        path, _, query = self.path.partition("?")
        if not self.is_signed(path, query, body):
            return
        found = re.fullmatch(r"/2015-03-31/functions/([^/]+)/invocations", path)
        if not found or self.headers["X-Amz-Invocation-Type"] != "RequestResponse":
            return self.refuse(404, "ResourceNotFoundException", "Function not found")
        with server.lock:
            server.calls.append((self.path, dict(self.headers), body))
            server.called_at.append(time.time())
            how = server.how.pop(0) if len(server.how) > 1 else server.how[0]
        if how == "run":
            self.run_function(json.loads(body))
        elif how == "hang":
            server.over.wait(120)
            self.close_connection = True
        elif how == "reset":
            self.connection.close()
            self.close_connection = True
        else:
            self.send(*how)

    def run_function(self, event):
        words = shlex.split(event.get("command", "true")) + event.get("args", [])
        began = time.monotonic()
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env={"PATH": "/usr/bin:/bin", **event.get("env_vars", {})}, start_new_session=True)
        except OSError as error:
            answer = {"exit_code": 127, "stdout": "", "stderr": f"{words[0]}: {error.strerror}"}
        else:
            with self.server.lock:
                self.server.running.append(process)
            out, err = process.communicate()
            with self.server.lock:
                self.server.running.remove(process)
            code = process.returncode if process.returncode >= 0 else 128 - process.returncode
            answer = {"exit_code": code, "stdout": out.decode("utf-8", "replace"), "stderr": err.decode("utf-8", "replace")}
        took = (time.monotonic() - began) * 1000
        report = (f"START RequestId: 1 Version: $LATEST\nEND RequestId: 1\nREPORT RequestId: 1\tDuration: {took:.2f} ms\t"
                  f"Billed Duration: {int(took) + 1} ms\tMemory Size: 128 MB\tMax Memory Used: 37 MB\t\n")
        try:
            self.send(200, answer, {"X-Amz-Log-Result": base64.b64encode(report.encode()).decode(),
                                    "X-Amz-Executed-Version": "$LATEST"})
        except OSError:
            pass  # nobody waits for it any more
