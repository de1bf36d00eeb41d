"""Goal: whatever happens to workers and to what they need, the promises hold.

Method: several workers take tickets of random plans from six partitions, while something is done to one of them, or to
Kafka, Redis, the schema registry, the ticket service or the Service Registry, every few seconds. Then everything is let
be, and when all tickets have ended the topics, the commits, the ticket service and the tasks' own ledger are checked
(checker.py). In the middle of the run too: what is committed must be in the results at any moment.

    endurance.py [--tickets N] [--seconds M] [--workers W] [--seed S] [--only NAME,…] [--avro] [--delivery D] [--keep]

`make endurance` runs an hour of it; without arguments it is the short test. The seed makes plans and disturbances the
same again (not the moments at which they hit). Exit 1 on any violation; --keep leaves the workers' folders.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import time
import unittest
import uuid

import avro_schemas
import checker
import harness
from checker import COMPLETED, FAILED, Planned
from harness import Kafka, Redis, SchemaRegistry, Worker, give_time, ticket

PARTITIONS = 6
PLAN_SIZE = 25
END_SECONDS = 300  # for everything to end, once nothing is disturbed any more


class Plans:
    """Random acyclic plans. One ticket in forty fails by itself; what needs it fails with it."""

    def __init__(self, generator, ledger_name):
        self.generator, self.ledger = generator, ledger_name
        self.planned, self.failing = {}, set()

    def next_plan(self):
        plan, tickets = f"plan-{self.generator.randrange(1 << 40):x}", []
        for number in range(self.generator.randint(5, PLAN_SIZE * 2 - 5)):
            ids = [made["ticket_id"] for made in tickets]
            count = min(number, self.generator.choice([0, 1, 1, 2, 3]))
            tickets.append(self.one(plan, self.generator.sample(ids, count)))
        # Any order of arrival: mostly what a plan's author would send, sometimes the reverse, sometimes none.
        order = self.generator.random()
        if order < 0.2:
            tickets.reverse()
        elif order < 0.4:
            self.generator.shuffle(tickets)
        return tickets

    def one(self, plan, dependencies):
        ticket_id = str(uuid.UUID(int=self.generator.getrandbits(128), version=4))
        fails = self.generator.random() < 1 / 40
        pause = self.generator.choice([0.01, 0.02, 0.05, 0.05, 0.1, 0.5])
        script = f"echo start {ticket_id} >> {self.ledger}; sleep {pause}; "
        script += "exit 3" if fails else f"echo end {ticket_id} >> {self.ledger}"
        made = ticket(["sh", "-c", script], dependencies, ticket_id=ticket_id, plan_id=plan)
        if fails or any(dependency in self.failing for dependency in dependencies):
            self.failing.add(ticket_id)
        # What is expected to complete may still end FAILED when workers died over it too often: judged at the end.
        expected = FAILED if ticket_id in self.failing else ""
        self.planned[ticket_id] = Planned(ticket_id, tuple(dependencies), expected, made["created_at"])
        return made


class Cluster:
    """Everything that a cluster of workers needs, as real servers and stand-ins; closed in the order of the clean-ups."""

    def __init__(self, test, workers=3, avro=False, delivery="exactly_once", settings=None, make_worker=Worker):
        self.kafka = harness.peer(test, Kafka(KAFKA_ABORT_SCAN_MS=1000))
        self.redis = harness.peer(test, Redis())
        self.schemas = harness.peer(test, SchemaRegistry()) if avro else None
        self.tickets_topic = self.kafka.topic("tickets", PARTITIONS)
        self.results_topic = self.kafka.topic("results", PARTITIONS)
        self.dead_letter_topic = self.kafka.topic("dead-letters", 3)
        self.group = f"workers-{uuid.uuid4()}"
        self.ticket_service = harness.ticket_service("--kafka", self.kafka.plain, "--topic", self.tickets_topic).start()
        test.addCleanup(self.ticket_service.close)
        self.registry = harness.service_registry().start()
        test.addCleanup(self.registry.close)
        self.schema_id = None
        if avro:
            self.schema_id = self.schemas.register(f"{self.tickets_topic}-value", avro_schemas.TICKET)
        self.work = harness.work_folder(test)
        self.ledger_path = self.work / "shared" / "ledger"
        self.settings = {
            **self.kafka.worker_settings(), **self.redis.worker_settings(),
            "KAFKA_TICKETS_TOPIC": self.tickets_topic, "KAFKA_RESULTS_TOPIC": self.results_topic,
            "KAFKA_DLQ_TOPIC": self.dead_letter_topic, "KAFKA_CONSUMER_GROUP_ID": self.group, "KAFKA_DELIVERY": delivery,
            "KAFKA_SCHEMA_REGISTRY_URL": self.schemas.url if avro else "", "KAFKA_DLQ_ENABLED": "false",
            "EXECUTION_TICKET_SERVICE_URL": self.ticket_service["EXECUTION_TICKET_SERVICE_URL"],
            "SERVICE_REGISTRY_HOST": self.registry["SERVICE_REGISTRY_HOST"],
            "SERVICE_REGISTRY_PORT": self.registry["SERVICE_REGISTRY_PORT"],
            "KAFKA_SESSION_TIMEOUT_SECONDS": "6", "HEARTBEAT_INTERVAL_SECONDS": "5", "SHUTDOWN_GRACE_SECONDS": "5",
            "MAX_CONCURRENT_TASKS": "4", "MAX_CONCURRENT_TICKETS": "40", **(settings or {}),
        }
        self.test, self.make_worker = test, make_worker
        self.workers, self.gone = [], []
        for _ in range(workers):
            self.add_worker()

    def add_worker(self, wait=False):
        number = len(self.workers) + len(self.gone)
        worker = self.make_worker({**self.settings, "AGENT_ID": f"worker-{number}"}, self.work, f"worker-{number}")
        self.test.addCleanup(worker.close)
        worker.start(wait=wait)
        self.workers.append(worker)
        return worker

    def ledger(self):
        try:
            return self.ledger_path.read_text().splitlines()
        except FileNotFoundError:
            return []

    def history(self, planned, poison=()):
        return checker.read_history(self.kafka, planned, poison, self.tickets_topic, self.results_topic,
                                    self.dead_letter_topic, self.group)

    def ended(self):
        """How many results and dead letters readers see."""
        return sum(len(self.kafka.read_all(topic)) for topic in (self.results_topic, self.dead_letter_topic))


def bad_exit(worker, why, limit=60):
    """What was wrong with the end that the worker was asked for; empty: it ended with 0."""
    try:
        code = worker.wait(limit)
    except subprocess.TimeoutExpired:
        worker.kill()
        return f"{worker.name} did not end within {limit} s of {why}: {worker.tail()}"
    return "" if code == 0 else f"{worker.name} ended with {code} at {why}: {worker.tail()}"


class Disturbances:
    """One thing at a time is done to the cluster, and undone before the next, so that it is known what a failure saw."""

    def __init__(self, cluster, generator, say, only=()):
        self.cluster, self.generator, self.say, self.counts = cluster, generator, say, {}
        names = [name.removeprefix("do_") for name in dir(self) if name.startswith("do_")]
        if cluster.schemas is None:
            names.remove("schema_registry_restart")
        unknown = set(only) - set(names)
        if unknown:
            raise SystemExit(f"no disturbance {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        # Workers are what it is about: theirs come three times as often.
        often = ("kill", "freeze", "freeze_long", "leave_and_return", "hurry", "add_and_remove")
        self.names = [name for name in names if not only or name in only for _ in range(3 if name in often else 1)]

    def one(self):
        name = self.generator.choice(self.names)
        self.counts[name] = self.counts.get(name, 0) + 1
        began = time.monotonic()
        getattr(self, f"do_{name}")()
        self.say(f"{name}: {time.monotonic() - began:.1f} s")

    def some_worker(self):
        return self.generator.choice(self.cluster.workers)

    def pause(self, low, high):
        time.sleep(self.generator.uniform(low, high))

    def do_kill(self):
        worker = self.some_worker()
        worker.kill()
        self.pause(0, 2)
        worker.start(wait=False)

    def do_kill_all(self):
        for worker in self.cluster.workers:
            worker.kill()
        self.pause(0, 1)
        for worker in self.cluster.workers:
            worker.start(wait=False)

    def do_freeze(self):
        worker = self.some_worker()
        worker.freeze()
        self.pause(0.5, 5)
        worker.thaw()

    def do_freeze_long(self):
        """Beyond the session timeout: the group goes on without it, and it must notice."""
        worker = self.some_worker()
        worker.freeze()
        self.pause(12, 15)
        worker.thaw()

    def do_leave_and_return(self):
        worker = self.some_worker()
        worker.terminate()
        self.expect_exit(worker)
        self.pause(0, 2)
        worker.start(wait=False)

    def do_hurry(self):
        """A second SIGTERM."""
        worker = self.some_worker()
        worker.terminate()
        self.pause(0, 0.5)
        if worker.running():
            worker.terminate()
        self.expect_exit(worker)
        worker.start(wait=False)

    def do_add_and_remove(self):
        worker = self.cluster.add_worker()
        self.pause(1, 6)
        self.cluster.workers.remove(worker)
        self.cluster.gone.append(worker)
        worker.terminate()
        self.expect_exit(worker)

    def expect_exit(self, worker):
        trouble = bad_exit(worker, "SIGTERM")
        if trouble:
            raise AssertionError(trouble)

    def do_broker_restart(self):
        self.cluster.kafka.stop()
        self.pause(0, 2)
        self.cluster.kafka.start()

    def do_broker_kill(self):
        self.cluster.kafka.kill()
        self.pause(0, 2)
        self.cluster.kafka.start()

    def do_broker_freeze(self):
        self.cluster.kafka.freeze()
        self.pause(1, 8)
        self.cluster.kafka.thaw()

    def do_redis_restart(self):
        self.cluster.redis.stop()
        self.pause(0.5, 4)
        self.cluster.redis.start()

    def do_redis_freeze(self):
        self.cluster.redis.freeze()
        self.pause(0.5, 4)
        self.cluster.redis.thaw()

    def do_schema_registry_restart(self):
        self.cluster.schemas.stop()
        self.pause(0.5, 4)
        self.cluster.schemas.start()

    def do_ticket_service_trouble(self):
        mode = self.generator.choice([{"mode": "down"}, {"mode": "status", "status": 503, "retry_after": 1},
                                      {"mode": "slow", "delay_ms": 700}, {"mode": "reset"}, {"mode": "lost"},
                                      {"mode": "hang"}, {"mode": "not_found", "methods": ["PATCH"]}])
        self.cluster.ticket_service.control("/mode", mode)
        self.pause(1, 5)
        self.cluster.ticket_service.control("/mode", {"mode": "up"})

    def do_service_registry_trouble(self):
        what = self.generator.choice(["down", "refuse", "hang", "forget"])
        if what == "forget":
            self.cluster.registry.control("/forget", {})
            return
        self.cluster.registry.control("/mode", {"mode": what})
        self.pause(1, 5)
        self.cluster.registry.control("/mode", {"mode": "up"})


class Run:
    """One endurance run: produces, disturbs, waits, checks."""

    def __init__(self, cluster, tickets, seconds, seed, only=(), every=(1.0, 4.0),
                 end_seconds=END_SECONDS):
        self.cluster, self.total, self.seconds, self.every = cluster, tickets, seconds, every
        self.end_seconds = end_seconds
        self.generator = random.Random(seed)
        self.plans = Plans(random.Random(seed + 1), "ledger")
        self.disturbances = Disturbances(cluster, self.generator, self.say, only)
        self.poison, self.began, self.events, self.violations = set(), time.monotonic(), [], []

    def say(self, text):
        line = f"{time.monotonic() - self.began:7.1f} s  {text}"
        self.events.append(line)
        print(line, flush=True)

    def produce_due(self):
        """Tickets arrive evenly over the first four fifths of the time."""
        share = min(1.0, (time.monotonic() - self.began) / (self.seconds * 0.8))
        while len(self.plans.planned) < self.total * share:
            batch = self.plans.next_plan()
            self.cluster.kafka.produce_tickets(
                self.cluster.tickets_topic, batch, spread=lambda _: self.generator.randrange(PARTITIONS),
                schema_id=self.cluster.schema_id if self.generator.random() < 0.5 else None)
            if self.generator.random() < 0.1:
                value = self.generator.choice([b"", b"\xff\xfe", b"{", b'{"ticket_id":1}', b"\0\0\0\xff\xff nothing", b"[]"])
                self.poison.update(self.cluster.kafka.produce(self.cluster.tickets_topic, [(value, b"poison", None)]))

    def check_now(self):
        history = self.cluster.history(dict(self.plans.planned), self.poison)
        found = checker.check(history, ended=False)
        found += list(checker.check_ledger(history, self.cluster.ledger()))
        for sentence in found[:20]:
            self.say(f"VIOLATION {sentence}")
        self.violations += found
        return history

    def disturb(self):
        next_check = time.monotonic() + 30
        while time.monotonic() - self.began < self.seconds and not self.violations:
            self.produce_due()
            time.sleep(self.generator.uniform(*self.every))
            self.disturbances.one()
            self.revive()
            if time.monotonic() > next_check:
                self.check_now()
                next_check = time.monotonic() + 30
        self.produce_due()

    def revive(self):
        """No worker may have ended by itself."""
        for worker in self.cluster.workers:
            if not worker.running():
                self.violations.append(f"{worker.name} ended by itself with {worker.process.returncode}: {worker.tail()}")
                worker.start(wait=False)

    def finish(self):
        planned, wanted = self.plans.planned, len(self.plans.planned) + len(self.poison)
        self.say(f"{len(planned)} tickets written; waiting for the last")
        give_time(lambda: self.cluster.ended() >= wanted, self.end_seconds, 1.0)

        def committed():
            history = self.cluster.history(planned, self.poison)
            return not list(checker.check_commits(history, True))
        give_time(committed, min(30, self.end_seconds), 1.0)  # offsets of the last records, and status updates in their queues
        history = self.cluster.history(planned, self.poison)
        ledger = self.cluster.ledger()
        self.violations += checker.check(history) + list(checker.check_ledger(history, ledger))
        self.check_failures(history)

        def told():
            return list(checker.check_statuses(history, self.cluster.ticket_service.control("/statuses")))
        give_time(lambda: not told(), min(60, self.end_seconds), 1.0)
        self.violations += told()
        self.figures = checker.figures(history, ledger)

    def check_failures(self, history):
        """Nothing fails but what should, what workers died over too often, and what needs those."""
        bad = {e.ticket_id for e in history.endings if e.status != COMPLETED}
        for ending in history.endings:
            planned = self.plans.planned.get(ending.ticket_id)
            if planned is None or ending.status == COMPLETED or planned.expected == FAILED:
                continue
            if ending.outcome != "worker_crashed" and not any(d in bad for d in planned.dependencies):
                self.violations.append(f"{ending.ticket_id} ended {ending.status} ({ending.outcome}) without a reason")

    def stop_workers(self, test):
        for worker in self.cluster.workers:
            worker.terminate()
        found = [bad_exit(worker, "the last SIGTERM") for worker in self.cluster.workers]
        self.violations += [sentence for sentence in found if sentence]
        harness.assert_nothing_left(test, self.cluster.workers + self.cluster.gone)

    def run(self, test):
        for worker in self.cluster.workers:
            worker.wait_ready(60)
        self.began = time.monotonic()
        self.disturb()
        self.finish()
        self.stop_workers(test)
        self.figures["disturbances"] = self.disturbances.counts
        print(json.dumps(self.figures, indent=1), flush=True)
        return self.violations


class Short(unittest.TestCase):
    """The short form; the options of a longer one come from the command line."""
    options = argparse.Namespace(tickets=300, seconds=45, workers=3, seed=None, only=(), avro=False,
                                 delivery="exactly_once", keep=False)

    def setUp(self):
        harness.need_binary()
        self.seed = self.options.seed if self.options.seed is not None else int(time.time())
        print(f"seed {self.seed}")

    def test_promises_hold_whatever_happens(self):
        o = self.options
        cluster = Cluster(self, o.workers, o.avro, o.delivery)
        run = Run(cluster, o.tickets, o.seconds, self.seed, o.only)
        try:
            violations = run.run(self)
        finally:
            if o.keep:
                keep = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"wa-endurance-{self.seed}"
                keep.mkdir(exist_ok=True)
                for worker in cluster.workers + cluster.gone:
                    (keep / f"{worker.name}.log").write_bytes((worker.folder / "log").read_bytes())
                (keep / "events").write_text("\n".join(run.events) + "\n")
                (keep / "ledger").write_text("\n".join(cluster.ledger()) + "\n")
                print(f"logs, events and ledger: {keep}")
        if violations and not o.keep:
            print("\n".join(f"{w.name}: {w.tail()}" for w in cluster.workers))
        self.assertEqual(violations[:50], [], f"{len(violations)} violations, seed {self.seed}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tickets", type=int, default=Short.options.tickets)
    parser.add_argument("--seconds", type=float, default=Short.options.seconds)
    parser.add_argument("--workers", type=int, default=Short.options.workers)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", type=lambda text: tuple(text.split(",")), default=(), metavar="NAME,…")
    parser.add_argument("--avro", action="store_true", help="with a schema registry: half of the tickets, and the results, in Avro")
    parser.add_argument("--delivery", default=Short.options.delivery)
    parser.add_argument("--keep", action="store_true")
    Short.options, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
