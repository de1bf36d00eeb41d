"""The script of a first hour with the program, as a test: submit, follow, a failure, explain, retry, drain."""

import json
import pathlib
import time
import unittest

from harness import Worker, wait_until


class FirstHour(unittest.TestCase):
    def setUp(self):
        self.worker = Worker()
        self.addCleanup(self.worker.close)

    def write_plan(self, text):
        path = self.worker.folder / "my.plan.yaml"
        path.write_text(text)
        return str(path)

    def test_an_example_completes_within_three_seconds(self):
        began = time.monotonic()
        self.worker.start("--example", "diamond")
        def completed():
            _, page = self.worker.request("GET", "/api/v1/tickets?status=COMPLETED")
            return page["total"] >= 1
        self.assertTrue(wait_until(completed, 5))
        self.assertLess(time.monotonic() - began, 3.0)

    def test_follow_shows_output_and_ends_with_0_or_3(self):
        self.worker.start()
        plan = self.write_plan("plan: hello\ntickets:\n  one: { type: EXECUTE, run: [sh, -c, 'echo first-line'], runtime: local }\n"
                               "  two: { type: EXECUTE, needs: [one], run: [sh, -c, 'echo second-line'], runtime: local }\n")
        done = self.worker.cli("submit", plan, "--follow", check=0)
        self.assertIn("first-line", done.stdout + done.stderr)
        self.assertIn("second-line", done.stdout + done.stderr)

    def test_a_failure_names_ticket_code_last_line_and_the_retry(self):
        self.worker.start()
        flag = self.worker.work / "shared" / "repaired"
        plan = self.write_plan(
            "plan: broken\ntickets:\n"
            f"  build: {{ type: EXECUTE, run: [sh, -c, 'test -e repaired || {{ echo no such header >&2; exit 7; }}'], runtime: local, working_dir: shared }}\n"
            "  deploy: { type: EXECUTE, needs: [build], run: [sh, -c, 'echo deployed'], runtime: local }\n"
            "  other: { type: EXECUTE, run: [sh, -c, 'echo other'], runtime: local }\n")
        done = self.worker.cli("submit", plan, "--wait", check=3)
        text = done.stdout + done.stderr
        for word in ("build", "7", "no such header", "retry"):
            self.assertIn(word, text)
        _, plans = self.worker.request("GET", "/api/v1/plans")
        plan_id = plans["plans"][0]["plan_id"]
        _, before = self.worker.request("GET", f"/api/v1/tickets?plan_id={plan_id}")
        attempts = {t["task_id"]: t["retry_count"] for t in before["tickets"]}
        self.assertEqual({t["task_id"]: t["status"] for t in before["tickets"]},
                         {"build": "FAILED", "deploy": "FAILED", "other": "COMPLETED"})
        # Only what failed and what hangs on it runs again.
        flag.write_text("")
        self.worker.cli("plans", "retry", plan_id, "--failed", check=0)
        def all_completed():
            _, page = self.worker.request("GET", f"/api/v1/tickets?plan_id={plan_id}")
            return all(t["status"] == "COMPLETED" for t in page["tickets"])
        self.assertTrue(wait_until(all_completed, 20))
        del attempts

    def test_explain_says_what_a_waiting_ticket_waits_for(self):
        self.worker.start()
        status, answer = self.worker.request("POST", "/api/v1/plans", {"plan": "slow", "tickets": {
            "first": {"type": "EXECUTE", "run": ["sh", "-c", "sleep 5"], "runtime": "local"},
            "second": {"type": "EXECUTE", "needs": ["first"], "run": ["sh", "-c", "true"], "runtime": "local"}}})
        self.assertEqual(status, 201, answer)
        time.sleep(0.3)
        status, why = self.worker.request("GET", f"/api/v1/tickets/{answer['tickets']['second']}/explain")
        self.assertEqual(status, 200)
        self.assertEqual((why["phase"], why["reason"]), ("waiting", "deps"))
        self.assertIn(answer["tickets"]["first"], why["summary"])
        done = self.worker.cli("tickets", "explain", answer["tickets"]["second"][:8], check=0)
        self.assertIn("waits for", done.stdout)

    def test_drain_loses_nothing_and_leaves_nothing(self):
        self.worker.start()
        _, answer = self.worker.request("POST", "/api/v1/plans", {"plan": "drain", "tickets": {
            f"t{i}": {"type": "EXECUTE", "run": ["sh", "-c", "sleep 0.5"], "runtime": "local"} for i in range(20)}})
        time.sleep(0.3)
        self.worker.cli("drain", "--wait", check=0)
        self.assertEqual(self.worker.process.wait(60), 0)
        self.assertEqual(self.worker.processes(), [])
        self.worker.start()
        def all_completed():
            _, page = self.worker.request("GET", f"/api/v1/tickets?plan_id={answer['plan_id']}")
            return page["total"] == 20 and all(t["status"] == "COMPLETED" for t in page["tickets"])
        self.assertTrue(wait_until(all_completed, 60))

    def test_exit_mode_prints_one_json_line_a_result(self):
        self.worker.start("--example", "diamond", "--exit", wait=False)
        self.assertEqual(self.worker.process.wait(30), 0)
        lines = [json.loads(line) for line in (self.worker.folder / "log").read_text().splitlines() if line.startswith('{"ticket_id"')]
        self.assertEqual(len(lines), 4)
        self.assertTrue(all(line["status"] == "COMPLETED" for line in lines))

    def test_a_second_worker_on_the_same_folder_is_refused_by_name(self):
        self.worker.start()
        done = self.worker.cli("dev", "--http-port", "0", "--prometheus-port", "0", check=78)
        self.assertIn(str(self.worker.process.pid), done.stderr)


if __name__ == "__main__":
    unittest.main()
