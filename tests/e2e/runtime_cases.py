"""What every runtime of EXECUTE has to do, written once (a case is a sentence): run against a real engine.

A runtime takes part by a class derived from `Backend` and one from `RuntimeTest`, decorated with @conformance; see
docker_test.py. Cases that need something which a back-end does not have (`Backend.has`) do not exist for it.
"""

import json
import pathlib
import secrets
import sys
import time
import unittest

from harness import Worker, wait_until

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
from real_peer import Peer  # for those who derive a back-end


class Backend:
    """One runtime and its engine, started once for all cases."""

    runtime = ""
    has = set()  # of: image, memory_limit, adoption, engine_away, engine_stop

    def start(self):
        pass

    def close(self):
        pass

    def settings(self):
        """Of a worker that uses it."""
        return {}

    def ticket(self, script, **more):
        """A ticket that runs a shell script there."""
        return {"type": "EXECUTE", "run": ["sh", "-c", script], "runtime": self.runtime, **more}

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

    def case_exit_code_is_the_tasks_own(self):
        ticket = self.run_one(self.worker(), self.backend.ticket("echo why >&2; exit 23"))
        self.assert_failed(ticket, r"exit code 23.*why")
        self.assertEqual(self.output(ticket)["exit_code"], "23")
        self.assertEqual(ticket["attempts"], 1)
        self.nothing_left()

    def case_killed_by_a_signal(self):
        ticket = self.run_one(self.worker(), self.backend.ticket("kill -9 $$"))
        self.assert_failed(ticket, "signal 9|SIGKILL")
        self.nothing_left()

    def case_command_not_found(self):
        ticket = self.run_one(self.worker(), {**self.backend.ticket(""), "run": ["no-such-program-anywhere"]})
        self.assert_failed(ticket, "no-such-program-anywhere")
        self.assertNotIn("simulated", self.facts(ticket))
        self.nothing_left()

    def case_timeout_leaves_nothing(self):
        worker = self.worker()
        began = time.monotonic()
        ticket = self.run_one(worker, self.backend.ticket("echo begun; exec sleep 600", sla={"timeout_ms": 2000, "max_retries": 0}))
        self.assert_failed(ticket, "exceeded|timed out")
        self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(self.output(ticket)["stdout"], "begun\n")  # what it printed is kept
        self.nothing_left()

    def case_timeout_of_one_that_does_not_listen(self):
        ticket = self.run_one(self.worker(), self.backend.ticket(
            "trap '' TERM; while true; do sleep 1; done", sla={"timeout_ms": 1500, "max_retries": 0}))
        self.assert_failed(ticket, "exceeded|timed out")
        self.nothing_left()

    def case_own_time_limit(self):
        ticket = self.run_one(self.worker(), self.backend.ticket(
            "exec sleep 600", timeout_seconds=1, sla={"timeout_ms": 60000, "max_retries": 0}))
        self.assert_failed(ticket, "timed out after 1.000 s")
        self.nothing_left()

    def case_cancel_while_it_runs(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600"))
        self.wait_running()
        self.cancel(worker, ticket_id)
        self.assert_failed(self.ended(worker, ticket_id), "cancelled")
        self.nothing_left()

    def case_cancel_while_it_starts(self):
        worker = self.worker(MAX_CONCURRENT_TASKS="8")
        for _ in range(8):
            ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600"))
            wait_until(lambda: self.ticket(worker, ticket_id)["phase"] == "running", 20, 0.002)
            self.cancel(worker, ticket_id)
            self.assert_failed(self.ended(worker, ticket_id), "cancelled")
        self.nothing_left()

    def case_output_over_the_limit(self):
        ticket = self.run_one(self.worker(), self.backend.ticket(
            "echo first; yes 0123456789abcdef | head -c 3000000; echo last"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        out = self.output(ticket)["stdout"]
        self.assertLess(len(out), 300_000)
        self.assertTrue(out.startswith("first\n"))
        self.assertTrue(out.endswith("last\n"))
        self.assertEqual(self.facts(ticket)["truncated"], "true")

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

    def case_log_is_there_while_it_runs(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("echo early; exec sleep 600"))
        self.assertTrue(wait_until(lambda: "early" in worker.cli("tickets", "logs", ticket_id).stdout, 30), worker.tail())
        self.cancel(worker, ticket_id)
        self.ended(worker, ticket_id)
        self.nothing_left()

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
    case_a_killed_worker_adopts_what_runs.needs = "adoption"

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
    case_a_killed_worker_reports_what_ended_meanwhile.needs = "adoption"

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
    case_what_was_cancelled_meanwhile_is_swept.needs = "adoption"

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


def conformance(cls):
    """Gives a RuntimeTest the cases that its back-end can be held to."""
    for name, case in vars(Cases).items():
        if not name.startswith("case_") or getattr(case, "needs", None) not in {None, *cls.backend.has}:
            continue
        setattr(cls, "test_" + name.removeprefix("case_"), case)
    return cls
