"""What an operator does to a worker: signals, reload, cancelling what waits, setting states from outside."""

import collections
import os
import signal
import subprocess
import threading
import time
import unittest

from harness import BINARY, Worker, on_terminal, wait_until


def sleeper(seconds, needs=()):
    return {"run": ["sh", "-c", f"sleep {seconds}"], "runtime": "local", "needs": list(needs)}


class Operate(unittest.TestCase):
    def worker(self, settings=None, *arguments, **options):
        worker = Worker(settings)
        self.addCleanup(worker.close)
        return worker.start(*arguments, **options)

    def submit(self, worker, tickets):
        status, answer = worker.request("POST", "/api/v1/plans", {"plan": "operate", "tickets": tickets})
        self.assertEqual(status, 201, answer)
        return answer["plan_id"], answer["tickets"]

    def ticket(self, worker, ticket_id):
        return worker.request("GET", f"/api/v1/tickets/{ticket_id}")[1]

    def said(self, worker):
        return worker.tail()

    # ---- cancel and status from outside

    def test_what_was_not_read_yet_can_be_cancelled(self):
        worker = self.worker({"MAX_CONCURRENT_TASKS": "1", "MAX_CONCURRENT_TICKETS": "1"})
        tickets = {"hog": sleeper(60)}
        tickets.update({f"t{n}": sleeper(0) for n in range(1500)})
        _, ids = self.submit(worker, tickets)
        began = time.monotonic()
        status, answer = worker.request("POST", f"/api/v1/tasks/{ids['t1400']}/cancel", {"reason": "user_request"})
        self.assertEqual((status, answer["success"]), (200, True), answer)
        self.assertLess(time.monotonic() - began, 2)
        ticket = self.ticket(worker, ids["t1400"])
        self.assertEqual((ticket["status"], ticket["phase"], ticket["outcome"]), ("FAILED", "cancelled", "cancelled"))
        self.assertEqual(ticket["result"]["result"]["metadata"]["outcome"], "cancelled")
        # It can be run again like every other failed ticket.
        self.assertEqual(worker.request("POST", f"/api/v1/tickets/{ids['t1400']}/retry", {})[0], 202)
        self.assertEqual(self.ticket(worker, ids["t1400"])["status"], "PENDING")

    def metric(self, worker, name):
        text = worker.request("GET", "/metrics")[1]
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{"))

    def test_what_was_cancelled_unread_counts_as_failed(self):
        worker = self.worker({"MAX_CONCURRENT_TASKS": "1", "MAX_CONCURRENT_TICKETS": "1"})
        tickets = {"hog": sleeper(60)}
        tickets.update({f"t{n}": sleeper(0) for n in range(1500)})
        _, ids = self.submit(worker, tickets)
        for name in ("t1400", "t1450"):
            self.assertEqual(worker.request("POST", f"/api/v1/tasks/{ids[name]}/cancel", {"reason": "user_request"})[0], 200)
        cancelled = 'worker_agent_tickets_failed_total{task_type="EXECUTE",error_type="cancelled"}'
        text = lambda: worker.request("GET", "/metrics")[1]
        self.assertTrue(wait_until(lambda: f"{cancelled} 2" in text(), 5), text())
        self.assertEqual(self.metric(worker, "worker_agent_tasks_cancelled_total"), 2)

    def test_exit_fails_when_something_was_cancelled_unread(self):
        worker = self.worker({"MAX_CONCURRENT_TASKS": "1", "MAX_CONCURRENT_TICKETS": "1"})
        tickets = {"hog": sleeper(4)}
        tickets.update({f"t{n}": {"run": ["true"], "runtime": "simulation",
                                  "parameters": {"simulated_duration_ms": 0}} for n in range(1500)})
        _, ids = self.submit(worker, tickets)
        wait_until(lambda: self.ticket(worker, ids["hog"])["status"] == "RUNNING", 5)
        worker.kill()
        # Unfinished work of an earlier run counts for --exit.
        worker.start("--exit", "--allow-simulated")
        wait_until(lambda: self.ticket(worker, ids["hog"])["status"] == "RUNNING", 5)
        status, answer = worker.request("POST", f"/api/v1/tasks/{ids['t1450']}/cancel", {"reason": "user_request"})
        self.assertEqual((status, answer["message"]), (200, "the ticket had not been read yet; it is cancelled"))
        self.assertEqual(worker.process.wait(60), 3, self.said(worker))
        self.assertIn("1500 completed, 1 failed", self.said(worker))
        # One line for each result, this one as well.
        self.assertIn(f'{{"ticket_id":"{ids["t1450"]}","status":"FAILED"', (worker.folder / "log").read_text())

    def test_the_worker_of_a_ticket_is_the_one_that_ran_it(self):
        worker = self.worker({"AGENT_ID": "first"})
        plan_id, ids = self.submit(worker, {"a": sleeper(0)})
        ended = lambda: self.ticket(worker, ids["a"])["status"] == "COMPLETED"
        self.assertTrue(wait_until(ended, 10))
        rows = lambda: worker.request("GET", f"/api/v1/tickets?plan_id={plan_id}")[1]["tickets"]
        self.assertEqual((self.ticket(worker, ids["a"])["worker"], rows()[0]["worker"]), ("first", "first"))
        worker.stop()
        worker.settings["AGENT_ID"] = "second"
        worker.start()
        self.assertEqual((self.ticket(worker, ids["a"])["worker"], rows()[0]["worker"]), ("first", None))

    def test_a_cancel_wins_or_comes_too_late_but_never_gets_lost(self):
        worker = self.worker({"MAX_CONCURRENT_TASKS": "1", "MAX_CONCURRENT_TICKETS": "1"})
        plan_id, ids = self.submit(worker, {f"t{n}": sleeper(0.05) for n in range(300)})
        answers = collections.Counter()

        def cancel(some):
            for ticket_id in some:
                answers[worker.request("POST", f"/api/v1/tasks/{ticket_id}/cancel", {"reason": "user_request"})[0]] += 1

        threads = [threading.Thread(target=cancel, args=(list(ids.values())[k::4],)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertLessEqual(set(answers), {200, 404}, answers)
        def all_ended():
            _, page = worker.request("GET", f"/api/v1/tickets?plan_id={plan_id}&limit=1000")
            return all(t["status"] in ("COMPLETED", "FAILED") for t in page["tickets"]) and page["tickets"]
        rows = wait_until(all_ended, 30)
        self.assertEqual(sum(t["status"] == "COMPLETED" for t in rows), answers[404])
        self.assertEqual({t["phase"] for t in rows if t["status"] == "FAILED"}, {"cancelled"})

    def test_completed_from_outside_lets_what_waits_for_it_go_on(self):
        worker = self.worker({"MAX_CONCURRENT_TASKS": "1"})
        _, ids = self.submit(worker, {"hog": sleeper(2), "by-hand": sleeper(60), "after": sleeper(0, ["by-hand"])})
        wait_until(lambda: self.ticket(worker, ids["hog"])["status"] == "RUNNING", 5)
        self.assertEqual(worker.request("PATCH", f"/api/v1/tickets/{ids['by-hand']}/status", {"status": "COMPLETED"})[0], 200)
        wait_until(lambda: self.ticket(worker, ids["after"])["status"] in ("COMPLETED", "FAILED"), 10)
        self.assertEqual(self.ticket(worker, ids["after"])["status"], "COMPLETED", self.ticket(worker, ids["after"]))
        self.assertEqual(self.ticket(worker, ids["by-hand"])["attempts"], 0)

    # ---- settings while it runs

    def test_sighup_takes_up_what_may_change_and_names_what_may_not(self):
        worker = Worker()
        self.addCleanup(worker.close)
        config = worker.folder / "config.yaml"
        config.write_text("max_concurrent_tasks: 1\n")
        worker.start("--config", str(config))
        plan_id, _ = self.submit(worker, {f"t{n}": sleeper(20) for n in range(3)})
        running = lambda: worker.request("GET", f"/api/v1/tickets?plan_id={plan_id}&status=RUNNING")[1]["total"]
        self.assertTrue(wait_until(lambda: running() == 1, 5))
        config.write_text("max_concurrent_tasks: 3\nlog_level: DEBUG\nnamespace: elsewhere\n")
        worker.process.send_signal(signal.SIGHUP)
        self.assertTrue(wait_until(lambda: running() == 3, 5), self.said(worker))
        slots = lambda: worker.request("GET", "/api/v1/status")[1]["max_concurrent_tasks"]
        self.assertTrue(wait_until(lambda: slots() == 3, 5))
        said = self.said(worker)
        self.assertIn("reloaded: MAX_CONCURRENT_TASKS, LOG_LEVEL; needs a restart: NAMESPACE", said)
        settings = {s["name"]: s["value"] for s in worker.request("GET", "/api/v1/config")[1]["settings"]}
        self.assertEqual((settings["MAX_CONCURRENT_TASKS"], settings["LOG_LEVEL"]), (3, "DEBUG"))
        self.assertNotEqual(settings["NAMESPACE"], "elsewhere")

        # A file that cannot be used changes nothing, and is seen.
        config.write_text("max_concurrent_tasks: 2\nhttp_prot: 1\n")
        worker.process.send_signal(signal.SIGHUP)
        self.assertTrue(wait_until(lambda: "configuration_reload_failed" in self.said(worker), 5))
        self.assertIn("http_port", self.said(worker))
        self.assertEqual(slots(), 3)
        self.assertIn("worker_agent_config_last_reload_successful 0", worker.request("GET", "/metrics")[1])

        # Fewer slots than tickets that run: they run on.
        config.write_text("max_concurrent_tasks: 1\n")
        worker.process.send_signal(signal.SIGHUP)
        self.assertTrue(wait_until(lambda: slots() == 1, 5))
        self.assertEqual(running(), 3)
        self.assertIn("worker_agent_config_last_reload_successful 1", worker.request("GET", "/metrics")[1])

    def test_the_shared_working_folder_is_in_the_state_folder(self):
        worker = Worker()
        self.addCleanup(worker.close)
        del worker.settings["LOCAL_RUNTIME_WORKING_DIR"]
        worker.start()
        entry = {"run": ["sh", "-c", "pwd"], "runtime": "local", "working_dir": "shared"}
        _, ids = self.submit(worker, {"where": entry})
        wait_until(lambda: self.ticket(worker, ids["where"])["status"] in ("COMPLETED", "FAILED"), 10)
        result = self.ticket(worker, ids["where"])["result"]["result"]
        self.assertEqual(result["output"]["stdout"].strip(), str(worker.state / "workspace" / "shared"))

    # ---- signals

    def test_what_a_stop_leaves_undone_decides_the_exit_code(self):
        grace = {"SHUTDOWN_GRACE_SECONDS": "1", "LOCAL_RUNTIME_GRACE_SECONDS": "1"}
        for signals, code in (((signal.SIGTERM,), 75), ((signal.SIGTERM, signal.SIGTERM), 130), ((signal.SIGQUIT,), 130)):
            with self.subTest(signals=signals):
                worker = self.worker(grace)
                _, ids = self.submit(worker, {"long-one": sleeper(60), "next": sleeper(0, ["long-one"])})
                wait_until(lambda: self.ticket(worker, ids["long-one"])["status"] == "RUNNING", 5)
                for number in signals:
                    worker.process.send_signal(number)
                    time.sleep(0.2)
                self.assertEqual(worker.process.wait(20), code, self.said(worker))
                said = self.said(worker)
                if signals == (signal.SIGTERM,):
                    self.assertRegex(said, r"draining: 1 running \(long-one \d+ s\), up to 1 s; again to cancel now")
                if signals == (signal.SIGQUIT,):
                    self.assertIn("state_dump_ticket", said)
                self.assertRegex(said, r"drained in \d+\.\d s: 0 finished, 2 handed back")
                worker.start()
                self.assertEqual(self.ticket(worker, ids["next"])["status"], "PENDING")
                worker.close()

    def test_a_clean_drain_is_0(self):
        worker = self.worker()
        _, ids = self.submit(worker, {"short": sleeper(1)})
        wait_until(lambda: self.ticket(worker, ids["short"])["status"] == "RUNNING", 5)
        self.assertEqual(worker.stop(), 0)
        self.assertRegex(self.said(worker), r"drained in \d+\.\d s: 1 finished, 0 handed back")

    def on_terminal(self, worker, term, *keys):
        return on_terminal(["dev", "--state-dir", str(worker.state), "--example", "slow-log", "--exit"],
                           {**worker.settings, "TERM": term}, keys, limit=30)

    def test_an_interrupted_exit_run_is_no_success_and_says_so_on_the_screen(self):
        worker = Worker()
        self.addCleanup(worker.close)
        code, drawn = self.on_terminal(worker, "xterm", ("▶".encode(), b"\x03"), (b"again to cancel now", b"\x03"))
        self.assertEqual(code, 130, drawn)
        for words in ("again to cancel now", "cancelling what still runs"):
            after = drawn.split(words, 1)[1]
            # The next frame is drawn below the line, not over it.
            first = after.split("slow-log", 1)[0]
            self.assertNotIn("F\x1b[J", first, repr(first))

    def test_a_dumb_terminal_gets_lines(self):
        worker = Worker()
        self.addCleanup(worker.close)
        _, drawn = self.on_terminal(worker, "dumb", ("▶".encode(), b"\x03"), (b"again to cancel now", b"\x03"))
        self.assertIn("count", drawn)
        self.assertNotIn("\x1b", drawn)

    def test_a_relative_state_folder_is_meant_from_here(self):
        worker = Worker()
        self.addCleanup(worker.close)
        environment = {**{k: os.environ[k] for k in ("PATH", "HOME")}, **worker.settings}
        done = subprocess.run([BINARY, "dev", "--state-dir", "here", "--example", "hello", "--exit"], env=environment,
                              cwd=worker.folder, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((worker.folder / "here" / "worker.db").exists())

    def test_each_fault_of_a_configuration_has_its_line(self):
        worker = Worker()
        self.addCleanup(worker.close)
        done = worker.cli("dev", "--http-port", "99999", "--max-concurrent-tasks", "0", check=78)
        self.assertEqual([line[:7] for line in done.stderr.splitlines()[1:]], ["  flag "] * 2, done.stderr)


if __name__ == "__main__":
    unittest.main()
