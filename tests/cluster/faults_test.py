"""What goes wrong around a worker: foreign metadata, repeats, missing and recreated topics. Each ticket has exactly one
result, and each execution is written down by the task itself. (Workers that come and go: members_test.py.)"""

import base64
import collections
import json
import time
import unittest

import confluent_kafka

import avro_schemas
import flow_test
import harness

FEW = {"MAX_CONCURRENT_TASKS": "8", "MAX_CONCURRENT_TICKETS": "40"}


class Faults(flow_test.Cluster):
    def setUp(self):
        super().setUp()
        self.folder = harness.work_folder(self)

    def worker(self, wait=True, **more):
        return super().worker(wait, **{**FEW, "LOCAL_RUNTIME_WORKING_DIR": str(self.folder), **more})

    # ------------------------------------------------------------ tickets that write down that they run

    def noted(self, seconds=0, code=0, **fields):
        made = harness.ticket(**fields)
        name = made["ticket_id"]
        script = f"echo start {name} >> journal; sleep {seconds}; echo end {name} >> journal; exit {code}"
        made["parameters"]["command"] = ["sh", "-c", script]
        return made

    def journal(self):
        """[(start or end, ticket id)] in the order of writing."""
        path = self.folder / "shared" / "journal"
        return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []

    def runs(self):
        return collections.Counter(name for what, name in self.journal() if what == "start")

    def assert_run_once(self, tickets):
        runs = self.runs()
        self.assertEqual({one["ticket_id"]: runs[one["ticket_id"]] for one in tickets},
                         {one["ticket_id"]: 1 for one in tickets})

    def most_at_once(self, ticket):
        now = most = 0
        for what, name in self.journal():
            if name == ticket["ticket_id"]:
                now += 1 if what == "start" else -1
                most = max(most, now)
        return most

    # ------------------------------------------------------------ the broker's side

    def make_topic(self, name, partitions, **config):
        """A topic of that name; one that was just deleted may be there for a moment."""
        settings = {key.replace("_", "."): str(value) for key, value in config.items()}

        def made():
            new = harness.kafka_admin.NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
            try:
                self.kafka.admin().create_topics([new], request_timeout=30)[name].result(30)
            except confluent_kafka.KafkaException:
                return False
            return True
        harness.wait_until(made, 20, 0.3)
        harness.wait_until(lambda: self.kafka.partitions(name) == partitions and self.has_leaders(name), 15, 0.1)

    def has_leaders(self, topic):
        try:
            return bool(self.kafka.ends(topic))
        except confluent_kafka.KafkaException:
            return False

    def delete_topic(self, name):
        self.kafka.delete_topic(name)
        harness.wait_until(lambda: self.kafka.partitions(name) == 0, 15, 0.05)

    def commit_as_stranger(self, offsets):
        """{partition: (offset, metadata)} into a group without members."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka.plain, "group.id": self.group, "log_level": 0,
                                             "enable.auto.commit": False})
        rows = [confluent_kafka.TopicPartition(self.topics["tickets"], part, offset, metadata)
                for part, (offset, metadata) in offsets.items()]
        answer = consumer.commit(offsets=rows, asynchronous=False)
        self.assertEqual([row.error for row in answer if row.error], [])
        consumer.close()

    def wait_committed(self, limit=30):
        """Until everything in the tickets topic is settled."""
        ends = {part: end for part, end in self.kafka.ends(self.topics["tickets"]).items() if end > 0}

        def settled():
            committed = self.kafka.committed(self.group, self.topics["tickets"])
            return all(committed.get(part, (0, ""))[0] >= end for part, end in ends.items())
        harness.wait_until(settled, limit, 0.3)

    def wait_all_assigned(self, members, partitions=6):
        harness.wait_until(lambda: len(self.kafka.members(self.group)) == members and
                           len(self.kafka.assigned(self.group, self.topics["tickets"])) == partitions, 30, 0.2)

    def produce(self, tickets, spread=None):
        place = {one["ticket_id"]: index for index, one in enumerate(tickets)}
        return self.kafka.produce_tickets(self.topics["tickets"], tickets,
                                          spread=spread or (lambda one: place[one["ticket_id"]] % 6))

    def add_partitions(self, topic, total):
        self.kafka.add_partitions(topic, total)
        harness.wait_until(lambda: self.kafka.partitions(topic) == total and self.has_leaders(topic), 15, 0.1)
        self.kafka._producer = None  # it knows the old number for a while

    def result_rows(self):
        rows = collections.defaultdict(list)
        for record, result in self.kafka.results(self.topics["results"]):
            rows[record.key.decode()].append((record, result))
        return rows

    def letters(self):
        return [json.loads(record.value) for record in self.kafka.read_all(self.topics["dead"]) if record.value]

    def end(self, *workers):
        for worker in workers:
            worker.terminate()
        for worker in workers:
            self.assertEqual(worker.wait(), 0, worker.tail())

    def logged(self, worker, text):
        return [line for line in worker.log_lines() if text in json.dumps(line)]


class Metadata(Faults):
    def test_metadata_of_others_is_ignored_and_finished_tickets_are_found_by_their_results(self):
        worker = self.worker()
        first = [self.noted() for _ in range(12)]
        self.produce(first)
        self.one_result_each(first)
        self.end(worker)
        strange = ["hello, I am another client", "é\u2603 \x01\x02\x7f", "x" * 4000, "1r", "1r!!!!", "2rAAAA"]
        self.commit_as_stranger({part: (0, text) for part, text in enumerate(strange)})
        second = [self.noted() for _ in range(12)]
        self.produce(second)
        worker = self.worker()
        self.one_result_each(first + second)
        self.wait_committed()
        self.assert_run_once(first + second)
        self.end(worker)
        self.assertEqual(self.letters(), [])

    def test_metadata_that_claims_what_does_not_exist_loses_nothing(self):
        """Runs far beyond the log, and a delivery count that is cut off."""
        far = "1r" + base64.urlsafe_b64encode(b"\0\1" + b"\xff\xff\xff\xff\x7f" + b"\xff\xff\xff\xff\x7f" + b"\0").decode().rstrip("=")
        cut = "1r" + base64.urlsafe_b64encode(b"\0\0\xff").decode().rstrip("=")
        self.commit_as_stranger({0: (0, far), 1: (0, cut)})
        tickets = [self.noted() for _ in range(12)]
        self.produce(tickets)
        self.worker()
        self.one_result_each(tickets)
        self.assert_run_once(tickets)


class Repeats(Faults):
    def test_a_completed_ticket_is_not_run_again_and_a_failed_one_is(self):
        worker = self.worker()
        good, bad = self.noted(), self.noted(code=3)
        self.produce([good, bad])
        self.one_result_each([good, bad])
        self.produce([good, good, bad], spread=lambda one: 2)
        self.produce([good, bad], spread=lambda one: 5)
        self.wait_committed()
        rows = self.result_rows()
        self.assertEqual(len(rows[good["ticket_id"]]), 1)
        self.assertEqual(len(rows[bad["ticket_id"]]), 3)
        self.assertEqual([self.runs()[one["ticket_id"]] for one in (good, bad)], [1, 3])
        self.assertEqual(self.most_at_once(bad), 1)
        self.end(worker)

    def test_a_completed_ticket_is_known_after_a_restart_too(self):
        worker = self.worker()
        good = self.noted()
        self.produce([good])
        self.one_result_each([good])
        self.end(worker)
        self.produce([good], spread=lambda one: 4)
        worker.start()
        self.wait_committed()
        self.assertEqual(len(self.result_rows()[good["ticket_id"]]), 1)
        self.assert_run_once([good])

    def test_two_records_of_one_ticket_on_one_worker_do_not_run_at_once(self):
        self.worker()
        good, bad = self.noted(2), self.noted(2, code=1)
        self.produce([good, bad, good, bad])
        self.wait_committed()
        self.assertEqual([self.most_at_once(one) for one in (good, bad)], [1, 1])
        rows = self.result_rows()
        self.assertEqual([len(rows[one["ticket_id"]]) for one in (good, bad)], [1, 2])

    def test_two_records_of_one_ticket_on_two_workers_do_not_run_at_once_with_redis(self):
        redis = harness.peer(self, harness.Redis())
        workers = [self.worker(**redis.worker_settings()) for _ in range(2)]
        self.wait_all_assigned(2)
        owner = {part: index for index, parts in enumerate(self.kafka.members(self.group).values()) for _, part in parts}
        one_of = [next(part for part, index in owner.items() if index == wanted) for wanted in (0, 1)]
        tickets = [self.noted(2, code=number % 2) for number in range(4)]
        for part in one_of:
            self.produce(tickets, spread=lambda one, part=part: part)
        self.wait_committed(40)
        self.assertEqual([self.most_at_once(one) for one in tickets], [1] * 4)
        rows = self.result_rows()
        self.assertEqual([len(rows[one["ticket_id"]]) for one in tickets], [1, 2, 1, 2])
        self.end(*workers)

    def test_an_ending_that_only_redis_knows_is_counted_and_does_not_stop_a_ticket(self):
        redis = harness.peer(self, harness.Redis())
        worker = self.worker(**redis.worker_settings())
        one = self.noted()
        redis.command("SET", f"ticket:processed:{one['ticket_id']}", "1")  # as another implementation says it
        self.produce([one])
        hits = "worker_agent_idempotency_cache_hits_total"
        self.assertTrue(harness.wait_until(lambda: worker.metrics().value(hits) == 1, 20, 0.3))
        self.one_result_each([one], 60)
        self.assertEqual(worker.metrics().value(hits), 1, "once for the record, however often it was asked for")
        self.end(worker)


class Targets(Faults):
    """A target that is missing or refuses holds up only what goes there."""

    def test_the_results_topic_comes_late(self):
        self.topics["results"] += ".late"
        worker = self.worker(wait=False)
        tickets = [self.noted() for _ in range(6)]
        self.produce(tickets)
        time.sleep(4)
        self.assertNotEqual(worker.request("GET", "/ready", token=False)[0], 200)
        self.make_topic(self.topics["results"], 3)
        self.one_result_each(tickets, 30)
        self.wait_committed()
        self.assert_run_once(tickets)

    def test_the_results_topic_goes_and_comes_again_and_dead_letters_go_on(self):
        worker = self.worker()
        before = [self.noted() for _ in range(6)]
        self.produce(before)
        self.one_result_each(before)
        self.delete_topic(self.topics["results"])
        tickets = [self.noted() for _ in range(6)]
        self.produce(tickets)
        harness.wait_until(lambda: all(self.runs()[one["ticket_id"]] for one in tickets), 20, 0.2)
        self.kafka.produce(self.topics["tickets"], [(b"nothing", b"k", part) for part in range(6)])
        harness.wait_until(lambda: len(self.letters()) == 6, 60, 0.3)
        self.make_topic(self.topics["results"], 3)
        self.one_result_each(tickets, 30)
        self.wait_committed()
        after = [self.noted(dependencies=[tickets[0]["ticket_id"]]) for _ in range(6)]
        self.produce(after)
        self.one_result_each(tickets + after, 30)
        self.assert_run_once(before + tickets + after)
        self.end(worker)

    def test_the_dead_letter_topic_comes_late(self):
        self.topics["dead"] += ".late"
        worker = self.worker()
        tickets = [self.noted() for _ in range(6)]
        self.kafka.produce(self.topics["tickets"], [(b"nothing", b"k", 0)] * 3)
        self.produce(tickets, spread=lambda one: 0)
        self.one_result_each(tickets, 20)
        self.assertEqual(self.kafka.committed(self.group, self.topics["tickets"])[0][0], 0)
        failed = {"error_type": "all_retries_exhausted"}
        self.assertTrue(harness.wait_until(
            lambda: worker.metrics().value("worker_agent_dlq_publish_errors_total", **failed) >= 3, 20, 0.3))
        self.make_topic(self.topics["dead"], 3)
        harness.wait_until(lambda: len(self.letters()) == 3, 25, 0.3)
        self.wait_committed()
        self.assertEqual(worker.metrics().value("worker_agent_dlq_publish_duration_seconds_count"), 3)
        before = worker.metrics().value("worker_agent_dlq_publish_errors_total", **failed)
        time.sleep(2)
        self.assertEqual(worker.metrics().value("worker_agent_dlq_publish_errors_total", **failed), before)
        self.assert_run_once(tickets)

    def test_the_alert_topic_is_missing(self):
        self.topics["alerts"] += ".never"
        self.worker()
        self.kafka.produce(self.topics["tickets"], [(b"nothing", b"k", 0)])
        harness.wait_until(lambda: len(self.letters()) == 1, 20, 0.3)
        self.wait_committed()

    def test_a_result_above_the_topics_limit_shrinks(self):
        self.topics["results"] = self.kafka.topic("small", 3, max_message_bytes=6000)
        self.worker()
        noisy = harness.ticket(["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i of much; i=$((i+1)); done"])
        quiet = [self.noted() for _ in range(6)]
        self.produce([noisy, *quiet])
        results = self.one_result_each([noisy, *quiet], 30)
        self.assertEqual(results[noisy["ticket_id"]]["status"], "COMPLETED")
        self.assertIn("truncated", results[noisy["ticket_id"]]["result"]["metadata"])
        self.wait_committed()
        self.assert_run_once(quiet)

    def test_small_results_that_are_too_large_together(self):
        """The topic's limit is on a batch of records; none of these is above it."""
        self.topics["results"] = self.kafka.topic("small", 1, max_message_bytes=6000)
        worker = self.worker()
        quiet = [self.noted() for _ in range(24)]
        self.produce(quiet)
        for result in self.one_result_each(quiet, 30).values():
            self.assertEqual(result["status"], "COMPLETED")
            self.assertNotEqual(result["result"]["metadata"].get("truncated"), "true")
        self.wait_committed()
        self.assert_run_once(quiet)
        self.end(worker)

    def test_a_result_that_no_topic_takes_does_not_keep_the_worker_busy(self):
        self.topics["results"] = self.kafka.topic("tiny", 1, max_message_bytes=100)
        worker = self.worker()
        self.produce([self.noted()])

        def batches():
            return max((line["batch"] for line in self.logged(worker, "publish_result_failed") if "batch" in line), default=0)
        harness.wait_until(lambda: batches() > 3, 30, 0.2)
        before = batches()
        time.sleep(6)
        self.assertTrue(before < batches() < before + 30, (before, batches()))


class Topics(Faults):
    def worked_off(self, count):
        """A worker that has just finished so many tickets, and these."""
        worker, tickets = self.worker(), [self.noted() for _ in range(count)]
        self.produce(tickets)
        self.one_result_each(tickets)
        self.wait_committed()
        return worker, tickets

    def made_anew(self, count):
        """So many new tickets, in a new topic of the old one's name."""
        self.delete_topic(self.topics["tickets"])
        self.make_topic(self.topics["tickets"], 6)
        tickets = [self.noted() for _ in range(count)]
        self.produce(tickets)
        return tickets

    def test_the_tickets_topic_is_made_anew_between_two_runs(self):
        worker, old = self.worked_off(18)
        self.end(worker)
        new = self.made_anew(12)
        worker.start()
        self.one_result_each(old + new, 30)
        self.assert_run_once(old + new)

    def test_the_tickets_topic_is_made_anew_under_a_worker(self):
        for before, after in ((18, 12), (6, 24)):  # it stays below the old one's end, or grows beyond it
            with self.subTest(before=before, after=after):
                worker, old = self.worked_off(before)
                new = self.made_anew(after)
                self.one_result_each(old + new, 25)
                self.wait_committed()
                self.assert_run_once(old + new)
                self.end(worker)

    def test_what_was_committed_late_for_the_old_topic_does_not_count_for_the_new_one(self):
        """As by a worker that ends in the moment between the new topic's making and its noticing."""
        worker, old = self.worked_off(12)
        self.end(worker)
        late = self.kafka.committed(self.group, self.topics["tickets"])
        self.assertEqual(len({text.partition("@")[2] for _, text in late.values()}), 1, late)
        new = self.made_anew(24)
        self.commit_as_stranger(late)
        worker.start()
        self.one_result_each(old + new, 30)
        self.wait_committed()
        self.assert_run_once(old + new)
        self.assertTrue(self.logged(worker, "made anew"))
        # What the same topic's commits say does count.
        self.end(worker)
        other = self.worker()
        self.wait_all_assigned(1)
        self.assert_run_once(old + new)
        self.assertFalse(self.logged(other, "made anew"))
        self.end(other)

    def test_partitions_are_added_to_tickets_and_results(self):
        worker = self.worker(KAFKA_AUTO_OFFSET_RESET="latest")
        first = [self.noted() for _ in range(6)]
        self.wait_all_assigned(1)
        time.sleep(1)
        self.produce(first)
        self.one_result_each(first)
        self.add_partitions(self.topics["tickets"], 8)
        self.add_partitions(self.topics["results"], 6)
        second = [self.noted() for _ in range(8)]
        waiting = [self.noted(dependencies=[one["ticket_id"]]) for one in second]
        self.produce(second, spread=lambda one: 6 + second.index(one) % 2)
        self.produce(waiting)
        self.one_result_each(first + second + waiting, 35)
        self.wait_committed()
        self.assert_run_once(first + second + waiting)
        self.end(worker)

    def test_retention_takes_what_was_not_read_yet(self):
        worker = self.worker()
        first = [self.noted() for _ in range(4)]
        self.produce(first, spread=lambda one: 0)
        self.one_result_each(first)
        self.end(worker)
        gone, left = [self.noted() for _ in range(5)], [self.noted() for _ in range(5)]
        self.produce(gone, spread=lambda one: 0)
        self.produce(left, spread=lambda one: 0)
        cut = confluent_kafka.TopicPartition(self.topics["tickets"], 0, 9)
        for future in self.kafka.admin().delete_records([cut]).values():
            future.result(30)
        worker.start()
        self.one_result_each(first + left, 30)
        self.assert_run_once(first + left)
        self.assertTrue(self.logged(worker, "the log begins at 9"))
        self.wait_committed()
        self.end(worker)

    def test_retention_takes_what_a_running_worker_has_in_hand(self):
        worker = self.worker(MAX_CONCURRENT_TASKS="1", MAX_CONCURRENT_TICKETS="2")
        tickets = [self.noted(1) for _ in range(8)]
        self.produce(tickets, spread=lambda one: 0)
        harness.wait_until(lambda: len(self.runs()) >= 2, 20, 0.1)
        cut = confluent_kafka.TopicPartition(self.topics["tickets"], 0, 8)
        for future in self.kafka.admin().delete_records([cut]).values():
            future.result(30)
        after = [self.noted() for _ in range(4)]
        self.produce(after, spread=lambda one: 0)
        self.one_result_each(after, 30)
        self.wait_committed()
        self.assertEqual({name: count for name, count in self.runs().items() if count > 1}, {})
        self.end(worker)


class Dependencies(Faults):
    def test_chains_across_partitions_with_the_last_first(self):
        workers = [self.worker(MAX_CONCURRENT_TASKS="2", MAX_CONCURRENT_TICKETS="3") for _ in range(2)]
        self.wait_all_assigned(2)
        chains = []
        for _ in range(6):
            chain = [self.noted()]
            for _ in range(5):
                chain.append(self.noted(dependencies=[chain[-1]["ticket_id"]]))
            chains.append(chain)
        for level in reversed(range(6)):
            self.produce([chain[level] for chain in chains], spread=lambda one, level=level: (5 - level) % 6)
        tickets = [one for chain in chains for one in chain]
        results = self.one_result_each(tickets, 35)
        self.assertEqual({result["status"] for result in results.values()}, {"COMPLETED"})
        written = self.journal()
        for chain in chains:
            for before, after in zip(chain, chain[1:]):
                self.assertLess(written.index(("end", before["ticket_id"])), written.index(("start", after["ticket_id"])))
        self.assert_run_once(tickets)
        self.end(*workers)

    def test_a_predecessor_that_completed_long_before_while_the_ticket_service_is_away(self):
        away = {"EXECUTION_TICKET_SERVICE_URL": "http://127.0.0.1:9", "KAFKA_RESULTS_MARGIN_SECONDS": "0"}
        worker = self.worker(**away)
        day = 24 * 3600 * 1000
        before = [self.noted(created_at=int(time.time() * 1000) - day) for _ in range(3)]
        failed = self.noted(code=1, created_at=int(time.time() * 1000) - day)
        self.produce([*before, failed])
        self.one_result_each([*before, failed])
        self.end(worker)
        time.sleep(1.5)
        after = [self.noted(dependencies=[one["ticket_id"] for one in before]) for _ in range(4)]
        never = self.noted(dependencies=[failed["ticket_id"]])
        self.produce([*after, never])
        other = self.worker(**away)
        self.one_result_each([*before, failed, *after], 35)
        self.assert_run_once([*before, *after])
        self.assertEqual(self.runs()[never["ticket_id"]], 0)
        self.end(other)


class ResultsOfOthers(Faults):
    """Another implementation works in the same group: its results are Avro and have no headers."""

    def foreign_results(self, registry, *endings):
        schema_id = registry.register(f"{self.topics['results']}-value", avro_schemas.RESULT)
        rows = []
        for one, status in endings:
            good = status == "COMPLETED"
            result = {"ticket_id": one["ticket_id"], "status": status,
                      "result": {"success": good, "output": {}, "metadata": {}, "logs": []},
                      "error_message": None if good else "exit code 1", "actual_duration_ms": 5, "agent_id": "another",
                      "timestamp": int(time.time() * 1000), "schema_version": 1}
            rows.append((avro_schemas.frame(schema_id, avro_schemas.PARSED_RESULT, result), one["ticket_id"].encode(), None))
        self.kafka.produce(self.topics["results"], rows)

    def test_their_results_end_dependencies_and_are_not_repeated(self):
        registry = harness.peer(self, harness.SchemaRegistry())
        good, bad = self.noted(), self.noted()
        self.foreign_results(registry, (good, "COMPLETED"))
        worker = self.worker(KAFKA_SCHEMA_REGISTRY_URL=registry.url, EXECUTION_TICKET_SERVICE_URL="http://127.0.0.1:9")
        after, never = self.noted(dependencies=[good["ticket_id"]]), self.noted(dependencies=[bad["ticket_id"]])
        self.produce([after])
        harness.wait_until(lambda: self.runs()[after["ticket_id"]] == 1, 40, 0.2)
        self.produce([good, never])
        self.foreign_results(registry, (bad, "FAILED"))  # newer than the ticket that needs it: it counts
        self.wait_committed(40)
        rows = self.result_rows()
        self.assertEqual([result["agent_id"] for _, result in rows[good["ticket_id"]]], ["another"])
        self.assertEqual(rows[never["ticket_id"]][0][1]["status"], "FAILED")
        self.assert_run_once([after])
        self.assertEqual([self.runs()[one["ticket_id"]] for one in (good, bad, never)], [0, 0, 0])
        self.end(worker)


if __name__ == "__main__":
    unittest.main()
