"""The client commands against a real worker: columns, words, exit codes, streams, terminals."""

import json
import os
import signal
import subprocess
import time
import unittest

from harness import BINARY, Worker, on_terminal, passed_on, wait_until

PLAN = """plan: hello
tickets:
  fetch: { type: EXECUTE, run: [sh, -c, 'echo fetched'], runtime: local }
  build: { type: EXECUTE, needs: [fetch], run: [sh, -c, 'echo line-1; sleep 0.3; echo line-2'], runtime: local }
"""
FAILING = """plan: broken
tickets:
  good: { type: EXECUTE, run: [sh, -c, 'echo fine'], runtime: local }
  tests: { type: EXECUTE, run: [sh, -c, 'echo out; echo the last words >&2; exit 7'], runtime: local }
"""
SLOW = """plan: slow
tickets:
  sleeper: { type: EXECUTE, run: [sh, -c, 'echo begun; sleep 60'], runtime: local }
"""


class ClientCommands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.worker = Worker().start()

    @classmethod
    def tearDownClass(cls):
        cls.worker.close()

    def cli(self, *arguments, **options):
        return self.worker.cli(*arguments, **options)

    def plan_file(self, text, name="plan.yaml"):
        path = self.worker.folder / name
        path.write_text(text)
        return str(path)

    def submitted(self, text, *arguments, check=0):
        return self.cli("submit", self.plan_file(text), *arguments, check=check)

    def start_cli(self, *arguments, **options):
        return subprocess.Popen([BINARY, "--state-dir", str(self.worker.state), *arguments], env=passed_on(), text=True,
                                stdin=subprocess.DEVNULL, **options)

    def on_terminal(self, *arguments):
        return on_terminal(["--state-dir", str(self.worker.state), *arguments], {"TERM": "xterm-256color"})

    def test_submit_prints_ids_on_stdout_and_hints_on_stderr(self):
        done = self.submitted(PLAN)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0].split(), ["PLAN", "TASK", "TICKET"])
        self.assertEqual([line.split()[1] for line in lines[1:]], ["fetch", "build"])
        self.assertIn("plans watch", done.stderr)
        plan_id = self.submitted(PLAN, "-o", "name").stdout.strip()
        self.assertRegex(plan_id, r"^hello-\S+$")
        self.assertEqual(set(json.loads(self.submitted(PLAN, "--json").stdout)["tickets"]), {"fetch", "build"})

    def test_standard_input_and_single_tickets(self):
        environment = dict(os.environ)
        done = subprocess.run([BINARY, "--state-dir", str(self.worker.state), "submit", "-", "--wait"], input=PLAN, text=True,
                              capture_output=True, timeout=60, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        ticket = {"ticket_id": "client-test-one", "task_id": "solo", "task_type": "EXECUTE",
                  "parameters": {"command": ["sh", "-c", "true"], "runtime": "local"}}
        self.cli("submit", self.plan_file(json.dumps(ticket), "ticket.json"), "--wait", check=0)

    def test_lists_have_the_columns(self):
        self.submitted(PLAN, "--wait")
        done = self.cli("tickets", "ls", check=0)
        self.assertEqual(done.stdout.splitlines()[0].split(), "ID TASK TYPE STATE TRY AGE RUN SLA WORKER WHY".split())
        row = done.stdout.splitlines()[1].split()
        self.assertRegex(row[0], r"^[0-9a-f-]{8}$")
        self.assertEqual(row[2:4], ["EXECUTE", "completed"])
        self.assertRegex(row[5], r"^\d{4}-\d\d-\d\dT")  # not a terminal: whole times
        self.assertRegex(done.stderr, r"^\d+ tickets")
        self.assertEqual(self.cli("tickets", "ls", "--no-headers", "--columns", "task", "--limit", "1", check=0).stdout.split(), ["build"])
        self.assertEqual(json.loads(self.cli("tickets", "ls", "-o", "jsonl", "--limit", "1").stdout)["task_id"], "build")
        self.assertIn("PLAN", self.cli("plans", "ls", check=0).stdout)
        self.cli("tickets", "ls", "--columns", "nope", check=2)

    def test_ids_by_prefix_and_alias(self):
        answer = json.loads(self.submitted(PLAN, "--json").stdout)
        self.cli("plans", "watch", answer["plan_id"], check=0)
        ticket = answer["tickets"]["build"]
        for name in (ticket, ticket[:8], "@latest"):
            done = self.cli("tickets", "show", name, check=0)
            self.assertIn(ticket, done.stdout)
        self.assertIn("line-2", self.cli("tickets", "logs", ticket[:8], check=0).stdout)
        self.assertEqual(self.cli("tickets", "logs", ticket, "--tail", "1", check=0).stdout, "line-2\n")
        self.assertIn("build", self.cli("status", ticket[:8], check=0).stdout)
        self.assertIn("build", self.cli("plans", "show", answer["plan_id"], check=0).stdout)
        self.cli("tickets", "show", "ffffffff-none", check=5)
        self.cli("tickets", "show", ticket[:3], check=5)
        self.cli("status", "nothing-like-it", check=5)

    def test_a_failure_ends_with_one_line_that_says_it_all(self):
        done = self.submitted(FAILING, "--wait", check=3)
        last = done.stderr.strip().splitlines()[-1]
        for word in ("tests", "exit code 7", "the last words", "worker-agents plans retry broken-", "--failed"):
            self.assertIn(word, last)
        self.assertIn("the last words", self.cli("tickets", "logs", "@failed", "--stream", "err", check=0).stdout)
        self.assertNotIn("the last words", self.cli("tickets", "logs", "@failed", "--stream", "out", check=0).stdout)
        self.assertIn("retry", self.cli("tickets", "explain", "@failed", check=0).stdout)
        self.cli("status", "@failed", "--exit-code", check=3)

    def test_watch_prints_one_line_a_change(self):
        plan_id = self.submitted(PLAN, "-o", "name").stdout.strip()
        done = self.cli("plans", "watch", plan_id, check=0)
        self.assertRegex(done.stdout, r"(?m)^✔ build  completed")
        self.assertNotIn("\x1b", done.stdout)

    def test_the_view_on_a_terminal_is_redrawn_and_cannot_be_hijacked(self):
        plan = PLAN + '  "evil\\e[2Jname": { type: EXECUTE, run: [sh, -c, "printf \'\\\\033[2J\\\\n\'; exit 1"], runtime: local }\n'
        path = self.plan_file(plan)
        code, drawn = self.on_terminal("submit", path, "--wait")
        if code == 3:  # the name was accepted
            self.assertIn("evil\\x1b[2Jname", drawn)
        else:
            self.assertEqual(code, 1, drawn)
        self.assertNotIn("\x1b[2J", drawn)
        code, drawn = self.on_terminal("submit", self.plan_file(PLAN), "--wait")
        self.assertEqual(code, 0, drawn)
        self.assertRegex(drawn, r"\x1b\[\d+F\x1b\[J")
        self.assertIn("▇", drawn)

    def test_colours_only_where_wanted(self):
        self.submitted(PLAN, "--wait")
        self.assertNotIn("\x1b", self.cli("tickets", "ls").stdout)
        self.assertIn("\x1b[32m", self.cli("tickets", "ls", "--color", "always").stdout)
        _, drawn = self.on_terminal("tickets", "ls", "--no-color")
        self.assertNotIn("\x1b[32m", drawn)
        self.assertIn("✔ completed", drawn)

    def test_timeout_interrupt_and_cancel(self):
        plan_id = self.submitted(SLOW, "-o", "name").stdout.strip()
        done = self.cli("plans", "watch", plan_id, "--timeout", "500ms", check=6)
        self.assertIn("plans watch " + plan_id, done.stderr)
        watcher = self.start_cli("plans", "watch", plan_id, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1)
        watcher.send_signal(signal.SIGINT)
        _, said = watcher.communicate(timeout=10)
        self.assertEqual(watcher.returncode, 130)
        self.assertIn("it goes on", said)
        self.cli("plans", "cancel", plan_id, check=2)  # nobody to ask
        self.assertIn("sleeper", self.cli("plans", "cancel", plan_id, "--dry-run", check=0).stdout)
        self.cli("plans", "cancel", plan_id, "-y", check=0)
        self.cli("plans", "watch", plan_id, "--timeout", "30s", check=3)

    def test_follow_of_one_ticket_ends_with_it(self):
        answer = json.loads(self.submitted(PLAN, "--json").stdout)
        done = self.cli("tickets", "logs", answer["tickets"]["build"], "-f", timeout=30, check=0)
        self.assertEqual(done.stdout, "line-1\nline-2\n")

    def test_refusals_say_where_and_what(self):
        done = self.cli("submit", self.plan_file("plan: p\ntickets:\n  a: { run: [sh], dependecies: [b] }\n"))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"plan\.yaml:3:\d+")
        self.assertIn("did you mean", done.stderr)

    def test_who_may_not_and_who_is_not_there(self):
        token = self.worker.folder / "wrong"
        token.write_text("not-the-token\n")
        http = self.worker.endpoints()["http"]
        done = subprocess.run([BINARY, "drain", "--undo", "--server", http, "--token-file", str(token)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertNotIn("not-the-token", done.stderr)
        done = subprocess.run([BINARY, "status", "--server", "http://127.0.0.1:9"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 7)
        self.assertEqual(len(done.stderr.splitlines()), 3)
        done = subprocess.run([BINARY, "--state-dir", str(self.worker.folder / "nobody"), "status"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 7)

    def test_the_worker_about_itself(self):
        self.assertIn("✔ ready", self.cli("status", check=0).stdout)
        self.assertEqual(json.loads(self.cli("status", "--json", check=0).stdout)["agent_type"], "WORKER")
        self.cli("status", "--exit-code", check=0)
        self.assertIn("EXECUTE", self.cli("executors", "ls", check=0).stdout)
        self.assertRegex(self.cli("doctor").stdout, r"(?m)^\d+ errors?, \d+ warnings?$")
        self.assertIn("worker_agent_started", self.cli("logs", check=0).stdout)
        self.cli("dlq", "ls", check=0)
        self.assertEqual(self.cli("dlq", "export", check=0).stdout, "")

    def test_completion_knows_live_ids(self):
        answer = json.loads(self.submitted(PLAN, "--json").stdout)
        ticket = answer["tickets"]["fetch"]
        self.assertIn(ticket + "\tfetch", subprocess.run([BINARY, "__complete", "tickets", "show", ticket[:6]], text=True,
                      capture_output=True, env=dict(os.environ, STATE_DIR=str(self.worker.state))).stdout)
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("__complete", self.cli("completion", shell, check=0).stdout)
        script = self.cli("completion", "bash").stdout
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_retry_of_all_runs_what_had_completed_again(self):
        trace = self.worker.work / "again" / "trace"
        plan = {"plan": "again", "tickets": {
            "second": {"type": "EXECUTE", "runtime": "local", "needs": ["first"], "run": ["sh", "-c", "echo second >> trace"], "working_dir": "again"},
            "first": {"type": "EXECUTE", "runtime": "local", "run": ["sh", "-c", "sleep 0.2; echo first >> trace"], "working_dir": "again"}}}
        done = self.submitted(json.dumps(plan), "--wait", "-o", "name")
        plan_id = done.stdout.split()[0]
        self.assertEqual(trace.read_text().split(), ["first", "second"])
        status, answer = self.worker.request("POST", f"/api/v1/plans/{plan_id}/retry", {"only": "all"})
        self.assertEqual((status, len(answer["ticket_ids"])), (202, 2), answer)
        self.assertTrue(wait_until(lambda: len(trace.read_text().split()) == 4, 20), trace.read_text())
        self.assertEqual(trace.read_text().split()[2:], ["first", "second"])


class WithoutAWorker(unittest.TestCase):
    def run_it(self, *arguments, **variables):
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
        return subprocess.run([BINARY, *arguments], env=environment, text=True, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)

    def test_precedence_and_origin(self):
        done = self.run_it("config", "show", "--origin", "--diff-defaults", "--max-concurrent-tasks", "7", "--json",
                           MAX_CONCURRENT_TASKS="6", LOG_LEVEL="debug", OPA_TOKEN="hunter2")
        self.assertEqual(done.returncode, 0, done.stderr)
        settings = {one["name"]: one for one in json.loads(done.stdout)["settings"]}
        self.assertEqual((settings["MAX_CONCURRENT_TASKS"]["value"], settings["MAX_CONCURRENT_TASKS"]["origin"]),
                         (7, "flag --max-concurrent-tasks"))
        self.assertEqual(settings["LOG_LEVEL"]["origin"], "env LOG_LEVEL")
        self.assertEqual(settings["OPA_TOKEN"]["value"], "***(from OPA_TOKEN)")
        self.assertNotIn("hunter2", done.stdout + done.stderr)

    def test_a_wrong_setting_stops_dev_with_78(self):
        done = self.run_it("dev", "--state-dir", "/nonexistent/x", "--http-port", "many")
        self.assertEqual(done.returncode, 78)
        self.assertIn("--http-port", done.stderr)

    def test_usage(self):
        self.assertEqual(self.run_it().returncode, 2)
        self.assertEqual(self.run_it("--help").returncode, 0)
        done = self.run_it("submti")
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean submit?", done.stderr)
        self.assertEqual(self.run_it("status", "--token", "x").returncode, 2)

    def test_a_reader_that_goes_away_is_no_drama(self):
        done = subprocess.run(["sh", "-c", f"'{BINARY}' config show | head -1"], text=True, capture_output=True, timeout=30)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertNotIn("terminate", done.stderr)


if __name__ == "__main__":
    unittest.main()
