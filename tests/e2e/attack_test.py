"""Goal: whatever a task does, it ends in time, with a truthful result, while others run on undisturbed; nothing is left.

Method: one worker, twenty quiet tickets that count their own steps, and beside them one ticket for each attack. The same
suite runs again where no further namespaces can be had (a user namespace of the test's own that forbids them): the level
that is shown there must be the lower one, and what the lower level promises must hold. Leftovers are looked for from
outside: processes, mounts, cgroups, namespaces, files, descriptors."""

import json
import os
import pathlib
import time
import unittest

import harness
from harness import Worker, wait_until

BYSTANDERS = 20
STEPS = 30
# ctypes is everywhere where Python is; a compiler is not.
CALL = ("import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(name, *args):\n"
        "    r = getattr(libc, name)(*args)\n"
        "    return 'ok' if r != -1 else os.strerror(ctypes.get_errno())\n")


def python(code, **more):
    return {"type": "EXECUTE", "runtime": "local", "run": ["python3", "-c", code], **more}


def shell(code, **more):
    return {"type": "EXECUTE", "runtime": "local", "run": ["sh", "-c", code], **more}


def timeout(seconds):
    return {"parameters": {"timeout_seconds": seconds}}


def mounts():
    """Where something is mounted, but for what engines of other tests (tests/peers) mount at the same time."""
    points = {line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}
    cache = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
    others = (os.environ.get("WA_PEERS_DIR") or f"{cache}/worker-agents/peers", "/run/netns/cni-")
    return {point for point in points if not point.startswith(others)}


def cgroups(marker):
    return {str(path) for top in pathlib.Path("/sys/fs/cgroup").glob("*") if top.is_dir()
            for path in top.glob(f"**/worker-agents-{marker}*")}


def namespaces_held(pid):
    """Namespaces that a process keeps alive by a descriptor."""
    held = []
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.split(":")[0] in ("net", "user", "mnt", "pid"):
            held.append(target)
    return held


class Attacks:
    """The suite; each mode below says how the worker is started and what level it reaches."""

    level = None
    needs_root = True
    own_root = False

    @classmethod
    def launcher(cls):
        return []

    @classmethod
    def setUpClass(cls):
        if cls.needs_root and os.geteuid() != 0:
            raise unittest.SkipTest("needs root, to be another user or to have ids to give")
        cls.mounts = mounts()
        cls.worker = Worker({
            "MAX_CONCURRENT_TASKS": "64", "MAX_CONCURRENT_TICKETS": "128", "MAX_RETRIES_PER_TICKET": "0",
            "LOCAL_RUNTIME_ALLOWED_COMMANDS": "sh,python3", "LOCAL_RUNTIME_PATH": "/usr/bin:/bin",
            "LOCAL_RUNTIME_GRACE_SECONDS": "1", "LOCAL_RUNTIME_MEMORY_LIMIT": "200MiB", "LOCAL_RUNTIME_MAX_PROCESSES": "64",
            "LOCAL_RUNTIME_WORKSPACE_LIMIT": "32MiB", "LOCAL_RUNTIME_WORKSPACE_FILES": "20000",
            "LOCAL_RUNTIME_FILE_SIZE_LIMIT": "64MiB"})
        try:
            cls.start(cls.worker)
            said = lambda: json.dumps(cls.worker.request("GET", "/api/v1/doctor")[1])  # noqa: E731
            # It is looked at now and then, not at each request.
            if not wait_until(lambda: f"isolation: {cls.level} " in said(), 5):
                raise unittest.SkipTest(f"this machine does not reach the level {cls.level}: {said()}")
            cls.run_all()
        except BaseException:
            cls.worker.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.worker.close()

    @classmethod
    def start(cls, worker):
        binary = harness.BINARY
        if cls.launcher():
            wrapper = worker.folder / "start"
            wrapper.write_text("#!/bin/sh\n" + cls.launcher() + f'\nexec {os.path.abspath(binary)} "$@"\n')
            wrapper.chmod(0o755)
            harness.BINARY = str(wrapper)
        try:
            worker.start(wait=False)
        finally:
            harness.BINARY = binary
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                if worker.request("GET", "/ready")[0] == 200:
                    break
            except (OSError, ValueError):
                pass
            time.sleep(0.05)
        else:
            raise AssertionError("the worker did not become ready: " + worker.tail())
        cls.worker_pid = worker.endpoints()["pid"]
        worker.helpers.add(worker.helper())

    @classmethod
    def attacks(cls):
        host, port = cls.worker.address()
        state, pid = cls.worker.state, cls.worker_pid
        outside = cls.worker.folder / "outside"
        outside.write_text("not for tasks\n")
        (cls.worker.work / "links").mkdir(parents=True, exist_ok=True)
        link = cls.worker.work / "links" / "etc"
        if not link.is_symlink():
            link.symlink_to("/etc")
        return {
            "fork-bomb": shell("f() { f | f & }; f; sleep 60", **timeout(3)),
            "thread-bomb": python("import threading, time\n"
                                  "try:\n"
                                  "    for i in range(100000): threading.Thread(target=time.sleep, args=(50,), daemon=True).start()\n"
                                  "except RuntimeError as e:\n"
                                  "    print('stopped', e); sys = __import__('os')._exit(4)\n", **timeout(20)),
            "daemon": python("import os, signal, time\n"
                             "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                             "if os.fork() == 0:\n"
                             "    os.setsid()\n"
                             "    if os.fork() == 0:\n"
                             "        os.environ.clear()\n"
                             "        time.sleep(600)\n"
                             "    time.sleep(600)\n"
                             "time.sleep(600)\n", **timeout(2)),
            "stops-itself": shell("echo before; kill -STOP $$; echo after", **timeout(2)),
            "flood": python("import os\n"
                            "block = b'x' * (1 << 20)\n"
                            "for i in range(10 * 1024): os.write(1, block)\n", **timeout(60)),
            "stdin-unread": {**shell("sleep 0.2; echo unread"), "parameters": {"stdin": "x" * 60000}},
            "open-pipes": shell("sleep 600 & setsid sleep 600 & echo started; sleep 0.3; exit 0"),
            "memory-hog": python("x = []\nwhile True: x.append(bytearray(8 << 20))\n", **timeout(30)),
            "disk-filler": python("import os\nf = open('fill', 'wb')\nwhile True: f.write(b'x' * (1 << 20)); f.flush()\n", **timeout(30)),
            "many-files": python("import os\n"
                                 "i = 0\n"
                                 "try:\n"
                                 "    while i < 1000000: open(str(i), 'w').close(); i += 1\n"
                                 "except OSError as e: print(i, e.strerror); raise SystemExit(5)\n", **timeout(30)),
            "folder-above": {**shell("pwd"), "working_dir": "../../etc"},
            "folder-by-link": {**shell("pwd"), "working_dir": "links/etc"},
            "reads-by-link": shell(f"ln -s {state}/token t; ln -s {outside} o; cat t o ../../{outside} 2>/dev/null; exit 6"),
            "worker-files": shell(f"cat {state}/token {state}/worker.db {outside} 2>/dev/null; ls {state} 2>/dev/null; exit 6"),
            "worker-proc": shell(f"cat /proc/{pid}/environ /proc/{pid}/maps 2>/dev/null; ls /proc/{pid}/cwd/ 2>/dev/null; cat /proc/{pid}/fd/* /proc/{pid}/root{state}/token 2>/dev/null; exit 6"),
            "ptrace": python(CALL + f"print(call('ptrace', 16, {pid}, 0, 0), call('ptrace', 0, 0, 0, 0))\n"
                             f"print(call('process_vm_readv', {pid}, 0, 0, 0, 0, 0))\n"),
            "mount": python(CALL + "print(call('mount', b'x', b'/tmp', b'tmpfs', 0, 0), call('umount2', b'/proc', 2), "
                            "call('unshare', 0x10000000), call('unshare', 0x20000), call('chroot', b'/tmp'))\n"),
            "kills-worker": shell(f"kill -9 {pid}; kill -9 -1; exit 6"),
            "network": python("import socket\n"
                              "def reach(a):\n"
                              "    try: socket.create_connection(a, 2).close(); return 'reached'\n"
                              "    except OSError as e: return 'refused'\n"
                              f"print(reach(('{host}', {port})), reach(('192.0.2.1', 80)))\n", **timeout(20)),
            "setuid": python(CALL + "import subprocess\n"
                             "print(call('setuid', 0) if os.getuid() != 0 else 'is root', call('setreuid', 0, 0) if os.getuid() != 0 else '')\n"
                             "for p in ('/usr/bin/su', '/usr/bin/passwd', '/usr/bin/newgrp', '/usr/bin/mount'):\n"
                             "    if os.path.exists(p):\n"
                             "        r = subprocess.run([p, '--help'], capture_output=True)\n"
                             "r = subprocess.run(['/usr/bin/su', '-c', 'id -u'], capture_output=True, text=True, stdin=subprocess.DEVNULL)\n"
                             "print('su', r.returncode, r.stdout.strip())\n"
                             "print([l for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp:'))])\n"),
            "machine": shell("ls -A /root /home /srv /var 2>/dev/null; touch /usr/x /etc/x /x 2>/dev/null && echo wrote; exit 6"),
        }

    @classmethod
    def run_all(cls):
        worker = cls.worker
        quiet = {f"quiet{i}": {**python("import time\n"
                                        f"for i in range({STEPS}):\n"
                                        f"    time.sleep(0.1); print(i, flush=True)\n"), "priority": "HIGH"}
                 for i in range(BYSTANDERS)}
        status, answer = worker.request("POST", "/api/v1/plans", {"plan": "quiet", "tickets": quiet})
        assert status == 201, answer
        cls.quiet_ids = answer["tickets"]
        wait_until(lambda: worker.request("GET", f"/api/v1/tickets/{cls.quiet_ids['quiet19']}")[1]["status"] != "PENDING", 20)
        began = time.monotonic()
        status, answer = worker.request("POST", "/api/v1/plans", {"plan": "attacks", "tickets": cls.attacks()})
        assert status == 201, answer
        ids = answer["tickets"]
        cls.ended = {}

        def all_ended():
            for name, ticket_id in ids.items():
                if name not in cls.ended:
                    ticket = worker.request("GET", f"/api/v1/tickets/{ticket_id}")[1]
                    if ticket["status"] in ("COMPLETED", "FAILED"):
                        cls.ended[name] = ticket
            return len(cls.ended) == len(ids)

        wait_until(all_ended, 150, 0.1)
        cls.took = time.monotonic() - began
        cls.missing = sorted(set(ids) - set(cls.ended))

    # ---- what is said of each

    def one(self, name):
        self.assertIn(name, self.ended, f"did not end; the others took {self.took:.1f} s")
        return self.ended[name]

    def output(self, name, stream="stdout"):
        return self.one(name)["result"]["result"]["output"].get(stream, "")

    def facts(self, name):
        return self.one(name)["result"]["result"]["metadata"]

    def assert_failed(self, name, *words):
        ticket = self.one(name)
        self.assertEqual(ticket["status"], "FAILED", ticket)
        for word in words:
            self.assertIn(word, ticket["error_message"])

    def test_everything_ended_in_time(self):
        self.assertEqual(self.missing, [])
        self.assertLess(self.took, 120)

    def test_others_ran_on_undisturbed(self):
        for name, ticket_id in self.quiet_ids.items():
            ticket = wait_until(lambda: (lambda t: t if t["status"] in ("COMPLETED", "FAILED") else None)(
                self.worker.request("GET", f"/api/v1/tickets/{ticket_id}")[1]), 60)
            self.assertEqual(ticket["status"], "COMPLETED", (name, ticket))
            self.assertEqual(ticket["result"]["result"]["output"]["stdout"].split(), [str(i) for i in range(STEPS)])

    def test_the_level_is_said_in_every_result(self):
        for name in ("open-pipes", "ptrace", "mount", "network"):
            facts = self.facts(name)
            self.assertEqual(facts["isolation"], self.level, facts)
            self.assertIn("seccomp", facts["isolation_layers"])
            self.assertEqual("own-root" in facts["isolation_layers"], self.own_root)
        _, doctor = self.worker.request("GET", "/api/v1/doctor")
        self.assertIn(f"isolation: {self.level}", json.dumps(doctor))

    def test_bombs(self):
        # It runs into the limit, and ends by that or by its time.
        self.assertRegex(self.one("fork-bomb")["error_message"], "limit of processes|[Cc]annot fork|timed out")
        self.assert_failed("thread-bomb", "exit code 4")
        if "process-limit" in self.facts("fork-bomb")["isolation_layers"]:
            self.assertIn("processes", self.facts("fork-bomb")["limits_reached"])
            self.assert_failed("thread-bomb", "limit of processes")

    def test_what_will_not_go(self):
        self.assert_failed("daemon", "timed out after 2")
        self.assertEqual(self.facts("daemon")["timed_out"], "true")
        self.assert_failed("stops-itself", "timed out after 2")
        self.assertEqual(self.output("stops-itself").split(), ["before"])

    def test_output_and_input(self):
        facts = self.facts("flood")
        self.assertEqual(facts["truncated"], "true")
        if self.one("flood")["status"] == "COMPLETED":
            self.assertEqual(facts["stdout_bytes"], str(10 * 1024 ** 3))
        else:  # a slow machine: the time was over, and that is said
            self.assert_failed("flood", "timed out after 60")
        self.assertLess(len(self.output("flood")), 300 * 1024)
        self.assertEqual(self.output("stdin-unread").strip(), "unread")
        self.assertEqual(self.one("open-pipes")["status"], "COMPLETED")
        self.assertEqual(self.facts("open-pipes")["processes_left_behind"], "2")
        self.assertLess(float(self.facts("open-pipes")["duration_seconds"]), 20)

    def test_memory(self):
        if "memory-limit" not in self.facts("memory-hog")["isolation_layers"]:
            self.assert_failed("memory-hog", "exit code 1: MemoryError")
            return
        self.assert_failed("memory-hog", "memory ran out")
        self.assertEqual(self.facts("memory-hog")["limits_reached"], "memory")
        self.assertEqual(self.facts("memory-hog")["signal"], "9")

    def test_disk(self):
        self.assertEqual(self.one("disk-filler")["status"], "FAILED")
        if self.own_root:
            self.assertEqual(self.one("many-files")["status"], "FAILED")
            self.assertEqual(self.facts("disk-filler")["limits_reached"], "workspace")
            self.assertEqual(self.facts("many-files")["limits_reached"], "workspace")
        else:
            self.assertRegex(self.one("disk-filler")["error_message"], "(?i)file")  # the largest file that is allowed

    def test_paths(self):
        for name in ("folder-above", "folder-by-link"):
            self.assert_failed(name, "working_dir")
            self.assertEqual(self.one(name)["result"]["result"]["metadata"].get("exit_code"), None)
        for name in ("reads-by-link", "worker-files", "worker-proc"):
            self.assert_failed(name, "exit code 6")
            self.assertEqual(self.output(name), "", name)

    def test_the_machine_is_not_there(self):
        self.assertNotIn("wrote", self.output("machine"))
        if self.own_root:
            self.assertEqual(self.output("machine"), "")

    def test_other_processes(self):
        self.assertNotIn("ok", self.output("ptrace"))
        self.assertEqual(self.output("mount").strip(), " ".join(["Operation not permitted"] * 5))
        self.assertEqual(self.one("kills-worker")["status"], "FAILED")
        self.assertEqual(self.worker.request("GET", "/health")[0], 200)
        self.assertEqual(self.worker.endpoints()["pid"], self.worker_pid)

    def test_network(self):
        self.assertEqual(self.output("network").split(), ["refused", "refused"])

    def test_privileges(self):
        text = self.output("setuid")
        self.assertNotIn("ok", text.splitlines()[0])
        self.assertNotIn("su 0", text)
        for word in ("CapEff:\\t0000000000000000", "NoNewPrivs:\\t1", "Seccomp:\\t2"):
            self.assertIn(word, text)

    def test_zz_nothing_is_left(self):
        """The last one: it ends the worker."""
        wait_until(lambda: self.worker.request("GET", "/api/v1/status")[1].get("active_tasks", 0) == 0, 30)
        private = self.worker.state / "work"
        leaves = lambda: [p for p in private.glob("*/*")]  # noqa: E731
        self.assertTrue(wait_until(lambda: leaves() == [], 30), leaves())
        descriptors = len(os.listdir(f"/proc/{self.worker_pid}/fd"))
        self.assertLess(descriptors, 80, os.listdir(f"/proc/{self.worker_pid}/fd"))
        os.kill(self.worker_pid, 15)
        self.worker.process.wait(40)
        self.assertTrue(wait_until(lambda: self.worker.processes() == [], 10), self.worker.processes())
        self.assertEqual(mounts() - self.mounts, set())
        self.assertEqual(cgroups(self.worker.marker()), set())


class AllLayers(Attacks, unittest.TestCase):
    level = "full"
    own_root = True

    def test_namespaces_go_with_the_tasks(self):
        wait_until(lambda: self.worker.request("GET", "/api/v1/status")[1].get("active_tasks", 0) == 0, 30)
        self.assertEqual(namespaces_held(self.worker_pid), [])
        # The helper keeps one empty network for the task that comes next.
        self.assertEqual([name.split(":")[0] for name in namespaces_held(self.worker.helper())], ["net"])
        self.assertEqual(harness.children(self.worker.helper()), [])  # and nobody is left to be in one


class WithoutPrivileges(Attacks, unittest.TestCase):
    """The worker as an ordinary user: no ids of its own to give away, no cgroup unless one was delegated."""

    level = "namespaces"
    own_root = True

    @classmethod
    def launcher(cls):
        folder = cls.worker.folder
        # The checkout may be closed to others: the program comes along.
        return (f"[ -e {folder}/worker-agents ] || cp {os.path.abspath(harness.BINARY)} {folder}/worker-agents\n"
                f"chown -R 61234:61234 {folder}\n"
                f"exec setpriv --reuid=61234 --regid=61234 --clear-groups {folder}/worker-agents \"$@\"")


class WithoutNamespaces(Attacks, unittest.TestCase):
    level = "filtered"
    own_root = False
    needs_root = False

    @classmethod
    def launcher(cls):
        # In here we are root in name; the limit is this namespace's own.
        return ("[ -n \"$WA_INSIDE\" ] || exec env WA_INSIDE=1 unshare --user --map-root-user \"$0\" \"$@\"\n"
                "unset WA_INSIDE\n"
                "echo 0 > /proc/sys/user/max_user_namespaces || exit 99")


if __name__ == "__main__":
    unittest.main()
