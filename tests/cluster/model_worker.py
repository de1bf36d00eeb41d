"""A worker in its smallest form, in place of the real one: it keeps the cluster's promises for plain commands, or breaks
one on purpose. It shows that the endurance run works, and that it finds what a wrong worker does.

    model_worker.py [FAULT]      settings by environment, as for `worker-agents run`

FAULT: none | early_commit (offsets before the work) | no_fence (a result outside of the transaction) | no_order
(dependencies are not waited for)
"""

import base64
import ctypes
import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

import avro_schemas
from checker import finished_in_metadata

LIBC = ctypes.CDLL(None)
FAULT = sys.argv[1] if len(sys.argv) > 1 else "none"
ENV = os.environ
TICKETS, RESULTS, DEAD = ENV["KAFKA_TICKETS_TOPIC"], ENV["KAFKA_RESULTS_TOPIC"], ENV["KAFKA_DLQ_TOPIC"]
BASE = {"bootstrap.servers": ENV["KAFKA_BOOTSTRAP_SERVERS"], "log_level": 0}


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def metadata(committed, finished):
    runs, at, body = [], committed, b""
    for offset in sorted(finished):
        if runs and runs[-1][1] == offset:
            runs[-1][1] += 1
        else:
            runs.append([offset, offset + 1])
    for start, end in runs:
        body += varint(start - at) + varint(end - start)
        at = end
    data = b"\0" + varint(len(runs)) + body + b"\0"
    return "1r" + base64.urlsafe_b64encode(data).decode().rstrip("=")


class Partition:
    """Open tickets by offset, and what is finished above the lowest of them."""

    def __init__(self, committed, finished):
        self.position, self.open, self.finished = committed, {}, set(finished)

    def read(self, offset, ticket):
        if offset >= self.position:
            self.position = offset + 1
            if offset not in self.finished:
                self.open[offset] = ticket

    def commit_with(self, offset):
        lowest = min((o for o in self.open if o != offset), default=self.position)
        return lowest, {o for o in self.finished | {offset} if o > lowest}


class Model:
    def __init__(self):
        self.partitions, self.endings, self.stopping = {}, {}, False
        self.consumer = Consumer({**BASE, "group.id": ENV["KAFKA_CONSUMER_GROUP_ID"], "enable.auto.commit": False,
                                  "auto.offset.reset": "earliest", "session.timeout.ms": 4000, "heartbeat.interval.ms": 500,
                                  "isolation.level": "read_committed", "partition.assignment.strategy": "range"})
        self.results = Consumer({**BASE, "group.id": "none", "enable.auto.commit": False, "isolation.level": "read_committed"})
        self.make_producer()
        self.consumer.subscribe([TICKETS], on_assign=self.assigned, on_revoke=self.lost, on_lost=self.lost)

    def make_producer(self):
        # Its name is this instance's; a new one ends what an old one left open.
        self.producer = Producer({**BASE, "transactional.id": f"{ENV['KAFKA_CONSUMER_GROUP_ID']}-{ENV['AGENT_ID']}",
                                  "transaction.timeout.ms": 10_000})
        self.loose = Producer(BASE)
        while True:
            try:
                self.producer.init_transactions(10)
                return
            except KafkaException:
                time.sleep(0.2)

    def assigned(self, consumer, parts):
        self.partitions.clear()
        for part in consumer.committed(parts, timeout=30):
            offset = max(part.offset, 0)
            self.partitions[part.partition] = Partition(offset, finished_in_metadata(offset, part.metadata))

    def lost(self, _consumer, _parts):
        self.partitions.clear()

    def follow_results(self):
        if not self.results.assignment():
            count = len(self.results.list_topics(RESULTS, timeout=10).topics[RESULTS].partitions)
            self.results.assign([TopicPartition(RESULTS, n, 0) for n in range(count)])
        for message in self.results.consume(500, 0.01):
            if not message.error():
                result = avro_schemas.decode_result(message.value())
                self.endings[result["ticket_id"]] = result["status"]

    def read_tickets(self):
        for message in self.consumer.consume(100, 0.05):
            part = self.partitions.get(message.partition())
            if message.error() or part is None:
                continue
            try:
                ticket = avro_schemas.decode_ticket(message.value())
                ticket["ticket_id"] + ticket["task_id"]
            except Exception:  # no ticket
                ticket = None
            part.read(message.offset(), ticket)

    def ready(self):
        for number, part in self.partitions.items():
            for offset, ticket in part.open.items():
                known = [] if ticket is None else [self.endings.get(d) for d in ticket["dependencies"]]
                if FAULT == "no_order" or "FAILED" in known or all(e == "COMPLETED" for e in known):
                    return number, offset, ticket, "FAILED" if "FAILED" in known and FAULT != "no_order" else ""
        return None

    def work(self, ticket, ending):
        started = int(time.time() * 1000)
        if ending:
            return {"ticket_id": ticket["ticket_id"], "status": ending, "completed_at": started,
                    "result": {"success": False, "metadata": {"outcome": "dependency_failed"}}}
        self.patch(ticket["ticket_id"], "RUNNING")
        command = ticket["parameters"]["command"]
        folder = os.path.join(ENV["LOCAL_RUNTIME_WORKING_DIR"], "shared")
        os.makedirs(folder, exist_ok=True)
        done = subprocess.run(command if isinstance(command, list) else json.loads(command), cwd=folder, check=False,
                              stdin=subprocess.DEVNULL, preexec_fn=lambda: LIBC.prctl(1, signal.SIGKILL))
        good = done.returncode == 0
        return {"ticket_id": ticket["ticket_id"], "status": "COMPLETED" if good else "FAILED", "started_at": started,
                "completed_at": int(time.time() * 1000), "agent_id": ENV["AGENT_ID"], "timestamp": int(time.time() * 1000),
                "result": {"success": good, "metadata": {} if good else {"outcome": "execution_failed"}}}

    def patch(self, ticket_id, status):
        url = f"{ENV['EXECUTION_TICKET_SERVICE_URL']}/api/v1/tickets/{ticket_id}/status"
        body = json.dumps({"status": status}).encode()
        for _ in range(1 if status == "RUNNING" else 60):
            try:
                urllib.request.urlopen(urllib.request.Request(url, body, method="PATCH"), timeout=2).read()
                return
            except (OSError, urllib.error.URLError):
                if status == "RUNNING":
                    return
                time.sleep(0.2)

    def settle(self, number, offset, ticket, ending):
        part = self.partitions[number]
        headers = [("x-worker-source-partition", str(number)), ("x-worker-source-offset", str(offset))]
        if FAULT == "early_commit":
            self.commit(number, part, offset, [])
        if ticket is None:
            record = (DEAD, {"ticket_id": "unknown", "dlq_metadata": {"reason": "decode_error"}}, "unknown")
        else:
            result = self.work(ticket, ending)
            record = (RESULTS, result, ticket["ticket_id"])
        if FAULT == "no_fence":
            self.loose.produce(record[0], json.dumps(record[1]), record[2], headers=headers)
            self.loose.flush(10)
            time.sleep(0.3)  # a kill hits this gap sooner or later; in a short run it should be sooner
            self.commit(number, part, offset, [])
        else:
            self.commit(number, part, offset, [(*record, headers)])
        if ticket is not None:
            self.endings[ticket["ticket_id"]] = record[1]["status"]
            self.patch(ticket["ticket_id"], record[1]["status"])

    def commit(self, number, part, offset, records):
        """Rule 1: only while the partition is ours, which `part` being the current one stands for."""
        if self.partitions.get(number) is not part:
            raise KafkaException("no longer ours")
        lowest, finished = part.commit_with(offset)
        self.producer.begin_transaction()
        try:
            for topic, value, key, headers in records:
                self.producer.produce(topic, json.dumps(value), key, headers=headers)
            where = TopicPartition(TICKETS, number, lowest, metadata(lowest, finished))
            group = self.consumer.consumer_group_metadata()
            self.producer.send_offsets_to_transaction([where], group, 10)
            self.producer.commit_transaction(10)
        except (KafkaException, RuntimeError):
            self.resync()
            raise
        part.open.pop(offset, None)
        part.finished = finished

    def resync(self):
        """Nobody knows whether it was committed: a new producer, and what the group has committed."""
        self.make_producer()
        if self.consumer.assignment():
            self.assigned(self.consumer, self.consumer.assignment())
            for part in self.partitions:
                self.consumer.seek(TopicPartition(TICKETS, part, self.partitions[part].position))

    def run(self):
        while not self.stopping:
            try:
                self.follow_results()
                self.read_tickets()
                for _ in range(20):
                    found = self.ready()
                    if found is None or self.stopping:
                        break
                    self.settle(*found)
                    self.read_tickets()
            except (KafkaException, RuntimeError) as trouble:
                print(json.dumps({"trouble": str(trouble)}), flush=True)
                time.sleep(0.2)
        self.consumer.close()


def main():
    faulthandler.register(signal.SIGUSR1)  # where it stands, into its log
    model = Model()

    def stop(*_):
        if model.stopping:
            os._exit(0)
        model.stopping = True
    signal.signal(signal.SIGTERM, stop)
    model.run()


if __name__ == "__main__":
    main()
