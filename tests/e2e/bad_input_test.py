"""Goal: every kind of bad input gets a clear error with the right status code, and nothing is lost by it."""

import json
import socket
import time
import unittest

from harness import Worker, wait_until


def ticket(**changes):
    base = {"ticket_id": "x", "task_id": "x", "task_type": "EXECUTE", "status": "PENDING", "dependencies": [],
            "parameters": {"runtime": "simulation", "command": "true", "simulated_duration_ms": 0}}
    base.update(changes)
    return base


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.worker = Worker()
        cls.worker.start()

    @classmethod
    def tearDownClass(cls):
        cls.worker.close()

    def post(self, body, path="/api/v1/tickets", **more):
        return self.worker.request("POST", path, body, **more)

    def expect(self, status, body, path="/api/v1/tickets", **more):
        got, answer = self.post(body, path, **more)
        self.assertEqual(got, status, answer)
        return answer

    def test_not_json(self):
        self.expect(400, b"{nope")
        self.expect(400, b"\xff\xfe\x00")

    def test_deep_nesting(self):
        self.expect(400, b"[" * 100_000)

    def test_wrong_types(self):
        answer = self.expect(422, ticket(ticket_id="wrong-1", dependencies="a", sla={"timeout_ms": "soon"}))
        fields = [error["field"] for error in answer["errors"]]
        self.assertTrue(any("dependencies" in field for field in fields), answer)
        self.assertTrue(any("timeout_ms" in field for field in fields), answer)

    def test_unknown_type(self):
        self.expect(422, ticket(ticket_id="wrong-2", task_type="DANCE"))

    def test_type_that_nobody_serves(self):
        self.expect(422, ticket(ticket_id="wrong-3", task_type="QUERY"))

    def test_self_dependency(self):
        self.expect(422, ticket(ticket_id="wrong-4", dependencies=["wrong-4"]))

    def test_too_many_dependencies(self):
        got, answer = self.post(ticket(ticket_id="wrong-5", dependencies=[f"d{i}" for i in range(10_000)]))
        self.assertIn(got, (413, 422), answer)

    def test_cycle_in_a_plan(self):
        answer = self.expect(422, {"plan": "p", "tickets": {"a": {"type": "EXECUTE", "run": "true", "needs": ["b"]},
                                                            "b": {"type": "EXECUTE", "run": "true", "needs": ["a"]}}}, "/api/v1/plans")
        self.assertIn("cycle", json.dumps(answer))

    def test_duplicate_ids_in_a_plan(self):
        self.expect(422, {"tickets": [ticket(ticket_id="twice"), ticket(ticket_id="twice")]}, "/api/v1/plans")

    def test_hundred_megabytes(self):
        host, port = self.worker.address()
        with socket.create_connection((host, port), timeout=30) as connection:
            head = f"POST /api/v1/tickets HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {self.worker.token()}\r\n"
            connection.sendall((head + "Content-Type: application/json\r\nContent-Length: 104857600\r\n\r\n").encode())
            try:
                for _ in range(100):
                    connection.sendall(b" " * 1024 * 1024)
            except OSError:
                pass
            self.assertIn(b"413", connection.recv(200))

    def memory(self):
        text = open(f"/proc/{self.worker.process.pid}/status").read()
        return int(text.split("VmHWM:")[1].split()[0]) // 1024

    def test_a_small_plan_cannot_become_a_large_one(self):
        before = self.memory()
        tickets = {f"t{i}": {"run": "true", "runtime": "simulation"} for i in range(5000)}
        shared = {"metadata": {f"k{i}": "v" * 50_000 for i in range(10)}}
        self.expect(413, {"plan": "bomb", "defaults": shared, "tickets": tickets}, "/api/v1/plans")
        long = "x-long: &long " + "v" * 500_000 + "\ntickets:\n" + "".join(
            f"  t{i}: {{ run: 'true', description: *long }}\n" for i in range(5000))
        self.expect(413, long.encode(), "/api/v1/plans", headers={"Content-Type": "application/yaml"})
        self.assertLess(self.memory() - before, 600)

    def test_a_plan_of_a_hundred_thousand_is_taken(self):
        tickets = {f"t{i}": {"run": "true", "runtime": "simulation", "needs": [f"t{i - 1}"] if i % 100 else ["gate"]}
                   for i in range(99_999)}
        tickets["gate"] = {"run": "true", "runtime": "simulation", "parameters": {"simulated_duration_ms": 600_000},
                           "sla": {"timeout": "1h"}}
        answer = self.expect(201, {"plan": "large", "tickets": tickets}, "/api/v1/plans", timeout=60)
        self.assertEqual(len(answer["tickets"]), 100_000)
        self.worker.cli("plans", "cancel", answer["plan_id"], "-y", timeout=120)
        # All of it ends, before another test looks at the worker; a sanitizer build takes its time.
        rest = f"/api/v1/tickets?plan_id={answer['plan_id']}&status=PENDING&limit=1"
        self.assertTrue(wait_until(lambda: self.worker.request("GET", rest, timeout=60)[1]["total"] == 0, 180, 0.5))
        self.assertTrue(wait_until(self.ready, 60, 0.5))

    def test_no_token_and_foreign_host(self):
        self.assertEqual(self.post(ticket(ticket_id="wrong-6"), token=False)[0], 401)
        self.assertEqual(self.worker.request("GET", "/api/v1/tickets", headers={"Host": "evil.example"})[0], 403)
        self.assertEqual(self.post(ticket(ticket_id="wrong-7"), headers={"Origin": "http://evil.example"})[0], 403)

    def test_unknown_route_and_method(self):
        self.assertEqual(self.worker.request("GET", "/api/v1/nothing")[0], 404)
        self.assertEqual(self.worker.request("DELETE", "/api/v1/tickets")[0], 405)

    def test_the_same_ticket_again(self):
        first = ticket(ticket_id="again-1")
        self.assertEqual(self.post(first)[0], 201)
        wait_until(lambda: self.worker.request("GET", "/api/v1/tickets/again-1")[1]["status"] == "COMPLETED", 10)
        self.assertEqual(self.post(first)[0], 200)
        self.assertEqual(self.post(ticket(ticket_id="again-1", description="another"))[0], 409)

    def test_idle_connections_do_not_shut_others_out(self):
        host, port = self.worker.address()
        idle = []
        try:
            for _ in range(1500):
                try:
                    connection = socket.create_connection((host, port), timeout=5)
                except OSError:
                    break
                idle.append(connection)
            done = self.worker.cli("status", timeout=20)
            self.assertEqual(done.returncode, 0, done.stderr)
        finally:
            for connection in idle:
                connection.close()
        self.assertTrue(wait_until(lambda: self.ready(), 10))

    def ready(self):
        try:
            return self.worker.request("GET", "/ready")[0] == 200
        except OSError:
            return False

    def test_nothing_was_lost_by_all_that(self):
        self.assertEqual(self.post(ticket(ticket_id="after-all"))[0], 201)
        self.assertTrue(wait_until(lambda: self.worker.request("GET", "/api/v1/tickets/after-all")[1]["status"] == "COMPLETED", 10))


if __name__ == "__main__":
    unittest.main()
