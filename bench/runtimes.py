"""What a container and a Job cost through the worker, beside the same calls by hand on the same engine.

    bench/runtimes.py BINARY [--only docker,k8s] [--rounds N]

By hand: one thread, one kept connection, the same requests that the worker makes (Docker: create, start, wait, logs; Kubernetes:
create the Job, watch its pods until the process has ended, logs), then the removal. The worker has one at a time; both take
turns, in groups, on an engine that nobody else uses. `one` is the time from the first request until the output is there, each
on an engine that has nothing left of the one before (its removal would take time from the next); `all` is everything, one
after the other, removals included, divided by the number of tickets.
Nothing is asserted. The engines are those of tests/peers (as root).
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import socket
import ssl
import statistics
import sys
import time
import urllib.parse
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "peers")]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


def ask(connection, method, path, body=None):
    connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {text[:300]}")
    return text


class Docker:
    name = "docker"

    def __init__(self, peer):
        self.settings = {"DOCKER_ENABLED": "true", "DOCKER_BASE_URL": peer["DOCKER_BASE_URL"], "DOCKER_NETWORK_MODE": "none"}
        self.image = peer["DOCKER_PEER_IMAGE"]
        self.connection = UnixConnection(peer["DOCKER_BASE_URL"].removeprefix("unix://"))

    def by_hand(self, words):
        began = time.monotonic()
        mib = 1 << 20
        host = {"Memory": 512 * mib, "MemorySwap": 512 * mib, "NanoCpus": 10 ** 9, "PidsLimit": 256, "NetworkMode": "none",
                "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "ReadonlyRootfs": True, "Init": True,
                "Tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=67108864,mode=1777"}}
        made = ask(self.connection, "POST", f"/v1.41/containers/create?name=bench-{uuid.uuid4().hex[:10]}",
                   {"Image": self.image, "Cmd": words, "User": "1000:1000", "HostConfig": host})
        name = json.loads(made)["Id"]
        ask(self.connection, "POST", f"/v1.41/containers/{name}/start")
        ask(self.connection, "POST", f"/v1.41/containers/{name}/wait")
        ask(self.connection, "GET", f"/v1.41/containers/{name}/logs?stdout=1&stderr=1")
        took = time.monotonic() - began
        ask(self.connection, "DELETE", f"/v1.41/containers/{name}?force=1&v=1")
        return took

    def is_empty(self):
        return json.loads(ask(self.connection, "GET", "/v1.41/containers/json?all=1")) == []


class Kubernetes:
    name = "k8s"

    def __init__(self, peer):
        self.settings = {"K8S_JOBS_ENABLED": "true", "K8S_JOBS_KUBECONFIG_PATH": peer["KUBECONFIG"],
                         "K8S_JOBS_NAMESPACE": "default", "K8S_JOBS_SERVICE_ACCOUNT": "default"}
        self.image = peer["KUBE_IMAGE"]
        self.peer = peer
        self.connection, self.watching = self.connect(), self.connect()

    def connect(self):
        context = ssl.create_default_context(cafile=self.peer["KUBE_CA"])
        context.load_cert_chain(self.peer["KUBE_CERT"], self.peer["KUBE_KEY"])
        return http.client.HTTPSConnection(self.peer["KUBE_URL"].removeprefix("https://"), context=context, timeout=60)

    def by_hand(self, words):
        began = time.monotonic()
        name = "bench-" + uuid.uuid4().hex[:10]
        limits = {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}}
        container = {"name": "executor", "image": self.image, "command": words, "resources": limits,
                     "securityContext": {"runAsUser": 1000, "runAsNonRoot": True, "readOnlyRootFilesystem": True,
                                         "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                     "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
        spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "shareProcessNamespace": True,
                "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]}
        ask(self.connection, "POST", "/apis/batch/v1/namespaces/default/jobs",
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
             "spec": {"backoffLimit": 0, "template": {"spec": spec}}})
        selector = urllib.parse.quote(f"job-name={name}")
        self.watching.request("GET", f"/api/v1/namespaces/default/pods?watch=1&labelSelector={selector}&timeoutSeconds=60")
        stream = self.watching.getresponse()
        pod = None
        for line in stream:
            pod = json.loads(line)["object"]
            states = pod["status"].get("containerStatuses", [])
            if states and "terminated" in states[0]["state"]:
                break
        self.watching.close()
        ask(self.connection, "GET", f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}/log")
        took = time.monotonic() - began
        ask(self.connection, "DELETE", f"/apis/batch/v1/namespaces/default/jobs/{name}",
            {"propagationPolicy": "Background"})
        return took

    def is_empty(self):
        return json.loads(ask(self.connection, "GET", "/api/v1/namespaces/default/pods"))["items"] == []


def by_worker(worker, engine, words, count):
    """(seconds of each attempt, seconds of all)"""
    plan = {f"t{number}": {"type": "EXECUTE", "run": words, "runtime": engine.name, "parameters": {"image": engine.image}}
            for number in range(count)}
    began = time.monotonic()
    status, answer = worker.request("POST", "/api/v1/plans", {"plan": "bench", "tickets": plan})
    if status != 201:
        raise SystemExit(answer)
    took = []
    for ticket_id in answer["tickets"].values():
        while (ticket := worker.request("GET", f"/api/v1/tickets/{ticket_id}")[1])["status"] not in ("COMPLETED", "FAILED"):
            time.sleep(0.03)  # asking more often would take processor time from what is measured
        if ticket["status"] != "COMPLETED":
            raise SystemExit(ticket["error_message"])
        took.append(float(ticket["result"]["result"]["metadata"]["duration_seconds"]))
    return took, time.monotonic() - began


def settle(engine):
    while not engine.is_empty():
        time.sleep(0.02)
    time.sleep(0.05)


def measure(engine, binary, rounds, count):
    os.environ["WA_BINARY"] = str(binary)
    from harness import Worker
    words = ["sh", "-c", "echo hello"]
    worker = Worker({**engine.settings, "MAX_CONCURRENT_TASKS": "1"})
    worker.start()
    ones, alls, hand_ones, hand_alls = [], [], [], []
    try:
        by_worker(worker, engine, words, 2)
        engine.by_hand(words)
        for _ in range(rounds):
            for _ in range(count):
                settle(engine)
                hand_ones.append(engine.by_hand(words))
                settle(engine)
                ones += by_worker(worker, engine, words, 1)[0]
            settle(engine)
            began = time.monotonic()
            for _ in range(count):
                engine.by_hand(words)
            hand_alls.append((time.monotonic() - began) / count)
            settle(engine)
            alls.append(by_worker(worker, engine, words, count)[1] / count)
    finally:
        worker.stop()
        worker.close()
    for what, ours, hand in (("one", ones, hand_ones), ("all", alls, hand_alls)):
        mine, theirs = statistics.median(ours) * 1000, statistics.median(hand) * 1000
        print(f"{engine.name:<8} {what:<4} {mine:9.1f} ms  {theirs:9.1f} ms by hand  ratio {mine / theirs:.3f}  "
              f"difference {mine - theirs:+.1f} ms", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("binary", type=pathlib.Path)
    arguments.add_argument("--only", default="docker,k8s")
    arguments.add_argument("--rounds", type=int, default=5)
    asked = arguments.parse_args()
    from real_peer import Peer
    print(f"load {os.getloadavg()[0]:.2f}; medians; goal: 5 % and 2 ms at most", flush=True)
    for name, make, peer, count in (("docker", Docker, "docker", 10), ("k8s", Kubernetes, "kubernetes", 5)):
        if name not in asked.only.split(","):
            continue
        with contextlib.ExitStack() as stack:
            started = Peer(peer)
            stack.callback(started.close)
            measure(make(started.start()), asked.binary.resolve(), asked.rounds, count)


if __name__ == "__main__":
    main()
