"""Goal: the endurance run itself can be trusted: it passes with a right worker, and fails with each of three wrong ones.

The workers are the models of model_worker.py, small and slow; the real one is tried by endurance.py and storm.py."""

import pathlib
import subprocess
import sys
import time
import unittest

import storm
from endurance import Cluster, Run
from harness import Worker, end_with_us


class ModelWorker(Worker):
    fault = "none"

    def start(self, *arguments, wait=True, limit=60):
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(pathlib.Path(__file__).with_name("model_worker.py")), self.fault],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", **self.settings}, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, start_new_session=True, preexec_fn=end_with_us)
        return self

    def wait_ready(self, limit=60):
        time.sleep(0.5)  # it serves no API

    def processes(self):
        return []  # its tasks end with it


def with_fault(name):
    return type("FaultyWorker", (ModelWorker,), {"fault": name})


class Model(unittest.TestCase):
    def run_with(self, fault, only, kind=Run, tickets=120, seconds=12, end_seconds=60, every=(0.3, 1.0)):
        seed = int(time.time())
        print(f"seed {seed}")
        cluster = Cluster(self, 3, make_worker=with_fault(fault))
        return kind(cluster, tickets, seconds, seed, only, every=every, end_seconds=end_seconds).run(self)

    def assert_found(self, fault, only, pattern, **more):
        violations = self.run_with(fault, only, **{"tickets": 80, "seconds": 8, "end_seconds": 8, **more})
        self.assertTrue(any(pattern in sentence for sentence in violations), violations[:20])

    def test_a_right_worker_passes(self):
        self.assertEqual(self.run_with("none", ("kill", "kill_all", "freeze", "leave_and_return", "redis_restart",
                                                "ticket_service_trouble", "add_and_remove"))[:20], [])

    def test_a_right_worker_passes_the_storm(self):
        self.assertEqual(self.run_with("none", (), storm.Storm)[:20], [])

    def test_commits_before_the_work_are_found(self):
        self.assert_found("early_commit", ("kill",), "counts as done")

    def test_results_outside_of_the_transaction_are_found(self):
        self.assert_found("no_fence", ("kill_all",), "outcomes", seconds=14, end_seconds=25, every=(5.0, 6.0))

    def test_tickets_that_do_not_wait_are_found(self):
        self.assert_found("no_order", ("leave_and_return",), "before")


if __name__ == "__main__":
    unittest.main()
