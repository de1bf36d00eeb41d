"""Code Forge, as far as EXECUTE uses it: strict about what it is asked, and as difficult as it is told to be.

What a request must not have or must have and is not so, is an entry in `complaints`: a test asserts that there is none.
"""

import http.server
import json
import re
import threading
import time
import uuid


class CodeForge(http.server.ThreadingHTTPServer):
    """Generates in `takes` seconds; a ticket's parameters may have `takes` and `fails` of their own. Each of these may be
    set at any time:

    unseen      seconds after a POST for which GET knows nothing of it (404)
    post, get   what happens to the next requests, in order, then as it should be: "503" (it says so itself), "429" (it is
                too much at once), "502" (somebody on the way fails), "hang", "reset" (after the work), "wrong" (no JSON), "other" (another one's answer),
                "strange" (a state that nobody knows), "lost" (404 for one that exists), or "fine"
    fails       the error that generations end with
    stuck       generations never end
    down        everything is answered with 503 by somebody on the way
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port=0):
        self.takes, self.unseen, self.fails, self.stuck, self.down = 0.5, 0.0, None, False, False
        self.post, self.get = [], []
        self.generations, self.posts, self.gets, self.complaints, self.heard = {}, 0, 0, [], []
        self.lock, self.over = threading.Lock(), threading.Event()
        super().__init__(("127.0.0.1", port), Request)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def of_ticket(self, ticket_id):
        with self.lock:
            return [one for one in self.generations.values() if one["ticket_id"] == ticket_id]

    def close(self):
        self.over.set()
        self.shutdown()
        self.server_close()


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def complain(self, what):
        with self.server.lock:
            self.server.complaints.append(f"{self.command} {self.path}: {what}")

    def way(self, ways):
        with self.server.lock:
            return ways.pop(0) if ways else "fine"

    def is_odd(self, way):
        """True when the way is not to answer as one should."""
        if self.server.down or way == "502":
            self.answer(503 if self.server.down else 502, b"<html>nobody there</html>")
        elif way == "503":
            self.answer(503, {"detail": "Redis/MongoDB not available"})
        elif way == "429":
            self.answer(429, {"detail": "too many requests"})
        elif way == "hang":
            self.server.over.wait(300)
            self.close_connection = True
        elif way == "reset":
            self.connection.close()
            self.close_connection = True
        elif way == "wrong":
            self.answer(200, b"this is not JSON")
        else:
            return False
        return True

    def body(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.heard.append(f"{self.path}\n{self.headers}\n{raw.decode('utf-8', 'replace')}")
        try:
            value = json.loads(raw)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self.complain("the body is no JSON object")
            return {}
        return value

    def do_POST(self):
        body = self.body()
        if self.path != "/api/v1/generate":
            self.complain("there is no such call")
            return self.answer(404, {"detail": "Not Found"})
        if not self.headers.get("Content-Type", "").startswith("application/json"):
            self.complain("the content type")
        wanted = {"ticket_id": str, "template_id": str, "parameters": dict, "target_repo": str, "branch": str}
        for key, kind in wanted.items():
            if not isinstance(body.get(key), kind):
                self.complain(f"'{key}' is {body.get(key)!r}")
        for key in sorted(body.keys() - wanted.keys()):
            self.complain(f"'{key}' is not in the contract")
        way = self.way(self.server.post)
        if self.server.down or way in ("429", "502", "503", "wrong"):
            with self.server.lock:
                self.server.posts += 1
            return None if self.is_odd(way) else None
        if not body.get("ticket_id") or not body.get("template_id"):
            return self.answer(400, {"detail": "ticket_id and template_id are required"})
        if body["template_id"] == "no-such-template":
            return self.answer(400, {"detail": "unknown template"})
        request_id = str(uuid.uuid4())
        with self.server.lock:
            self.server.posts += 1
            self.server.generations[request_id] = {**body, "request_id": request_id, "begun": time.monotonic(),
                                                   "begun_at": time.time()}
        if self.is_odd(way):  # after the work
            return None
        return self.answer(202, {"request_id": request_id, "status": "queued", "message": "accepted"})

    def do_GET(self):
        if self.path in ("/health", "/ready"):
            return self.answer(503, b"down") if self.server.down else self.answer(200, {"status": "healthy"})
        match = re.fullmatch(r"/api/v1/generate/([0-9a-f-]{36})", self.path)
        if not match:
            self.complain("there is no such call")
            return self.answer(404, {"detail": "Not Found"})
        with self.server.lock:
            self.server.gets += 1
            generation = self.server.generations.get(match.group(1))
        way = self.way(self.server.get)
        if self.is_odd(way):
            return None
        if generation is None:
            self.complain("nobody has begun that")
            return self.answer(404, {"detail": "Request not found"})
        age = time.monotonic() - generation["begun"]
        takes = generation["parameters"].get("takes", self.server.takes)
        fails = generation["parameters"].get("fails", self.server.fails)
        if way == "lost" or age < self.server.unseen:
            return self.answer(404, {"detail": "Request not found"})
        state = {"request_id": str(uuid.uuid4()) if way == "other" else generation["request_id"], "status": "processing",
                 "artifacts": "[]", "pipeline_id": "None", "error": "None", "created_at": "2026-01-01T00:00:00",
                 "updated_at": "None", "code_preview": None}
        if way == "strange":
            state["status"] = "contemplating"
        elif age < takes / 2:
            state["status"] = "queued"
        elif age >= takes and not self.server.stuck:
            if fails:
                state.update(status="failed", error=fails)
            else:
                state.update(status="completed", pipeline_id="pipe-1", artifacts=[
                    {"artifact_id": "a-1", "artifact_type": "CODE", "template_id": generation["template_id"],
                     "confidence_score": "0.93", "sbom_uri": "None"}])
        return self.answer(200, state)
