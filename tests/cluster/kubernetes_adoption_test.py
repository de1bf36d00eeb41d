"""Jobs of a worker that is gone are taken up by another one of the group (adoption.py)."""

import sys
import unittest

import adoption
import harness

sys.path.append(str(harness.HERE.parent / "e2e"))
from cluster_api import Cluster


class Jobs(adoption.Cases, adoption.Adoption):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = harness.peer(cls, harness.Peer("kubernetes", KUBE_WAIT_S=240))
        cls.cluster = Cluster(cls.peer)
        cls.addClassCleanup(cls.cluster.close)
        cls.space = cls.cluster.space("work")
        cls.tickets = {}  # by the uids of pods

    def setUp(self):
        super().setUp()
        self.addCleanup(self.space.clean)

    def engine_settings(self):
        return {"K8S_JOBS_ENABLED": "true", **self.space.settings()}

    def contained(self, script, **fields):
        return harness.ticket(parameters={"runtime": "k8s", "image": self.peer["KUBE_IMAGE"],
                                          "command": ["sh", "-c", script]}, **fields)

    def left(self):
        return self.space.left()

    def started(self, since):
        for pod in self.space.pods():
            self.tickets[pod["metadata"]["uid"]] = pod["metadata"]["labels"]["neural-hive.io/ticket-id"]
        return sorted(self.tickets.get(uid, uid) for uid in self.space.begun(since))


if __name__ == "__main__":
    unittest.main()
