"""The runtime "simulation": the common cases, as far as one that runs nothing can be held to them, and its label."""

import unittest

from harness import wait_until
from runtime_cases import Backend, RuntimeTest, conformance


class Simulation(Backend):
    runtime = "simulation"
    simulated = True
    has = {"stop"}
    lacks = {
        "command": "nothing is run",
        "huge_output": "nothing is run",
        "live_log": "nothing is run",
        "retry": "a simulated failure is final",
        "refusal": "there is nobody else",
        "record": "there is nobody who could have one",
        "image": "nothing is run",
        "memory_limit": "nothing is run",
        "adoption": "it ends with the worker",
        "start_time": "nothing is adopted",
        "engine_away": "there is no engine",
        "engine_stop": "there is no engine",
    }

    def __init__(self):
        self.workers = []

    def has_worker(self, worker):
        self.workers.append(worker)

    def work(self, seconds, code=0, **more):
        return {"type": "EXECUTE", "run": ["no-such-program-anywhere"], "runtime": self.runtime,
                "parameters": {"simulated_duration_ms": int(seconds * 1000), "simulated_exit_code": code}, **more}

    def impossible(self):
        return self.work(0, code=999), "simulated_exit_code"

    def running(self):
        """By the word of the workers: nothing else knows of it."""
        alive = [worker for worker in self.workers if worker.process.poll() is None]
        return [task["ticket_id"] for worker in alive for task in worker.request("GET", "/api/v1/status")[1]["tasks"]
                if task["phase"] == "running"]

    def left(self):
        return self.running()

    def clean(self):
        self.workers.clear()


@conformance
class SimulationTest(RuntimeTest):
    backend = Simulation()

    def test_every_ending_of_it_is_labelled(self):
        worker = self.worker()
        late = self.backend.work(600, sla={"timeout_ms": 500, "max_retries": 0})
        for ticket in (self.backend.work(0.1), self.backend.work(0.1, code=3), late):
            ticket = self.run_one(worker, ticket)
            self.assertEqual((self.facts(ticket)["simulated"], self.facts(ticket)["runtime"]), ("true", "simulation"))
            self.assertIn("simulated: nothing was run", ticket["result"]["result"]["logs"])

    def test_it_is_shown_as_running(self):
        worker = self.worker()
        ticket_id = self.submit(worker, self.backend.work(600))
        self.assertTrue(wait_until(lambda: self.backend.running() == [ticket_id], 20))
        self.assertEqual(self.ticket(worker, ticket_id)["status"], "RUNNING")
        listed = worker.request("GET", "/api/v1/tickets?status=RUNNING")[1]["tickets"]
        self.assertEqual([one["ticket_id"] for one in listed], [ticket_id])
        self.cancel(worker, ticket_id)
        self.assert_failed(self.ended(worker, ticket_id), "cancelled")

    def test_it_can_be_forbidden(self):
        ticket = self.run_one(self.worker(SIMULATION_POLICY="deny"), self.backend.work(0.1))
        self.assert_failed(ticket, "SIMULATION_POLICY=deny")
        self.assertNotIn("simulated", self.facts(ticket))


if __name__ == "__main__":
    unittest.main()
