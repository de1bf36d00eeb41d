"""Goal: the stand-ins answer as the services' contract says, and fail when they are told to."""

import asyncio
import http.client
import json
import time
import unittest

import grpc

import harness
from harness import ticket, wait_until
from registry_messages import CLASSES, METHODS, PACKAGE

TICKETS = "/api/v1/tickets"


class TicketService(unittest.TestCase):
    def setUp(self):
        self.service = harness.ticket_service().start()
        self.addCleanup(self.service.close)

    def ask(self, method, path, body=None, timeout=10):
        connection = http.client.HTTPConnection("127.0.0.1", int(self.service["HTTP_PORT"]), timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            self.headers = answer.headers
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def patch(self, ticket_id, status, **more):
        return self.ask("PATCH", f"{TICKETS}/{ticket_id}/status", {"status": status, **more})

    def test_statuses_and_quirks(self):
        made = ticket(metadata={"workflow_id": "w"})
        self.assertEqual(self.patch(made["ticket_id"], "RUNNING")[0], 404)
        self.service.control("/tickets", [made])
        status, read = self.patch(made["ticket_id"], "RUNNING", actual_duration_ms=5)
        self.assertEqual((status, read["status"], read["metadata"], read["actual_duration_ms"]), (200, "RUNNING", {}, None))
        self.assertEqual(self.ask("GET", f"{TICKETS}/{made['ticket_id']}/token")[0], 200)
        self.assertEqual(self.patch(made["ticket_id"], "COMPLETED", error_message=None)[0], 200)
        self.assertEqual(self.ask("GET", f"{TICKETS}/{made['ticket_id']}/token")[0], 500)
        self.assertEqual(self.patch(made["ticket_id"], "PREEMPTED")[0], 422)
        self.assertEqual(self.patch(made["ticket_id"], "completed")[0], 422)
        self.assertEqual([(p["status"], p["answer"]) for p in self.service.control("/patches")],
                         [("RUNNING", 404), ("RUNNING", 200), ("COMPLETED", 200), ("PREEMPTED", 422), ("completed", 422)])

    def test_the_collection(self):
        self.assertEqual(self.ask("GET", TICKETS)[0], 307)
        made = ticket(plan_id="p")
        status, read = self.ask("POST", TICKETS + "/", dict(made, ticket_id=""))
        self.assertEqual((status, len(read["ticket_id"])), (201, 36))
        self.assertEqual(self.ask("POST", TICKETS + "/", {"plan_id": "p"})[0], 422)
        self.assertEqual(self.ask("POST", TICKETS + "/", dict(made, correlation_id="x" * 37))[0], 500)
        self.assertEqual(self.ask("GET", TICKETS + "/?plan_id=p&intent_id=other")[1]["total"], 1)
        self.assertEqual(self.ask("GET", TICKETS + "/?limit=1001")[0], 422)
        body = {"original_ticket_id": read["ticket_id"], "reason": "r", "compensation_action": "a"}
        self.assertEqual(self.ask("POST", TICKETS + "/compensation", body)[0], 500)
        self.service.control("/compensation", {"works": True})
        self.assertEqual(self.ask("POST", TICKETS + "/compensation", body)[0], 400)
        self.patch(read["ticket_id"], "FAILED")
        self.assertEqual(self.ask("POST", TICKETS + "/compensation", body)[0], 200)
        self.assertEqual(self.ask("GET", f"{TICKETS}/{read['ticket_id']}")[1]["status"], "COMPENSATING")

    def test_failures(self):
        made = ticket()
        self.service.control("/tickets", [made])
        self.service.control("/mode", {"mode": "status", "status": 503, "retry_after": 2, "count": 1})
        self.assertEqual((self.patch(made["ticket_id"], "RUNNING")[0], self.headers["Retry-After"]), (503, "2"))
        self.assertEqual(self.patch(made["ticket_id"], "RUNNING")[0], 200)
        self.service.control("/mode", {"mode": "slow", "delay_ms": 300, "count": 1})
        began = time.monotonic()
        self.assertEqual(self.patch(made["ticket_id"], "RUNNING")[0], 200)
        self.assertGreater(time.monotonic() - began, 0.25)
        self.service.control("/mode", {"mode": "lost", "count": 1})
        with self.assertRaises((OSError, http.client.HTTPException)):
            self.patch(made["ticket_id"], "COMPLETED")
        self.assertEqual(self.ask("GET", f"{TICKETS}/{made['ticket_id']}")[1]["status"], "COMPLETED")
        self.service.control("/mode", {"mode": "not_found", "methods": ["PATCH"], "for_ms": 60_000})
        self.assertEqual(self.patch(made["ticket_id"], "RUNNING")[0], 404)
        self.assertEqual(self.ask("GET", f"{TICKETS}/{made['ticket_id']}")[0], 200)
        self.service.control("/mode", {"mode": "hang"})
        with self.assertRaises(TimeoutError):
            self.ask("GET", "/health", timeout=0.5)
        self.service.control("/mode", {"mode": "down"})
        with self.assertRaises(OSError):
            self.ask("GET", "/health")
        self.service.control("/mode", {"mode": "up"})
        self.assertEqual(self.ask("GET", "/health")[0], 200)

    def test_it_starts_again_where_it_was(self):
        port = self.service["HTTP_PORT"]
        self.service.stop()
        self.service.start()
        self.assertEqual(self.service["HTTP_PORT"], port)
        self.assertEqual(self.ask("GET", "/health")[0], 200)

    def test_it_is_fast_enough(self):
        body = b'{"status":"RUNNING","error_message":null,"actual_duration_ms":null}'
        self.service.control("/tickets", [ticket(ticket_id="t")])

        async def client():
            reader, writer = await asyncio.open_connection("127.0.0.1", int(self.service["HTTP_PORT"]))
            for _ in range(200):
                writer.write(b"PATCH /api/v1/tickets/t/status HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                head = await reader.readuntil(b"\r\n\r\n")
                self.assertIn(b" 200 ", head[:20])
                await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            writer.close()

        async def all_clients():
            await asyncio.gather(*(client() for _ in range(16)))
        began = time.monotonic()
        asyncio.run(all_clients())
        print(f"{3200 / (time.monotonic() - began):.0f} PATCH/s, client and service on this machine")
        self.assertEqual(self.service.control("/counts"), {"PATCH 200": 3200})


class ServiceRegistry(unittest.TestCase):
    def setUp(self):
        self.registry = harness.service_registry().start()
        self.addCleanup(self.registry.close)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.registry['SERVICE_REGISTRY_PORT']}",
                                             [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 300)])
        self.addCleanup(self.channel.close)

    def call(self, method, timeout=5, **fields):
        asked, answered = METHODS[method]
        stub = self.channel.unary_unary(f"/{PACKAGE}.ServiceRegistry/{method}", CLASSES[asked].SerializeToString,
                                        CLASSES[answered].FromString)
        return stub(CLASSES[asked](**fields), timeout=timeout, metadata=(("authorization", "Bearer x"),))

    def code(self, method, **fields):
        with self.assertRaises(grpc.RpcError) as raised:
            self.call(method, **fields)
        return raised.exception.code().name

    def register(self):
        return self.call("Register", agent_type=1, capabilities=["test"], metadata={"http_port": "1"}).agent_id

    def test_life_of_an_agent(self):
        first, second = self.register(), self.register()
        self.assertNotEqual(first, second)
        self.assertEqual(self.call("Heartbeat", agent_id=first, telemetry={"success_rate": 0.4}).status, 3)
        self.assertEqual(self.call("Heartbeat", agent_id=first, telemetry={"success_rate": 1.0}).status, 1)
        self.assertEqual(self.code("Heartbeat", agent_id=first, telemetry={"success_rate": 1.5}), "NOT_FOUND")
        self.assertEqual(self.code("Heartbeat", agent_id="no uuid"), "NOT_FOUND")
        self.assertEqual(self.code("Register", agent_type=1), "UNKNOWN")
        self.assertEqual(self.code("Deregister", agent_id="no uuid"), "INTERNAL")
        self.assertTrue(self.call("Deregister", agent_id=first).success)
        self.assertFalse(self.call("Deregister", agent_id=first).success)
        self.registry.control("/forget", {})
        self.assertEqual(self.code("Heartbeat", agent_id=second), "NOT_FOUND")
        calls = self.registry.control("/calls")
        self.assertEqual([c["answer"] for c in calls][:3], ["OK", "OK", "OK"])
        self.assertEqual(calls[0]["metadata"]["authorization"], "Bearer x")
        self.assertEqual(calls[0]["request"]["metadata"], {"http_port": "1"})

    def test_failures(self):
        agent = self.register()
        self.registry.control("/mode", {"mode": "refuse", "code": "INTERNAL", "methods": ["Heartbeat"], "count": 1})
        self.assertEqual(self.code("Heartbeat", agent_id=agent), "INTERNAL")
        self.assertEqual(self.call("Heartbeat", agent_id=agent).status, 2)
        self.registry.control("/mode", {"mode": "hang"})
        self.assertEqual(self.code("Heartbeat", agent_id=agent, timeout=0.5), "DEADLINE_EXCEEDED")
        self.registry.control("/mode", {"mode": "down"})
        self.assertTrue(wait_until(lambda: self.code_or_none(agent) == "UNAVAILABLE", 10))
        self.registry.control("/mode", {"mode": "up"})
        self.assertTrue(wait_until(lambda: self.code_or_none(agent) is None, 10))

    def code_or_none(self, agent):
        try:
            self.call("Heartbeat", agent_id=agent)
        except grpc.RpcError as error:
            return error.code().name
        return None


if __name__ == "__main__":
    unittest.main()
