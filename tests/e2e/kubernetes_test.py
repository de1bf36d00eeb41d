"""The runtime "k8s" on a real cluster (tests/peers/kubernetes): the cases that all runtimes have in common."""

import unittest

from kubernetes_backend import KubernetesTest, start_cluster
from runtime_cases import conformance


def setUpModule():
    start_cluster()


@conformance
class CommonTest(KubernetesTest):
    pass


if __name__ == "__main__":
    unittest.main()
