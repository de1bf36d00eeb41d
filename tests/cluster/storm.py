"""Goal: a group whose members come and go every second still works off its tickets, and keeps every promise.

Method: two workers stay; beside them others join, leave by SIGTERM and die by kill -9, one of it every second, for the
time given. The rest is as in endurance.py.

    storm.py [--tickets N] [--seconds T] [--seed S] [--assignment cooperative-sticky|range|roundrobin]

`make storm` runs two minutes with cooperative assignment and two with eager; without arguments it is the short test.
"""

import argparse
import sys
import time
import unittest

import harness
from endurance import Cluster, Run, bad_exit

MOST = 6


class Storm(Run):
    def disturb(self):
        counts = self.disturbances.counts
        while time.monotonic() - self.began < self.seconds and not self.violations:
            self.produce_due()
            time.sleep(1)
            guests = self.cluster.workers[2:]
            choice = self.generator.choice(("join", "leave", "die"))
            if choice == "join" or not guests:
                choice = "join"
                if len(self.cluster.workers) < MOST:
                    self.cluster.add_worker()
                else:
                    choice = "leave"
            if choice != "join":
                worker = self.generator.choice(guests)
                self.cluster.workers.remove(worker)
                self.cluster.gone.append(worker)
                worker.terminate() if choice == "leave" else worker.kill()
            counts[choice] = counts.get(choice, 0) + 1
            self.revive()
        self.produce_due()

    def stop_workers(self, test):
        left = [worker for worker in self.cluster.gone if not worker.exit_codes]
        found = [bad_exit(worker, "SIGTERM") for worker in left]
        self.violations += [sentence for sentence in found if sentence]
        super().stop_workers(test)


class Short(unittest.TestCase):
    options = argparse.Namespace(tickets=150, seconds=30, seed=None, assignment="cooperative-sticky")

    def test_members_that_come_and_go_every_second(self):
        harness.need_binary()
        seed = self.options.seed if self.options.seed is not None else int(time.time())
        print(f"seed {seed}")
        cluster = Cluster(self, 2, settings={"KAFKA_ASSIGNMENT_STRATEGY": self.options.assignment})
        violations = Storm(cluster, self.options.tickets, self.options.seconds, seed).run(self)
        self.assertEqual(violations[:50], [], f"{len(violations)} violations, seed {seed}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tickets", type=int, default=Short.options.tickets)
    parser.add_argument("--seconds", type=float, default=Short.options.seconds)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--assignment", default=Short.options.assignment)
    Short.options, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
