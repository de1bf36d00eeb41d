"""What tests of the runtime "k8s" ask and tell a cluster (tests/peers/kubernetes), with the standard library only."""

import datetime
import http.client
import json
import pathlib
import shutil
import ssl
import tempfile
import time
import urllib.parse

from harness import wait_until

MANAGED = urllib.parse.quote("app.kubernetes.io/managed-by=worker-agents")
JOBS = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "watch", "delete", "patch"]}
# All that a worker needs: what operations documents promise to suffice.
RIGHTS = [JOBS,
          {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
          {"apiGroups": [""], "resources": ["pods/log", "pods/status"], "verbs": ["get"]}]
# It is more: with it, results name the reason when the cluster makes no pod.
EVENTS = {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list"]}
# Long enough for what the node and the controllers do, each on its own clock.
SETTLED_SECONDS = 40
ACCOUNT = "worker-agent-executor"  # of the pods


class Cluster:
    """One cluster, as its administrator."""

    def __init__(self, peer):
        self.peer = peer
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wa-kube-"))
        self.spaces = []

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, certificate=True):
        context = ssl.create_default_context(cafile=self.peer["KUBE_CA"])
        if certificate:
            context.load_cert_chain(self.peer["KUBE_CERT"], self.peer["KUBE_KEY"])
        return http.client.HTTPSConnection(self.peer["KUBE_URL"].removeprefix("https://"), context=context, timeout=30)

    def ask(self, method, path, body=None, token=None):
        connection = self.connect(token is None)
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = "Bearer " + token
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def want(self, method, path, body=None):
        status, answer = self.ask(method, path, body)
        assert status in (200, 201), (method, path, status, answer)
        return answer

    def space(self, name, **more):
        self.spaces.append(Space(self, name, **more))
        return self.spaces[-1]

    def kubeconfig(self, name, user, space="default", server=None):
        """A file that says who calls; `user` as in kubeconfig files."""
        path = self.folder / name
        path.write_text(json.dumps({  # which is YAML, too
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server or self.peer["KUBE_URL"],
                                                      "certificate-authority": self.peer["KUBE_CA"]}}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": space}}],
        }))
        path.chmod(0o600)
        return str(path)

    def is_up(self):
        try:
            return self.ask("GET", "/version")[0] == 200
        except (OSError, http.client.HTTPException):
            return False


class Space:
    """A namespace with the account of the pods, and one for workers that may do what `rights` say."""

    def __init__(self, cluster, name, rights=RIGHTS, labels=None, worker="worker-agents"):
        self.cluster, self.name, self.worker = cluster, name, worker
        cluster.want("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels or {}}})
        self.core, self.batch = f"/api/v1/namespaces/{name}", f"/apis/batch/v1/namespaces/{name}"
        access = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}"
        self.make_account(ACCOUNT)
        self.make_account(worker)
        cluster.want("POST", f"{access}/roles", {"metadata": {"name": worker}, "rules": rights})
        cluster.want("POST", f"{access}/rolebindings", {
            "metadata": {"name": worker},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": worker},
            "subjects": [{"kind": "ServiceAccount", "name": worker, "namespace": name}]})
        self.token_file = cluster.folder / f"{name}.token"
        self.write_token()
        self.kubeconfig = cluster.kubeconfig(f"{name}.kubeconfig", {"tokenFile": str(self.token_file)}, name)
        # Rights are known to the server a moment after they are given.
        if rights is RIGHTS:
            assert wait_until(lambda: self.cluster.ask("GET", f"{self.batch}/jobs", token=self.token)[0] == 200, 20)

    def make_account(self, name):
        self.cluster.want("POST", f"{self.core}/serviceaccounts", {"metadata": {"name": name}})

    def write_token(self):
        answer = self.cluster.want("POST", f"{self.core}/serviceaccounts/{self.worker}/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}})
        self.token = answer["status"]["token"]
        new = self.token_file.with_suffix(".new")
        new.write_text(self.token)
        new.chmod(0o600)
        new.rename(self.token_file)  # as a kubelet replaces it

    def settings(self):
        return {"K8S_JOBS_NAMESPACE": self.name, "K8S_JOBS_KUBECONFIG_PATH": self.kubeconfig}

    def jobs(self):
        return self.cluster.want("GET", f"{self.batch}/jobs?labelSelector={MANAGED}")["items"]

    def pods(self):
        return self.cluster.want("GET", f"{self.core}/pods?labelSelector={MANAGED}")["items"]

    def job(self):
        jobs = self.jobs()
        assert len(jobs) == 1, [job["metadata"]["name"] for job in jobs]
        return jobs[0]

    def pod(self):
        """The one that is not on its way out."""
        pods = [pod for pod in self.pods() if "deletionTimestamp" not in pod["metadata"]]
        assert len(pods) == 1, [pod["metadata"]["name"] for pod in pods]
        return pods[0]

    def left(self):
        return sorted(thing["metadata"]["name"] for thing in self.jobs() + self.pods())

    def running(self):
        return sorted(pod["metadata"]["uid"] for pod in self.pods() if runs(pod))

    def begun(self, since):
        """Uids of the pods whose container was started since then, again for each time it was: by the node's events."""
        found = []
        for event in self.cluster.want("GET", f"{self.core}/events?limit=500&fieldSelector=reason%3DStarted")["items"]:
            when = datetime.datetime.fromisoformat(event["firstTimestamp"].replace("Z", "+00:00")).timestamp()
            if when >= int(since):  # they have whole seconds
                found += [event["involvedObject"]["uid"]] * event["count"]
        return sorted(found)

    def delete_job(self, name, policy="Background"):
        return self.cluster.ask("DELETE", f"{self.batch}/jobs/{name}", {"propagationPolicy": policy})

    def delete_pod(self, name, **options):
        return self.cluster.ask("DELETE", f"{self.core}/pods/{name}", options)

    def clean(self):
        for job in self.jobs():
            self.delete_job(job["metadata"]["name"])
        for pod in self.pods():
            self.delete_pod(pod["metadata"]["name"], gracePeriodSeconds=1)
        wait_until(lambda: not self.left(), SETTLED_SECONDS)


def runs(pod):
    return any("running" in container["state"] for container in pod["status"].get("containerStatuses", []))


def condition(thing, kind):
    return next((one for one in thing["status"].get("conditions", []) if one["type"] == kind and one["status"] == "True"), None)
