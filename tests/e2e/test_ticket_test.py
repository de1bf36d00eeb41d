"""TEST tickets: real commands, real reports, and what becomes of them."""

import json
import time
import unittest

from harness import Worker, wait_until

PASSING = "<testsuites><testsuite name='s'><testcase classname='K' name='a'/><testcase classname='K' name='b'/></testsuite></testsuites>"
FAILING = ("<testsuite name='s'><testcase classname='K' name='a'/>"
           "<testcase classname='K' name='b'><failure message='expected 1, got 2'>trace</failure></testcase></testsuite>")
COBERTURA = "<?xml version='1.0'?><coverage lines-covered='85' lines-valid='100' branches-covered='1' branches-valid='4'/>"


def script(text, **more):
    """A TEST ticket that runs a shell script."""
    return {"type": "TEST", "run": ["sh", "-c", text], **more}


def writes(name, report):
    return f"mkdir -p $(dirname {name}); cat > {name} <<'END'\n{report}\nEND\n"


class TestTickets(unittest.TestCase):
    def worker(self, settings=None, *arguments):
        worker = Worker({"ALLOWED_TEST_COMMANDS": "sh -c,npm test,python3 -m unittest", **(settings or {})})
        self.addCleanup(worker.close)
        return worker.start(*arguments)

    def run_tickets(self, worker, tickets, limit=60):
        status, answer = worker.request("POST", "/api/v1/plans", {"plan": "tests", "tickets": tickets})
        self.assertEqual(status, 201, answer)
        ended = {}

        def all_ended():
            for name, ticket_id in answer["tickets"].items():
                ticket = worker.request("GET", f"/api/v1/tickets/{ticket_id}")[1]
                if ticket["status"] in ("COMPLETED", "FAILED"):
                    ended[name] = ticket
            return len(ended) == len(tickets)

        self.assertTrue(wait_until(all_ended, limit), worker.tail())
        return ended

    def run_one(self, worker, ticket):
        return self.run_tickets(worker, {"one": ticket})["one"]

    def output(self, ticket):
        return ticket["result"]["result"]["output"]

    def facts(self, ticket):
        return ticket["result"]["result"]["metadata"]

    def metrics(self, worker):
        text = worker.request("GET", "/metrics")[1]
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                if line and not line.startswith("#")}

    # ---- what ran

    def test_passing_tests_are_counted(self):
        worker = self.worker()
        ticket = self.run_one(worker, script(
            "echo working\n" + writes("out/TEST-a.xml", PASSING) + writes("out/deep/TEST-b.xml", PASSING) +
            writes("coverage.xml", COBERTURA),
            junit="out/**/TEST-*.xml",
            parameters={"coverage_report_path": "coverage.xml", "test_suite": "unit"}))
        self.assertEqual((ticket["status"], ticket["phase"]), ("COMPLETED", "completed"), ticket)
        output = self.output(ticket)
        for key, value in {"exit_code": "0", "return_code": "0", "tests_passed": "4", "tests_failed": "0", "tests_errors": "0",
                           "tests_skipped": "0", "coverage": "85.00", "branch_coverage": "25.00", "test_suite": "unit",
                           "stdout_tail": "working\n", "stderr_tail": ""}.items():
            self.assertEqual(output[key].rstrip("\n"), value.rstrip("\n"), key)
        facts = self.facts(ticket)
        self.assertEqual((facts["executor"], facts["provider"], facts["counts_from"]), ("TestExecutor", "local", "junit"))
        self.assertEqual(json.loads(facts["report_files"]), ["out/TEST-a.xml", "out/deep/TEST-b.xml", "coverage.xml"])
        self.assertNotIn("simulated", facts)
        self.assertNotIn("fallback_reason", facts)
        metrics = self.metrics(worker)
        for series, value in {
                'worker_agent_test_tasks_executed_total{status="success",suite="unit"}': 1,
                'worker_agent_test_duration_seconds_count{suite="unit"}': 1,
                'worker_agent_tests_passed_total{suite="unit"}': 4,
                'worker_agent_tests_failed_total{suite="unit"}': 0,
                'worker_agent_test_coverage_percent{suite="unit"}': 85,
                'worker_agent_test_report_parsing_total{format="junit",status="success"}': 2,
                'worker_agent_coverage_report_parsing_total{format="cobertura",status="success"}': 1,
                'worker_agent_executors_registered_total{task_type="TEST"}': 1}.items():
            self.assertEqual(metrics.get(series), value, series)

    def test_failures_are_failures_whatever_the_exit_code(self):
        worker = self.worker()
        tickets = self.run_tickets(worker, {
            "honest": script(writes("j.xml", FAILING) + "exit 1", junit="j.xml"),
            "lying": script(writes("j.xml", FAILING) + "exit 0", junit="j.xml"),
            "silent": script(writes("j.xml", PASSING) + "echo broke >&2; exit 3", junit="j.xml"),
            "summary": script("""echo '{"tests_passed": 3, "failed": 2}' > report.json"""),
            "printed": script("""echo text; echo '{"passed": 3, "tests_failed": 1, "coverage": 40}'"""),
        })
        for name, ticket in tickets.items():
            self.assertEqual((ticket["status"], ticket["outcome"]), ("FAILED", "execution_failed"), name)
            self.assertEqual(self.facts(ticket)["cause"], "user", name)
            self.assertEqual(self.facts(ticket)["attempts"], "1", name)  # not run again
        self.assertIn("exit code 1", tickets["honest"]["error_message"])
        for name in ("honest", "lying"):
            self.assertIn("1 of 2 tests failed: K.b: expected 1, got 2", tickets[name]["error_message"])
            self.assertEqual(json.loads(self.output(tickets[name])["failed_tests"]),
                             [{"name": "K.b", "message": "expected 1, got 2"}])
        self.assertEqual(self.output(tickets["lying"])["exit_code"], "0")
        self.assertEqual(tickets["silent"]["error_message"].split(";")[0], "exit code 3: broke")
        self.assertEqual(self.output(tickets["silent"])["tests_passed"], "2")
        self.assertEqual(self.output(tickets["summary"])["tests_failed"], "2")
        self.assertEqual(self.output(tickets["printed"])["coverage"], "40.00")
        # A person who waits for it is told the reason, not what the command said last.
        plan = worker.folder / "lying.json"
        plan.write_text(json.dumps({"plan": "p", "tickets": {"lying": script(writes("j.xml", FAILING) + "echo fine", junit="j.xml")}}))
        said = worker.cli("submit", str(plan), "--wait", check=3)
        self.assertIn("lying failed: 1 of 2 tests failed: K.b: expected 1, got 2", said.stderr)

    def test_only_reports_of_this_run_count(self):
        worker = self.worker()
        old = worker.work / "suite"
        old.mkdir(parents=True)
        (old / "old.xml").write_text(FAILING)
        (old / "report.json").write_text('{"failed": 9}')
        time.sleep(2.1)
        ticket = self.run_one(worker, script(writes("new.xml", PASSING), junit="*.xml", working_dir="suite"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        self.assertEqual((self.output(ticket)["tests_passed"], self.output(ticket)["tests_failed"]), ("2", "0"))
        self.assertEqual(json.loads(self.facts(ticket)["report_stale"]), ["old.xml", "report.json"])

    def test_what_cannot_be_read_is_no_zero(self):
        worker = self.worker()
        tickets = self.run_tickets(worker, {
            "broken": script("echo '<testsuite><testcase' > j.xml", junit="j.xml"),
            "broken-and-failed": script("echo '<testsuite><testcase' > j.xml; exit 4", junit="j.xml"),
            "nowhere": script("true", junit="reports/*.xml"),
            "link": script("ln -s /etc/passwd j.xml; mkfifo k.xml; truncate -s 2G l.xml 2>/dev/null; true", junit="*.xml"),
        })
        for name, status in {"broken": "COMPLETED", "broken-and-failed": "FAILED", "nowhere": "COMPLETED", "link": "COMPLETED"}.items():
            self.assertEqual(tickets[name]["status"], status, name)
            for key in ("tests_passed", "tests_failed", "tests_errors", "tests_skipped", "coverage"):
                self.assertNotIn(key, self.output(tickets[name]), name)
        self.assertEqual(json.loads(self.facts(tickets["broken"])["report_problems"])[0]["path"], "j.xml")
        self.assertEqual(json.loads(self.facts(tickets["nowhere"])["report_unmatched"]), ["reports/*.xml"])
        self.assertIn("test: warning: no file fits", "\n".join(tickets["nowhere"]["result"]["result"]["logs"]))
        whys = json.dumps(json.loads(self.facts(tickets["link"])["report_problems"]))
        self.assertIn("a link", whys)
        self.assertIn("a pipe", whys)
        self.assertNotIn("root:", json.dumps(tickets["link"]))
        metrics = self.metrics(worker)
        self.assertGreaterEqual(metrics['worker_agent_test_report_parsing_total{format="junit",status="error"}'], 2)
        self.assertNotIn('worker_agent_tests_passed_total{suite="default"}', metrics)

    def test_parsing_can_be_switched_off(self):
        worker = self.worker({"JUNIT_XML_ENABLED": "false", "COVERAGE_REPORT_ENABLED": "false"})
        ticket = self.run_one(worker, script(writes("j.xml", FAILING) + writes("c.xml", COBERTURA), junit="j.xml",
                                             parameters={"coverage_report_path": "c.xml"}))
        self.assertEqual(ticket["status"], "COMPLETED")
        self.assertNotIn("tests_failed", self.output(ticket))
        self.assertNotIn("coverage", self.output(ticket))

    def test_a_real_test_runner(self):
        worker = self.worker()
        (worker.work / "py").mkdir(parents=True)
        (worker.work / "py" / "test_it.py").write_text(
            "import unittest\nclass T(unittest.TestCase):\n  def test_a(self): self.assertEqual(1, 2)\n")
        ticket = self.run_one(worker, {"type": "TEST", "run": "python3 -m unittest -q", "working_dir": "py"})
        self.assertEqual(ticket["status"], "FAILED")
        self.assertIn("FAILED (failures=1)", self.output(ticket)["stderr_tail"])

    # ---- contract/executors.md 11, row 8

    def test_words_are_compared_whole(self):
        worker = self.worker()
        tickets = self.run_tickets(worker, {
            "testx": {"type": "TEST", "run": "npm testx"},
            "evil": {"type": "TEST", "run": ["npm", "test-evil"]},
            "unlisted": {"type": "TEST", "parameters": {"test_provider": "local", "command": "pytest"}},
            "ci": {"type": "TEST", "parameters": {"test_provider": "jenkins", "test_command": "rm -rf x"}},
            "path": {"type": "TEST", "run": ["/bin/sh", "-c", "true"]},
            "quoted": {"type": "TEST", "parameters": {"test_command": "sh -c 'test \"$1\" = \"a b\"' x 'a b'"}},
            "args": {"type": "TEST", "parameters": {"command": "sh", "args": ["-c", "exit 0"]}},
        })
        for name in ("testx", "evil", "unlisted", "ci", "path"):
            ticket = tickets[name]
            self.assertEqual(ticket["status"], "FAILED", name)
            self.assertEqual(self.facts(ticket)["reason"], "not_allowed", name)
            self.assertIn("ALLOWED_TEST_COMMANDS", ticket["error_message"])
            self.assertNotIn("simulated", self.facts(ticket))
            self.assertEqual(self.facts(ticket)["attempts"], "1")
        for name in ("quoted", "args"):
            self.assertEqual(tickets[name]["status"], "COMPLETED", tickets[name])
        self.assertEqual(self.metrics(worker)['worker_agent_tickets_failed_total{task_type="TEST",error_type="not_allowed"}'], 5)

    def test_an_empty_list_allows_nothing(self):
        worker = self.worker({"ALLOWED_TEST_COMMANDS": "[]"})
        ticket = self.run_one(worker, script("true"))
        self.assertEqual((ticket["status"], self.facts(ticket)["reason"]), ("FAILED", "not_allowed"))
        rows = worker.request("GET", "/api/v1/executors")[1]["executors"]
        test = next(row for row in rows if row["task_type"] == "TEST")
        self.assertEqual(test["providers"][0]["state"], "off")

    def test_a_timeout_ends_the_children_too(self):
        worker = self.worker({"LOCAL_RUNTIME_GRACE_SECONDS": "0"})
        began = time.monotonic()
        ticket = self.run_one(worker, script("echo before; sleep 300 & sleep 300",
                                             parameters={"timeout_seconds": 1}, sla={"max_retries": 0}))
        self.assertEqual((ticket["status"], ticket["outcome"]), ("FAILED", "timeout"))
        self.assertLess(time.monotonic() - began, 20)
        self.assertEqual(self.output(ticket)["stdout_tail"].strip(), "before")
        self.assertEqual(self.metrics(worker)['worker_agent_test_tasks_executed_total{status="timeout",suite="default"}'], 1)

    def test_much_output_is_kept_in_part(self):
        worker = self.worker()
        ticket = self.run_one(worker, script("yes 0123456789abcdef | head -c 10485760; echo the end"))
        self.assertEqual(ticket["status"], "COMPLETED")
        output = self.output(ticket)
        self.assertLess(len(output["stdout"]), 300 * 1024)
        self.assertTrue(output["stdout_tail"].rstrip().endswith("the end"))
        self.assertLessEqual(len(output["stdout_tail"]), 4096)
        self.assertEqual(self.facts(ticket)["truncated"], "true")

    # ---- elsewhere

    def test_providers_that_are_not_built(self):
        worker = self.worker()
        tickets = self.run_tickets(worker, {
            "github": {"type": "TEST", "parameters": {"test_provider": "github_actions", "repository": "o/r", "workflow_id": "ci.yml"}},
            "gitlab": {"type": "TEST", "parameters": {"provider": "gitlab_ci", "project_id": 123}},
            "here": {"type": "TEST", "parameters": {"test_provider": "github_actions", "command": ["sh", "-c", "echo real"]}},
        })
        for name, provider in {"github": "github_actions", "gitlab": "gitlab_ci"}.items():
            ticket, facts = tickets[name], self.facts(tickets[name])
            self.assertEqual((ticket["status"], ticket["phase"]), ("COMPLETED", "simulated"), ticket)
            self.assertEqual((facts["simulated"], facts["provider"], facts["fallback_from"], facts["fallback_code"]),
                             ("true", "simulation", provider, "disabled"))
            self.assertEqual(facts["requested_provider"], provider)
            self.assertIn("not built", facts["fallback_reason"])
            self.assertTrue(40 <= int(self.output(ticket)["tests_passed"]) <= 50)
            self.assertTrue(80 <= float(self.output(ticket)["coverage"]) <= 95)
        facts = self.facts(tickets["here"])
        self.assertEqual((facts["provider"], facts["requested_provider"]), ("local", "github_actions"))
        self.assertNotIn("simulated", facts)
        self.assertEqual(self.output(tickets["here"])["stdout"].strip(), "real")
        metrics = self.metrics(worker)
        self.assertEqual(metrics['worker_agent_test_fallback_total{reason="disabled"}'], 3)
        self.assertEqual(metrics['worker_agent_test_tasks_executed_total{status="simulated",suite="default"}'], 2)
        self.assertEqual(metrics['worker_agent_simulated_results_total{task_type="TEST",reason="disabled"}'], 2)
        for name in ("worker_agent_tests_passed_total", "worker_agent_test_coverage_percent"):
            self.assertNotIn(name + '{suite="default"}', metrics)

    def test_without_simulation_nothing_is_made_up(self):
        worker = self.worker({"SIMULATION_POLICY": "deny"})
        ticket = self.run_one(worker, {"type": "TEST", "parameters": {"test_provider": "jenkins", "job_name": "j"}})
        self.assertEqual(ticket["status"], "FAILED")
        self.assertIn("backend_unavailable", ticket["error_message"])
        self.assertEqual(self.facts(ticket)["retryable"], "false")

    # ---- folders, secrets, stops

    def test_the_workspace_root_holds(self):
        worker = Worker({"ALLOWED_TEST_COMMANDS": "sh -c"})
        self.addCleanup(worker.close)
        root = worker.work / "tests"
        root.mkdir(parents=True)
        (worker.work / "other").mkdir()
        (root / "link").symlink_to("../other")
        worker.settings["TEST_WORKSPACE_ROOT"] = str(root)
        worker.start()
        tickets = self.run_tickets(worker, {
            "relative": script("pwd", working_dir="a"),
            "absolute": script("pwd", working_dir=str(root / "a")),
            "outside": script("pwd", working_dir=str(worker.work / "other")),
            "link": script("pwd", working_dir="link"),
        })
        for name in ("relative", "absolute"):
            self.assertEqual(self.output(tickets[name])["stdout"].strip(), str(root / "a"))
        for name in ("outside", "link"):
            self.assertEqual((tickets[name]["status"], self.facts(tickets[name])["reason"]), ("FAILED", "not_allowed"), name)

    def test_secrets_stay_out_of_results(self):
        worker = self.worker()
        leak = FAILING.replace("expected 1", "token $API_TOKEN")
        ticket = self.run_one(worker, script(f"echo $API_TOKEN; cat > j.xml <<END\n{leak}\nEND\n", junit="j.xml",
                                             env={"API_TOKEN": "hunter22hunter"}))
        self.assertEqual(ticket["status"], "FAILED")
        self.assertIn("token ***", ticket["error_message"])
        self.assertNotIn("hunter22hunter", json.dumps(ticket["result"]))

    def test_it_is_run_again_only_on_request(self):
        worker = self.worker({"RETRY_BACKOFF_BASE_SECONDS": "1"})
        flaky = "test -e tried && exit 0; touch tried; exit 7"
        tickets = self.run_tickets(worker, {
            "asked": script(flaky, working_dir="asked", parameters={"retry_on_exit_codes": [7]}),
            "not-asked": script(flaky, working_dir="not-asked"),
        })
        self.assertEqual((tickets["asked"]["status"], self.facts(tickets["asked"])["attempts"]), ("COMPLETED", "2"))
        self.assertEqual((tickets["not-asked"]["status"], self.facts(tickets["not-asked"])["attempts"]), ("FAILED", "1"))

    def test_a_cancel_ends_it(self):
        worker = self.worker()
        status, answer = worker.request("POST", "/api/v1/plans", {"plan": "p", "tickets": {"t": script("sleep 300")}})
        self.assertEqual(status, 201)
        ticket_id = answer["tickets"]["t"]
        get = lambda: worker.request("GET", f"/api/v1/tickets/{ticket_id}")[1]
        self.assertTrue(wait_until(lambda: get()["status"] == "RUNNING", 10))
        self.assertEqual(worker.request("POST", f"/api/v1/tasks/{ticket_id}/cancel", {"reason": "user_request"})[0], 200)
        self.assertTrue(wait_until(lambda: get()["status"] == "FAILED", 20))
        self.assertEqual(get()["outcome"], "cancelled")

    def test_many_at_once_and_a_drain(self):
        worker = self.worker({"MAX_CONCURRENT_TASKS": "8"})
        tickets = self.run_tickets(worker, {
            f"t{n}": script(writes("j.xml", PASSING if n % 3 else FAILING), junit="**/*.xml") for n in range(60)}, 120)
        failed = sum(ticket["status"] == "FAILED" for ticket in tickets.values())
        self.assertEqual(failed, 20)
        self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    unittest.main()
