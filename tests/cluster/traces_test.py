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

    def test_calls_of_other_services_are_in_the_trace_and_carry_it(self):
        """Statuses and leases belong to their ticket; what serves the worker or many tickets is a trace of its own."""
        jaeger, redis = harness.peer(self, harness.Jaeger()), harness.peer(self, harness.Redis())
        service, registry = harness.ticket_service("--auto-create").start(), harness.service_registry().start()
        for stand_in in (service, registry):
            self.addCleanup(stand_in.close)
        name = f"worker-{self.topics['tickets'][-6:]}"
        worker = self.worker(OTEL_SDK_DISABLED="false", OTEL_EXPORTER_ENDPOINT=jaeger["OTEL_EXPORTER_ENDPOINT"],
                             OTEL_SERVICE_NAME=name, EXECUTION_TICKET_SERVICE_URL=service["EXECUTION_TICKET_SERVICE_URL"],
                             SERVICE_REGISTRY_HOST="127.0.0.1", SERVICE_REGISTRY_PORT=registry["SERVICE_REGISTRY_PORT"],
                             **redis.worker_settings())
        # The first status is tried twice.
        service.control("/mode", {"mode": "status", "status": 503, "count": 1, "methods": ["PATCH"]})
        traced, parent = harness.ticket(["true"]), "4bf92f3577b34da6a3ce929d0e0e4736"
        self.send(traced, f"00-{parent}-00f067aa0ba902b7-01", "vendor=1")
        self.one_result_each([traced])
        silent = harness.ticket(["true"])  # its producer decided against recording
        unrecorded = "0af7651916cd43dd8448eb211c80319c"
        self.send(silent, f"00-{unrecorded}-b7ad6b7169203331-00")
        waiting = harness.ticket(["true"], dependencies=["11111111-2222-4333-8444-555555555555"])
        self.kafka.produce_tickets(self.topics["tickets"], [waiting])
        self.one_result_each([traced, silent])

        def patches(ticket):
            return [row for row in service.control("/patches") if row["ticket_id"] == ticket["ticket_id"]]
        harness.wait_until(lambda: "COMPLETED" in [row["status"] for row in patches(traced)] and
                           "COMPLETED" in [row["status"] for row in patches(silent)] and
                           service.control("/gets") and registry.control("/calls"), 30, 0.2)
        for ticket, trace, flags in ((traced, parent, "01"), (silent, unrecorded, "00")):
            self.assertEqual({(row["traceparent"][:36], row["traceparent"][52:]) for row in patches(ticket)},
                             {(f"00-{trace}-", f"-{flags}")})
        self.assertEqual({row["tracestate"] for row in patches(traced)}, {"vendor=1"})
        worker.terminate()
        self.assertEqual(worker.wait(), 0)

        def spans():
            return {span["spanID"]: {**span, "tags": {tag["key"]: tag["value"] for tag in span["tags"]}}
                    for trace in jaeger.traces(name) for span in trace["spans"]}
        wanted = {"service_registry.register", "service_registry.deregister", "ticket_execution", "redis.acquire_lease",
                  "redis.mark_processed", "redis.give_lease_back", "ticket_service.get_ticket",
                  "ticket_service.update_ticket_status"}
        harness.wait_until(lambda: wanted <= {span["operationName"] for span in spans().values()}, 30, 0.5)
        found = spans()
        self.assertNotIn(unrecorded, {span["traceID"] for span in found.values()})
        ticket_span = next(span for span in found.values()
                           if span["operationName"] == "ticket_execution" and span["traceID"] == parent)

        def of(operation, trace=parent):
            return sorted((span for span in found.values() if span["operationName"] == operation
                           and trace in (None, span["traceID"])), key=lambda span: span["startTime"])
        updates = of("ticket_service.update_ticket_status")
        sent = [row["traceparent"][36:52] for row in patches(traced)]
        self.assertEqual(sorted(span["spanID"] for span in updates), sorted(sent), "each call carries its own span")
        for span in updates + of("redis.acquire_lease") + of("redis.mark_processed") + of("redis.give_lease_back"):
            self.assertEqual([ref["spanID"] for ref in span["references"]], [ticket_span["spanID"]])
            self.assertGreaterEqual(span["startTime"], ticket_span["startTime"])
            self.assertEqual(span["tags"]["span.kind"], "client")
            self.assertEqual(span["tags"]["neural.hive.ticket_id"], traced["ticket_id"])
        refused = next(span for span in updates if span["tags"]["http.response.status_code"] == 503)
        self.assertEqual((refused["tags"]["otel.status_code"], refused["tags"]["error.type"]), ("ERROR", "503"))
        self.assertEqual(refused["tags"]["otel.status_description"], "the answer was 503")
        good = updates[-1]["tags"]
        self.assertEqual((good["http.request.method"], good["server.address"], str(good["server.port"]), good["url.path"]),
                         ("PATCH", "127.0.0.1", service["HTTP_PORT"], f"/api/v1/tickets/{traced['ticket_id']}/status"))
        calls = {row["metadata"].get("traceparent", "")[36:52]: row for row in registry.control("/calls")}
        for operation in ("register", "heartbeat", "deregister"):
            # One that was given up, or found nobody, may not have arrived.
            answered = [span for span in of(f"service_registry.{operation}", None)
                        if span["tags"].get("rpc.grpc.status_code") == 0]
            self.assertTrue(answered or operation == "heartbeat")
            for span in answered:
                self.assertEqual(span["references"], [])
                self.assertEqual(span["tags"]["rpc.method"], operation.capitalize())
                self.assertEqual(calls[span["spanID"]]["method"], operation.capitalize())
        look_up = of("ticket_service.get_ticket", None)[0]
        self.assertEqual(look_up["references"], [])
        self.assertIn(look_up["traceID"], {row["traceparent"][3:35] for row in service.control("/gets")})

    def test_switched_off_the_context_of_the_producer_is_passed_on(self):
        service = harness.ticket_service("--auto-create").start()
        self.addCleanup(service.close)
        self.worker(EXECUTION_TICKET_SERVICE_URL=service["EXECUTION_TICKET_SERVICE_URL"])
        came = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        with_trace, without = harness.ticket(["true"]), harness.ticket(["true"])
        self.send(with_trace, came, "vendor=1")
        self.kafka.produce_tickets(self.topics["tickets"], [without])
        self.one_result_each([with_trace, without])

        def said(ticket):
            return {(row["traceparent"], row["tracestate"]) for row in service.control("/patches")
                    if row["ticket_id"] == ticket["ticket_id"]}
        harness.wait_until(lambda: said(with_trace) and said(without), 20, 0.2)
        self.assertEqual(said(with_trace), {(came, "vendor=1")})
        self.assertEqual(said(without), {("", "")})
        headers = {record.key.decode(): dict(record.headers) for record in self.kafka.read_all(self.topics["results"])}
        self.assertEqual(headers[with_trace["ticket_id"]]["traceparent"], came.encode())
        self.assertEqual(headers[with_trace["ticket_id"]]["tracestate"], b"vendor=1")
        self.assertNotIn("traceparent", headers[without["ticket_id"]])

    def test_alerts_and_dead_letters_carry_the_trace_too(self):
        self.worker()
        came = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        self.send(harness.ticket(task_type="COMPENSATE"), came)
        for topic in ("dead", "alerts"):
            harness.wait_until(lambda topic=topic: sum(self.kafka.ends(self.topics[topic]).values()) > 0, 20, 0.2)
            headers = dict(self.kafka.read_all(self.topics[topic])[0].headers)
            self.assertEqual(headers.get("traceparent"), came.encode(), topic)

    def send(self, ticket, traceparent, tracestate=None):
        headers = [("traceparent", traceparent.encode())]
        if tracestate:
            headers.append(("tracestate", tracestate.encode()))
        self.kafka.produce(self.topics["tickets"],
                           [(harness.json.dumps(ticket).encode(), ticket["ticket_id"].encode(), None, headers)])

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
