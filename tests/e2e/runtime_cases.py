"""What every runtime of EXECUTE has to do, written once (a case is a sentence): run against a real engine.

A runtime takes part by a class derived from `Backend` and one from `RuntimeTest`, decorated with @conformance; see
docker_test.py. Cases that need something which a back-end does not have do not exist for it: each of WORDS it declares,
as had (`Backend.has`) or as lacked, with the reason (`Backend.lacks`).
"""

import json
import pathlib
import secrets
import signal
import sys
import time
import unittest

from harness import Worker, wait_until

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
from real_peer import Peer  # for those who derive a back-end


# What a back-end may have, and a case may need.
WORDS = {
    "command": "it runs the ticket's command, and its output is the ticket's",
    "huge_output": "a command may print without end",
    "live_log": "output is seen while the work goes on",
    "stop": "what runs can be stopped",
    "retry": "something fails that is worth another attempt",
    "refusal": "somebody other than this worker can refuse a start",
    "record": "it can be asked what was begun (Backend.begun)",
    "image": "commands run in images",
    "memory_limit": "the ticket says how much memory it may have",
    "adoption": "work runs on without the worker, and is found again",
    "start_time": "it says since when adopted work runs, so that a restart gives it no more time",
    "engine_away": "its engine may be not there at all",
    "engine_stop": "its engine can be stopped and started by a test",
}


class Backend:
    """One runtime and its engine, started once for all cases."""

    runtime = ""
    has = set()    # of WORDS
    lacks = {}     # the others, with the reason
    simulated = False
    # Of the words of ticket(): those that are parameters.
    parameters = {"timeout_seconds", "retry_on_exit_codes"}

    def start(self):
        pass

    def close(self):
        pass

    def settings(self):
        """Of a worker that uses it."""
        return {}

    def ticket(self, script, **more):
        """A ticket that runs a shell script there."""
        given = {key: more.pop(key) for key in sorted(self.parameters & more.keys())}
        ticket = {"type": "EXECUTE", "run": ["sh", "-c", script], "runtime": self.runtime, **more}
        if given:
            ticket["parameters"] = {**ticket.get("parameters", {}), **given}
        return ticket

    def work(self, seconds, code=0, **more):
        """A ticket that takes so long and then ends well (code 0) or not, whatever it is that this back-end does."""
        return self.ticket(f"sleep {seconds}; exit {code}", **more)

    def impossible(self):
        """A ticket that can never work, and what is said about it."""
        return self.ticket("true", timeout_seconds="soon"), "timeout_seconds"

    def passing(self):
        """A ticket whose first two attempts fail in a way that is worth another, and how it ends with the third."""
        return self.ticket("exit 9", retry_on_exit_codes=[9], sla={"max_retries": 2}), "FAILED"

    def refused(self):
        """A ticket that is refused when it is started, settings of a worker for it, and the words of the refusal."""
        raise NotImplementedError

    def told(self):
        """All that workers have said to the engine, as text, as far as the engine can tell."""
        return ""

    def has_worker(self, worker):
        """A test has made a worker: for a runtime that has no engine to ask."""

    def left(self):
        """What is in the engine because of workers: names, asked of the engine itself."""
        return []

    def running(self):
        """The part of it that runs now."""
        return []

    def clean(self):
        """Removes all of it."""

    def begun(self, since):
        """All that was started since then (a wall clock's seconds), by the engine's own record; again each time."""
        raise NotImplementedError

    merged = False  # the engine keeps both output streams as one: stdout has all of it

    def stop_engine(self):
        raise NotImplementedError

    def start_engine(self):
        raise NotImplementedError


class RuntimeTest(unittest.TestCase):
    backend = None  # an instance

    @classmethod
    def setUpClass(cls):
        cls.backend.start()
        cls.addClassCleanup(cls.backend.close)

    def setUp(self):
        # What a test that failed left is not the next one's trouble. Runs after the workers have ended.
        self.addCleanup(self.backend.clean)

    def worker(self, **settings):
        worker = Worker({**self.backend.settings(), "LOCAL_RUNTIME_GRACE_SECONDS": "3", **settings})
        self.addCleanup(worker.close)
        self.backend.has_worker(worker)
        return worker.start()

    def submit(self, worker, ticket):
        status, answer = worker.request("POST", "/api/v1/plans", {"plan": "runtime", "tickets": {"one": ticket}})
        self.assertEqual(status, 201, answer)
        return answer["tickets"]["one"]

    def cancel(self, worker, ticket_id):
        status, answer = worker.request("POST", f"/api/v1/tasks/{ticket_id}/cancel", {"reason": "user_request"})
        self.assertEqual(status, 200, answer)

    def ticket(self, worker, ticket_id):
        return worker.request("GET", f"/api/v1/tickets/{ticket_id}")[1]

    def ended(self, worker, ticket_id, limit=90):
        found = wait_until(lambda: (t := self.ticket(worker, ticket_id))["status"] in ("COMPLETED", "FAILED") and t, limit)
        self.assertTrue(found, worker.tail())
        return found

    def run_one(self, worker, ticket, limit=90):
        return self.ended(worker, self.submit(worker, ticket), limit)

    def wait_running(self, count=1, limit=60):
        self.assertTrue(wait_until(lambda: len(self.backend.running()) == count, limit), self.backend.running())

    def nothing_left(self):
        self.assertTrue(wait_until(lambda: self.backend.left() == [], 30), self.backend.left())

    @staticmethod
    def output(ticket):
        return ticket["result"]["result"]["output"]

    @staticmethod
    def facts(ticket):
        return ticket["result"]["result"]["metadata"]

    def rows(self, worker, ticket_id, what):
        """Of "attempts" or "history"."""
        return worker.request("GET", f"/api/v1/tickets/{ticket_id}/{what}")[1][what]

    def wait_begun(self, worker, ticket_id, limit=60):
        found = wait_until(lambda: self.ticket(worker, ticket_id)["phase"] == "running" and self.backend.running(), limit)
        self.assertTrue(found, worker.tail())

    def assert_one_ending(self, worker, ticket_id):
        kinds = [row["kind"] for row in self.rows(worker, ticket_id, "history")]
        self.assertEqual(kinds.count("ended"), 1, kinds)

    def assert_stopped(self, ticket):
        """It is gone, or, where nothing can be stopped, that is said."""
        if "stop" in self.backend.has:
            self.assertNotIn("still_running", self.facts(ticket))
            self.nothing_left()
        else:
            self.assertEqual((self.facts(ticket)["still_running"], self.facts(ticket)["remote_outcome"]), ("true", "unknown"))

    def assert_it_was_this(self, ticket):
        """The runtime that was asked for has had the last word."""
        self.assertEqual(self.facts(ticket)["runtime"], self.backend.runtime, ticket)
        self.assertNotIn("fallback_from", self.facts(ticket))
        self.assertEqual(self.facts(ticket).get("simulated"), "true" if self.backend.simulated else None)

    def assert_begun(self, since, count):
        if "record" in self.backend.has:
            self.assertEqual(len(self.backend.begun(since)), count)

    def assert_failed(self, ticket, pattern):
        self.assertEqual(ticket["status"], "FAILED", json.dumps(ticket)[:3000])
        self.assertRegex(ticket["error_message"] or "", pattern)


class Cases:
    """The sentences. `self` is a RuntimeTest."""

    def case_success_with_output_of_both_streams(self):
        worker = self.worker()
        ticket = self.run_one(worker, self.backend.ticket("echo to-out; echo to-err >&2"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        self.assertEqual(self.output(ticket)["exit_code"], "0")
        out, err = self.output(ticket)["stdout"], self.output(ticket)["stderr"]
        if self.backend.merged:
            out, err = sorted(out.splitlines(True), reverse=True), [err]
            self.assertEqual((out, err), (["to-out\n", "to-err\n"], [""]))
        else:
            self.assertEqual((out, err), ("to-out\n", "to-err\n"))
        self.assertEqual(self.facts(ticket)["runtime"], self.backend.runtime)
        self.assertNotIn("simulated", self.facts(ticket))
        self.nothing_left()
    case_success_with_output_of_both_streams.needs = "command"

    def case_exit_code_is_the_tasks_own(self):
        ticket = self.run_one(self.worker(), self.backend.ticket("echo why >&2; exit 23"))
        self.assert_failed(ticket, r"exit code 23.*why")
        self.assertEqual(self.output(ticket)["exit_code"], "23")
        self.assertEqual(ticket["attempts"], 1)
        self.nothing_left()
    case_exit_code_is_the_tasks_own.needs = "command"

    def case_killed_by_a_signal(self):
        ticket = self.run_one(self.worker(), self.backend.ticket("kill -9 $$"))
        self.assert_failed(ticket, "signal 9|SIGKILL")
        self.nothing_left()
    case_killed_by_a_signal.needs = "command"

    def case_command_not_found(self):
        ticket = self.run_one(self.worker(), {**self.backend.ticket(""), "run": ["no-such-program-anywhere"]})
        self.assert_failed(ticket, "no-such-program-anywhere")
        self.assertNotIn("simulated", self.facts(ticket))
        self.nothing_left()
    case_command_not_found.needs = "command"

    def case_timeout_leaves_nothing(self):
        worker = self.worker()
        began = time.monotonic()
        ticket = self.run_one(worker, self.backend.ticket("echo begun; exec sleep 600", sla={"timeout_ms": 2000, "max_retries": 0}))
        self.assert_failed(ticket, "exceeded|timed out")
        self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(self.output(ticket)["stdout"], "begun\n")  # what it printed is kept
        self.assert_stopped(ticket)
    case_timeout_leaves_nothing.needs = "command", "stop"

    def case_timeout_of_one_that_does_not_listen(self):
        ticket = self.run_one(self.worker(), self.backend.ticket(
            "trap '' TERM; while true; do sleep 1; done", sla={"timeout_ms": 1500, "max_retries": 0}))
        self.assert_failed(ticket, "exceeded|timed out")
        self.assert_stopped(ticket)
    case_timeout_of_one_that_does_not_listen.needs = "command", "stop"

    def case_own_time_limit(self):
        ticket = self.run_one(self.worker(), self.backend.ticket(
            "exec sleep 600", timeout_seconds=1, sla={"timeout_ms": 60000, "max_retries": 0}))
        self.assert_failed(ticket, "timed out after 1.000 s")
        self.assert_stopped(ticket)
    case_own_time_limit.needs = "command", "stop"

    def case_cancel_while_it_runs(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600"))
        self.wait_running()
        self.cancel(worker, ticket_id)
        self.assert_failed(self.ended(worker, ticket_id), "cancelled")
        self.nothing_left()
    case_cancel_while_it_runs.needs = "command"

    def case_cancel_while_it_starts(self):
        worker = self.worker(MAX_CONCURRENT_TASKS="8")
        for _ in range(8):
            ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600"))
            wait_until(lambda: self.ticket(worker, ticket_id)["phase"] == "running", 20, 0.002)
            self.cancel(worker, ticket_id)
            self.assert_failed(self.ended(worker, ticket_id), "cancelled")
        self.nothing_left()
    case_cancel_while_it_starts.needs = "command"

    def case_output_over_the_limit(self):
        ticket = self.run_one(self.worker(), self.backend.ticket(
            "echo first; yes 0123456789abcdef | head -c 3000000; echo last"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        out = self.output(ticket)["stdout"]
        self.assertLess(len(out), 300_000)
        self.assertTrue(out.startswith("first\n"))
        self.assertTrue(out.endswith("last\n"))
        self.assertEqual(self.facts(ticket)["truncated"], "true")
    case_output_over_the_limit.needs = "command"

    def case_secret_is_never_shown(self):
        worker = self.worker()
        secret = "hunter2-" + secrets.token_hex(8)
        script = 'echo "before $MY_TOKEN after"; printf "%s" "$MY_TOKEN" | head -c 9; sleep 0.2; printf "%s" "$MY_TOKEN" | tail -c +10'
        ticket_id = self.submit(worker, self.backend.ticket(script, env={"MY_TOKEN": secret}))
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.output(ticket)["stdout"], "before *** after\n***")
        self.assertNotIn(secret, worker.cli("tickets", "logs", ticket_id).stdout)
        self.assertNotIn(secret, worker.tail())
    case_secret_is_never_shown.needs = "command"

    def case_log_is_there_while_it_runs(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("echo early; exec sleep 600"))
        self.assertTrue(wait_until(lambda: "early" in worker.cli("tickets", "logs", ticket_id).stdout, 30), worker.tail())
        self.cancel(worker, ticket_id)
        self.ended(worker, ticket_id)
        self.nothing_left()
    case_log_is_there_while_it_runs.needs = "command", "live_log"

    def case_image_missing(self):
        ticket = self.run_one(self.worker(), self.backend.ticket("true", image="no.such.registry.invalid/none:1", sla={"max_retries": 0}))
        self.assert_failed(ticket, "no.such.registry.invalid/none:1")
        self.assertNotIn("simulated", self.facts(ticket))
        self.nothing_left()
    case_image_missing.needs = "image"

    def case_out_of_memory(self):
        ticket = self.run_one(self.worker(), self.backend.ticket(
            "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo $x | wc -c", memory_limit="32m"))
        self.assert_failed(ticket, "memory ran out")
        self.assertEqual(self.output(ticket)["exit_code"], "137")
        self.assertEqual(self.facts(ticket)["oom_killed"], "true")
        self.nothing_left()
    case_out_of_memory.needs = "memory_limit"

    def case_a_killed_worker_adopts_what_runs(self):
        since = time.time()
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("echo once; sleep 6; echo twice"))
        self.wait_running()
        before = self.backend.running()
        worker.kill()
        time.sleep(1)
        self.assertEqual(self.backend.running(), before)
        worker.start()
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.output(ticket)["stdout"], "once\ntwice\n")
        self.assertEqual(self.facts(ticket)["adopted"], "true")
        self.assertEqual(self.backend.begun(since), before)  # nothing else was ever made
        self.nothing_left()
    case_a_killed_worker_adopts_what_runs.needs = "adoption", "command"

    def case_a_killed_worker_reports_what_ended_meanwhile(self):
        since = time.time()
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("echo once; sleep 2; exit 5"))
        self.wait_running()
        before = self.backend.running()
        worker.kill()
        self.assertTrue(wait_until(lambda: self.backend.running() == [], 30))
        worker.start()
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, "exit code 5")
        self.assertEqual(self.output(ticket)["stdout"], "once\n")
        self.assertEqual(self.backend.begun(since), before)
        self.nothing_left()
    case_a_killed_worker_reports_what_ended_meanwhile.needs = "adoption", "command"

    def case_time_before_a_kill_counts(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600", sla={"timeout_ms": 12000, "max_retries": 0}))
        self.wait_running()
        worker.kill()
        time.sleep(12)
        worker.start()
        back = time.monotonic()
        ticket = self.ended(worker, ticket_id)
        self.assertLess(time.monotonic() - back, 10, "its time began anew")
        self.assert_failed(ticket, "timed out after 1[0-9]")
        self.assertEqual(self.facts(ticket)["adopted"], "true")
        self.nothing_left()
    case_time_before_a_kill_counts.needs = "start_time", "command"

    def case_what_was_cancelled_meanwhile_is_swept(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600"))
        self.wait_running()
        worker.kill()
        # Another worker's is left alone, and its own goes, as soon as the ticket is not here any more.
        other = self.worker()
        stays = self.submit(other, self.backend.ticket("exec sleep 600"))
        self.wait_running(2)
        for name in ("worker.db", "worker.db-wal", "worker.db-shm"):
            (worker.state / name).unlink(missing_ok=True)
        worker.start()
        self.wait_running(1)
        self.assertEqual(self.ticket(other, stays)["status"], "RUNNING")
        self.assertEqual(worker.request("GET", f"/api/v1/tickets/{ticket_id}")[0], 404)
        self.cancel(other, stays)
        self.ended(other, stays)
        self.nothing_left()
    case_what_was_cancelled_meanwhile_is_swept.needs = "adoption", "command"

    def case_engine_that_is_not_there_is_fallen_back_from(self):
        worker = self.worker(**self.backend.no_engine())
        ticket = self.run_one(worker, self.backend.ticket("echo here"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.facts(ticket)["runtime"], "local")
        self.assertEqual(self.facts(ticket)["fallback_from"], self.backend.runtime)
        self.assertEqual(self.facts(ticket)["fallback_code"], "unavailable")
        self.assertIn(self.backend.runtime, worker.cli("executors", "ls").stdout)
        status, ready = worker.request("GET", "/ready")
        self.assertEqual((status, list(ready["checks"]["runtimes"])), (200, [self.backend.runtime]))
        doctor = worker.cli("doctor")
        self.assertRegex(doctor.stdout, self.backend.runtime + r"\s+✖")
    case_engine_that_is_not_there_is_fallen_back_from.needs = "engine_away"

    def case_engine_killed_and_restarted_in_the_middle(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("echo begun; exec sleep 600", sla={"timeout_ms": 120000, "max_retries": 0}))
        self.wait_running()
        self.backend.kill_engine()
        time.sleep(1)
        self.backend.start_engine()
        self.addCleanup(self.backend.start_engine)
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, "engine was away|removed by somebody")
        self.assertEqual(self.facts(ticket).get("reason"), "interrupted")
        self.nothing_left()
    case_engine_killed_and_restarted_in_the_middle.needs = "engine_stop"

    def case_engine_stopped_for_good_in_the_middle(self):
        worker = self.worker(**self.backend.impatient())
        ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600", sla={"timeout_ms": 120000, "max_retries": 0}))
        self.wait_running()
        self.addCleanup(self.backend.start_engine)
        self.backend.stop_engine()
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, "does not answer|is being stopped|engine was away")
        self.assertNotIn("fallback_from", self.facts(ticket))  # it had begun: nowhere else
        self.backend.start_engine()
        self.nothing_left()
    case_engine_stopped_for_good_in_the_middle.needs = "engine_stop"

    # ---- what holds for any work, commands or not

    def case_work_that_ends_well(self):
        worker, since = self.worker(), time.time()
        ticket_id = self.submit(worker, self.backend.work(0.3))
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assert_it_was_this(ticket)
        self.assert_one_ending(worker, ticket_id)
        self.assert_begun(since, 1)
        self.nothing_left()

    def case_work_that_fails_is_failed_and_nothing_else_is_tried(self):
        worker, since = self.worker(), time.time()
        ticket_id = self.submit(worker, self.backend.work(0.3, code=7))
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, ".")
        self.assertEqual((ticket["attempts"], self.facts(ticket)["retryable"]), (1, "false"))
        self.assert_it_was_this(ticket)
        self.assert_one_ending(worker, ticket_id)
        self.assert_begun(since, 1)
        self.nothing_left()

    def case_what_can_never_work_is_refused_before_anything_begins(self):
        worker, since = self.worker(), time.time()
        ticket, pattern = self.backend.impossible()
        ticket = self.run_one(worker, ticket)
        self.assert_failed(ticket, pattern)
        self.assertEqual((ticket["attempts"], self.facts(ticket)["cause"]), (1, "input"))
        self.assert_begun(since, 0)
        self.nothing_left()

    def case_start_refused_is_said_in_the_words_of_who_refused(self):
        ticket, settings, pattern = self.backend.refused()
        worker = self.worker(**settings)
        ticket_id = self.submit(worker, ticket)
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, pattern)
        self.assert_it_was_this(ticket)
        self.assertEqual((ticket["attempts"], self.facts(ticket)["retryable"]), (1, "false"))
        self.assert_one_ending(worker, ticket_id)
        self.nothing_left()
    case_start_refused_is_said_in_the_words_of_who_refused.needs = "refusal"

    def case_attempts_are_numbered(self):
        worker = self.worker(RETRY_BACKOFF_BASE_SECONDS="0.1")
        ticket, status = self.backend.passing()
        ticket_id = self.submit(worker, ticket)
        ticket = self.ended(worker, ticket_id)
        self.assertEqual((ticket["status"], ticket["attempts"]), (status, 3), ticket["error_message"])
        attempts = self.rows(worker, ticket_id, "attempts")
        self.assertEqual([attempt["number"] for attempt in attempts], [1, 2, 3])
        for attempt in attempts[:2]:
            self.assertEqual((attempt["outcome"], attempt["retryable"]), ("failed", True), attempt)
        self.assert_one_ending(worker, ticket_id)
        self.nothing_left()
    case_attempts_are_numbered.needs = "retry"

    def case_many_at_once_have_one_result_each(self):
        worker, since, count = self.worker(MAX_CONCURRENT_TASKS="10"), time.time(), 20
        tickets = [self.submit(worker, self.backend.work(0.2, code=number % 2)) for number in range(count)]
        for number, ticket_id in enumerate(tickets):
            ticket = self.ended(worker, ticket_id, 120)
            self.assertEqual(ticket["status"], "FAILED" if number % 2 else "COMPLETED", ticket["error_message"])
            self.assert_it_was_this(ticket)
            self.assert_one_ending(worker, ticket_id)
        self.assert_begun(since, count)
        self.nothing_left()

    def case_cancel_while_it_is_queued(self):
        worker, since = self.worker(MAX_CONCURRENT_TASKS="1"), time.time()
        first = self.submit(worker, self.backend.work(3))
        self.wait_begun(worker, first)
        second = self.submit(worker, self.backend.work(0.1))
        self.assertTrue(wait_until(lambda: self.ticket(worker, second)["phase"] == "queued", 20))
        self.cancel(worker, second)
        ticket = self.ended(worker, second)
        self.assert_failed(ticket, "cancelled")
        self.assertEqual(ticket["attempts"], 0)
        self.assertEqual(self.ended(worker, first)["status"], "COMPLETED")
        self.assert_begun(since, 1)
        self.nothing_left()

    def case_stop_called_twice(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.work(600))
        self.wait_begun(worker, ticket_id)
        self.cancel(worker, ticket_id)
        for _ in range(2):  # it may have ended by now
            status, _ = worker.request("POST", f"/api/v1/tasks/{ticket_id}/cancel", {"reason": "user_request"})
            self.assertIn(status, (200, 404))
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, "cancelled")
        self.assertEqual(ticket["attempts"], 1)
        self.assert_one_ending(worker, ticket_id)
        self.assert_stopped(ticket)

    def case_stop_right_at_the_end(self):
        worker = self.worker(MAX_CONCURRENT_TASKS="8")
        tickets = [self.submit(worker, self.backend.work(1)) for _ in range(8)]
        for ticket_id in tickets:
            self.wait_begun(worker, ticket_id)
        while any(self.ticket(worker, ticket_id)["phase"] == "running" for ticket_id in tickets[1:]):
            if self.ticket(worker, tickets[0])["phase"] != "running":
                break
        for ticket_id in tickets:
            worker.request("POST", f"/api/v1/tasks/{ticket_id}/cancel", {"reason": "user_request"})
        for ticket_id in tickets:
            ticket = self.ended(worker, ticket_id)
            if ticket["status"] == "FAILED":
                self.assert_failed(ticket, "cancelled")
            self.assertEqual(ticket["attempts"], 1)
            self.assert_one_ending(worker, ticket_id)
        self.nothing_left()

    def case_deadline_that_is_near(self):
        worker = self.worker()
        for seconds in (0.05, 0.4, 1.5):
            began = time.monotonic()
            ticket_id = self.submit(worker, self.backend.work(600, sla={"deadline": int((time.time() + seconds) * 1000)}))
            ticket = self.ended(worker, ticket_id)
            self.assert_failed(ticket, "deadline|timed out|time was over")
            self.assertLess(time.monotonic() - began, 60)
            self.assert_one_ending(worker, ticket_id)
            if "stop" in self.backend.has:
                self.nothing_left()

    def case_deadline_that_has_passed(self):
        worker, since = self.worker(), time.time()
        ticket = self.run_one(worker, self.backend.work(600, sla={"deadline": int((time.time() - 60) * 1000)}))
        self.assert_failed(ticket, "deadline")
        self.assertEqual(ticket["attempts"], 0)
        self.assert_begun(since, 0)
        self.nothing_left()

    def case_drain_waits_for_what_ends_in_time(self):
        worker, since = self.worker(SHUTDOWN_GRACE_SECONDS="60"), time.time()
        ticket_id = self.submit(worker, self.backend.work(2))
        self.wait_begun(worker, ticket_id)
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.backend.running(), [])
        worker.start()
        ticket = self.ended(worker, ticket_id)
        self.assertEqual((ticket["status"], ticket["attempts"]), ("COMPLETED", 1), ticket["error_message"])
        self.assert_one_ending(worker, ticket_id)
        self.assert_begun(since, 1)
        self.nothing_left()

    def case_drain_that_is_cut_short_gives_it_to_the_next_start(self):
        worker, since = self.worker(SHUTDOWN_GRACE_SECONDS="1"), time.time()
        ticket_id = self.submit(worker, self.backend.work(6))
        self.wait_begun(worker, ticket_id)
        worker.stop()
        if "adoption" not in self.backend.has and "stop" in self.backend.has:
            self.nothing_left()
        worker.start()
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assert_it_was_this(ticket)
        self.assert_one_ending(worker, ticket_id)
        self.assert_begun(since, 1 if "adoption" in self.backend.has else 2)
        self.nothing_left()

    def case_killed_in_the_middle_and_done_all_the_same(self):
        worker, since = self.worker(), time.time()
        ticket_id = self.submit(worker, self.backend.work(4))
        self.wait_begun(worker, ticket_id)
        time.sleep(0.5)
        worker.kill()
        worker.start()
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assert_it_was_this(ticket)
        self.assert_one_ending(worker, ticket_id)
        adopts = "adoption" in self.backend.has
        self.assertEqual(self.facts(ticket).get("adopted"), "true" if adopts else None)
        self.assertEqual(ticket["attempts"], 2)
        self.assert_begun(since, 1 if adopts else 2)
        self.nothing_left()

    def case_killed_near_the_end_and_reported_once(self):
        for seconds in (0, 0, 0.1, 0.3):
            since, worker = time.time(), self.worker()
            ticket_id = self.submit(worker, self.backend.work(1))
            self.wait_begun(worker, ticket_id)
            wait_until(lambda: not self.backend.running(), 30, 0.001)
            time.sleep(seconds)
            worker.kill()
            worker.start()
            ticket = self.ended(worker, ticket_id)
            self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
            self.assert_one_ending(worker, ticket_id)
            if "adoption" in self.backend.has:
                self.assert_begun(since, 1)
            worker.stop()
        self.nothing_left()

    def case_the_workers_own_secrets_stay_its_own(self):
        secret, other = "own-" + secrets.token_hex(8), "other-" + secrets.token_hex(8)
        worker = self.worker(KAFKA_SASL_PASSWORD=secret, SOMEBODYS_TOKEN=other)
        ticket = self.run_one(worker, self.backend.work(0.1))
        if "command" in self.backend.has:
            ticket = self.run_one(worker, self.backend.ticket(
                "env; cat /proc/1/environ /proc/$PPID/environ 2>/dev/null | tr '\\000' '\\n'; echo the-end"))
            self.assertIn("the-end", self.output(ticket)["stdout"])
            for name in ("KAFKA_SASL_PASSWORD", "SOMEBODYS_TOKEN", "LOCAL_RUNTIME_GRACE_SECONDS", "STATE_DIR", "HTTP_PORT"):
                self.assertNotIn(name + "=", self.output(ticket)["stdout"])
        everything = self.backend.told() + json.dumps(ticket) + worker.tail()
        for value in (secret, other, worker.token()):
            self.assertNotIn(value, everything)
        self.nothing_left()

    def case_run_again_by_a_person_it_runs_anew(self):
        worker, since = self.worker(RETRY_BACKOFF_BASE_SECONDS="0.1"), time.time()
        ticket_id = self.submit(worker, self.backend.work(0.1, code=7))
        self.assert_failed(self.ended(worker, ticket_id), ".")
        status, answer = worker.request("POST", f"/api/v1/tickets/{ticket_id}/retry", {})
        self.assertLess(status, 300, answer)
        def endings():
            return [row["kind"] for row in self.rows(worker, ticket_id, "history")].count("ended")
        self.assertTrue(wait_until(lambda: endings() == 2, 60), worker.tail())
        self.assert_failed(self.ended(worker, ticket_id), ".")
        self.assert_it_was_this(self.ticket(worker, ticket_id))
        self.assert_begun(since, 2)
        self.nothing_left()

    # ---- what holds for commands

    def case_no_output(self):
        ticket = self.run_one(self.worker(), self.backend.ticket("true"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual((self.output(ticket)["stdout"], self.output(ticket)["stderr"]), ("", ""))
        self.assertEqual(self.output(ticket)["exit_code"], "0")
    case_no_output.needs = "command"

    def case_output_that_is_no_text(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("printf 'a\\377\\376\\000b\\033[31m\\303'"))
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.output(ticket)["stdout"], "a\ufffd\ufffd\0b\x1b[31m\ufffd")
        self.assertIn("[31m", worker.cli("tickets", "logs", ticket_id, check=0).stdout)
        self.nothing_left()
    case_output_that_is_no_text.needs = "command"

    def case_huge_output_without_a_line(self):
        ticket = self.run_one(self.worker(), self.backend.ticket("head -c 40000000 /dev/zero | tr '\\000' x; printf end"), 180)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertLess(len(self.output(ticket)["stdout"]), 300_000)
        if self.facts(ticket).get("output_incomplete") != "true":  # an engine may lose some of so much; then it is said
            self.assertTrue(self.output(ticket)["stdout"].endswith("xend"))
        self.assertEqual(self.facts(ticket)["truncated"], "true")
        self.nothing_left()
    case_huge_output_without_a_line.needs = "command", "huge_output"

    def case_cancel_while_it_prints(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("exec yes 0123456789abcdef"))
        self.wait_begun(worker, ticket_id)
        time.sleep(0.5)
        self.cancel(worker, ticket_id)
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, "cancelled")
        self.assertIn("0123456789abcdef\n", self.output(ticket)["stdout"])
        self.assertLess(len(self.output(ticket)["stdout"]), 300_000)
        self.assert_stopped(ticket)
    case_cancel_while_it_prints.needs = "command", "huge_output", "stop"

    def case_cancelled_one_is_not_handed_back_by_a_drain(self):
        worker = self.worker(LOCAL_RUNTIME_GRACE_SECONDS="5", SHUTDOWN_GRACE_SECONDS="1")
        ticket_id = self.submit(worker, self.backend.ticket("trap '' TERM; while true; do sleep 1; done"))
        self.wait_begun(worker, ticket_id)
        self.cancel(worker, ticket_id)
        for _ in range(2):  # the second shortens what the first one grants
            worker.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        worker.process.wait(60)
        self.nothing_left()
        worker.start()
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, "cancelled")
        self.assert_one_ending(worker, ticket_id)
    case_cancelled_one_is_not_handed_back_by_a_drain.needs = "command", "stop"


def conformance(cls):
    """Gives a RuntimeTest the cases that its back-end can be held to."""
    has, lacks = set(cls.backend.has), set(cls.backend.lacks)
    undeclared = WORDS.keys() ^ (has | lacks) | (has & lacks)
    assert not undeclared, f"{cls.__name__} has to say once of each whether it has it: {sorted(undeclared)}"
    for name, case in vars(Cases).items():
        needs = getattr(case, "needs", ())
        needs = {needs} if isinstance(needs, str) else set(needs)
        assert needs <= WORDS.keys(), f"{name} needs something unknown: {needs}"
        if name.startswith("case_") and needs <= has:
            setattr(cls, "test_" + name.removeprefix("case_"), case)
    return cls
