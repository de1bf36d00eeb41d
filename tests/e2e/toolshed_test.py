"""The runtime of the tutorial "Writing an executor" (tests/tutorial): it is held to the common cases, like all others."""

import pathlib
import re
import sys
import threading
import time
import unittest

import harness
from harness import wait_until
from runtime_cases import Backend, RuntimeTest, conformance

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "tutorial"))
from toolshed_service import FORBIDDEN, Toolshed

# A worker of its own beside the product's: that one does not have the runtime.
PRODUCT = pathlib.Path(harness.BINARY).resolve()
harness.BINARY = str(PRODUCT.parent / "tutorial" / "worker-agents-toolshed")


class Shed(Backend):
    runtime = "toolshed"
    has = {"command", "stop", "retry", "refusal", "record", "adoption", "engine_away"}
    lacks = {
        "huge_output": "the toolshed keeps 4 MiB of it",
        "live_log": "the toolshed gives it at the end",
        "image": "the toolshed runs what is installed there",
        "memory_limit": "the toolshed has none",
        "start_time": "the toolshed does not tell: after a restart the time begins anew",
        "engine_stop": "its jobs end with it",
    }

    def start(self):
        self.shed = Toolshed()

    def close(self):
        self.shed.close()

    def settings(self):
        return {"TOOLSHED_URL": self.shed.url()}

    def no_engine(self):
        return {"TOOLSHED_URL": "http://127.0.0.1:1"}

    def refused(self):
        return {**self.ticket(""), "run": [FORBIDDEN]}, {}, f"nobody may run {FORBIDDEN} here"

    def told(self):
        return "\n".join(self.shed.heard)

    def begun(self, since):
        return [name for at, name in self.shed.begun if at >= since]

    def running(self):
        return self.shed.running()

    def left(self):
        return sorted(self.shed.jobs)

    def clean(self):
        self.shed.clear()


@conformance
class ToolshedTest(RuntimeTest):
    backend = Shed()

    def test_the_tutorials_own_plan(self):
        page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "3-writing-an-executor.md").read_text()
        worker = self.worker()
        plan = worker.folder / "shed.yaml"
        plan.write_text(re.search(r"^```yaml\n(.*?)^```$", page, re.M | re.S)[1])
        done = worker.cli("submit", str(plan), "--follow", check=0)
        self.assertIn("from the shed", done.stdout + done.stderr)
        self.assertRegex(worker.cli("executors", "ls").stdout, "toolshed")
        self.assertRegex(worker.cli("doctor").stdout, r"toolshed\s+✔")

    def test_killed_while_the_job_is_removed(self):
        worker, since = self.worker(), time.time()
        shed, killed = self.backend.shed, threading.Event()

        def kill():
            if not killed.is_set():
                worker.kill()
                killed.set()

        shed.removed = kill
        self.addCleanup(setattr, shed, "removed", lambda: None)
        ticket_id = self.submit(worker, self.backend.work(0.2))
        self.assertTrue(killed.wait(30))
        worker.start()
        ticket = self.ended(worker, ticket_id)
        self.assertEqual((ticket["status"], ticket["attempts"]), ("COMPLETED", 1), ticket["error_message"])
        self.assert_begun(since, 1)
        self.nothing_left()

    def test_run_again_while_the_last_job_is_still_there(self):
        self.backend.shed.slow = 0.5
        self.addCleanup(setattr, self.backend.shed, "slow", 0.0)
        worker = self.worker(RETRY_BACKOFF_BASE_SECONDS="0.5")
        ticket_id = self.submit(worker, self.backend.ticket("cat /proc/sys/kernel/random/uuid; exit 7", sla={"max_retries": 5}))
        first = self.ended(worker, ticket_id)
        worker.cli("tickets", "retry", ticket_id, check=0)
        wait_until(lambda: self.ticket(worker, ticket_id)["status"] != "FAILED", 10)
        second = self.ended(worker, ticket_id)
        self.assert_failed(second, "exit code 7")
        self.assertNotEqual(self.output(first)["stdout"], self.output(second)["stdout"])
        refused = self.rows(worker, ticket_id, "attempts")
        self.assertTrue(any("still being removed" in (attempt["error"] or "") for attempt in refused), refused)
        self.nothing_left()

    def test_the_product_does_not_have_it(self):
        self.assertNotIn(b"TOOLSHED_URL", PRODUCT.read_bytes())
        self.assertIn(b"TOOLSHED_URL", pathlib.Path(harness.BINARY).read_bytes())


if __name__ == "__main__":
    unittest.main()
