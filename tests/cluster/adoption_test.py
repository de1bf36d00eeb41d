"""Containers of a worker that is gone are taken up by another one of the group (adoption.py). Workers reach the engine over TCP,
by which they know that others can."""

import http.client
import json
import socket
import time
import unittest
from urllib.parse import quote

import adoption
import harness


class Engine(http.client.HTTPConnection):
    def __init__(self, address):
        super().__init__("docker", timeout=30)
        self.path = address.removeprefix("unix://")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)

    def ask(self, target, method="GET"):
        self.request(method, target)
        answer = self.getresponse()
        lines = answer.read().splitlines()
        self.close()
        assert answer.status in (200, 204, 404), lines
        return [json.loads(line) for line in lines]


class Containers(adoption.Cases, adoption.Adoption):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.docker = harness.peer(cls, harness.Peer("docker", DOCKER_PEER_TCP="yes"))
        cls.engine = Engine(cls.docker["DOCKER_BASE_URL"])

    def setUp(self):
        super().setUp()
        self.addCleanup(self.clean)

    def clean(self):
        for container in self.left():
            self.engine.ask(f"/containers/{container['Id']}?force=1", "DELETE")

    def engine_settings(self):
        return {"DOCKER_ENABLED": "true", "DOCKER_BASE_URL": self.docker["DOCKER_PEER_TCP"], "DOCKER_NETWORK_MODE": "none"}

    def contained(self, script, **fields):
        return harness.ticket(parameters={"runtime": "docker", "image": self.docker["DOCKER_PEER_IMAGE"],
                                          "command": ["sh", "-c", script]}, **fields)

    def left(self):
        return self.engine.ask("/containers/json?all=1")[0]

    def started(self, since):
        filters = quote(json.dumps({"type": ["container"], "event": ["start"]}))
        events = self.engine.ask(f"/events?since={since:.3f}&until={time.time():.3f}&filters={filters}")
        return sorted(event["Actor"]["Attributes"]["neural-hive.io/ticket-id"] for event in events)

    def test_of_one_machine_are_ended_when_their_worker_leaves(self):
        """A socket of the machine: whoever gets the ticket next may not reach the container. It runs anew, after its end."""
        socket_of_machine = {"DOCKER_BASE_URL": self.docker["DOCKER_BASE_URL"]}
        since, first, tickets = self.begin(1, SHUTDOWN_GRACE_SECONDS="1", **socket_of_machine)
        first.terminate()
        self.assertEqual(first.wait(), 0)
        self.assertEqual(self.left(), [])
        other = self.worker(**socket_of_machine)
        result = self.one_result_each(tickets)[tickets[0]["ticket_id"]]
        self.assertEqual(result["status"], "COMPLETED", result)
        self.assertEqual(self.started(since), [tickets[0]["ticket_id"]] * 2)
        harness.wait_until(lambda: self.left() == [], 40, 0.2)
        self.end(other)


if __name__ == "__main__":
    unittest.main()
