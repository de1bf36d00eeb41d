"""EXECUTE tickets with a template: handed to Code Forge once, and asked about until they have ended. The common cases of
runtimes, and its own."""

import json
import time
import unittest

from code_forge import CodeForge
from harness import Worker, wait_until
from runtime_cases import Backend, RuntimeTest, conformance


class Forge(Backend):
    """The stand-in. A generation cannot be stopped: what still goes on there is nobody's to remove, and is no left-over."""

    runtime = "code_forge"
    has = {"retry", "refusal", "record", "adoption", "engine_away"}
    lacks = {
        "start_time": "a generation cannot be stopped: each attempt asks for as long as it may",
        "command": "it generates from templates",
        "huge_output": "it generates from templates",
        "live_log": "nothing of a generation is seen before its end",
        "stop": "it has no call for that",
        "image": "it generates from templates",
        "memory_limit": "it generates from templates",
        "engine_stop": "a generation goes on when it comes back (test_it_is_away_in_the_middle)",
    }

    def start(self):
        self.forge = CodeForge()

    def close(self):
        self.forge.close()

    def settings(self):
        return {"CODE_FORGE_URL": self.forge.url(), "CODE_FORGE_POLL_INTERVAL_SECONDS": "0.2", "LOCAL_RUNTIME_GRACE_SECONDS": "1"}

    def no_engine(self):
        return {"CODE_FORGE_URL": "http://127.0.0.1:1"}

    def ticket(self, script, **more):
        """A template, and a command for where Code Forge is not there."""
        ticket = super().ticket(script, **more)
        del ticket["runtime"]
        ticket["parameters"] = {"template_id": "microservice", **ticket.get("parameters", {})}
        return ticket

    def work(self, seconds, code=0, **more):
        ticket = self.ticket("exit 77", **more)
        ticket["parameters"]["parameters"] = {"takes": seconds, "fails": "it does not compile" if code else None}
        return ticket

    def passing(self):
        self.forge.post = ["429"] * 6  # each attempt asks three times
        return self.work(0.1), "COMPLETED"

    def refused(self):
        ticket = self.ticket("true")
        ticket["parameters"]["template_id"] = "no-such-template"
        return ticket, {}, "unknown template"

    def told(self):
        return "\n".join(self.forge.heard)

    def begun(self, since):
        with self.forge.lock:
            return [one["request_id"] for one in self.forge.generations.values() if one["begun_at"] >= since]

    def running(self):
        with self.forge.lock:
            return [one["request_id"] for one in self.forge.generations.values()
                    if time.monotonic() - one["begun"] < one["parameters"].get("takes", self.forge.takes)]

    def clean(self):
        with self.forge.lock:
            complaints = list(self.forge.complaints)
            self.forge.generations.clear()
            self.forge.complaints.clear()
            self.forge.post, self.forge.get = [], []
        assert complaints == [], complaints


@conformance
class CommonCases(RuntimeTest):
    backend = Forge()


class Generations(unittest.TestCase):
    def setUp(self):
        self.forge = CodeForge()
        self.addCleanup(self.forge.close)
        self.addCleanup(lambda: self.assertEqual(self.forge.complaints, []))

    def worker(self, **settings):
        worker = Worker({"CODE_FORGE_URL": self.forge.url(), "CODE_FORGE_POLL_INTERVAL_SECONDS": "0.2",
                         "RETRY_BACKOFF_BASE_SECONDS": "0.2", "SIMULATION_POLICY": "deny", **settings})
        self.addCleanup(worker.close)
        return worker.start()

    def submit(self, worker, parameters=None, **ticket):
        status, answer = worker.request("POST", "/api/v1/plans", {"plan": "forge", "tickets": {
            "one": {"type": "EXECUTE", "parameters": {"template_id": "microservice", **(parameters or {})}, **ticket}}})
        self.assertEqual(status, 201, answer)
        return answer["tickets"]["one"]

    def ended(self, worker, ticket_id, limit=60):
        def ticket():
            found = worker.request("GET", f"/api/v1/tickets/{ticket_id}")[1]
            return found if found["status"] in ("COMPLETED", "FAILED") else None

        found = wait_until(ticket, limit)
        self.assertTrue(found, worker.tail())
        result = found["result"]["result"]
        return found, result.get("output") or {}, result["metadata"]

    def run_one(self, worker, parameters=None, **ticket):
        return self.ended(worker, self.submit(worker, parameters, **ticket))

    def metrics(self, worker):
        text = worker.request("GET", "/metrics")[1]
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                if line and not line.startswith("#")}

    def notes(self, worker):
        return list((worker.state / "code_forge").glob("*"))

    def test_it_generates(self):
        self.forge.unseen = 0.5  # not there yet, at first
        worker = self.worker()
        ticket_id = self.submit(worker, {"parameters": {"language": "go", "replicas": 2}, "target_repo": "git@x:y",
                                         "branch": "next"})
        ticket, output, facts = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        (generation,) = self.forge.of_ticket(ticket_id)
        self.assertEqual((generation["parameters"], generation["target_repo"], generation["branch"]),
                         ({"language": "go", "replicas": 2}, "git@x:y", "next"))
        self.assertEqual((output["request_id"], output["pipeline_id"]), (generation["request_id"], "pipe-1"))
        self.assertEqual(json.loads(output["artifacts"])[0]["artifact_id"], "a-1")
        self.assertEqual((facts["runtime"], facts["status"], facts["artifacts_count"]), ("code_forge", "completed", "1"))
        self.assertTrue(wait_until(lambda: not self.notes(worker), 10))
        numbers = self.metrics(worker)
        self.assertEqual(numbers['worker_agent_code_forge_api_calls_total{method="generate",status="success"}'], 1)
        self.assertGreaterEqual(numbers['worker_agent_code_forge_api_calls_total{method="generate_status",status="success"}'], 1)
        self.assertGreaterEqual(numbers['worker_agent_code_forge_api_calls_total{method="generate_status",status="error"}'], 1)
        self.assertEqual(numbers['worker_agent_execute_duration_seconds_count{runtime="code_forge"}'], 1)

    def test_a_failed_one_is_failed_and_no_command_runs(self):
        self.forge.fails = "the template does not compile"
        worker = self.worker(SIMULATION_POLICY="allow", LOCAL_RUNTIME_ALLOWED_COMMANDS="echo")
        ticket, output, facts = self.run_one(worker)
        self.assertEqual(ticket["status"], "FAILED")
        self.assertIn("the template does not compile", ticket["error_message"])
        self.assertEqual((facts["runtime"], facts["retryable"]), ("code_forge", "false"))
        self.assertNotIn("simulated", facts)
        self.assertEqual(self.forge.posts, 1)

    def test_a_refused_template(self):
        worker = self.worker(SIMULATION_POLICY="allow")
        ticket, _, facts = self.run_one(worker, {"template_id": "no-such-template"})
        self.assertEqual(ticket["status"], "FAILED")
        self.assertIn("unknown template", ticket["error_message"])
        self.assertNotIn("simulated", facts)

    def test_whatever_the_answers_are_it_goes_on(self):
        self.forge.takes = 2.5
        self.forge.get = ["fine", "502", "wrong", "strange", "other", "503", "reset", "lost", "hang"]
        worker = self.worker(CODE_FORGE_REQUEST_TIMEOUT_SECONDS="1")
        ticket, _, _ = self.run_one(worker)
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        self.assertEqual(self.forge.get, [])
        self.assertEqual(self.forge.posts, 1)

    def test_a_post_without_an_answer_is_not_sent_again(self):
        for way in ("reset", "502", "hang", "wrong"):
            self.forge.post = [way]
            before = self.forge.posts
            worker = self.worker(CODE_FORGE_REQUEST_TIMEOUT_SECONDS="1")
            ticket, _, facts = self.run_one(worker)
            self.assertEqual((ticket["status"], facts["remote_outcome"], facts["retryable"]), ("FAILED", "unknown", "false"), way)
            time.sleep(0.5)
            self.assertEqual(self.forge.posts, before + 1, way)
            worker.stop()

    def test_it_says_that_it_has_no_store_and_is_asked_again(self):
        self.forge.post = ["503"]
        worker = self.worker()
        ticket, _, _ = self.run_one(worker)
        self.assertEqual((ticket["status"], self.forge.posts, len(self.forge.generations)), ("COMPLETED", 2, 1), ticket)

    def test_one_that_never_ends(self):
        self.forge.stuck = True
        worker = self.worker()
        ticket, output, facts = self.run_one(worker, {"timeout_seconds": 2}, sla={"max_retries": 0})
        self.assertEqual(ticket["status"], "FAILED")
        self.assertEqual((facts["timed_out"], facts["still_running"], facts["remote_outcome"]), ("true", "true", "unknown"))
        self.assertEqual(output["request_id"], next(iter(self.forge.generations)))

    def test_a_retry_after_a_timeout_asks_on(self):
        self.forge.takes = 3
        worker = self.worker()
        ticket, _, facts = self.run_one(worker, {"timeout_seconds": 2})
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        self.assertEqual((facts["adopted"], self.forge.posts), ("true", 1))

    def test_a_cancelled_one_goes_on_and_that_is_said(self):
        self.forge.stuck = True
        worker = self.worker()
        ticket_id = self.submit(worker)
        self.assertTrue(wait_until(lambda: self.forge.gets, 20))
        worker.cli("tickets", "cancel", ticket_id, check=0)
        _, output, facts = self.ended(worker, ticket_id)
        self.assertEqual(facts["still_running"], "true")
        self.assertIn("request_id", output)

    def test_a_killed_worker_asks_on(self):
        self.forge.takes = 4
        worker = self.worker()
        ticket_id = self.submit(worker)
        self.assertTrue(wait_until(lambda: self.forge.gets, 20))
        worker.kill()
        worker.start()
        ticket, _, facts = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        self.assertEqual((facts["adopted"], self.forge.posts), ("true", 1))

    def test_a_worker_killed_during_the_post_does_not_begin_again(self):
        self.forge.post = ["hang"]
        worker = self.worker()
        ticket_id = self.submit(worker)
        self.assertTrue(wait_until(lambda: self.forge.posts, 20))
        worker.kill()
        worker.start()
        ticket, _, facts = self.ended(worker, ticket_id)
        self.assertEqual((ticket["status"], facts["remote_outcome"], self.forge.posts), ("FAILED", "unknown", 1), ticket)
        self.assertIn("not asked for twice", ticket["error_message"])

    def test_a_drain_leaves_it_to_the_next_start(self):
        self.forge.takes = 6
        worker = self.worker(SHUTDOWN_GRACE_SECONDS="1")
        ticket_id = self.submit(worker)
        self.assertTrue(wait_until(lambda: self.forge.gets, 20))
        worker.stop()
        worker.start()
        ticket, _, facts = self.ended(worker, ticket_id)
        self.assertEqual((ticket["status"], facts["adopted"], self.forge.posts), ("COMPLETED", "true", 1), ticket)

    def test_it_is_away_in_the_middle(self):
        self.forge.takes = 3
        worker = self.worker()
        ticket_id = self.submit(worker)
        self.assertTrue(wait_until(lambda: self.forge.gets, 20))
        self.forge.down = True
        time.sleep(1.5)
        self.forge.down = False
        ticket, _, _ = self.ended(worker, ticket_id)
        self.assertEqual((ticket["status"], ticket["attempts"], self.forge.posts), ("COMPLETED", 1, 1), ticket)

    def test_it_is_away(self):
        self.forge.down = True
        worker = self.worker(SIMULATION_POLICY="allow")
        self.assertTrue(wait_until(lambda: "code_forge" in worker.cli("executors", "ls").stdout, 10))
        time.sleep(1)
        ticket, _, facts = self.run_one(worker)
        self.assertEqual(facts.get("simulated"), "true", ticket)
        self.assertIn("code_forge", facts["fallback_reason"])
        self.assertEqual(self.forge.posts, 0)


del RuntimeTest  # it would be run too


if __name__ == "__main__":
    unittest.main()
