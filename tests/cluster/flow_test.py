"""The main job on a real broker: tickets in, exactly one result each, whatever happens to the workers."""

import json
import time
import unittest

import harness


def settings_of(kafka, topics, **more):
    return {**kafka.worker_settings(), "KAFKA_TICKETS_TOPIC": topics["tickets"], "KAFKA_RESULTS_TOPIC": topics["results"],
            "KAFKA_DLQ_TOPIC": topics["dead"], "DLQ_ALERT_KAFKA_TOPIC": topics["alerts"],
            "KAFKA_CONSUMER_GROUP_ID": f"group-{topics['tickets']}", "KAFKA_SESSION_TIMEOUT_SECONDS": "6",
            "LOCAL_RUNTIME_ALLOWED_COMMANDS": "true,false,sh,sleep", "LOG_LEVEL": "INFO", **more}


class Flow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        harness.need_binary()
        cls.kafka = harness.peer(cls, harness.Kafka())

    def setUp(self):
        self.topics = {name: self.kafka.topic(name, 6 if name == "tickets" else 3)
                       for name in ("tickets", "results", "dead", "alerts")}
        self.group = f"group-{self.topics['tickets']}"
        self.workers = []

    def worker(self, wait=True, **more):
        worker = harness.Worker(settings_of(self.kafka, self.topics, **more))
        self.addCleanup(worker.close)
        self.workers.append(worker)
        return worker.start(wait=wait)

    def wait_for_results(self, count, limit=60):
        harness.wait_until(lambda: sum(self.kafka.ends(self.topics["results"]).values()) >= count, limit, 0.2)

    def one_result_each(self, tickets, limit=60):
        """Waits until each ticket has a result, and demands exactly one."""
        wanted = {one["ticket_id"] for one in tickets}
        end = time.monotonic() + limit
        while True:
            results = self.kafka.results(self.topics["results"])
            counted = {}
            for record, _ in results:
                counted.setdefault(record.key.decode(), []).append(record)
            if wanted <= set(counted) or time.monotonic() > end:
                break
            time.sleep(0.3)
        self.assertEqual(wanted - set(counted), set(), "tickets without a result")
        self.assertEqual({key: len(rows) for key, rows in counted.items() if len(rows) > 1}, {}, "more than one result")
        return {record.key.decode(): result for record, result in results}

    def test_tickets_in_results_out(self):
        worker = self.worker()
        first = harness.ticket(["sh", "-c", "echo hello"])
        second = harness.ticket(["true"], dependencies=[first["ticket_id"]])
        third = harness.ticket(["false"])
        self.kafka.produce_tickets(self.topics["tickets"], [second, first, third])
        results = self.one_result_each([first, second, third])
        self.assertEqual(results[first["ticket_id"]]["status"], "COMPLETED")
        self.assertEqual(results[second["ticket_id"]]["status"], "COMPLETED")
        self.assertEqual(results[third["ticket_id"]]["status"], "FAILED")
        worker.terminate()
        self.assertEqual(worker.wait(), 0)
        committed = self.kafka.committed(self.group, self.topics["tickets"])
        self.assertEqual({part: offset for part, (offset, _) in committed.items()},
                         self.kafka.ends(self.topics["tickets"]))
        harness.assert_nothing_left(self, self.workers)


if __name__ == "__main__":
    unittest.main()
