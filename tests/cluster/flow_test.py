"""The main job on a real broker: tickets in, exactly one result each, whatever happens to the workers."""

import json
import time
import unittest

import harness


def settings_of(kafka, topics, **more):
    return {**kafka.worker_settings(), "KAFKA_TICKETS_TOPIC": topics["tickets"], "KAFKA_RESULTS_TOPIC": topics["results"],
            "KAFKA_DLQ_TOPIC": topics["dead"], "DLQ_ALERT_KAFKA_TOPIC": topics["alerts"],
            "KAFKA_CONSUMER_GROUP_ID": f"group-{topics['tickets']}", "KAFKA_SESSION_TIMEOUT_SECONDS": "6",
            "LOCAL_RUNTIME_ALLOWED_COMMANDS": "true,false,sh,sleep", "LOG_LEVEL": "INFO",
            "EXECUTION_TICKET_SERVICE_URL": "", "SERVICE_REGISTRY_HOST": "", "OTEL_SDK_DISABLED": "true", **more}


class Cluster(unittest.TestCase):
    """A broker for the class, topics of its own for each test."""

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


class Flow(Cluster):
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

    def test_tickets_longer_than_what_is_fetched_at_a_time(self):
        self.worker(KAFKA_PREFETCH_BYTES="64KiB")
        tickets = [dict(harness.ticket(["true"]), description="x" * length) for length in (10, 70_000, 10, 900_000, 10)]
        self.kafka.produce_tickets(self.topics["tickets"], tickets)
        results = self.one_result_each(tickets)
        self.assertEqual({result["status"] for result in results.values()}, {"COMPLETED"})

    def test_avro_in_and_out_also_after_a_restart_without_the_registry(self):
        import avro_schemas
        registry = harness.peer(self, harness.SchemaRegistry())
        more = {"KAFKA_SCHEMA_REGISTRY_URL": registry.url}
        worker = self.worker(**more)
        schema_id = registry.register(f"{self.topics['tickets']}-value", avro_schemas.TICKET)
        first = [harness.ticket(["true"], parameters={"runtime": "local", "command": '["true"]'}) for _ in range(3)]
        self.kafka.produce_tickets(self.topics["tickets"], first, schema_id)
        results = self.one_result_each(first)
        self.assertEqual({result["status"] for result in results.values()}, {"COMPLETED"})
        record = self.kafka.read_all(self.topics["results"])[0]
        self.assertEqual(record.value[0], 0, "the result is Avro")
        worker.terminate()
        worker.wait()
        registry.stop()
        worker.start()
        second = [harness.ticket(["true"], parameters={"runtime": "local", "command": '["true"]'}) for _ in range(3)]
        self.kafka.produce_tickets(self.topics["tickets"], second, schema_id)
        self.one_result_each(first + second)
        forms = {record.key.decode(): dict(record.headers)["x-worker-format"]
                 for record in self.kafka.read_all(self.topics["results"])}
        self.assertEqual({forms[one["ticket_id"]] for one in second}, {b"json-fallback"})

    def test_an_unknown_schema_holds_up_its_partition_until_the_registry_answers(self):
        import avro_schemas
        registry = harness.peer(self, harness.SchemaRegistry(SR_STORE="file"))
        schema_id = registry.register(f"{self.topics['tickets']}-value", avro_schemas.TICKET)
        registry.stop()
        self.worker(KAFKA_SCHEMA_REGISTRY_URL=registry.url)
        framed = [harness.ticket(parameters={"runtime": "local", "command": '["true"]'})]
        plain = [harness.ticket(["true"])]
        self.kafka.produce_tickets(self.topics["tickets"], framed, schema_id, spread=lambda one: 0)
        self.kafka.produce_tickets(self.topics["tickets"], plain, spread=lambda one: 1)
        self.one_result_each(plain)
        self.assertEqual(sum(self.kafka.ends(self.topics["dead"]).values()), 0)
        registry.start()
        self.one_result_each(framed + plain, 120)

    def test_one_of_three_workers_is_killed_with_300_tickets_running(self):
        many = {"MAX_CONCURRENT_TASKS": "120", "MAX_CONCURRENT_TICKETS": "150"}
        workers = [self.worker(**many) for _ in range(3)]
        harness.wait_until(lambda: len(self.kafka.assigned(self.group, self.topics["tickets"])) == 6 and
                           len(self.kafka.members(self.group)) == 3, 30, 0.2)
        tickets = [harness.ticket(["sleep", "8"]) for _ in range(300)]
        self.kafka.produce_tickets(self.topics["tickets"], tickets, spread=lambda one: tickets.index(one) % 6)
        harness.wait_until(lambda: sum(worker.request("GET", "/api/v1/status")[1]["active_tasks"] for worker in workers)
                           >= 250, 60, 0.2)
        workers[0].kill()
        results = self.one_result_each(tickets, 120)
        self.assertEqual({result["status"] for result in results.values()}, {"COMPLETED"})
        for worker in workers[1:]:
            worker.terminate()
        for worker in workers[1:]:
            self.assertEqual(worker.wait(), 0)
        harness.assert_nothing_left(self, self.workers)

    def test_bad_input_ends_in_the_dead_letter_topic_and_leaves_its_neighbours_alone(self):
        self.worker()
        good = [harness.ticket(["true"]) for _ in range(4)]
        bad = {
            "magic": b"\x00\x00\x00\x00\x2a" + b"\x02" * 40, "text": b"hello", "cut": b'{"ticket_id": "a', "utf8": b'{"ticket_id": "\xff"}',
            "deep": b'{"ticket_id": "a", "parameters": ' + b"[" * 200 + b"]" * 200 + b"}", "nothing": None, "empty": b"",
            "oversize": b'{"ticket_id": "big", "description": "' + b"x" * 1_000_000 + b'"}',
            "type": json.dumps(harness.ticket(task_type="NONSENSE")).encode(),
            "unserved": json.dumps(harness.ticket(task_type="COMPENSATE")).encode(),
            "itself": json.dumps({**harness.ticket(), "ticket_id": "self", "dependencies": ["self"]}).encode()}
        rows = []
        for index, value in enumerate(bad.values()):
            if index % 3 == 0:
                one = good[index // 3]
                rows.append((json.dumps(one).encode(), one["ticket_id"].encode(), 0))
            rows.append((value, b"k", 0))
        self.kafka.produce(self.topics["tickets"], rows)
        self.one_result_each(good)
        harness.wait_until(lambda: sum(self.kafka.ends(self.topics["dead"]).values()) >= len(bad), 20, 0.2)
        letters = [json.loads(record.value) for record in self.kafka.read_all(self.topics["dead"])]
        self.assertEqual(len(letters), len(bad))
        reasons = sorted(letter["dlq_metadata"]["reason"] for letter in letters)
        self.assertEqual(sorted(set(reasons)), ["decode_error", "invalid_ticket", "unsupported_task_type"])
        alerts = [json.loads(record.value) for record in self.kafka.read_all(self.topics["alerts"])]
        self.assertEqual({alert["event_type"] for alert in alerts}, {"DLQ_ALERT"})
        self.assertEqual(len(alerts), len(bad))


if __name__ == "__main__":
    unittest.main()
