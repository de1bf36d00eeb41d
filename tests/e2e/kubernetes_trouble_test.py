"""The runtime "k8s" when a real cluster, or somebody in it, does something in the middle."""

import time
import unittest

from harness import wait_until
from kubernetes_backend import KubernetesTest, start_cluster


def setUpModule():
    start_cluster()


class DisturbedTest(KubernetesTest):
    """Somebody else, or the cluster itself, does something in the middle."""

    def one_that_waits(self, **settings):
        worker = self.worker(**settings)
        ticket_id = self.submit(worker, self.backend.ticket("echo begun; exec sleep 600", sla={"max_retries": 0}))
        self.wait_running()
        return worker, ticket_id

    def assert_interrupted(self, worker, ticket_id, pattern):
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, pattern)
        self.assertEqual(self.facts(ticket).get("reason"), "interrupted")
        self.assert_nothing_else(ticket)
        self.assertNotIn("exit code", ticket["error_message"])
        self.nothing_left()

    def test_job_is_deleted_by_somebody(self):
        worker, ticket_id = self.one_that_waits()
        self.backend.space.delete_job(self.backend.space.job()["metadata"]["name"])
        self.assert_interrupted(worker, ticket_id, "was removed by somebody")

    def test_pod_is_deleted_by_somebody(self):
        worker, ticket_id = self.one_that_waits()
        self.backend.space.delete_pod(self.backend.space.pod()["metadata"]["name"], gracePeriodSeconds=1)
        self.assert_interrupted(worker, ticket_id, "was removed by somebody")

    def test_pod_is_evicted(self):
        worker, ticket_id = self.one_that_waits()
        space, name = self.backend.space, self.backend.space.pod()["metadata"]["name"]
        self.backend.cluster.want("POST", f"{space.core}/pods/{name}/eviction", {
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": space.name},
            "deleteOptions": {"gracePeriodSeconds": 1}})
        self.assert_interrupted(worker, ticket_id, "evict")

    def test_output_is_kept_when_the_job_goes(self):
        worker, ticket_id = self.one_that_waits()
        self.assertTrue(wait_until(lambda: "begun" in worker.cli("tickets", "logs", ticket_id).stdout, 30))
        self.backend.space.delete_job(self.backend.space.job()["metadata"]["name"])
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(self.output(ticket)["stdout"], "begun\n")

    def test_a_drained_worker_leaves_it_running(self):
        worker = self.worker(SHUTDOWN_GRACE_SECONDS="1")
        since = time.time()
        ticket_id = self.submit(worker, self.backend.ticket("echo once; sleep 8; echo twice"))
        self.wait_running()
        before = self.backend.running()
        worker.stop()
        self.assertEqual(self.backend.running(), before)
        worker.start()
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.output(ticket)["stdout"], "once\ntwice\n")
        self.assertEqual(self.backend.begun(since), before)
        self.nothing_left()

    def test_killed_while_the_pod_waits(self):
        """The Job is there, its container is not: the next start takes it up, and nothing is made twice."""
        worker = self.worker(K8S_JOBS_START_TIMEOUT_SECONDS="6")
        ticket_id = self.submit(worker, self.backend.ticket("true", image="no.such.registry.invalid/none:1", sla={"max_retries": 0}))
        name = self.wait_job()["metadata"]["name"]
        worker.kill()
        time.sleep(1)
        worker.start()
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, "no.such.registry.invalid/none:1")
        self.assertEqual(self.output(ticket)["job_name"], name)
        self.nothing_left()


class WithoutTheServerTest(KubernetesTest):
    """The API server goes away; pods go on, and what they did is told truthfully when it is back."""

    settled_seconds = 120  # its garbage collector has to find back, too

    def setUp(self):
        super().setUp()
        self.addCleanup(self.backend.start_engine)

    def test_work_goes_on_while_the_server_is_killed_and_comes_back(self):
        worker, since = self.worker(), time.time()
        ticket_id = self.submit(worker, self.backend.ticket("echo begun; sleep 12; echo done"))
        self.wait_running()
        before = self.backend.running()
        self.backend.kill_engine()
        time.sleep(1)
        self.backend.start_engine()
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.output(ticket)["stdout"], "begun\ndone\n")
        self.assertEqual((ticket["attempts"], self.facts(ticket)["contact_lost"]), (1, "true"))
        self.assertEqual(self.backend.running() + self.backend.begun(since), before)
        self.nothing_left()

    def test_work_that_ends_while_the_server_is_away(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("echo begun; sleep 3; echo done; exit 7"))
        self.wait_running()
        self.backend.stop_engine()
        time.sleep(6)
        self.assertEqual(self.ticket(worker, ticket_id)["status"], "RUNNING")  # nothing is made up meanwhile
        self.backend.start_engine()
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, "exit code 7")
        self.assertEqual(self.output(ticket)["stdout"], "begun\ndone\n")
        self.nothing_left()

    def test_server_that_stays_away(self):
        worker = self.worker(**self.backend.impatient())
        ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600", sla={"timeout_ms": 120000, "max_retries": 0}))
        self.wait_running()
        self.backend.stop_engine()
        ticket = self.ended(worker, ticket_id)
        self.assert_failed(ticket, "does not answer|not known")
        self.assertNotIn("fallback_from", self.facts(ticket))  # it had begun: nowhere else
        self.assertNotIn("exit_code", self.output(ticket))
        self.backend.start_engine()
        self.nothing_left()

    def test_server_that_says_nothing_for_a_while(self):
        """Its connections stay: watches are silent, as those of a server where nothing happens."""
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("echo begun; sleep 5; echo done"))
        self.wait_running()
        self.backend.peer.freeze()
        self.addCleanup(self.backend.peer.thaw)
        time.sleep(8)
        self.assertEqual(self.ticket(worker, ticket_id)["status"], "RUNNING")
        self.backend.peer.thaw()
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.output(ticket)["stdout"], "begun\ndone\n")
        self.nothing_left()

    def test_cancel_while_the_server_is_away(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600"))
        self.wait_running()
        self.backend.kill_engine()
        self.cancel(worker, ticket_id)
        time.sleep(1)
        self.backend.start_engine()
        self.assert_failed(self.ended(worker, ticket_id), "cancelled")
        self.nothing_left()

    def test_killed_worker_whose_server_is_away_runs_it_nowhere_else(self):
        worker, since = self.worker(), time.time()
        ticket_id = self.submit(worker, self.backend.ticket("echo once; sleep 20; echo twice"))
        self.wait_running()
        before = self.backend.running()
        worker.kill()
        self.backend.kill_engine()
        worker.start()
        time.sleep(3)
        self.assertEqual(self.ticket(worker, ticket_id)["status"], "RUNNING")
        self.backend.start_engine()
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual((self.output(ticket)["stdout"], self.facts(ticket)["adopted"]), ("once\ntwice\n", "true"))
        self.assertEqual(self.backend.begun(since), before)
        self.nothing_left()


if __name__ == "__main__":
    unittest.main()
