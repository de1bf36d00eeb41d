"""Containers of a worker that is gone: another worker of the group takes them up with its tickets. Each container is started
once, each ticket has one result, and the engine has nothing left. The broker and the engine are real; workers reach the engine
over TCP, by which they know that others can."""

import http.client
import json
import socket
import time
import unittest
from urllib.parse import quote

import faults_test
import harness


class Engine(http.client.HTTPConnection):
    def __init__(self, address):
        super().__init__("docker", timeout=30)
        self.path = address.removeprefix("unix://")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)

    def ask(self, target):
        self.request("GET", target)
        answer = self.getresponse()
        lines = answer.read().splitlines()
        self.close()
        assert answer.status == 200, lines
        return [json.loads(line) for line in lines]


class Adoption(faults_test.Faults):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.docker = harness.peer(cls, harness.Peer("docker", DOCKER_PEER_TCP="yes"))
        cls.engine = Engine(cls.docker["DOCKER_BASE_URL"])

    def worker(self, wait=True, **more):
        return super().worker(wait, **{"DOCKER_ENABLED": "true", "DOCKER_BASE_URL": self.docker["DOCKER_PEER_TCP"],
                                       "DOCKER_NETWORK_MODE": "none", **more})

    def contained(self, script, **fields):
        return harness.ticket(parameters={"runtime": "docker", "image": self.docker["DOCKER_PEER_IMAGE"],
                                          "command": ["sh", "-c", script]}, **fields)

    def left(self):
        return self.engine.ask("/containers/json?all=1")[0]

    def started(self, since):
        """The ids of tickets, one for each start of a container."""
        filters = quote(json.dumps({"type": ["container"], "event": ["start"]}))
        events = self.engine.ask(f"/events?since={since:.3f}&until={time.time():.3f}&filters={filters}")
        return sorted(event["Actor"]["Attributes"]["neural-hive.io/ticket-id"] for event in events)

    def begin(self, count=3, script="echo once; sleep 15; echo twice", **settings):
        """A worker that has `count` containers running."""
        since = time.time()
        first = self.worker(**settings)
        self.wait_all_assigned(1)
        tickets = [self.contained(script) for _ in range(count)]
        self.produce(tickets)
        harness.wait_until(lambda: len(self.started(since)) == count, 60, 0.2)
        return since, first, tickets

    def assert_ran_once(self, since, tickets):
        results = self.one_result_each(tickets)
        for result in results.values():
            self.assertEqual(result["status"], "COMPLETED", result)
            self.assertEqual(result["result"]["output"]["stdout"], "once\ntwice\n", result)
        self.assertEqual(self.started(since), sorted(one["ticket_id"] for one in tickets))
        harness.wait_until(lambda: self.left() == [], 40, 0.2)
        return results

    def assert_taken_up(self, since, tickets):
        for result in self.assert_ran_once(since, tickets).values():
            self.assertEqual(result["result"]["metadata"]["adopted"], "true", result)

    def test_of_a_worker_that_is_killed(self):
        since, first, tickets = self.begin()
        first.kill()
        other = self.worker()
        self.assert_taken_up(since, tickets)
        self.end(other)

    def test_of_a_worker_that_stands_still(self):
        since, first, tickets = self.begin(script="echo once; sleep 25; echo twice")
        first.freeze()
        other = self.worker()
        # Until the other one has them all: adopted, not started.
        harness.wait_until(lambda: len(self.kafka.assigned(self.group, self.topics["tickets"])) == 6 and
                           other.request("GET", "/api/v1/status")[1]["active_tasks"] == len(tickets), 30, 0.2)
        # Some partitions go back to the first one, which still knows their containers.
        first.thaw()
        self.assert_ran_once(since, tickets)
        self.end(first, other)

    def test_of_a_worker_that_is_told_to_leave(self):
        since, first, tickets = self.begin(SHUTDOWN_GRACE_SECONDS="1")
        first.terminate()
        other = self.worker()
        self.assert_taken_up(since, tickets)
        self.assertEqual(first.wait(), 0)
        self.end(other)

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

    def test_cancelled_where_it_was_taken_up(self):
        since, first, tickets = self.begin(1, "echo once; exec sleep 600")
        first.kill()
        other = self.worker()
        harness.wait_until(lambda: other.request("GET", "/api/v1/status")[1]["active_tasks"] == 1, 40, 0.2)
        status, answer = other.request("POST", f"/api/v1/tasks/{tickets[0]['ticket_id']}/cancel", {"reason": "user_request"})
        self.assertEqual(status, 200, answer)
        result = self.one_result_each(tickets)[tickets[0]["ticket_id"]]
        self.assertEqual(result["status"], "FAILED", result)
        self.assertEqual(self.started(since), [tickets[0]["ticket_id"]])
        harness.wait_until(lambda: self.left() == [], 40, 0.2)
        self.end(other)


if __name__ == "__main__":
    unittest.main()
