"""The runtime "docker" on a real Docker engine (tests/peers/docker): the common cases, and its own."""

import base64
import http.client
import json
import re
import socket
import time
import unittest
from urllib.parse import quote

from harness import wait_until
from runtime_cases import Backend, Peer, RuntimeTest, conformance


class Engine(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)

    def ask(self, method, target, body=None):
        self.request(method, target, body=json.dumps(body) if body is not None else None,
                     headers={"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        self.close()
        return answer.status, json.loads(text) if text else None


class Docker(Backend):
    runtime = "docker"
    has = {"command", "huge_output", "live_log", "stop", "retry", "refusal", "record", "image", "memory_limit", "adoption",
           "start_time", "engine_away", "engine_stop"}

    def start(self):
        self.peer = Peer("docker").start()
        self.socket = self.peer.values["DOCKER_BASE_URL"].removeprefix("unix://")
        self.image = self.peer.values["DOCKER_PEER_IMAGE"]

    def close(self):
        self.peer.close()

    def settings(self):
        return {"DOCKER_ENABLED": "true", "DOCKER_BASE_URL": self.peer.values["DOCKER_BASE_URL"], "DOCKER_NETWORK_MODE": "none"}

    def no_engine(self):
        return {"DOCKER_BASE_URL": "unix:///nowhere/docker.sock"}

    def impatient(self):
        return {"DOCKER_RECONNECT_SECONDS": "3"}

    def ticket(self, script, **more):
        ticket = super().ticket(script, **{"image": self.image, **more})
        # What only this runtime reads is a parameter.
        for key in ("memory_limit", "cpu_limit", "user", "network_mode", "pull_policy", "mounts", "timeout_seconds",
                    "retry_on_exit_codes"):
            if key in ticket:
                ticket.setdefault("parameters", {})[key] = ticket.pop(key)
        return ticket

    def refused(self):
        return self.ticket("true", network_mode="no-such-network"), {}, "no-such-network"

    def ask(self, method, target, body=None):
        return Engine(self.socket).ask(method, target, body)

    def containers(self):
        status, containers = self.ask("GET", "/containers/json?all=1")
        assert status == 200, containers
        return containers

    def left(self):
        return sorted(name for container in self.containers() for name in container["Names"])

    def running(self):
        return sorted(container["Id"] for container in self.containers() if container["State"] == "running")

    def clean(self):
        for container in self.containers():
            self.ask("DELETE", f"/containers/{container['Id']}?force=1")

    def begun(self, since):
        filters = quote(json.dumps({"type": ["container"], "event": ["start"]}))
        connection = Engine(self.socket)
        connection.request("GET", f"/events?since={since:.3f}&until={time.time():.3f}&filters={filters}")
        lines = connection.getresponse().read().splitlines()
        connection.close()
        return [json.loads(line)["Actor"]["ID"] for line in lines]

    def kill_engine(self):
        self.peer.kill()

    def stop_engine(self):
        self.peer.stop()

    def start_engine(self):
        self.peer.start()


BACKEND = Docker()


@conformance
class DockerTest(RuntimeTest):
    backend = BACKEND

    def test_limits_are_visible_inside(self):
        script = ("id -u; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; "
                  "grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /file 2>&1; touch /tmp/file && echo tmp-is-writable; "
                  "cat /proc/net/dev | grep -c :; ulimit -n; grep ' /tmp ' /proc/mounts")
        ticket = self.run_one(self.worker(), self.backend.ticket(script, memory_limit="48Mi", cpu_limit="500m"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        out = self.output(ticket)["stdout"]
        self.assertTrue(out.startswith("1000\n"), out)
        self.assertIn(str(48 << 20), out)
        self.assertRegex(out, r"CapEff:\s+0000000000000000")
        self.assertRegex(out, r"NoNewPrivs:\s+1")
        self.assertIn("Read-only file system", out)
        self.assertIn("tmp-is-writable", out)
        self.assertIn("\n1024\n", out)
        self.assertRegex(out, r"tmpfs /tmp .*noexec.*size=65536k")

    def test_what_the_engine_was_asked_for(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600", memory_limit="64m", cpu_limit=0.5))
        self.wait_running()
        _, found = self.backend.ask("GET", f"/containers/{self.backend.running()[0]}/json")
        host, labels = found["HostConfig"], found["Config"]["Labels"]
        self.assertEqual((host["Memory"], host["MemorySwap"], host["NanoCpus"]), (64 << 20, 64 << 20, 500_000_000))
        self.assertEqual((host["CapDrop"], host["SecurityOpt"], host["PidsLimit"]), (["ALL"], ["no-new-privileges"], 256))
        self.assertTrue(host["ReadonlyRootfs"] and host["Init"] and not host["AutoRemove"] and not host["Privileged"])
        self.assertEqual(host["LogConfig"]["Type"], "json-file")
        self.assertIsNone(host["Binds"])
        self.assertEqual(labels["neural-hive.io/ticket-id"], ticket_id)
        self.assertEqual(labels["neural-hive.io/managed-by"], "worker-agents")
        self.assertRegex(found["Name"], r"^/nh-exec-[0-9a-f]{10}-1$")
        self.cancel(worker, ticket_id)
        self.ended(worker, ticket_id)
        self.nothing_left()

    def test_what_a_ticket_may_not_have(self):
        worker = self.worker()
        for more, pattern in (({"user": "0"}, "root"), ({"user": "root"}, "numbers"), ({"network_mode": "host"}, "host"),
                              ({"network_mode": "container:x"}, "network"), ({"mounts": ["/:/host"]}, "mounts"),
                              ({"memory_limit": "lots"}, "memory_limit")):
            ticket = self.run_one(worker, self.backend.ticket("true", **more))
            self.assert_failed(ticket, pattern)
            self.assertNotIn("simulated", self.facts(ticket) if ticket.get("result") else {})
        self.nothing_left()

    def test_images_that_are_not_allowed(self):
        worker = self.worker(EXECUTE_ALLOWED_IMAGES="registry.example.com/*")
        self.assert_failed(self.run_one(worker, self.backend.ticket("true")), "EXECUTE_ALLOWED_IMAGES|not allowed")

    def test_image_that_is_never_pulled(self):
        ticket = self.run_one(self.worker(), self.backend.ticket("true", image="peer/none:1", pull_policy="never"))
        self.assert_failed(ticket, "No such image")

    def private_image(self):
        """An image that only the registry has, and that asks for a login."""
        registry = Peer("registry").start()
        self.addCleanup(registry.close)
        place = registry["REGISTRY_PEER"]
        login = {"username": registry["REGISTRY_PEER_USER"], "password": registry["REGISTRY_PEER_PASSWORD"], "serveraddress": place}
        status, _ = self.backend.ask("POST", f"/images/{self.backend.image}/tag?repo={place}/team/tool&tag=7")
        self.assertEqual(status, 201)
        connection = Engine(self.backend.socket)
        connection.request("POST", f"/images/{place}/team/tool/push?tag=7",
                           headers={"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(login).encode()).decode()})
        said = connection.getresponse().read().decode()
        connection.close()
        self.assertIn("digest", said)
        self.forget(f"{place}/team/tool:7")
        self.addCleanup(self.forget, f"{place}/team/tool:7")
        return registry, f"{place}/team/tool:7"

    def forget(self, image):
        connection = Engine(self.backend.socket)
        connection.request("DELETE", f"/images/{image}")
        connection.getresponse().read()
        connection.close()

    def test_image_behind_a_login(self):
        registry, image = self.private_image()
        place, user, password = (registry[key] for key in ("REGISTRY_PEER", "REGISTRY_PEER_USER", "REGISTRY_PEER_PASSWORD"))

        def auth(word):
            pair = base64.b64encode(f"{user}:{word}".encode()).decode()
            return json.dumps({"auths": {place: {"auth": pair}, "registry.example.com": {"auth": pair}}})

        for settings in ({}, {"DOCKER_AUTH_CONFIG": auth("another-word")}):
            ticket = self.run_one(self.worker(**settings), self.backend.ticket("true", image=image))
            self.assert_failed(ticket, "(?i)no basic auth credentials|unauthorized")
            self.assertEqual(ticket["attempts"], 1, "another try does not help")
        worker = self.worker(DOCKER_AUTH_CONFIG=auth(password))
        ticket = self.run_one(worker, self.backend.ticket("true", image=image.replace(":7", ":8")))
        self.assert_failed(ticket, "manifest unknown")
        self.assertEqual(ticket["attempts"], 1)
        ticket = self.run_one(worker, self.backend.ticket("echo pulled", image=image))
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.facts(ticket)["image_pulled"], "true")
        self.assertEqual(self.output(ticket)["stdout"], "pulled\n")
        everything = json.dumps(ticket) + (worker.folder / "log").read_text()
        for secret in (password, base64.b64encode(f"{user}:{password}".encode()).decode()):
            self.assertNotIn(secret, everything)
        self.nothing_left()

    def test_kept_containers(self):
        worker = self.worker(DOCKER_CLEANUP_CONTAINERS="false", RETRY_BACKOFF_BASE_SECONDS="0.1")
        # Each attempt runs anew: what an earlier one left is not taken for its own.
        ticket = self.run_one(worker, self.backend.ticket("exit 3", retry_on_exit_codes=[3], sla={"max_retries": 1}))
        self.assert_failed(ticket, "exit code 3")
        self.assertEqual(ticket["attempts"], 2)
        self.assertTrue(wait_until(lambda: len(self.backend.left()) == 2 and
                                   all(re.search("-kept-", name) for name in self.backend.left()), 30), self.backend.left())

    def test_metrics(self):
        worker = self.worker()
        self.run_one(worker, self.backend.ticket("true"))
        text = worker.request("GET", "/metrics")[1]
        self.assertIn('worker_agent_docker_executions_total{status="success"} 1', text)
        self.assertIn('worker_agent_docker_api_calls_total{method="create",status="success"} 1', text)
        self.assertIn('worker_agent_external_request_duration_seconds_count{target="docker",method="create"} 1', text)
        self.assertRegex(text, r'worker_agent_docker_execution_duration_seconds_count\{stage="total"\} 1')

    def test_a_drained_worker_leaves_it_running(self):
        worker = self.worker(SHUTDOWN_GRACE_SECONDS="1")
        ticket_id = self.submit(worker, self.backend.ticket("echo once; sleep 8; echo twice"))
        self.wait_running()
        before = self.backend.running()
        worker.stop()
        self.assertEqual(self.backend.running(), before)
        worker.start()
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.output(ticket)["stdout"], "once\ntwice\n")
        self.nothing_left()


if __name__ == "__main__":
    unittest.main()
