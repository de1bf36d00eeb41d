"""The runtime "k8s" on a real cluster (tests/peers/kubernetes): the cases that all runtimes have in common."""

import shutil
import unittest

from harness import Worker
from kubernetes_backend import KubernetesTest, start_cluster
from runtime_cases import conformance


def setUpModule():
    start_cluster()


@conformance
class CommonTest(KubernetesTest):
    pass


class InAPodTest(KubernetesTest):
    """Access by the account of a pod: the files and variables that a node gives it, without a kubeconfig. The worker has
    the folder of the account in a mount namespace of its own."""

    def put_account(self, token):
        """As nodes do: the files are links into a folder that is exchanged whole."""
        generation = self.folder / f"..{len(list(self.folder.iterdir()))}"
        generation.mkdir(mode=0o755)
        shutil.copy(self.backend.peer["KUBE_CA"], generation / "ca.crt")
        (generation / "namespace").write_text(self.backend.space.name)
        (generation / "token").write_text(token)
        link = self.folder / "..new"
        link.symlink_to(generation.name)
        link.rename(self.folder / "..data")
        for name in ("ca.crt", "namespace", "token"):
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")

    def worker_in_a_pod(self):
        host, port = self.backend.peer["KUBE_URL"].removeprefix("https://").split(":")
        settings = {name: value for name, value in self.backend.settings().items() if not name.startswith("K8S_JOBS_KUBECONFIG")}
        worker = Worker({**settings, "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port})
        self.addCleanup(worker.close)
        self.backend.has_worker(worker)
        self.folder = worker.folder / "account"
        self.folder.mkdir()
        place = "/run/secrets/kubernetes.io/serviceaccount"
        worker.around = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                         f'mount -t tmpfs none /run && mkdir -p {place} && mount --bind "$0" {place} && exec "$@"', str(self.folder)]
        return worker

    def test_account_and_its_rotation(self):
        worker = self.worker_in_a_pod()
        self.put_account(self.backend.space.token)
        worker.start()
        ticket = self.run_one(worker, self.backend.ticket("echo one"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.facts(ticket)["namespace"], self.backend.space.name)
        self.put_account("worn-out")
        ticket = self.run_one(worker, self.backend.ticket("echo two", sla={"max_retries": 0}))
        self.assert_failed(ticket, "401|Unauthorized")
        self.assertNotIn("worn-out", str(ticket))
        self.put_account(self.backend.space.token)
        ticket = self.run_one(worker, self.backend.ticket("echo three"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertNotIn(self.backend.space.token, (worker.folder / "log").read_text())
        self.nothing_left()


if __name__ == "__main__":
    unittest.main()
