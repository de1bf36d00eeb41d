"""Starts real peers and real workers (`worker-agents run`) on loopback, and looks at what they left.

A peer that the machine cannot have skips the test, with its name and the reason. Everything that was started ends with
the test program, also when that is killed: peers watch it (WA_PEER_OWNER), stand-ins read its pipe, workers are ended
by `close`, which each test adds to its clean-ups.
"""

import collections
import contextlib
import ctypes
import http.client
import importlib.util
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
import uuid

HERE = pathlib.Path(__file__).resolve().parent

_spec = importlib.util.spec_from_file_location("e2e_harness", HERE.parent / "e2e" / "harness.py")
e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(e2e)
children, processes_with, read_bytes = e2e.children, e2e.processes_with, e2e.read_bytes
give_time = e2e.wait_until  # whether it came true or not is looked at afterwards

sys.path.append(str(HERE.parent / "peers"))
from real_peer import Peer

try:
    import confluent_kafka
    from confluent_kafka import admin as kafka_admin

    import avro_schemas
except ImportError as missing:  # run with the python that tests/cluster/prepare names
    raise unittest.SkipTest(f"the packages of tests/cluster/requirements.txt are not there: {missing}") from missing

BINARY = e2e.BINARY
_LIBC = ctypes.CDLL(None)


def wait_until(condition, limit=60.0, every=0.05):
    """What the condition gives as soon as that counts as true; an error when it does not in time."""
    value = give_time(condition, limit, every)
    if not value:
        raise AssertionError(f"it did not happen within {limit} s")
    return value


# ---------------------------------------------------------------- peers


_ASK_COMMITTED = """
import json, sys
import confluent_kafka
from confluent_kafka import admin
client = admin.AdminClient({"bootstrap.servers": sys.argv[1], "log_level": 0})
asked = confluent_kafka.ConsumerGroupTopicPartitions(sys.argv[2])
answer = client.list_consumer_group_offsets([asked], request_timeout=30)[sys.argv[2]].result(30)
def metadata(part):
    try:
        return part.metadata or ""
    except UnicodeDecodeError:
        return ""
print(json.dumps({part.partition: (part.offset, metadata(part)) for part in answer.topic_partitions
                  if part.topic == sys.argv[3] and part.offset >= 0}))
"""

Record = collections.namedtuple("Record", "topic partition offset timestamp key value headers")


class Kafka(Peer):
    """A broker of its own. Tests talk to it by the plain listener, whatever the workers use."""

    def __init__(self, **settings):
        super().__init__("kafka", **settings)
        self._admin = None
        self._producer = None

    @property
    def plain(self):
        return self.values["KAFKA_PLAIN_BOOTSTRAP_SERVERS"]

    def worker_settings(self):
        """What a worker needs to talk to this broker."""
        names = ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME",
                 "KAFKA_SASL_PASSWORD", "KAFKA_SSL_CA_LOCATION", "KAFKA_SSL_CERTIFICATE_LOCATION", "KAFKA_SSL_KEY_LOCATION")
        return {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT", **{name: self.values[name] for name in names if name in self.values}}

    def admin(self):
        if self._admin is None:
            self._admin = kafka_admin.AdminClient({"bootstrap.servers": self.plain, "log_level": 0})
        return self._admin

    def ask(self, question, limit=60):
        """The answer of `question(admin client)`. Asked again when brokers have none yet, as after a restart: by a new
        client, since an old one may have forgotten where they are."""
        deadline = time.monotonic() + limit
        while True:
            try:
                return question(self.admin())
            except confluent_kafka.KafkaException:
                if time.monotonic() > deadline:
                    raise
                self._admin = None
                time.sleep(0.5)

    def topic(self, prefix, partitions=6, **config):
        """A new topic with a random name; config keys with '_' for '.'."""
        name = f"{prefix}.{secrets.token_hex(4)}"
        settings = {key.replace("_", "."): str(value) for key, value in config.items()}
        new = kafka_admin.NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        wait_until(lambda: self._made(new), 30, 0.3)
        wait_until(lambda: self.partitions(name) == partitions, 15, 0.05)
        return name

    def _made(self, topic):
        """A broker that stood still takes a moment until it is trusted with partitions again."""
        try:
            self.admin().create_topics([topic], request_timeout=30)[topic.topic].result(30)
        except confluent_kafka.KafkaException as refused:
            if refused.args[0].code() == confluent_kafka.KafkaError.INVALID_REPLICATION_FACTOR:
                return False
            raise
        return True

    def delete_topic(self, name):
        self.admin().delete_topics([name], request_timeout=30)[name].result(30)

    def add_partitions(self, name, total):
        self.admin().create_partitions([kafka_admin.NewPartitions(name, total)])[name].result(30)

    def partitions(self, topic):
        found = self.ask(lambda admin: admin.list_topics(topic, timeout=10)).topics.get(topic)
        return len(found.partitions) if found and not found.error else 0

    def producer(self):
        if self._producer is None:
            self._producer = confluent_kafka.Producer({
                "bootstrap.servers": self.plain, "enable.idempotence": True, "linger.ms": 2, "log_level": 0,
                "delivery.timeout.ms": 120_000, "message.max.bytes": 8_000_000, "queue.buffering.max.messages": 1_000_000})
        return self._producer

    def produce(self, topic, records, limit=120):
        """Writes (value, key, partition or None[, headers]) in order; gives [(partition, offset)] in the same order."""
        producer, placed, trouble = self.producer(), [], []

        def report_for(slot):
            def report(error, message):
                if error is not None:
                    trouble.append(error)
                else:
                    placed[slot] = (message.partition(), message.offset())
            return report

        for value, key, partition, *headers in records:
            placed.append(None)
            more = {} if partition is None else {"partition": partition}
            if headers:
                more["headers"] = headers[0]
            while True:
                try:
                    producer.produce(topic, value=value, key=key, on_delivery=report_for(len(placed) - 1), **more)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        left = producer.flush(limit)
        if left or trouble:
            raise AssertionError(f"{left} records not delivered in {limit} s, errors: {trouble[:3]}")
        return placed

    def produce_tickets(self, topic, tickets, schema_id=None, spread=None):
        """Writes tickets as JSON, or as framed Avro when a schema id is given. The key is the ticket's id, or with
        `spread` (a function of the ticket) the partition it names. Gives {ticket_id: (partition, offset)}."""
        rows = []
        for one in tickets:
            value = json.dumps(one).encode() if schema_id is None else avro_schemas.ticket_to_avro(schema_id, one)
            rows.append((value, one["ticket_id"].encode(), spread(one) if spread else None))
        return dict(zip((one["ticket_id"] for one in tickets), self.produce(topic, rows)))

    def ends(self, topic, isolation="READ_COMMITTED"):
        """The stable end of each partition (or, with READ_UNCOMMITTED, the end)."""
        parts = [confluent_kafka.TopicPartition(topic, number) for number in range(self.partitions(topic))]

        def question(admin):
            asked = admin.list_offsets({part: kafka_admin.OffsetSpec.latest() for part in parts},
                                       isolation_level=confluent_kafka.IsolationLevel[isolation], request_timeout=10)
            return {part.partition: future.result(30).offset for part, future in asked.items()}
        return self.ask(question)

    def read_all(self, topic, limit=60, committed_only=True):
        """Every record from the start to the stable end as of now, as readers with read_committed see them."""
        isolation = "read_committed" if committed_only else "read_uncommitted"
        ends = self.ends(topic, isolation.upper())
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": self.plain, "group.id": f"reader-{secrets.token_hex(6)}", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "isolation.level": isolation, "enable.partition.eof": True, "log_level": 0,
            "fetch.message.max.bytes": 8_000_000, "fetch.wait.max.ms": 20})
        records, open_parts, deadline = [], {part for part, end in ends.items() if end > 0}, time.monotonic() + limit
        trouble = None
        try:
            consumer.assign([confluent_kafka.TopicPartition(topic, part, confluent_kafka.OFFSET_BEGINNING)
                             for part in open_parts])
            while open_parts:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{topic}: partitions {sorted(open_parts)} were not read to {ends} in {limit} s; "
                                         f"last error: {trouble}")
                for message in consumer.consume(1000, 0.2):
                    if message.error():
                        if message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                            if message.offset() >= ends[message.partition()]:
                                open_parts.discard(message.partition())
                        else:
                            trouble = message.error()  # as after a restart of the broker: the deadline ends it
                        continue
                    records.append(Record(message.topic(), message.partition(), message.offset(), message.timestamp()[1],
                                          message.key(), message.value(), message.headers() or []))
        finally:
            consumer.close()
        return records

    def results(self, topic, limit=60):
        """(record, decoded result) of every result."""
        return [(record, avro_schemas.decode_result(record.value)) for record in self.read_all(topic, limit)]

    def committed(self, group, topic):
        """{partition: (offset, metadata)} of what the group has committed."""
        # In a process of its own: this client reads past the end of metadata, which may end it or spoil the text.
        for _ in range(5):
            asked = subprocess.run([sys.executable, "-c", _ASK_COMMITTED, self.plain, group, topic], capture_output=True,
                                   text=True, errors="replace", timeout=60)
            if asked.returncode == 0:
                return {int(part): tuple(entry) for part, entry in json.loads(asked.stdout).items()}
            time.sleep(0.2)
        raise AssertionError(f"no answer about committed offsets: {asked.stderr[-500:]}")

    def members(self, group):
        """{client id: partitions} of a group."""
        described = self.ask(lambda admin: admin.describe_consumer_groups([group], request_timeout=10)[group].result(30))
        return {f"{member.client_id}/{member.member_id}":
                sorted((part.topic, part.partition) for part in member.assignment.topic_partitions)
                for member in described.members}

    def assigned(self, group, topic):
        """Which partitions of the topic have an owner now."""
        return sorted(number for parts in self.members(group).values() for name, number in parts if name == topic)


class SchemaRegistry(Peer):
    def __init__(self, **settings):
        super().__init__("schema-registry", **settings)

    @property
    def url(self):
        return self.values["SCHEMA_REGISTRY_URL"]

    def register(self, subject, schema):
        request = urllib.request.Request(f"{self.url}/subjects/{subject}/versions",
                                         json.dumps({"schema": json.dumps(schema)}).encode(),
                                         {"Content-Type": "application/vnd.schemaregistry.v1+json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["id"]


class Redis(Peer):
    def __init__(self, **settings):
        super().__init__("redis", **settings)

    def worker_settings(self):
        return {"REDIS_ENABLED": "true", **{key: self.values[key] for key in ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD")
                                            if key in self.values}}

    def command(self, *words):
        """One command; its answer as it came."""
        with socket.create_connection((self["REDIS_HOST"], int(self["REDIS_PORT"])), timeout=10) as connection:
            for line in ([("AUTH", self["REDIS_PASSWORD"])] if self.values.get("REDIS_PASSWORD") else []) + [words]:
                connection.sendall(b"".join([b"*%d\r\n" % len(line)] + [b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode())
                                                                        for word in line]))
                answer = connection.recv(65_536)
                if answer.startswith(b"-"):
                    raise AssertionError(f"Redis said {answer!r}")
        return answer


class Jaeger(Peer):
    def __init__(self, **settings):
        super().__init__("jaeger", **settings)

    def traces(self, service, limit=1000):
        with urllib.request.urlopen(f"{self['JAEGER_QUERY']}/api/traces?service={service}&limit={limit}", timeout=30) as answer:
            return json.load(answer)["data"]


def peer(test, made):
    """Starts a peer for a test case, or for a whole class when given the class; ended and removed afterwards."""
    add = test.addClassCleanup if isinstance(test, type) else test.addCleanup
    started = made.start()
    add(made.close)
    return started


# ---------------------------------------------------------------- stand-ins


class StandIn:
    """A stand-in of this folder, as a process of its own. It ends when its standard input does, that is with us."""

    def __init__(self, script, *arguments):
        self.script, self.arguments = script, arguments
        self.values, self.process = {}, None

    def start(self):
        """Again after stop or kill: the same ports; what it knew is gone, unless it keeps it itself."""
        keep = []
        for key, value in self.values.items():
            if key.endswith("_PORT"):
                keep += [f"--{key.removesuffix('_PORT').lower().replace('_', '-')}-port", value]
        self.process = subprocess.Popen([sys.executable, "-B", str(HERE / self.script), *self.arguments, *keep],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"{self.script} ended with {self.process.wait()} while starting")
            if line.strip() == "ready":
                return self
            key, value = line.strip().removeprefix("export ").split("=", 1)
            self.values[key] = value

    def control(self, path, body=None):
        """POST to a control route (see the script), or GET without a body."""
        connection = http.client.HTTPConnection("127.0.0.1", int(self.values["CONTROL_PORT"]), timeout=60)
        try:
            connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            data = json.loads(answer.read() or b"null")
            if answer.status != 200:
                raise AssertionError(f"{self.script} {path}: {answer.status} {data}")
            return data
        finally:
            connection.close()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    kill = close = stop

    def __getitem__(self, key):
        return self.values[key]


def ticket_service(*arguments):
    return StandIn("ticket_service.py", *arguments)


def service_registry(*arguments):
    return StandIn("service_registry.py", *arguments)


# ---------------------------------------------------------------- tickets


def ticket(command=("true",), dependencies=(), task_type="EXECUTE", timeout_ms=60_000, max_retries=0, deadline=None,
           plan_id=None, parameters=None, **fields):
    """A complete ticket that runs a command on this machine."""
    ticket_id = fields.pop("ticket_id", None) or str(uuid.uuid4())
    base = {"runtime": "local", "command": list(command), "working_dir": "shared"}
    return {
        "ticket_id": ticket_id, "plan_id": plan_id or "plan-1", "intent_id": "intent-1", "decision_id": "decision-1",
        "correlation_id": f"correlation-{ticket_id[:8]}", "trace_id": None, "span_id": None, "task_id": f"task-{ticket_id[:8]}",
        "task_type": task_type, "description": "made by a test", "dependencies": list(dependencies), "status": "PENDING",
        "priority": "NORMAL", "risk_band": "low",
        "sla": {"deadline": deadline, "timeout_ms": timeout_ms, "max_retries": max_retries},
        "qos": {"delivery_mode": "AT_LEAST_ONCE", "consistency": "EVENTUAL", "durability": "PERSISTENT"},
        "parameters": base if parameters is None else parameters, "required_capabilities": [], "security_level": "INTERNAL",
        "created_at": int(time.time() * 1000), "started_at": None, "completed_at": None, "estimated_duration_ms": None,
        "actual_duration_ms": None, "retry_count": 0, "error_message": None, "compensation_ticket_id": None,
        "metadata": {}, "schema_version": 1, **fields,
    }


# ---------------------------------------------------------------- workers


def end_with_us():
    """In a child, before it becomes the worker: it is killed when the test is, in whatever way."""
    _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Worker(e2e.Worker):
    """One `worker-agents run`. Its state folder outlives the process, so it can be started again as the same instance.

    `work` is where its tasks run; workers that share it share the folder of tasks with `working_dir: shared`."""

    def __init__(self, settings=None, work=None, name=None):
        super().__init__({"ENVIRONMENT": "development", "KAFKA_SCHEMA_REGISTRY_URL": "", "REDIS_ENABLED": "false",
                          **(settings or {})})
        if work is not None:
            self.work = pathlib.Path(work)
            self.settings["LOCAL_RUNTIME_WORKING_DIR"] = str(work)
        self.settings["STATE_DIR"] = str(self.state)
        self.name = name or self.folder.name
        self.exit_codes = []

    def start(self, *arguments, wait=True, limit=60):
        environment = e2e.passed_on()
        environment.update(self.settings)
        self.process = subprocess.Popen([BINARY, "run", *arguments], env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, start_new_session=True, preexec_fn=end_with_us)
        if wait:
            self.wait_ready(limit)
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9 of the worker only: that nothing of it stays is the spawn helper's work."""
        self.process.kill()
        self.exit_codes.append(self.process.wait())

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def terminate(self):
        """SIGTERM, without waiting."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, limit=60):
        """Its exit code. One that does not end in time is asked what it is doing."""
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{self.name} still runs {limit} s later\n{self._what_it_does()}") from late
        self.exit_codes.append(code)
        return code

    def _what_it_does(self):
        lines = (self.folder / "log").read_text(errors="replace").splitlines()[-30:]
        if shutil.which("gdb"):
            stacks = subprocess.run(["gdb", "-p", str(self.process.pid), "-batch", "-ex", "thread apply all bt 12"],
                                    text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
            lines += [line for line in stacks.stdout.splitlines() if line.startswith(("#", "Thread"))]
        return "\n".join(lines)

    def metrics(self):
        status, text = self.request("GET", "/metrics", token=False)
        if status != 200:
            raise AssertionError(f"/metrics: {status}")
        return parse_metrics(text if isinstance(text, str) else json.dumps(text))

    def log_lines(self):
        """What it logged, as objects; lines that are no JSON as {"text": line}."""
        self.log.flush()
        lines = []
        for line in (self.folder / "log").read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"text": line})
        return lines

    def close(self):
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.thaw()
        super().close()


def need_binary():
    if not os.access(BINARY, os.X_OK):
        raise unittest.SkipTest(f"there is no worker at {BINARY} (set WA_BINARY)")


def work_folder(test):
    """A folder that the tasks of several workers share, removed after the test."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wa-cluster-"))
    test.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    return folder


def assert_nothing_left(test, workers, limit=15):
    """No task and no spawn helper of these workers, which have ended, is alive."""
    def left():
        return [pid for worker in workers for pid in worker.processes()]
    give_time(lambda: not left(), limit, 0.2)
    test.assertEqual([(pid, read_bytes(f"/proc/{pid}/cmdline")) for pid in left()], [])


_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Metrics(dict):
    """{name: [(labels, value)]}"""

    def value(self, name, **labels):
        """The sum of the samples that have these labels; None when there is none."""
        found = [value for have, value in self.get(name, []) if all(have.get(key) == want for key, want in labels.items())]
        return sum(found) if found else None


def parse_metrics(text):
    metrics = Metrics()
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        found = _SAMPLE.match(line)
        if not found:
            raise AssertionError(f"not a line of the metrics text: {line!r}")
        labels = {key: re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value)
                  for key, value in _LABEL.findall(found[2] or "")}
        metrics.setdefault(found[1], []).append((labels, float(found[3])))
    return metrics
