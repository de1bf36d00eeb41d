"""Traces of tickets, read back from a real Jaeger."""

import unittest

import flow_test
import harness


class Traces(flow_test.Cluster):
    def test_a_ticket_is_one_trace_that_continues_its_producers(self):
        jaeger = harness.peer(self, harness.Jaeger())
        service = f"worker-{self.topics['tickets'][-6:]}"
        self.worker(OTEL_SDK_DISABLED="false", OTEL_EXPORTER_ENDPOINT=jaeger["OTEL_EXPORTER_ENDPOINT"],
                    OTEL_SERVICE_NAME=service)
        by_header, by_fields = harness.ticket(["true"]), harness.ticket(
            ["false"], trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331")
        waiting = harness.ticket(["true"], dependencies=[by_header["ticket_id"]])
        parent = "4bf92f3577b34da6a3ce929d0e0e4736"
        headers = [("traceparent", f"00-{parent}-00f067aa0ba902b7-01".encode())]
        self.kafka.produce(self.topics["tickets"], [
            (harness.json.dumps(one).encode(), one["ticket_id"].encode(), None, headers if one is not by_fields else [])
            for one in (waiting, by_header, by_fields)])
        self.one_result_each([by_header, by_fields, waiting])

        def spans():
            found = {}
            for trace in jaeger.traces(service):
                for span in trace["spans"]:
                    found.setdefault(trace["traceID"], []).append(span)
            return found
        harness.wait_until(lambda: len(spans().get(parent, [])) >= 8 and "0af7651916cd43dd8448eb211c80319c" in spans(), 30, 0.5)
        names = sorted(span["operationName"] for span in spans()[parent])
        self.assertEqual(names.count("ticket_execution"), 2)
        self.assertEqual(names.count("task_execution"), 2)
        self.assertEqual(names.count("dependency_wait"), 1)
        self.assertEqual(names.count("result_publish"), 2)
        for span in spans()[parent]:
            tags = {tag["key"]: tag["value"] for tag in span["tags"]}
            if span["operationName"] == "ticket_execution":
                self.assertIn(tags["neural.hive.ticket_id"], (by_header["ticket_id"], waiting["ticket_id"]))
                self.assertEqual([ref["spanID"] for ref in span["references"]], ["00f067aa0ba902b7"])
        failed = [span for span in spans()["0af7651916cd43dd8448eb211c80319c"] if span["operationName"] == "ticket_execution"]
        self.assertTrue(any(tag["key"] == "error" and tag["value"] for tag in failed[0]["tags"]))
        # Whoever reads the result can go on from there.
        results = {record.key.decode(): dict(record.headers) for record in self.kafka.read_all(self.topics["results"])}
        self.assertTrue(results[by_header["ticket_id"]]["traceparent"].startswith(f"00-{parent}-".encode()))

    def test_a_collector_that_is_away_costs_nothing_but_spans(self):
        worker = self.worker(OTEL_SDK_DISABLED="false", OTEL_EXPORTER_ENDPOINT="http://127.0.0.1:9")
        tickets = [harness.ticket(["true"]) for _ in range(20)]
        self.kafka.produce_tickets(self.topics["tickets"], tickets)
        self.one_result_each(tickets)
        self.assertEqual(worker.request("GET", "/ready", token=False)[0], 200)
        worker.terminate()
        self.assertEqual(worker.wait(), 0)


if __name__ == "__main__":
    unittest.main()
