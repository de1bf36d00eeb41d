"""Workers that come, go, stand still or are told to leave, and brokers that do not answer: nothing is lost, nothing is left
behind, and nothing is done twice that was not begun twice."""

import base64
import json
import time
import unittest

import harness
from faults_test import Faults


class Stopped(Faults):
    def test_a_stopped_worker_loses_its_partitions_and_its_processes(self):
        stopped = self.worker()
        self.wait_all_assigned(1)
        tickets = [self.noted(8) for _ in range(6)]
        self.produce(tickets)
        harness.wait_until(lambda: len(self.runs()) == 6, 20, 0.1)
        stopped.freeze()
        other = self.worker()
        # The spawn helper ends the tasks when the lease is over, while the worker stands still.
        harness.wait_until(lambda: not harness.processes_with(f"WORKER_AGENTS_STATE={stopped.marker()}\0"), 12, 0.2)
        harness.wait_until(lambda: all(count == 2 for count in self.runs().values()), 20, 0.2)
        stopped.thaw()
        results = self.one_result_each(tickets, 40)
        self.assertEqual({result["status"] for result in results.values()}, {"COMPLETED"})
        runs = self.runs()
        # Once more where the partition went back to the worker that had stopped.
        self.assertLessEqual({runs[one["ticket_id"]] for one in tickets}, {2, 3})
        more = [self.noted() for _ in range(12)]
        self.wait_all_assigned(2)
        self.produce(more)
        self.one_result_each(tickets + more)
        self.wait_committed()
        self.assert_run_once(more)
        self.end(stopped, other)
        harness.assert_nothing_left(self, self.workers)

    def test_a_status_that_a_stopped_worker_says_too_late_is_put_right(self):
        service = harness.ticket_service().start()
        self.addCleanup(service.close)
        more = {"EXECUTION_TICKET_SERVICE_URL": service["EXECUTION_TICKET_SERVICE_URL"]}
        stopped = self.worker(**more)
        self.wait_all_assigned(1)
        one = self.noted(1)
        service.control("/tickets", [one])
        service.control("/mode", {"mode": "status", "status": 503, "retry_after": 1})
        self.produce([one])
        harness.wait_until(lambda: service.control("/patches"), 20, 0.05)
        stopped.freeze()
        service.control("/mode", {"mode": "up"})
        other = self.worker(**more)

        def status():
            return service.control("/statuses").get(one["ticket_id"])
        harness.wait_until(lambda: status() == "COMPLETED", 40, 0.2)
        told = len(service.control("/patches"))
        stopped.thaw()
        said = harness.wait_until(lambda: [patch["status"] for patch in service.control("/patches")[told:]], 20, 0.1)
        self.assertEqual(said[0], "RUNNING", "it was not too late")
        harness.wait_until(lambda: status() == "COMPLETED", 20, 0.2)
        time.sleep(3)
        # By whoever took the partition over, or by the one who was too late.
        self.assertEqual({patch["status"] for patch in service.control("/patches")[told + 1:]}, {"COMPLETED"})
        self.one_result_each([one])
        self.end(stopped, other)


class Silent(Faults):
    def test_clients_are_made_anew_when_brokers_are_silent_for_long(self):
        worker = self.worker()
        before = [self.noted() for _ in range(6)]
        self.produce(before)
        self.one_result_each(before)
        self.kafka.freeze()
        try:
            harness.wait_until(lambda: self.logged(worker, "consumer_made_anew") and
                               self.logged(worker, "results_reader_made_anew"), 90, 0.5)
        finally:
            self.kafka.thaw()
        after = [self.noted() for _ in range(6)]
        self.produce(after)
        self.one_result_each(before + after)
        self.assert_run_once(before + after)
        self.wait_committed()
        self.end(worker)


class AtLeastOnce(Faults):
    def test_kill_in_the_middle_loses_nothing(self):
        more = {"KAFKA_DELIVERY": "at_least_once"}
        tickets = [self.noted(0.3) for _ in range(90)]
        worker = self.worker(**more)
        self.produce(tickets)
        for done in (15, 45):
            harness.wait_until(lambda done=done: sum(self.kafka.ends(self.topics["results"]).values()) >= done, 30, 0.05)
            worker.kill()
            worker.start()
        harness.wait_until(lambda: {one["ticket_id"] for one in tickets} <= set(self.result_rows()), 35, 0.5)
        self.wait_committed()
        names = ("x-worker-source-topic", "x-worker-source-partition", "x-worker-source-offset")
        for rows in self.result_rows().values():
            places = {tuple(dict(record.headers)[name] for name in names) for record, _ in rows}
            self.assertEqual(len(places), 1)
        self.end(worker)


class Members(Faults):
    def test_latest_counts_for_a_group_without_commits_only(self):
        before = [self.noted() for _ in range(6)]
        self.produce(before)
        worker = self.worker(KAFKA_AUTO_OFFSET_RESET="latest")
        self.wait_all_assigned(1)
        harness.wait_until(lambda: len(self.kafka.committed(self.group, self.topics["tickets"])) == 6, 20, 0.3)
        self.end(worker)
        first = [self.noted() for _ in range(6)]
        self.produce(first)
        self.add_partitions(self.topics["tickets"], 7)
        added = [self.noted() for _ in range(3)]
        self.produce(added, spread=lambda one: 6)
        worker.start()
        self.one_result_each(first + added, 30)
        self.assert_run_once(first + added)
        self.assertEqual([self.runs()[one["ticket_id"]] for one in before], [0] * 6)
        self.end(worker)

    def test_a_static_member_comes_back_to_its_partitions(self):
        workers = [self.worker(KAFKA_GROUP_INSTANCE_ID=f"{self.group}-{name}", KAFKA_SESSION_TIMEOUT_SECONDS="15")
                   for name in "ab"]
        self.wait_all_assigned(2)
        had = sorted(self.kafka.members(self.group).values())
        tickets = [self.noted(1) for _ in range(24)]
        self.produce(tickets)
        harness.wait_until(lambda: len(self.runs()) >= 4, 20, 0.1)
        workers[0].kill()
        workers[0].start()
        self.one_result_each(tickets, 35)
        self.wait_all_assigned(2)
        self.assertEqual(sorted(self.kafka.members(self.group).values()), had)
        self.end(workers[0])
        workers[0].start()
        more = [self.noted() for _ in range(12)]
        self.produce(more)
        self.one_result_each(tickets + more, 30)
        self.assert_run_once(more)
        self.end(*workers)

    def test_three_eager_members_that_come_and_go(self):
        eager = {"KAFKA_ASSIGNMENT_STRATEGY": "range", "SHUTDOWN_GRACE_SECONDS": "3"}
        self.worker(**eager)
        tickets = []
        for _ in range(3):
            other = self.worker(**eager)
            third = self.worker(wait=False, **eager)
            some = [self.noted(0.2) for _ in range(24)]
            self.produce(some)
            tickets += some
            time.sleep(1)
            other.kill()
            third.terminate()
            self.assertEqual(third.wait(), 0)
        results = self.one_result_each(tickets, 35)
        self.assertEqual({result["status"] for result in results.values()}, {"COMPLETED"})
        self.wait_committed()


class Waiting(Faults):
    def test_a_small_bound_of_waiting_tickets_requeues_and_everything_ends(self):
        worker = self.worker(MAX_PARKED_TICKETS="5")
        first = self.noted()
        waiting = [self.noted(dependencies=[first["ticket_id"]]) for _ in range(30)]
        parent = "4bf92f3577b34da6a3ce929d0e0e4736"
        headers = [("traceparent", f"00-{parent}-00f067aa0ba902b7-01".encode()), ("x-neural-hive-note", b"keep")]
        self.kafka.produce(self.topics["tickets"], [(json.dumps(one).encode(), b"key-" + one["ticket_id"].encode(), 0, headers)
                                                    for one in [*waiting, first]])
        self.one_result_each([first, *waiting], 35)
        self.assert_run_once([first, *waiting])
        records = self.kafka.read_all(self.topics["tickets"])
        copies = [record for record in records if "x-worker-requeue-round" in dict(record.headers)]
        originals = {record.key: record for record in records if record not in copies}
        self.assertTrue(copies)
        for copy in copies:
            original = originals[copy.key]
            self.assertEqual((copy.partition, copy.timestamp, copy.value),
                             (original.partition, original.timestamp, original.value))
            have = dict(copy.headers)
            self.assertEqual(have["x-worker-origin-offset"], str(original.offset).encode())
            self.assertEqual((have.get("traceparent"), have.get("x-neural-hive-note")), (headers[0][1], b"keep"))
        self.end(worker)


class Leaving(Faults):
    def test_sigterm_hands_back_what_runs_and_what_waits(self):
        worker = self.worker(SHUTDOWN_GRACE_SECONDS="2")
        running = [self.noted(6) for _ in range(6)]
        waiting = [self.noted(dependencies=[running[0]["ticket_id"]]) for _ in range(6)]
        self.produce(running)
        self.produce(waiting)
        harness.wait_until(lambda: len(self.runs()) == 6, 20, 0.1)
        worker.terminate()
        self.assertEqual(worker.wait(), 0, "handed back is not left behind")
        harness.assert_nothing_left(self, [worker])
        committed = self.kafka.committed(self.group, self.topics["tickets"])
        self.assertEqual({offset for offset, _ in committed.values()}, {0})
        flags = {base64.urlsafe_b64decode(text.partition("@")[0][2:] + "==")[0] for _, text in committed.values()}
        self.assertEqual(flags, {1}, "the owner let go in good order")
        other = self.worker()
        results = self.one_result_each([*running, *waiting], 35)
        self.assertEqual({result["status"] for result in results.values()}, {"COMPLETED"})
        self.assert_run_once(waiting)
        self.end(other)

    def test_sigterm_with_waiting_tickets_only_leaves_nothing_behind(self):
        worker, first = self.worker(), self.noted()
        waiting = [self.noted(dependencies=[first["ticket_id"]]) for _ in range(6)]
        self.produce(waiting)
        time.sleep(3)
        self.end(worker)
        self.produce([first])
        other = self.worker()
        self.one_result_each([first, *waiting], 30)
        self.assert_run_once([first, *waiting])
        self.end(other)

    def leave_without_brokers(self, **more):
        """Tickets end while no broker answers; a worker that is told to go then goes, and nothing of them is lost."""
        worker = self.worker(SHUTDOWN_GRACE_SECONDS="5", KAFKA_SESSION_TIMEOUT_SECONDS="45", **more)
        tickets = [self.noted(2) for _ in range(6)]
        self.produce(tickets)
        harness.wait_until(lambda: len(self.runs()) == 6, 20, 0.05)
        self.kafka.freeze()
        try:
            harness.wait_until(lambda: len(self.journal()) == 12, 20, 0.1)
            began = time.monotonic()
            worker.terminate()
            self.assertEqual(worker.wait(60), 75, "what had ended could not be written down")
            self.assertLess(time.monotonic() - began, 45)
        finally:
            self.kafka.thaw()
        harness.assert_nothing_left(self, [worker])
        self.assertTrue(self.logged(worker, "drain_left_uncommitted"))
        return tickets, self.worker(**more)

    def test_brokers_that_do_not_answer_do_not_hold_up_the_end(self):
        tickets, other = self.leave_without_brokers()
        results = self.one_result_each(tickets, 40)
        self.assertEqual({result["status"] for result in results.values()}, {"COMPLETED"})
        self.wait_committed()
        self.end(other)

    def test_nor_do_they_without_transactions(self):
        tickets, other = self.leave_without_brokers(KAFKA_DELIVERY="at_least_once")
        harness.wait_until(lambda: {one["ticket_id"] for one in tickets} <= set(self.result_rows()), 40, 0.5)
        self.wait_committed()
        self.end(other)


if __name__ == "__main__":
    unittest.main()
