"""What is particular to the runtime "k8s": Jobs as they are made, refusals of a real cluster, and who calls."""

import base64
import pathlib
import unittest

from cluster_api import ACCOUNT, EVENTS, JOBS, RIGHTS, condition
from harness import wait_until
from kubernetes_backend import KubernetesTest, start_cluster


def setUpModule():
    start_cluster()


class JobTest(KubernetesTest):
    """What is made, and what it is inside."""

    def test_limits_are_visible_inside(self):
        script = ("id; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; "
                  "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; "
                  "grep -E 'Cap(Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status; touch /file 2>&1; "
                  "touch /tmp/file && echo tmp-is-writable; echo home=$HOME; ls /var/run/secrets/kubernetes.io 2>&1; "
                  "cat && echo no-input")
        ticket = self.run_one(self.worker(), self.backend.ticket(script, memory_limit="48Mi", cpu_limit="500m"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        out = self.output(ticket)["stdout"]
        self.assertRegex(out, r"uid=1000(\(\S+\))? gid=1000")
        self.assertIn(f"\n{48 << 20}\n", out)
        self.assertRegex(out, r"\n50000( 100000)?\n")
        for pattern in (r"CapEff:\s+0{16}\n", r"CapBnd:\s+0{16}\n", r"NoNewPrivs:\s+1\n", r"Seccomp:\s+2\n"):
            self.assertRegex(out, pattern)
        for line in ("Read-only file system", "tmp-is-writable", "home=/tmp", "No such file or directory", "no-input"):
            self.assertIn(line, out)

    def test_what_the_cluster_was_asked_for(self):
        worker = self.worker(K8S_JOBS_TIMEOUT_SECONDS="90", K8S_JOBS_TTL_SECONDS="456")
        ticket_id = self.submit(worker, self.backend.ticket(
            "exec sleep 600", memory_limit="64Mi", memory_request="32m", cpu_limit=0.5, cpu_request="50m", user="1234:5678",
            env={"GREETING": "hello"}, sla={"timeout_ms": 60000, "max_retries": 0}))
        self.wait_running()
        job = self.backend.space.job()
        spec = job["spec"]
        pod = spec["template"]["spec"]
        container = pod["containers"][0]
        for labels in (job["metadata"]["labels"], spec["template"]["metadata"]["labels"]):
            self.assertEqual(labels["app.kubernetes.io/managed-by"], "worker-agents")
            self.assertEqual(labels["app.kubernetes.io/name"], "neural-hive-executor")
            self.assertEqual(labels["app.kubernetes.io/component"], "job")
            self.assertEqual(labels["neural-hive.io/ticket-id"], ticket_id)
            self.assertEqual(labels["neural-hive.io/job-id"], job["metadata"]["name"])
        self.assertRegex(job["metadata"]["name"], r"^exec-[0-9a-f]{10}-1$")
        self.assertEqual(job["metadata"]["annotations"]["neural-hive.io/created-by"], "execute-executor")
        # The cluster's own deadline is a guard: it comes after the worker's, not long after.
        self.assertTrue(60 < spec["activeDeadlineSeconds"] < 60 + 120, spec)
        self.assertEqual((spec["backoffLimit"], spec["ttlSecondsAfterFinished"]), (0, 456))
        self.assertEqual(pod["restartPolicy"], "Never")
        self.assertEqual(pod["serviceAccountName"], ACCOUNT)
        self.assertIs(pod["automountServiceAccountToken"], False)
        self.assertIs(pod["enableServiceLinks"], False)
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            self.assertFalse(pod.get(key))
        self.assertEqual([volume.keys() - {"name"} for volume in pod["volumes"]], [{"emptyDir"}])
        self.assertTrue(pod["volumes"][0]["emptyDir"]["sizeLimit"])
        self.assertEqual([(mount["mountPath"]) for mount in container["volumeMounts"]], ["/tmp"])
        security = {**pod.get("securityContext", {}), **container["securityContext"]}
        for key, value in {"runAsNonRoot": True, "runAsUser": 1234, "runAsGroup": 5678, "readOnlyRootFilesystem": True,
                           "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                           "seccompProfile": {"type": "RuntimeDefault"}}.items():
            self.assertEqual(security[key], value, key)
        self.assertFalse(security.get("privileged"))
        self.assertEqual((container["name"], container["image"], container["imagePullPolicy"]),
                         ("executor", self.backend.image, "IfNotPresent"))
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        self.assertEqual((limits["memory"], limits["cpu"]), ("64Mi", "500m"))
        self.assertEqual((requests["memory"], requests["cpu"]), ("32Mi", "50m"))
        self.assertIn("ephemeral-storage", limits)
        self.assertIn({"name": "GREETING", "value": "hello"}, container["env"])
        self.cancel(worker, ticket_id)
        self.ended(worker, ticket_id)
        self.nothing_left()

    def test_result_says_where_it_was(self):
        ticket = self.run_one(self.worker(), self.backend.ticket("echo here"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        output, facts = self.output(ticket), self.facts(ticket)
        self.assertRegex(output["job_name"], r"^exec-[0-9a-f]{10}-1$")
        self.assertTrue(output["pod_name"].startswith(output["job_name"] + "-"), output)
        for key, value in {"runtime": "k8s", "image": self.backend.image, "namespace": "work", "node": "peer-node",
                           "adopted": "false", "oom_killed": "false", "timed_out": "false"}.items():
            self.assertEqual(facts[key], value, key)
        self.assertGreater(float(facts["effective_timeout_seconds"]), 0)
        self.assertNotIn("contact_lost", facts)

    def test_dollars_mean_what_they_say(self):
        words = ["$(HOME)", "$$", "$$(HOME)", "$HOME", "a$b", "$(NOT_SET)", "$"]
        ticket = {**self.backend.ticket("", env={"VALUE": "$$ $(HOME) $x"}),
                  "run": ["sh", "-c", 'printf "%s\\n" "$@" "$VALUE"', "sh", *words]}
        ticket = self.run_one(self.worker(), ticket)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.output(ticket)["stdout"].splitlines(), [*words, "$$ $(HOME) $x"])

    def test_output_without_an_end_of_line(self):
        ticket = self.run_one(self.worker(), self.backend.ticket("echo one; printf two"))
        self.assertEqual(self.output(ticket)["stdout"], "one\ntwo")

    def test_what_a_ticket_may_not_have(self):
        worker = self.worker()
        for more, pattern in (({"user": "0"}, "root"), ({"user": "0:0"}, "root"), ({"user": "root"}, "numbers"),
                              ({"network_mode": "host"}, "host"), ({"host_network": True}, "host_network"),
                              ({"mounts": ["/:/host"]}, "mounts"), ({"privileged": True}, "privileged"),
                              ({"service_account": "default"}, "service account"), ({"memory_limit": "lots"}, "memory_limit"),
                              ({"memory_request": "2Gi", "memory_limit": "1Gi"}, "memory_request"),
                              ({"image": "Not An//Image"}, "image")):
            with self.subTest(more):
                ticket = self.run_one(worker, self.backend.ticket("true", **more))
                self.assert_failed(ticket, pattern)
                self.assert_nothing_else(ticket)
        self.assertEqual(self.backend.left(), [])

    def test_images_that_are_not_allowed(self):
        worker = self.worker(EXECUTE_ALLOWED_IMAGES="registry.example.com/*")
        self.assert_failed(self.run_one(worker, self.backend.ticket("true")), "EXECUTE_ALLOWED_IMAGES|not allowed")
        self.assertEqual(self.backend.left(), [])

    def test_account_that_a_ticket_may_ask_for(self):
        self.backend.space.make_account("another")
        worker = self.worker(K8S_JOBS_ALLOWED_SERVICE_ACCOUNTS=f"{ACCOUNT},another")
        ticket_id = self.submit(worker, self.backend.ticket(
            "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; exec sleep 600", service_account="another"))
        self.wait_running()
        self.assertEqual(self.backend.space.pod()["spec"]["serviceAccountName"], "another")
        self.cancel(worker, ticket_id)
        self.assertIn("work", self.output(self.ended(worker, ticket_id))["stdout"])
        self.nothing_left()

    def test_other_attempts_of_the_cluster(self):
        ticket = self.run_one(self.worker(K8S_JOBS_BACKOFF_LIMIT="1"), self.backend.ticket("echo again; exit 3"))
        self.assert_failed(ticket, "exit code 3")
        self.assertEqual(ticket["attempts"], 1)  # both were the cluster's
        self.nothing_left()

    def test_kept_jobs(self):
        worker = self.worker(K8S_JOBS_CLEANUP="false", RETRY_BACKOFF_BASE_SECONDS="0.1")
        # Each attempt runs anew: what an earlier one left is not taken for its own.
        ticket = self.run_one(worker, self.backend.ticket("exit 3", retry_on_exit_codes=[3], sla={"max_retries": 1}))
        self.assert_failed(ticket, "exit code 3")
        self.assertEqual(ticket["attempts"], 2)
        # Their pods have ended; what the controller says about it comes later.
        self.assertTrue(wait_until(lambda: all(condition(job, "Failed") for job in self.backend.space.jobs()), 30))
        jobs = self.backend.space.jobs()
        self.assertEqual((len(jobs), len(self.backend.space.pods())), (2, 2))
        for job in jobs:
            self.assertEqual(condition(job, "Failed")["reason"], "BackoffLimitExceeded")
            self.assertGreater(job["spec"]["ttlSecondsAfterFinished"], 0)

    def test_what_was_cancelled_is_not_kept(self):
        worker = self.worker(K8S_JOBS_CLEANUP="false")
        ticket_id = self.submit(worker, self.backend.ticket("exec sleep 600"))
        self.wait_running()
        self.cancel(worker, ticket_id)
        self.ended(worker, ticket_id)
        self.nothing_left()

    def test_metrics(self):
        worker = self.worker()
        self.run_one(worker, self.backend.ticket("true"))
        self.assert_failed(self.run_one(worker, self.backend.ticket("exit 3")), "exit code 3")
        self.assert_failed(self.run_one(worker, self.backend.ticket(
            "exec sleep 600", timeout_seconds=1, sla={"max_retries": 0})), "timed out")
        text = worker.request("GET", "/metrics")[1]
        for status in ("succeeded", "failed", "timeout"):
            self.assertIn(f'worker_agent_k8s_jobs_executed_total{{status="{status}"}} 1', text)
        self.assertRegex(text, r'worker_agent_k8s_api_calls_total\{method="create_job",status="success"\} 3')
        self.assertRegex(text, r'worker_agent_k8s_job_duration_seconds_count\{stage="total"\} 3')
        for stage in ("pending", "run", "logs"):
            self.assertRegex(text, rf'worker_agent_k8s_job_duration_seconds_count\{{stage="{stage}"\}} [1-9]')


class ClusterSaysNoTest(KubernetesTest):
    """Refusals, and pods that never are: the reason is the cluster's own."""

    def test_image_that_is_never_pulled(self):
        ticket = self.run_one(self.worker(K8S_JOBS_START_TIMEOUT_SECONDS="60"),
                              self.backend.ticket("true", image="peer/none:1", pull_policy="never"), 40)
        self.assert_failed(ticket, "not present with pull policy of Never")
        self.assert_nothing_else(ticket)
        self.nothing_left()

    def test_image_that_cannot_be_had_names_the_reason(self):
        ticket = self.run_one(self.worker(), self.backend.ticket(
            "true", image="no.such.registry.invalid/none:1", sla={"max_retries": 0}))
        self.assert_failed(ticket, "ErrImagePull|ImagePullBackOff")
        self.assertRegex(ticket["error_message"], "failed to (pull|resolve)")
        self.assertNotIn("exit_code", self.output(ticket))
        self.nothing_left()

    def test_pod_that_no_node_can_take(self):
        ticket = self.run_one(self.worker(K8S_JOBS_SCHEDULE_TIMEOUT_SECONDS="3"), self.backend.ticket(
            "true", memory_request="900Gi", memory_limit="900Gi", sla={"max_retries": 0}))
        self.assert_failed(ticket, "Insufficient memory")
        self.assertNotIn("exit_code", self.output(ticket))
        self.assert_nothing_else(ticket)
        self.nothing_left()

    def test_quota_that_refuses_the_pod(self):
        """Why there is no pod is in events, which the promised rights do not reach; with them it is in the result."""
        for name, rights, pattern in (("quota", RIGHTS, "no pod"), ("quota-events", [*RIGHTS, EVENTS], "exceeded quota")):
            with self.subTest(name):
                space = self.space(name, rights=rights)
                self.backend.cluster.want("POST", f"{space.core}/resourcequotas",
                                          {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
                worker = self.worker_in(space, K8S_JOBS_SCHEDULE_TIMEOUT_SECONDS="4")
                ticket = self.run_one(worker, self.backend.ticket("true", sla={"max_retries": 0}))
                self.assert_failed(ticket, pattern)
                self.assert_nothing_else(ticket)
                self.nothing_left(space)

    def test_limit_range_that_refuses_the_pod(self):
        space = self.space("limits", rights=[*RIGHTS, EVENTS])
        self.backend.cluster.want("POST", f"{space.core}/limitranges", {
            "metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "32Mi"}}]}})
        worker = self.worker_in(space, K8S_JOBS_SCHEDULE_TIMEOUT_SECONDS="4")
        ticket = self.run_one(worker, self.backend.ticket("true", sla={"max_retries": 0}))
        self.assert_failed(ticket, "maximum memory usage per Container is 32Mi")
        self.nothing_left(space)

    def test_account_of_the_pods_that_is_not_there(self):
        space = self.space("no-account", rights=[*RIGHTS, EVENTS])
        worker = self.worker_in(space, K8S_JOBS_SCHEDULE_TIMEOUT_SECONDS="4", K8S_JOBS_SERVICE_ACCOUNT="nobody-made-it")
        ticket = self.run_one(worker, self.backend.ticket("true", sla={"max_retries": 0}))
        self.assert_failed(ticket, 'serviceaccount "nobody-made-it" not found')
        self.nothing_left(space)

    def test_restricted_namespace_takes_the_pods(self):
        space = self.space("restricted", labels={"pod-security.kubernetes.io/enforce": "restricted"})
        ticket = self.run_one(self.worker_in(space), self.backend.ticket("echo here"))
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.output(ticket)["stdout"], "here\n")
        self.nothing_left(space)

    def test_rights_that_are_missing(self):
        nothing = self.space("no-rights", rights=[])
        worker = self.worker_in(nothing)
        ticket = self.run_one(worker, self.backend.ticket("true"))
        self.assert_failed(ticket, 'cannot (list|create) resource "jobs"|may not .*create jobs')
        self.assertEqual(ticket["attempts"], 1)
        self.assert_nothing_else(ticket)
        self.wait_said(worker, "doctor", "may not .*create jobs")

    def test_right_to_create_that_is_missing(self):
        jobs = {**JOBS, "verbs": [verb for verb in JOBS["verbs"] if verb != "create"]}
        worker = self.worker_in(self.space("no-create", rights=[jobs, *RIGHTS[1:]]))
        ticket = self.run_one(worker, self.backend.ticket("true"))
        self.assert_failed(ticket, r'cannot create resource "jobs" in API group "batch" in the namespace "no-create"')
        self.assertEqual(ticket["attempts"], 1)
        self.assert_nothing_else(ticket)

    def test_namespace_that_is_missing(self):
        cluster = self.backend.cluster
        admin = cluster.kubeconfig("admin", {"client-certificate": self.backend.peer["KUBE_CERT"],
                                             "client-key": self.backend.peer["KUBE_KEY"]})
        worker = self.worker(K8S_JOBS_NAMESPACE="nowhere", K8S_JOBS_KUBECONFIG_PATH=admin)
        ticket = self.run_one(worker, self.backend.ticket("true"))
        self.assert_failed(ticket, 'namespaces "nowhere" not found')
        self.assert_nothing_else(ticket)

    def test_quota_of_jobs(self):
        space = self.space("quota-jobs")
        self.backend.cluster.want("POST", f"{space.core}/resourcequotas",
                                  {"metadata": {"name": "few"}, "spec": {"hard": {"count/jobs.batch": "0"}}})
        self.assertTrue(wait_until(lambda: self.backend.cluster.want(
            "GET", f"{space.core}/resourcequotas/few")["status"].get("hard"), 20))
        ticket = self.run_one(self.worker_in(space), self.backend.ticket("true", sla={"max_retries": 0}))
        self.assert_failed(ticket, "exceeded quota: few")
        self.assert_nothing_else(ticket)


class AccessTest(KubernetesTest):
    """Who calls, and by what."""

    def test_client_certificate(self):
        peer = self.backend.peer
        inline = {name: base64.b64encode(pathlib.Path(peer[key]).read_bytes()).decode()
                  for name, key in (("client-certificate-data", "KUBE_CERT"), ("client-key-data", "KUBE_KEY"))}
        for name, user in (("by-file", {"client-certificate": peer["KUBE_CERT"], "client-key": peer["KUBE_KEY"]}), ("inline", inline)):
            with self.subTest(name):
                worker = self.worker(K8S_JOBS_KUBECONFIG_PATH=self.backend.cluster.kubeconfig(name, user))
                ticket = self.run_one(worker, self.backend.ticket("echo here"))
                self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
                self.assertEqual((self.facts(ticket)["runtime"], self.output(ticket)["stdout"]), ("k8s", "here\n"))
        self.nothing_left()

    def test_token_that_is_replaced(self):
        """Without a restart, with a Job that runs while the old one becomes worthless."""
        space = self.space("rotation")
        worker, old = self.worker_in(space), space.token
        ticket_id = self.submit(worker, self.backend.ticket("echo begun; sleep 14; echo done"))
        self.assertTrue(wait_until(space.running, 60))
        self.backend.cluster.want("DELETE", f"{space.core}/serviceaccounts/{space.worker}")
        space.make_account(space.worker)
        space.write_token()
        self.assertTrue(wait_until(lambda: self.backend.cluster.ask("GET", f"{space.batch}/jobs", token=old)[0] == 401, 30))
        ticket = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket["error_message"])
        self.assertEqual(self.output(ticket)["stdout"], "begun\ndone\n")
        ticket = self.run_one(worker, self.backend.ticket("echo after"))
        self.assertEqual((ticket["status"], self.facts(ticket)["runtime"]), ("COMPLETED", "k8s"), ticket["error_message"])
        self.assertNotIn(space.token, worker.tail())
        self.nothing_left(space)

    def test_token_that_is_worth_nothing(self):
        worthless = self.backend.cluster.kubeconfig("worthless", {"token": "not-a-token"}, "work")
        worker = self.worker(K8S_JOBS_KUBECONFIG_PATH=worthless)
        self.wait_said(worker, "doctor", r"k8s\s+✖.*Unauthorized")
        ticket = self.run_one(worker, self.backend.ticket("echo here"))  # nothing was begun: the chain goes on
        self.assertEqual((ticket["status"], self.facts(ticket)["fallback_from"]), ("COMPLETED", "k8s"), ticket["error_message"])

    def test_programs_are_never_run_to_log_in(self):
        cluster = self.backend.cluster
        trace = cluster.folder / "it-was-run"
        plugin = cluster.folder / "plugin"
        plugin.write_text(f"#!/bin/sh\ntouch {trace}\n")
        plugin.chmod(0o755)
        config = cluster.kubeconfig("plugin.kubeconfig", {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}}, "work")
        worker = self.worker(K8S_JOBS_KUBECONFIG_PATH=config)
        self.wait_said(worker, "doctor", r"k8s\s+✖.*\bexec\b")
        self.wait_said(worker, "executors ls", r"k8s.*\bexec\b")
        ticket = self.run_one(worker, self.backend.ticket("echo here"))
        self.assertEqual(self.facts(ticket)["fallback_from"], "k8s")
        self.assertFalse(trace.exists())

    def test_kubeconfig_that_is_not_there(self):
        worker = self.worker(K8S_JOBS_KUBECONFIG_PATH="/nowhere/kubeconfig")
        self.wait_said(worker, "doctor", r"k8s\s+✖.*/nowhere/kubeconfig")


if __name__ == "__main__":
    unittest.main()
