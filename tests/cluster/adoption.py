"""What is common to the tests of work that outlives its worker: another worker of the group takes it up with its tickets. Each
piece is started once, each ticket has one result, and the engine has nothing left. The broker and the engine are real."""

import time

import faults_test
import harness


class Adoption(faults_test.Faults):
    """A derived class says how to reach its engine (`engine_settings`), and asks the engine itself, not our records."""

    def engine_settings(self):
        raise NotImplementedError

    def contained(self, script, **fields):
        """A ticket that runs a shell script there."""
        raise NotImplementedError

    def left(self):
        """All that workers have made there."""
        raise NotImplementedError

    def started(self, since):
        """The ids of tickets, sorted, one for each start of a process."""
        raise NotImplementedError

    def worker(self, wait=True, **more):
        return super().worker(wait, **{**self.engine_settings(), **more})

    def begin(self, count=3, script="echo once; sleep 15; echo twice", **settings):
        """A worker that has `count` of them running."""
        since = time.time()
        first = self.worker(**settings)
        self.wait_all_assigned(1)
        tickets = [self.contained(script) for _ in range(count)]
        self.produce(tickets)
        harness.wait_until(lambda: len(self.started(since)) == count, 60, 0.2)
        return since, first, tickets

    def cancel(self, worker, ticket):
        """As soon as it has come there."""
        path = f"/api/v1/tasks/{ticket['ticket_id']}/cancel"
        harness.wait_until(lambda: worker.request("POST", path, {"reason": "user_request"})[0] == 200, 20)

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


class Cases:
    """For classes derived from Adoption."""

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
        # Some partitions go back to the first one, which still knows what it had begun.
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

    def test_cancelled_where_it_was_taken_up(self):
        since, first, tickets = self.begin(1, "echo once; exec sleep 600")
        first.kill()
        other = self.worker()
        harness.wait_until(lambda: other.request("GET", "/api/v1/status")[1]["active_tasks"] == 1, 40, 0.2)
        self.cancel(other, tickets[0])
        result = self.one_result_each(tickets)[tickets[0]["ticket_id"]]
        self.assertEqual(result["status"], "FAILED", result)
        self.assertEqual(self.started(since), [tickets[0]["ticket_id"]])
        harness.wait_until(lambda: self.left() == [], 40, 0.2)
        self.end(other)

    def test_cancelled_while_they_wait_elsewhere(self):
        """The other worker has a place for one of them only: at the others it never looks."""
        since, first, tickets = self.begin(3, "echo once; exec sleep 600")
        first.kill()
        other = self.worker(MAX_CONCURRENT_TASKS="1")
        harness.wait_until(lambda: other.request("GET", "/api/v1/status")[1]["active_tasks"] == 1, 40, 0.2)
        for one in tickets:
            self.cancel(other, one)
        harness.wait_until(lambda: self.left() == [], 40, 0.2)
        for result in self.one_result_each(tickets).values():
            self.assertEqual(result["status"], "FAILED", result)
        self.assertEqual(self.started(since), sorted(one["ticket_id"] for one in tickets))
        self.end(other)
