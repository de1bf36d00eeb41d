"""The runtime "k8s" on a real cluster (tests/peers/kubernetes), for tests of it."""

import os
import re
import signal
import time
import unittest

from cluster_api import SETTLED_SECONDS, Cluster
from harness import wait_until
from runtime_cases import Backend, Peer, RuntimeTest


class Kubernetes(Backend):
    runtime = "k8s"
    has = {"command", "huge_output", "live_log", "stop", "retry", "refusal", "record", "image", "memory_limit", "adoption",
           "start_time", "engine_away"}
    lacks = {"engine_stop": "pods go on without the API server: see kubernetes_trouble_test.py"}
    merged = True
    parameters = {*Backend.parameters, "memory_limit", "memory_request", "cpu_limit", "cpu_request", "user", "service_account",
                  "network_mode", "host_network", "pull_policy", "mounts", "privileged"}

    def start(self):
        self.peer = Peer("kubernetes", KUBE_WAIT_S=240).start()
        self.image = self.peer["KUBE_IMAGE"]
        self.cluster = Cluster(self.peer)
        self.space = self.cluster.space("work")

    def close(self):
        self.peer.close()
        self.cluster.close()

    def settings(self, space=None):
        return {"K8S_JOBS_ENABLED": "true", "K8S_JOBS_START_TIMEOUT_SECONDS": "3", "LOCAL_RUNTIME_ALLOWED_COMMANDS": "sh",
                **(space or self.space).settings()}

    def no_engine(self):
        nowhere = self.cluster.kubeconfig("nowhere", {"token": "none"}, server="https://127.0.0.1:1")
        return {"K8S_JOBS_KUBECONFIG_PATH": nowhere}

    def impatient(self):
        return {"K8S_JOBS_RECONNECT_SECONDS": "3"}

    def ticket(self, script, **more):
        return super().ticket(script, **{"image": self.image, **more})

    def refused(self):
        return self.ticket("true", user="3000000000"), {}, "2147483647"  # the API server's bound, not ours

    def left(self):
        return self.space.left()

    def running(self):
        return self.space.running()

    def begun(self, since):
        return self.space.begun(since)

    def clean(self):
        for space in self.cluster.spaces:
            space.clean()

    def kill_engine(self):
        self.peer.kill()

    def stop_engine(self):
        """As in an update: it takes no connection any more, and what it has goes on for a while before that ends, too."""
        os.kill(self.peer.pid(), signal.SIGTERM)
        time.sleep(2)
        self.peer.kill()

    def start_engine(self):
        self.peer.start()
        assert wait_until(self.cluster.is_up, SETTLED_SECONDS)


class KubernetesTest(RuntimeTest):
    settled_seconds = SETTLED_SECONDS
    backend = Kubernetes()  # one for all classes of a program: see start_cluster

    @classmethod
    def setUpClass(cls):
        pass

    def space(self, name, **more):
        """Another namespace, for this test; `settings` of it go to the worker."""
        space = self.backend.cluster.space(name, **more)
        self.addCleanup(self.backend.cluster.spaces.remove, space)
        self.addCleanup(space.clean)
        return space

    def worker_in(self, space, **settings):
        return self.worker(**{**space.settings(), **settings})

    def nothing_left(self, space=None):
        space = space or self.backend.space
        self.assertTrue(wait_until(lambda: space.left() == [], self.settled_seconds), space.left())

    def assert_nothing_else(self, ticket):
        """What the cluster refused, or has begun, was tried nowhere else."""
        facts = self.facts(ticket) if ticket.get("result") else {}
        self.assertNotIn("fallback_from", facts)
        self.assertNotIn("simulated", facts)

    def wait_said(self, worker, command, pattern):
        """Within a few seconds: the first question to the cluster may not be answered yet."""
        said = wait_until(lambda: re.search(pattern, worker.cli(*command.split()).stdout), 15, 0.2)
        self.assertTrue(said, worker.cli(*command.split()).stdout)

    def wait_job(self, space=None):
        space = space or self.backend.space
        self.assertTrue(wait_until(space.jobs, 30))
        return space.job()


def start_cluster():
    """For setUpModule."""
    KubernetesTest.backend.start()
    unittest.addModuleCleanup(KubernetesTest.backend.close)
