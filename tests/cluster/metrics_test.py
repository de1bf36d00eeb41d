"""/metrics of a worker in a cluster against the platform's list of names: types, labels, buckets, and what moves them.

The list is the platform's (names that dashboards and alerts of it use), not a copy of what the worker prints."""

import re
import unittest

import flow_test
import harness

TYPES = {"C": "counter", "G": "gauge", "H": "histogram"}
# name without worker_agent_ unless it says otherwise: type, labels, edges of its buckets
NAMES = {
    # life of a worker
    "startup_total": ("C", ()),
    "registered_total": ("C", ()),
    "heartbeat_total": ("C", ("status",)),
    "deregistered_total": ("C", ()),
    "executors_registered_total": ("C", ("task_type",)),
    # tickets
    "tickets_consumed_total": ("C", ("task_type",)),
    "tickets_processing_total": ("C", ("task_type",)),
    "tickets_completed_total": ("C", ("task_type",)),
    "tickets_failed_total": ("C", ("task_type", "error_type")),
    "active_tasks": ("G", ()),
    "task_duration_seconds": ("H", ("task_type",), "1 5 10 30 60 120 300 600 1800 3600 14400"),
    # backpressure
    "tickets_in_flight": ("G", ()),
    "max_concurrent_tickets": ("G", ()),
    "consumer_paused_total": ("C", ()),
    "consumer_resumed_total": ("C", ()),
    "consumer_pause_duration_seconds": ("H", (), "0.1 0.5 1 2 5 10 30 60 120 300"),
    # dependencies, retries, cancels, repeats
    "dependency_checks_total": ("C", ("result",)),
    "dependency_wait_duration_seconds": ("H", (), "1 5 10 30 60 120 300"),
    "task_retries_total": ("C", ("task_type", "attempt")),
    "tasks_cancelled_total": ("C", ("reason",)),
    "tasks_preempted_total": ("C", ()),
    "graceful_cancellation_duration_seconds": ("H", (), "0.1 0.5 1 2 5 10 30 60"),
    "duplicates_detected_total": ("C", ("component",)),
    "idempotency_cache_hits_total": ("C", ()),
    # ticket service and Kafka
    "ticket_api_calls_total": ("C", ("method", "status")),
    "ticket_status_updates_total": ("C", ("status",)),
    "ticket_tokens_obtained_total": ("C", ()),
    "kafka_consumer_initialized_total": ("C", ()),
    "kafka_producer_initialized_total": ("C", ()),
    "kafka_consumer_errors_total": ("C", ("error_type",)),
    "results_published_total": ("C", ("status",)),
    "kafka_producer_errors_total": ("C", ()),
    "dlq_messages_total": ("C", ("reason", "task_type")),
    "dlq_publish_duration_seconds": ("H", (), "0.1 0.5 1 2 5 10"),
    "dlq_publish_errors_total": ("C", ("error_type",)),
    "ticket_retry_count": ("H", ("task_type",), "1 2 3 4 5 10 20"),
    # names that alerts and dashboards of the platform use, and additions to them
    "dlq_alerts_sent_total": ("C", ("severity", "task_type")),
    "ticket_duplicates_detected_total": ("C", ("component",)),
    "=redis_circuit_breaker_state": ("G", ("service",)),
    "task_timeouts_total": ("C", ("task_type", "executor")),
    "sla_violations_total": ("C", ("task_type", "reason")),
    "kafka_consumer_lag": ("G", ("topic", "partition")),
    "execute_fallback_total": ("C", ("reason",)),
    "consumer_paused": ("G", ()),
    "consumer_paused_since_seconds": ("G", ()),
    "waiting_tasks": ("G", ("state",)),
    "queue_wait_seconds": ("H", ("task_type",), "0.1 0.5 1 5 10 30 60 300"),
    "simulated_results_total": ("C", ("task_type", "reason")),
    "external_request_duration_seconds": ("H", ("target", "method"), "0.01 0.05 0.1 0.5 1 2 5 10 30"),
    "external_retries_total": ("C", ("target", "reason")),
    "orphans_removed_total": ("C", ("runtime",)),
    "output_truncated_total": ("C", ("runtime",)),
    "offset_commit_total": ("C", ("status",)),
    "redis_available": ("G", ()),
    "build_info": ("G", ("version", "revision")),
}
# Values that a label may have; what is not listed here is not closed.
VALUES = {
    ("heartbeat_total", "status"): {"success", "failed", "not_found", "skipped"},
    ("dependency_checks_total", "result"): {"success", "failed", "timeout"},
    ("results_published_total", "status"): {"COMPLETED", "FAILED"},
    ("kafka_consumer_errors_total", "error_type"): {"decode", "schema_registry", "broker", "commit", "processing", "other"},
    ("waiting_tasks", "state"): {"dependency", "slot", "parked"},
    ("sla_violations_total", "reason"): {"deadline", "timeout", "retries_exhausted"},
    ("duplicates_detected_total", "component"): {"execution_engine"},
    ("ticket_api_calls_total", "status"): {"success", "error"},
}


def full(name):
    return name[1:] if name.startswith("=") else "worker_agent_" + name


class Metrics(flow_test.Cluster):
    def setUp(self):
        super().setUp()
        self.service = harness.ticket_service("--kafka", self.kafka.plain, "--topic", self.topics["tickets"]).start()
        self.addCleanup(self.service.close)
        self.registry = harness.service_registry().start()
        self.addCleanup(self.registry.close)

    def start(self):
        return self.worker(EXECUTION_TICKET_SERVICE_URL=f"http://127.0.0.1:{self.service['HTTP_PORT']}",
                           SERVICE_REGISTRY_HOST="127.0.0.1", SERVICE_REGISTRY_PORT=self.registry["SERVICE_REGISTRY_PORT"])

    def end_some(self, worker):
        """One that completes and then comes again, one that waits for it, one that fails, one that is no ticket."""
        good = harness.ticket(["true"])
        after = harness.ticket(["true"], dependencies=[good["ticket_id"]])
        bad = harness.ticket(["false"])
        self.kafka.produce_tickets(self.topics["tickets"], [after], spread=lambda one: 0)
        harness.wait_until(lambda: worker.metrics().value("worker_agent_waiting_tasks", state="dependency") == 1, 30, 0.2)
        self.kafka.produce_tickets(self.topics["tickets"], [good, bad], spread=lambda one: 0)
        self.kafka.produce(self.topics["tickets"], [(b"{}", b"k", 0)])
        self.one_result_each([good, after, bad])
        harness.wait_until(lambda: sum(self.kafka.ends(self.topics["dead"]).values()) > 0, 30, 0.2)
        self.kafka.produce_tickets(self.topics["tickets"], [good], spread=lambda one: 0)
        harness.wait_until(lambda: worker.metrics().value("worker_agent_duplicates_detected_total"), 30, 0.2)
        harness.wait_until(lambda: self.statuses(worker) >= 3, 30, 0.2)
        self.one_result_each([good, after, bad])

    @staticmethod
    def statuses(worker):
        metrics = worker.metrics()
        return sum(metrics.value("worker_agent_ticket_status_updates_total", status=status) or 0
                   for status in ("COMPLETED", "FAILED"))

    def test_names_types_labels_and_buckets(self):
        worker = self.start()
        self.end_some(worker)
        status, text = worker.request("GET", "/metrics", token=False)
        self.assertEqual(status, 200)
        types = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.M))
        samples = harness.parse_metrics(text)
        for name, (kind, labels, *edges) in NAMES.items():
            with self.subTest(name):
                self.assertEqual(types.get(full(name)), TYPES[kind])
                rows = samples.get(full(name) + ("_bucket" if kind == "H" else ""), [])
                want = {*labels, "le"} if kind == "H" else set(labels)
                for have, _ in rows:
                    self.assertEqual(set(have), want)
                    for label, value in have.items():
                        if (name, label) in VALUES:
                            self.assertIn(value, VALUES[name, label])
                if kind == "H" and rows:
                    self.assert_buckets(full(name), samples, edges[0])
                if not labels:
                    self.assertTrue(rows, "without labels it is there from the start")
        for name in (full(name) for name in NAMES):
            # Ids would make as many series as there are tickets.
            for have, _ in samples.get(name, []):
                for value in have.values():
                    self.assertNotRegex(value, r"[0-9a-f]{8}-[0-9a-f]{4}-", name)

    def assert_buckets(self, name, samples, edges):
        """Edges are printed as floats, counts never fall, and the last one is all of them."""
        series = {}
        for have, value in samples[name + "_bucket"]:
            key = tuple(sorted((label, text) for label, text in have.items() if label != "le"))
            series.setdefault(key, []).append((have["le"], value))
        for key, buckets in series.items():
            self.assertEqual([edge for edge, _ in buckets], [str(float(edge)) for edge in edges.split()] + ["+Inf"])
            counts = [count for _, count in buckets]
            self.assertEqual(counts, sorted(counts))
            self.assertEqual(samples.value(name + "_count", **dict(key)), counts[-1])
            self.assertIsNotNone(samples.value(name + "_sum", **dict(key)))

    def test_values_move_as_they_should(self):
        worker = self.start()
        before = worker.metrics()
        self.end_some(worker)
        now = worker.metrics()

        def moved(name, **labels):
            name = "worker_agent_" + name
            return (now.value(name, **labels) or 0) - (before.value(name, **labels) or 0)

        execute = {"task_type": "EXECUTE"}
        for wanted, name, labels in [
                (3, "tickets_processing_total", execute), (2, "tickets_completed_total", execute),
                (1, "tickets_failed_total", {**execute, "error_type": "execution_failed"}),
                (3, "task_duration_seconds_count", execute), (3, "queue_wait_seconds_count", execute),
                (2, "results_published_total", {"status": "COMPLETED"}),
                (1, "results_published_total", {"status": "FAILED"}),
                (1, "dependency_checks_total", {"result": "success"}), (1, "dependency_wait_duration_seconds_count", {}),
                (1, "dlq_messages_total", {}), (1, "dlq_publish_duration_seconds_count", {}),
                (1, "dlq_alerts_sent_total", {}),
                (1, "duplicates_detected_total", {"component": "execution_engine"}),
                (1, "ticket_duplicates_detected_total", {"component": "execution_engine"}),
                (2, "ticket_status_updates_total", {"status": "COMPLETED"}),
                (1, "ticket_status_updates_total", {"status": "FAILED"}),
                (0, "task_retries_total", {}), (0, "tasks_cancelled_total", {}), (0, "ticket_retry_count_count", {}),
                (0, "kafka_producer_errors_total", {}), (0, "dlq_publish_errors_total", {}),
                (0, "simulated_results_total", {}), (0, "idempotency_cache_hits_total", {})]:
            with self.subTest(name, **labels):
                self.assertEqual(moved(name, **labels), wanted)
        # (A repeat is a ticket that was read, whatever becomes of it.)
        self.assertIn(moved("tickets_consumed_total", **execute), (3, 4))
        self.assertGreaterEqual(moved("offset_commit_total", status="success"), 3)
        self.assertGreaterEqual(moved("ticket_api_calls_total", method="update_ticket_status", status="success"), 3)
        self.assertGreaterEqual(moved("external_request_duration_seconds_count"), 3)
        for value, name in [(1, "startup_total"), (1, "registered_total"), (0, "deregistered_total"), (0, "active_tasks"),
                            (0, "tickets_in_flight"), (10, "max_concurrent_tickets"), (0, "waiting_tasks"),
                            (0, "consumer_paused"), (0, "redis_available")]:
            with self.subTest(name):
                self.assertEqual(now.value("worker_agent_" + name), value)
        self.assertGreaterEqual(now.value("worker_agent_kafka_consumer_initialized_total"), 1)
        self.assertGreaterEqual(now.value("worker_agent_kafka_producer_initialized_total"), 1)
        harness.wait_until(lambda: worker.metrics().value("worker_agent_heartbeat_total", status="success"), 90, 1)
        # What was read to its end is not behind.
        harness.wait_until(lambda: worker.metrics().value("worker_agent_kafka_consumer_lag") == 0, 30, 0.5)


if __name__ == "__main__":
    unittest.main()
