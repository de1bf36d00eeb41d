"""Stand-in for the Execution Ticket Service, by the contract of its HTTP API and with its quirks.

    ticket_service.py [--http-port N] [--control-port N] [--auto-create] [--kafka SERVERS --topic NAME]

Prints `export HTTP_PORT=…`, `export CONTROL_PORT=…`, `export EXECUTION_TICKET_SERVICE_URL=…`, then `ready`; ends when its
standard input does. Tickets come from POST /api/v1/tickets/, from the control route, with --auto-create from the first
PATCH that names them, or with --kafka from the tickets topic as for the real one (then POST also publishes there).

Its quirks, as the real one: no transition is checked, the last writer wins; actual_duration_ms is thrown away; metadata
reads back as {}; the collection's path without its last '/' answers 307; the token route answers 500 for every ticket
that is not PENDING or RUNNING; POST …/compensation answers 500 unless told to work.

Control routes (JSON, on the control port):
    POST /mode     {"mode": M, …}   how to answer from now on, or for the next `count` requests, or for `for_ms`
         up | down (port closed, connections broken) | status (`status`, `retry_after` in seconds) | slow (`delay_ms`)
         | not_found | reset (broken before the work) | lost (the work is done, the answer lost) | hang
         `methods`: only these (default: all)
    POST /tickets  [ticket, …]      POST /compensation {"works": true}      POST /forget {} (tickets and records)
    GET  /patches[?since=N]         every PATCH in order: seq, at_ms, ticket_id, status, error_message,
                                    actual_duration_ms, answer (status code, 0: none was given), user_agent, traceparent,
                                    tracestate
    GET  /gets     every GET in order: path, query, traceparent
    GET  /tickets/ID   GET /counts (by method and answer)   GET /statuses ({id: status})
"""

import argparse
import asyncio
import collections
import json
import threading
import time
import uuid

import small_http
from small_http import Answer

STATUSES = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "COMPENSATING", "COMPENSATED")
PREFIX = "/api/v1/tickets"
ID_LIMITS = {"ticket_id": 36, "plan_id": 36, "intent_id": 36, "decision_id": 36, "correlation_id": 36, "trace_id": 64,
             "span_id": 32, "task_id": 255}
REQUIRED = ("plan_id", "intent_id", "decision_id", "task_id", "task_type", "description", "priority", "risk_band", "sla",
            "qos", "security_level")


def invalid(kind, location, message, given):
    return Answer(422, {"detail": [{"type": kind, "loc": location, "msg": message, "input": given}]})


class Service:
    def __init__(self, auto_create, publish):
        self.auto_create, self.publish = auto_create, publish
        self.tickets, self.patches, self.gets = {}, [], []
        self.counts = collections.Counter()
        self.compensation_works = False
        self.mode, self.left, self.until = {"mode": "up"}, None, None
        self.server = None

    # ------------------------------------------------------------ the service's own routes

    def handle(self, request):
        mode = self.current_mode(request)
        kind = mode["mode"]
        if kind == "reset":
            return self.counted(request, Answer(0, end="reset"))
        if kind == "hang":
            return self.counted(request, Answer(0, end="never"))
        if kind == "status":
            headers = {"Retry-After": str(mode["retry_after"])} if "retry_after" in mode else {}
            return self.counted(request, Answer(int(mode.get("status", 503)), {"detail": "told to fail"}, headers))
        if kind == "not_found":
            return self.counted(request, Answer(404, {"detail": "Ticket not found"}))
        answer = self.route(request)
        if kind == "slow":
            answer.delay = float(mode.get("delay_ms", 1000)) / 1000
        if kind == "lost":
            answer = Answer(0, end="reset")
        return self.counted(request, answer)

    def current_mode(self, request):
        mode = self.mode
        if mode["mode"] == "up" or ("methods" in mode and request.method not in mode["methods"]):
            return {"mode": "up"}
        if self.until is not None and time.monotonic() > self.until or self.left == 0:
            self.mode = {"mode": "up"}
            return self.mode
        if self.left is not None:
            self.left -= 1
        return mode

    def counted(self, request, answer):
        self.counts[f"{request.method} {answer.status}"] += 1
        if request.method == "GET":
            self.gets.append({"path": request.path, "query": request.query,
                              "traceparent": request.headers.get("traceparent", "")})
        if request.method == "PATCH":
            try:
                said = request.json()
            except ValueError:
                said = {}
            said = said if isinstance(said, dict) else {}
            self.patches.append({
                "seq": len(self.patches), "at_ms": int(time.time() * 1000),
                "ticket_id": request.path.removeprefix(PREFIX + "/").removesuffix("/status"),
                "status": said.get("status"), "error_message": said.get("error_message"),
                "actual_duration_ms": said.get("actual_duration_ms"), "answer": answer.status,
                **{name.replace("-", "_"): request.headers.get(name, "") for name in ("user-agent", "traceparent", "tracestate")}})
        return answer

    def route(self, request):
        method, path = request.method, request.path
        if path.startswith(PREFIX + "/") and path != PREFIX + "/":
            rest = path[len(PREFIX) + 1:].split("/")
            if rest == ["compensation"] and method == "POST":
                return self.compensate(request)
            if len(rest) == 1 and method == "GET":
                return self.get(rest[0])
            if len(rest) == 2 and rest[1] == "status" and method == "PATCH":
                return self.patch(rest[0], request)
            if len(rest) == 2 and rest[1] == "token" and method == "GET":
                return self.token(rest[0])
            return Answer(405 if len(rest) == 1 or rest[1] in ("status", "token") else 404, {"detail": "Not Found"})
        if path == PREFIX:
            return Answer(307, b"", {"Location": PREFIX + "/"})
        if path == PREFIX + "/":
            return self.list(request) if method == "GET" else self.create(request) if method == "POST" else \
                Answer(405, {"detail": "Method Not Allowed"})
        if path == "/health":
            return Answer(200, {"status": "healthy", "service": "execution-ticket-service", "version": "1.0.0"})
        if path == "/ready":
            return Answer(200, {"status": "ready", "checks": {"postgresql": True, "mongodb": True}})
        if path == "/metrics":
            return Answer(200, b"")
        return Answer(404, {"detail": "Not Found"})

    def get(self, ticket_id):
        found = self.tickets.get(ticket_id)
        return Answer(200, found) if found else Answer(404, {"detail": "Ticket not found"})

    def patch(self, ticket_id, request):
        try:
            said = request.json()
        except ValueError:
            return invalid("json_invalid", ["body", 0], "JSON decode error", {})
        if not isinstance(said, dict) or "status" not in said:
            return invalid("missing", ["body", "status"], "Field required", said)
        if said["status"] not in STATUSES:
            return invalid("enum", ["body", "status"], "Input should be " + ", ".join(STATUSES), said["status"])
        message, duration = said.get("error_message"), said.get("actual_duration_ms")
        if message is not None and not isinstance(message, str):
            return invalid("string_type", ["body", "error_message"], "Input should be a valid string", message)
        if duration is not None and (not isinstance(duration, int) or isinstance(duration, bool)):
            return invalid("int_type", ["body", "actual_duration_ms"], "Input should be a valid integer", duration)
        found = self.tickets.get(ticket_id)
        if found is None:
            if not self.auto_create:
                return Answer(404, {"detail": "Ticket not found"})
            found = self.tickets[ticket_id] = {"ticket_id": ticket_id, "status": "PENDING", "metadata": {}}
        found["status"], found["error_message"] = said["status"], message
        return Answer(200, found)

    def token(self, ticket_id):
        found = self.tickets.get(ticket_id)
        if found is None:
            return Answer(404, {"detail": "Ticket not found"})
        if found["status"] not in ("PENDING", "RUNNING"):
            return Answer(500, {"detail": "'str' object has no attribute 'value'"})
        return Answer(200, {"access_token": f"token-of-{ticket_id}", "token_type": "Bearer", "expires_in": 3600,
                            "expires_at": int(time.time()) + 3600, "ticket_id": ticket_id, "scopes": ["ticket:read"]})

    def list(self, request):
        try:
            offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", 100))
        except ValueError:
            return invalid("int_parsing", ["query"], "Input should be a valid integer", request.query)
        if offset < 0 or not 1 <= limit <= 1000:
            return invalid("less_than_equal", ["query", "limit"], "out of range", request.query)
        wanted = {key: request.query[key] for key in ("plan_id", "status") if key in request.query}  # intent_id: ignored
        found = [t for t in reversed(self.tickets.values()) if all(t.get(k) == v for k, v in wanted.items())]
        return Answer(200, {"tickets": found[offset:offset + limit], "total": len(found), "offset": offset, "limit": limit})

    def create(self, request):
        try:
            given = request.json()
        except ValueError:
            return invalid("json_invalid", ["body", 0], "JSON decode error", {})
        missing = [key for key in REQUIRED if not isinstance(given, dict) or given.get(key) is None]
        if missing:
            return Answer(422, {"detail": f"Validation error: {missing[0]} is required"})
        ticket = {"created_at": int(time.time() * 1000), "status": "PENDING", "dependencies": [], "retry_count": 0,
                  "schema_version": 1, **given, "ticket_id": given.get("ticket_id") or str(uuid.uuid4())}
        for key, limit in ID_LIMITS.items():
            if len(ticket.get(key) or "") > limit:
                return Answer(500, {"detail": f"Failed to create ticket: {key} is longer than {limit} characters"})
        if ticket["ticket_id"] in self.tickets:
            return Answer(500, {"detail": "Failed to create ticket: duplicate key"})
        self.store(ticket)
        if self.publish:
            self.publish(ticket)
        return Answer(201, self.tickets[ticket["ticket_id"]])

    def compensate(self, request):
        try:
            given = request.json()
            original, reason, action = given["original_ticket_id"], given["reason"], given["compensation_action"]
        except (ValueError, KeyError, TypeError):
            return invalid("missing", ["body"], "Field required", None)
        found = self.tickets.get(original)
        if found is None:
            return Answer(404, {"detail": "Ticket not found"})
        if not self.compensation_works:
            return Answer(500, {"detail": "'str' object has no attribute 'value'"})
        if found["status"] not in ("FAILED", "RUNNING"):
            return Answer(400, {"detail": "Ticket cannot be compensated"})
        ticket = dict(found, ticket_id=str(uuid.uuid4()), task_id=f"compensate-{original[:8]}", task_type="COMPENSATE",
                      dependencies=[], status="PENDING", sla={"timeout_ms": 120_000, "deadline": None},
                      parameters={"action": action, "reason": reason, "original_ticket_id": original,
                                  **given.get("parameters", {})})
        self.store(ticket)
        found.update(status="COMPENSATING", compensation_ticket_id=ticket["ticket_id"])
        return Answer(200, {"ticket_id": ticket["ticket_id"], "original_ticket_id": original, "status": "PENDING",
                            "action": action, "reason": reason})

    def store(self, ticket):
        self.tickets.setdefault(ticket["ticket_id"], dict(ticket, metadata={}))

    # ------------------------------------------------------------ control

    def control(self, request):
        try:
            return self.control_route(request)
        except (ValueError, KeyError, TypeError) as trouble:
            return Answer(400, {"detail": f"{type(trouble).__name__}: {trouble}"})

    def control_route(self, request):
        what = f"{request.method} {request.path}"
        if what == "POST /mode":
            self.set_mode(request.json())
        elif what == "POST /tickets":
            for ticket in request.json():
                self.store(ticket)
        elif what == "POST /compensation":
            self.compensation_works = bool(request.json()["works"])
        elif what == "POST /forget":
            self.tickets.clear()
            self.patches.clear()
            self.gets.clear()
            self.counts.clear()
        elif what == "GET /patches":
            return Answer(200, self.patches[int(request.query.get("since", 0)):])
        elif what == "GET /gets":
            return Answer(200, self.gets)
        elif what == "GET /counts":
            return Answer(200, self.counts)
        elif what == "GET /statuses":
            return Answer(200, {key: ticket["status"] for key, ticket in self.tickets.items()})
        elif what.startswith("GET /tickets/"):
            return self.get(request.path.removeprefix("/tickets/"))
        else:
            return Answer(404, {"detail": "no such control route"})
        return Answer(200, {})

    def set_mode(self, mode):
        if mode["mode"] not in ("up", "down", "status", "slow", "not_found", "reset", "lost", "hang"):
            raise ValueError(f"no mode {mode['mode']}")
        self.left = mode.get("count")
        self.until = time.monotonic() + mode["for_ms"] / 1000 if "for_ms" in mode else None
        self.mode = {"mode": "up"} if mode["mode"] == "down" else mode
        if mode["mode"] == "down":
            self.server.down()
            if "for_ms" in mode:
                loop = asyncio.get_running_loop()
                loop.call_later(mode["for_ms"] / 1000, lambda: loop.create_task(self.server.up()))
        else:
            self.server.open_port()  # whoever asked for this may come back at once
            asyncio.get_running_loop().create_task(self.server.up())


def follow_topic(servers, topic, service, loop, stopping):
    """Stores what comes on the tickets topic, in a thread of its own. A client that was told that there are no brokers, as by one
    that shuts down, may never find them again: after trouble that is not over soon another one reads from the beginning."""
    import confluent_kafka
    trouble = []

    def follower():
        made = confluent_kafka.Consumer({
            "bootstrap.servers": servers, "group.id": f"execution-ticket-service-{uuid.uuid4()}", "log_level": 0,
            "auto.offset.reset": "earliest", "enable.auto.commit": False, "isolation.level": "read_committed",
            "topic.metadata.refresh.interval.ms": 2000, "error_cb": lambda _: trouble.append(time.monotonic())})
        made.subscribe([topic])
        return made
    consumer = follower()
    while not stopping.is_set():
        messages = consumer.consume(500, 0.2)
        tickets = [ticket for ticket in map(read_ticket, messages) if ticket]
        if tickets:
            loop.call_soon_threadsafe(lambda batch=tickets: [service.store(ticket) for ticket in batch])
            trouble.clear()
        elif trouble and time.monotonic() - trouble[0] > 5:
            consumer.close()
            trouble.clear()
            consumer = follower()
    consumer.close()


def read_ticket(message):
    """None for whatever is no ticket: the real one skips it too."""
    import avro_schemas
    if message.error():
        return None
    try:
        ticket = avro_schemas.decode_ticket(message.value())
        return ticket if isinstance(ticket["ticket_id"], str) else None
    except Exception:
        return None


def publisher(servers, topic):
    from confluent_kafka import Producer
    producer = Producer({"bootstrap.servers": servers, "compression.type": "gzip", "message.timeout.ms": 5000, "log_level": 0})

    def publish(ticket):
        producer.produce(topic, json.dumps(ticket).encode(), ticket["ticket_id"].encode())
        producer.poll(0)
    return publish


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--auto-create", action="store_true")
    parser.add_argument("--kafka")
    parser.add_argument("--topic", default="execution.tickets")
    arguments = parser.parse_args()
    service = Service(arguments.auto_create, publisher(arguments.kafka, arguments.topic) if arguments.kafka else None)
    service.server = small_http.Server(service.handle, arguments.http_port)
    control = small_http.Server(service.control, arguments.control_port)
    await service.server.up()
    await control.up()
    stopping, follower = threading.Event(), None
    if arguments.kafka:
        follower = threading.Thread(target=follow_topic, args=(arguments.kafka, arguments.topic, service,
                                                               asyncio.get_running_loop(), stopping))
        follower.start()
    print(f"export HTTP_PORT={service.server.port}\nexport CONTROL_PORT={control.port}\n"
          f"export EXECUTION_TICKET_SERVICE_URL=http://127.0.0.1:{service.server.port}\nready", flush=True)
    await small_http.until_input_ends()
    stopping.set()
    if follower:
        await asyncio.to_thread(follower.join)


if __name__ == "__main__":
    asyncio.run(main())
