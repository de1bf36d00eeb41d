"""Dead letters in a topic: shown, sent back, discarded, exported, by any worker of the group; whatever others write there."""

import base64
import json
import time
import unittest

import flow_test
import harness


class DeadLetters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        harness.need_binary()
        cls.kafka = harness.peer(cls, harness.Kafka())

    def setUp(self):
        self.topics = {name: self.kafka.topic(name, 6 if name == "tickets" else 3, **more)
                       for name, more in (("tickets", {}), ("results", {}), ("dead", {"max_message_bytes": 4_000_000}),
                                          ("alerts", {}))}

    def worker(self, **more):
        worker = harness.Worker(flow_test.settings_of(self.kafka, self.topics, **more))
        self.addCleanup(worker.close)
        return worker.start()

    def letters(self, worker, count=None, limit=30):
        """The rows of `dlq ls`, by key; waits for so many."""
        end = time.monotonic() + limit
        while True:
            rows = json.loads(worker.cli("dlq", "ls", "--limit", "1000", "--json", check=0).stdout)["dlq"]
            if count is None or len(rows) >= count or time.monotonic() > end:
                break
            time.sleep(0.3)
        if count is not None:
            self.assertEqual(len(rows), count, rows)
        return {row["key"]: row for row in rows}

    def key_of(self, worker, ticket_id, **more):
        return next(key for key, row in self.letters(worker).items()
                    if row["ticket_id"] == ticket_id and all(row[name] == value for name, value in more.items()))

    def show(self, worker, key):
        return json.loads(worker.cli("dlq", "show", key, "--json", check=0).stdout)

    def send(self, rows):
        return self.kafka.produce(self.topics["tickets"], rows)

    def refused(self, worker, verb, key, status):
        """By the API with that status, and by the command with words."""
        method, path = {"show": ("GET", ""), "replay": ("POST", "/replay"), "discard": ("DELETE", "")}[verb]
        answer = worker.request(method, f"/api/v1/dlq/{key}{path}", {} if method == "POST" else None)
        self.assertEqual(answer[0], status, answer)
        done = worker.cli("dlq", verb, key)
        self.assertEqual(done.returncode, 5 if status == 404 else 1, done.stderr)
        return done.stderr

    def results_of(self, ticket_id, limit=30):
        end = time.monotonic() + limit
        while True:
            found = [result for record, result in self.kafka.results(self.topics["results"])
                     if record.key.decode() == ticket_id]
            if found or time.monotonic() > end:
                return found
            time.sleep(0.3)

    def letter_of_other_times(self, one, reason="max_retries_exceeded"):
        """As the first implementation wrote them: every key of the ticket, and what it knew of the death."""
        moment = int(time.time() * 1000)
        return json.dumps({**one, "dlq_metadata": {"original_error": "ConnectionError: refused", "error_type": "ConnectionError",
                                                   "retry_count": 3, "last_failure_timestamp": moment,
                                                   "dlq_published_at": moment, "reason": reason},
                           "processed_at": "2026-01-01T00:00:00", "processed_at_ms": 1, "_id": "abc"}).encode()

    def test_every_kind_is_listed_and_shown_with_its_bytes(self):
        worker = self.worker()
        invalid = {**harness.ticket(), "sla": "soon"}
        unserved = harness.ticket(task_type="COMPENSATE", description="ünïcode")
        garbage = {"text": b"hello", "binary": bytes(range(256)), "deep": b"[" * 200 + b"]" * 200, "empty": b""}
        self.send([(json.dumps(invalid).encode(), b"a", 0), (json.dumps(unserved).encode(), b"b", 1)] +
                  [(value, name.encode(), 2) for name, value in garbage.items()])
        rows = self.letters(worker, 6)
        self.assertEqual({row["state"] for row in rows.values()}, {"open"})
        times = [row["at"] for row in rows.values()]
        self.assertEqual(times, sorted(times, reverse=True), "newest first")

        letter = self.show(worker, self.key_of(worker, invalid["ticket_id"]))
        self.assertEqual(letter["reason"], "invalid_ticket")
        self.assertIn("sla", letter["error"])
        payload = json.loads(letter["payload"])
        payload.pop("dlq_metadata")
        self.assertEqual(payload, invalid)
        letter = self.show(worker, self.key_of(worker, unserved["ticket_id"]))
        self.assertEqual((letter["reason"], letter["task_type"]), ("unsupported_task_type", "COMPENSATE"))
        self.assertEqual(json.loads(letter["payload"])["description"], "ünïcode")
        shown = [self.show(worker, key) for key, row in rows.items() if row["reason"] == "decode_error"]
        originals = [base64.b64decode(letter["original_base64"]) for letter in shown if "original_base64" in letter]
        self.assertEqual(sorted(originals), sorted(value for value in garbage.values() if value))

        page = json.loads(worker.cli("dlq", "ls", "--limit", "2", "--offset", "1", "--json", check=0).stdout)
        self.assertEqual([row["key"] for row in page["dlq"]], list(rows)[1:3])
        self.assertEqual(page["total"], 6)
        text = worker.cli("dlq", "ls", check=0).stdout
        self.assertIn("unsupported_task_type", text)
        shown = next(letter["key"] for letter in shown if "original_base64" in letter)
        self.assertIn("original_base64", worker.cli("dlq", "show", shown, check=0).stdout)
        for key in ("0-999", "77-0", "7", "x", "0-18446744073709551616"):
            self.refused(worker, "show", key, status=404)
            self.refused(worker, "replay", key, status=404)
            self.refused(worker, "discard", key, status=404)

    def test_a_replayed_ticket_runs_once_and_both_workers_say_so(self):
        first, second = self.worker(), self.worker()
        one = harness.ticket(["true"])
        self.kafka.produce(self.topics["dead"], [(self.letter_of_other_times(one), one["ticket_id"].encode(), 1)])
        key = self.key_of(first, one["ticket_id"])
        self.assertEqual(key, "1-0")
        self.assertEqual(self.letters(second)[key]["reason"], "max_retries_exceeded")
        self.assertIn("nothing was done", first.cli("dlq", "replay", key, "--dry-run", check=0).stderr)
        self.assertEqual(self.kafka.read_all(self.topics["tickets"]), [])
        first.cli("dlq", "replay", key, check=0)

        results = self.results_of(one["ticket_id"])
        self.assertEqual([result["status"] for result in results], ["COMPLETED"])
        sent = self.kafka.read_all(self.topics["tickets"])
        self.assertEqual([record.key.decode() for record in sent], [one["ticket_id"]])
        self.assertEqual(json.loads(sent[0].value), {**one, "status": "PENDING"}, "the ticket, and nothing of its death")
        self.assertEqual(dict(sent[0].headers)["x-worker-replay-of"], key.encode())
        mark = self.kafka.read_all(self.topics["dead"])[-1]
        self.assertEqual((mark.partition, mark.key.decode(), mark.value), (1, one["ticket_id"], None))
        headers = dict(mark.headers)
        self.assertEqual((headers["x-worker-settles"], headers["x-worker-action"]), (key.encode(), b"replayed"))

        for worker in (first, second):
            row = self.letters(worker)[key]
            self.assertEqual((row["state"], row["replays"]), ("replayed", 1))
            self.assertTrue(row["settled_by"].startswith("cli@"), row)
            self.assertIn("replayed", self.refused(worker, "replay", key, status=409))
            self.refused(worker, "discard", key, status=409)
        self.assertEqual(len(self.kafka.read_all(self.topics["tickets"])), 1)
        first.terminate()
        self.assertEqual(first.wait(), 0)
        first.start()
        self.assertEqual(self.letters(first)[key]["state"], "replayed", "after a restart too")
        self.assertEqual(len(self.results_of(one["ticket_id"])), 1)

    def test_at_least_once_replays_too(self):
        worker = self.worker(KAFKA_DELIVERY="at_least_once")
        one = harness.ticket(["true"])
        self.kafka.produce(self.topics["dead"], [(self.letter_of_other_times(one), None, 0)])
        worker.cli("dlq", "replay", "0-0", check=0)
        self.assertEqual([result["status"] for result in self.results_of(one["ticket_id"])], ["COMPLETED"])
        self.assertEqual(self.letters(worker)["0-0"]["state"], "replayed")
        self.refused(worker, "replay", "0-0", status=409)

    def test_what_dies_again_is_another_letter_that_knows_of_the_first(self):
        worker = self.worker()
        one = harness.ticket(task_type="COMPENSATE")
        self.send([(json.dumps(one).encode(), one["ticket_id"].encode(), None)])
        old = next(iter(self.letters(worker, 1)))
        worker.cli("dlq", "replay", old, check=0)
        rows = self.letters(worker, 2)
        new = next(key for key in rows if key != old)
        self.assertEqual((rows[old]["state"], rows[new]["state"], rows[new]["replays"]), ("replayed", "open", 1))
        worker.cli("dlq", "discard", new, "--reason", "not needed", check=0)
        self.assertEqual(self.letters(worker)[new]["state"], "discarded")
        mark = self.kafka.read_all(self.topics["dead"])
        mark = next(record for record in mark if dict(record.headers).get("x-worker-settles") == new.encode())
        self.assertEqual(dict(mark.headers)["x-worker-reason"], b"not needed")
        self.refused(worker, "replay", new, status=409)
        self.assertEqual(len(self.kafka.read_all(self.topics["tickets"])), 2)

    def test_discard_all_leaves_nothing_open(self):
        worker, other = self.worker(), self.worker()
        rows = [(self.letter_of_other_times(harness.ticket()), None, index % 3) for index in range(12)]
        self.kafka.produce(self.topics["dead"], rows)
        self.assertEqual(worker.cli("dlq", "discard", "--all").returncode, 2, "it asks first")
        self.assertEqual(len(worker.cli("dlq", "discard", "--all", "-y", check=0).stdout.split()), 12)
        self.assertEqual({row["state"] for row in self.letters(other).values()}, {"discarded"})
        self.assertEqual(other.cli("dlq", "replay", "--all", "-y", check=0).stdout, "")
        self.assertEqual(self.kafka.read_all(self.topics["tickets"]), [])

    def test_export_goes_round(self):
        worker = self.worker()
        ones = [harness.ticket(["true"]) for _ in range(5)]
        self.kafka.produce(self.topics["dead"], [(self.letter_of_other_times(one, "a" if index < 3 else "b"), None, index % 3)
                                                 for index, one in enumerate(ones)])
        file = worker.folder / "letters.jsonl"
        worker.cli("dlq", "export", str(file), check=0)
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        self.assertEqual(len(lines), 5)
        some = worker.cli("dlq", "export", "--reason", "b", check=0).stdout.splitlines()
        self.assertEqual({json.loads(line)["ticket_id"] for line in some}, {one["ticket_id"] for one in ones[3:]})
        some = worker.cli("dlq", "export", "--ticket", ones[0]["ticket_id"][:13], check=0).stdout.splitlines()
        self.assertEqual([json.loads(line)["ticket_id"] for line in some], [ones[0]["ticket_id"]])
        # What was exported is enough to bring everything back by hand, as the runbook says.
        again = []
        for line in lines:
            one = json.loads(line["payload"])
            for key in ("dlq_metadata", "processed_at", "processed_at_ms", "_id"):
                del one[key]
            again.append({**one, "status": "PENDING"})
        self.assertEqual(sorted(again, key=lambda one: one["ticket_id"]), sorted(ones, key=lambda one: one["ticket_id"]))
        self.kafka.produce_tickets(self.topics["tickets"], again)
        for one in ones:
            self.assertEqual([result["status"] for result in self.results_of(one["ticket_id"])], ["COMPLETED"])

    def test_garbage_of_others_is_shown_and_can_be_discarded_but_not_replayed(self):
        worker = self.worker()
        good = harness.ticket(["true"])
        huge = json.dumps({"ticket_id": "huge", "blob": "x" * 1_048_576}).encode()
        garbage = [(b"not json", b"k1", 0), (None, b"k2", 0), (huge, b"k3", 0), (bytes(range(256)) * 4096, b"\xff\xfe", 0),
                   (b"[" * 100_000, None, 0), (b'{"ticket_id": 7, "dlq_metadata": [], "_deserialization_error": "x"}', None, 0),
                   (b'{"ticket_id": "' + b"i" * 300 + b'"}', None, 0), (b"", None, 0)]
        # Marks that lie: of a letter that comes later, in another partition, of nothing, of no such action.
        marks = [(None, None, 1, [("x-worker-settles", value), ("x-worker-action", action)])
                 for value, action in ((b"0-8", b"replayed"), (b"1-99", b"discarded"), (b"x", b"replayed"), (b"", b""),
                                       (b"0-0", b"exploded"))]
        self.kafka.produce(self.topics["dead"], garbage + marks + [(self.letter_of_other_times(good), None, 0)])
        rows = self.letters(worker, 9)
        self.assertEqual({row["state"] for row in rows.values()}, {"open"})
        self.assertEqual([rows[f"0-{offset}"]["reason"] for offset in (0, 1, 3, 4, 7)], ["unreadable"] * 5)
        self.assertEqual(rows["0-0"]["ticket_id"], "k1")
        self.assertEqual(rows["0-2"]["ticket_id"], "huge")
        for offset in (0, 1, 3, 4, 5, 6, 7):
            self.refused(worker, "replay", f"0-{offset}", status=422)
        self.assertEqual(base64.b64decode(self.show(worker, "0-3")["payload_base64"]), bytes(range(256)) * 4096)
        self.assertEqual(self.show(worker, "0-2")["payload"], huge.decode())
        # It could be a ticket, but no topic for tickets takes so much: nothing of the replay happens.
        self.assertNotEqual(worker.cli("dlq", "replay", "0-2").returncode, 0)
        self.assertEqual(self.letters(worker)["0-2"]["state"], "open")
        worker.cli("dlq", "replay", "0-8", check=0)
        worker.cli("dlq", "discard", "--all", "-y", check=0)
        self.assertEqual(sorted(row["state"] for row in self.letters(worker).values()), ["discarded"] * 8 + ["replayed"])
        self.assertEqual([result["status"] for result in self.results_of(good["ticket_id"])], ["COMPLETED"])
        self.assertEqual(len(self.kafka.read_all(self.topics["tickets"])), 1)
        self.assertTrue(worker.running())

    def test_a_missing_topic_and_a_broker_that_is_away_are_said(self):
        worker = self.worker(KAFKA_DLQ_TOPIC="no-such-topic")
        status, body = worker.request("GET", "/api/v1/dlq")
        self.assertEqual(status, 503, body)
        self.assertIn("no-such-topic", json.dumps(body))
        self.kafka.freeze()
        try:
            status, body = worker.request("GET", "/api/v1/dlq", timeout=60)
            self.assertEqual(status, 503, body)
            worker.terminate()
            worker.wait(60)  # and it does not hold up the end
        finally:
            self.kafka.thaw()


if __name__ == "__main__":
    unittest.main()
