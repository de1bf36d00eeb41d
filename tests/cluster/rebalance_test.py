"""Members come and go while tickets trickle in: each partition is at its end most of the time, and nothing is skipped."""

import threading
import time
import unittest

import flow_test
import harness


class Rebalance(flow_test.Flow):
    def test_no_ticket_is_skipped_when_members_come_and_go(self):
        fast = {"MAX_CONCURRENT_TASKS": "20", "MAX_CONCURRENT_TICKETS": "100"}
        self.worker(**fast)
        tickets, done = [], threading.Event()

        def trickle():
            while not done.is_set():
                some = [harness.ticket(["true"]) for _ in range(6)]
                partition = {one["ticket_id"]: index for index, one in enumerate(some)}
                self.kafka.produce_tickets(self.topics["tickets"], some, spread=lambda one: partition[one["ticket_id"]])
                tickets.extend(some)
                time.sleep(0.15)

        writer = threading.Thread(target=trickle)
        writer.start()
        try:
            for _ in range(4):
                other = self.worker(**fast)
                time.sleep(2)
                other.terminate()
                self.assertEqual(other.wait(), 0)
        finally:
            done.set()
            writer.join()
        results = self.one_result_each(tickets, 90)
        self.assertEqual({result["status"] for result in results.values()}, {"COMPLETED"})


def load_tests(_loader, _tests, _pattern):
    return unittest.TestSuite([Rebalance("test_no_ticket_is_skipped_when_members_come_and_go")])


if __name__ == "__main__":
    unittest.main()
