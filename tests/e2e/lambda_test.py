"""EXECUTE tickets on AWS Lambda: on Moto, which checks every signature, and on a stand-in that runs the function for real and
misbehaves as it is told to (lambda_service.py).

Moto does not run functions: it gives the answers it was told, or sends the payload back."""

import base64
import http.client
import http.server
import json
import threading
import time
import unittest
import urllib.parse
import urllib.request

from harness import Worker, wait_until
from lambda_service import LambdaService
from runtime_cases import Backend, Peer, RuntimeTest, conformance

REPORT = ("START RequestId: 1 Version: 7\nhello from the log\nEND RequestId: 1\n"
          "REPORT RequestId: 1\tDuration: 101.20 ms\tBilled Duration: 102 ms\tMemory Size: 128 MB\tMax Memory Used: 37 MB\t\n")


class LambdaCase(unittest.TestCase):
    settings = {"LAMBDA_ENABLED": "true", "SIMULATION_POLICY": "deny", "RETRY_BACKOFF_BASE_SECONDS": "0.1",
                "RUNTIME_FALLBACK_CHAIN": "lambda", "DEFAULT_RUNTIME": "lambda", "LAMBDA_ACCESS_KEY": "AKIDEXAMPLE",
                "LAMBDA_SECRET_KEY": "a-very-secret-key"}

    def worker(self, settings):
        worker = Worker({**self.settings, **settings})
        self.addCleanup(worker.close)
        return worker.start()

    def submit(self, worker, ticket):
        status, answer = worker.request("POST", "/api/v1/plans", {"plan": "lambda", "tickets": {
            "one": {"type": "EXECUTE", "runtime": "lambda", **ticket}}})
        self.assertEqual(status, 201, answer)
        return answer["tickets"]["one"]

    def ended(self, worker, ticket_id, limit=60):
        def ticket():
            found = worker.request("GET", f"/api/v1/tickets/{ticket_id}")[1]
            return found if found["status"] in ("COMPLETED", "FAILED") else None

        found = wait_until(ticket, limit)
        self.assertTrue(found, worker.tail())
        result = found["result"]["result"]
        return found, result.get("output") or {}, result["metadata"]

    def run_one(self, worker, ticket, limit=60):
        return self.ended(worker, self.submit(worker, ticket), limit)

    def metrics(self, worker):
        text = worker.request("GET", "/metrics")[1]
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                if line and not line.startswith("#")}


class WithMoto(LambdaCase):
    @classmethod
    def setUpClass(cls):
        peer = Peer("moto").start()
        cls.addClassCleanup(peer.close)
        cls.url = peer.values["AWS_ENDPOINT_URL_LAMBDA"]
        cls.keys = {"LAMBDA_ENDPOINT_URL": cls.url, "LAMBDA_ACCESS_KEY": peer.values["AWS_ACCESS_KEY_ID"],
                    "LAMBDA_SECRET_KEY": peer.values["AWS_SECRET_ACCESS_KEY"]}

    def tell(self, *answers):
        body = json.dumps({"results": list(answers), "region": "us-east-1"}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/static/lambda-simple/response", data=body,
                                                      headers={"Content-Type": "application/json"}), timeout=20).read()

    def test_a_function_answers(self):
        worker = self.worker(self.keys)
        self.tell(json.dumps({"exit_code": 0, "stdout": "done\n", "stderr": "a note"}))
        ticket, output, facts = self.run_one(worker, {"run": ["report", "--all"], "sla": {"timeout": "30s"}})
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        self.assertEqual((output["exit_code"], output["stdout"].strip(), output["stderr"]), ("0", "done", "a note"))
        self.assertEqual((facts["runtime"], facts["function_name"]), ("lambda", "neural-hive-executor"))
        self.assertNotIn("simulated", facts)
        self.assertEqual(self.metrics(worker)['worker_agent_lambda_invocations_total{status="success"}'], 1)

    def test_its_exit_code_is_the_tickets(self):
        worker = self.worker(self.keys)
        self.tell(json.dumps({"exitCode": 3, "stderr": "no such thing"}), "just text")
        ticket, output, _ = self.run_one(worker, {"run": ["x"]})
        self.assertEqual((ticket["status"], output["exit_code"]), ("FAILED", "3"), ticket)
        self.assertIn("no such thing", ticket["error_message"])
        ticket, output, _ = self.run_one(worker, {"run": ["x"]})
        self.assertEqual((ticket["status"], output["stdout"].strip()), ("COMPLETED", "just text"))

    def test_versions_and_arns_are_signed_as_aws_does(self):
        arn = "arn:aws:lambda:us-east-1:123456789012:function:neural-hive-executor"
        worker = self.worker({**self.keys, "LAMBDA_ALLOWED_FUNCTIONS": "neural-*,arn:aws:lambda:*"})
        for more in ({"qualifier": "$LATEST"}, {"function_name": arn}, {"function_name": arn, "qualifier": "a-b_c"}):
            ticket, _, facts = self.run_one(worker, {"run": ["x", "a b"], "parameters": more})
            self.assertEqual(ticket["status"], "COMPLETED", (more, ticket))
            self.assertEqual(facts["function_name"], more.get("function_name", "neural-hive-executor"))

    def test_a_wrong_secret_is_said_and_not_told(self):
        worker = self.worker({**self.keys, "LAMBDA_SECRET_KEY": "this-is-not-the-right-secret"})
        ticket, _, facts = self.run_one(worker, {"run": ["x"]})
        self.assertEqual(ticket["status"], "FAILED")
        self.assertIn("credentials for AWS are not accepted", ticket["error_message"])
        self.assertNotIn("this-is-not", json.dumps(ticket) + worker.tail())

    def test_a_function_that_is_not_allowed_is_not_called(self):
        worker = self.worker(self.keys)
        ticket, _, _ = self.run_one(worker, {"run": ["x"], "parameters": {"function_name": "another"}})
        self.assertEqual(ticket["status"], "FAILED")
        self.assertIn("not allowed", ticket["error_message"])
        self.assertEqual(self.metrics(worker)['worker_agent_lambda_invocations_total{status="failed"}'], 0)


class ForwardingProxy(http.server.ThreadingHTTPServer):
    """Hands requests on to one place, whatever host they are meant for, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, target):
        self.target, self.seen = target, []
        super().__init__(("127.0.0.1", 0), ProxyRequest)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class ProxyRequest(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def hand_on(self):
        self.server.seen.append((self.command, self.path, self.headers.get("Proxy-Authorization")))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        host, path = urllib.parse.urlsplit(self.path).netloc, urllib.parse.urlsplit(self.path).path or "/"
        there = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=30)
        there.request(self.command, path, body, {**headers, "Host": host})
        answer = there.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        there.close()

    do_GET = do_POST = do_HEAD = hand_on


class ByProxy(LambdaCase):
    def setUp(self):
        self.service = LambdaService()
        self.addCleanup(self.service.close)
        self.proxy = ForwardingProxy(self.service.server_address[1])
        self.addCleanup(self.proxy.close)
        port = self.proxy.server_address[1]
        self.there = {**self.service.settings(), "LAMBDA_ENDPOINT_URL": "http://lambda.nowhere.invalid",
                      "OUTBOUND_PROXY_URL": f"http://me:pass-word@127.0.0.1:{port}"}

    def test_a_function_behind_a_proxy(self):
        worker = self.worker(self.there)
        ticket, output, _ = self.run_one(worker, {"run": ["echo", "by proxy"], "sla": {"timeout": "30s"}})
        self.assertEqual((ticket["status"], output["stdout"].strip()), ("COMPLETED", "by proxy"), ticket)
        calls = [seen for seen in self.proxy.seen if seen[0] == "POST"]
        self.assertEqual(len(calls), 1)
        self.assertTrue(calls[0][1].startswith("http://lambda.nowhere.invalid/2015-03-31/functions/"), calls)
        self.assertEqual(calls[0][2], "Basic " + base64.b64encode(b"me:pass-word").decode())
        self.assertNotIn("pass-word", worker.tail())

    def test_exceptions_and_this_machine_go_past_it(self):
        worker = self.worker({**self.there, "LAMBDA_ENDPOINT_URL": self.service.url()})
        ticket, *_ = self.run_one(worker, {"run": ["true"], "sla": {"timeout": "30s"}})
        self.assertEqual((ticket["status"], self.proxy.seen), ("COMPLETED", []), ticket)
        worker = self.worker({**self.there, "OUTBOUND_NO_PROXY": ".invalid"})
        ticket, *_ = self.run_one(worker, {"run": ["true"], "sla": {"timeout": "10s", "max_retries": 0}})
        self.assertEqual((ticket["status"], self.proxy.seen), ("FAILED", []), ticket)

    def test_a_proxy_that_cannot_be_used_is_said(self):
        for name, value in (("OUTBOUND_PROXY_URL", "socks5://me:pass-word@127.0.0.1:1"), ("OUTBOUND_NO_PROXY", "10.0.0.0/99")):
            worker = self.worker({**self.there, name: value})
            _, doctor = worker.request("GET", "/api/v1/doctor")
            row = next(row for row in doctor["checks"] if row["name"] == "lambda")
            self.assertEqual((row["status"], row["fix"]), ("error", "correct that setting"), row)
            self.assertIn(name, row["detail"])
            self.assertNotIn("pass-word", str(doctor))


class Misbehaviour(LambdaCase):
    def place(self, *how, **settings):
        server = LambdaService(*how)
        self.addCleanup(server.close)
        return server, self.worker({**server.settings(), **settings})

    def test_the_payload_and_the_log(self):
        tail = base64.b64encode(REPORT.encode()).decode()
        server, worker = self.place((200, {"exit_code": 0, "stdout": "x"}, {
            "x-amzn-RequestId": "req-1", "X-Amz-Log-Result": tail, "X-Amz-Executed-Version": "7"}))
        ticket_id = self.submit(worker, {"run": ["a", "b c"], "env": {"A": "1", "API_TOKEN": "hush-hush-hush"},
                                         "parameters": {"args": ["d"], "working_dir": "/w", "timeout_seconds": 20}})
        ticket, output, facts = self.ended(worker, ticket_id)
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        path, headers, body = server.calls[0]
        self.assertEqual(path, "/2015-03-31/functions/neural-hive-executor/invocations")
        self.assertEqual((headers["X-Amz-Invocation-Type"], headers["X-Amz-Log-Type"]), ("RequestResponse", "Tail"))
        self.assertEqual(json.loads(body), {"command": "a 'b c'", "args": ["d"], "env_vars": {"A": "1", "API_TOKEN": "hush-hush-hush"},
                                            "working_dir": "/w", "timeout_seconds": 20, "ticket_id": ticket_id, "attempt": 1})
        self.assertEqual((output["request_id"], facts["billed_duration_ms"], facts["memory_used_mb"], facts["executed_version"]),
                         ("req-1", "102", "37", "7"))
        self.assertIn("hello from the log", "\n".join(ticket["result"]["result"]["logs"]))
        self.assertIn("hello from the log", json.dumps(worker.request("GET", f"/api/v1/tickets/{ticket_id}/logs")[1]))
        numbers = self.metrics(worker)
        self.assertEqual(numbers["worker_agent_lambda_billed_duration_seconds_count"], 1)
        self.assertAlmostEqual(numbers["worker_agent_lambda_billed_duration_seconds_sum"], 0.102)

    def test_a_function_that_fails(self):
        server, worker = self.place((200, {"errorMessage": "division by zero", "errorType": "ZeroDivisionError",
                                           "stackTrace": ["  File \"h.py\", line 2"]}, {"X-Amz-Function-Error": "Unhandled"}))
        ticket, output, facts = self.run_one(worker, {"run": ["x"]})
        self.assertEqual((ticket["status"], output["exit_code"], facts["function_error"]), ("FAILED", "1", "Unhandled"))
        self.assertIn("ZeroDivisionError: division by zero", ticket["error_message"])
        self.assertEqual(len(server.calls), 1)

    def test_throttled_and_then_run(self):
        server, worker = self.place((429, {"Reason": "ConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."},
                                     {"x-amzn-ErrorType": "TooManyRequestsException"}), (200, {"exit_code": 0}))
        ticket, _, _ = self.run_one(worker, {"run": ["x"]})
        self.assertEqual(ticket["status"], "COMPLETED", ticket)
        self.assertEqual(len(server.calls), 2)
        self.assertEqual([json.loads(call[2])["attempt"] for call in server.calls], [1, 2])

    def test_an_answer_that_never_came_is_not_asked_for_again(self):
        for how in ("reset", (500, {"message": "internal"}, {"x-amzn-ErrorType": "ServiceException"}), (502, b"bad gateway")):
            server, worker = self.place(how)
            ticket, _, facts = self.run_one(worker, {"run": ["x"]})
            self.assertEqual((ticket["status"], facts["remote_outcome"], facts["retryable"]), ("FAILED", "unknown", "false"), ticket)
            self.assertIn("may have run or may still run", ticket["error_message"])
            self.assertEqual(len(server.calls), 1, how)

    def test_a_cancelled_one_may_still_run(self):
        server, worker = self.place("hang", LOCAL_RUNTIME_GRACE_SECONDS="1")
        ticket_id = self.submit(worker, {"run": ["x"]})
        self.assertTrue(wait_until(lambda: server.calls, 20))
        worker.cli("tickets", "cancel", ticket_id, check=0)
        ticket, _, facts = self.ended(worker, ticket_id)
        self.assertEqual((facts["remote_outcome"], facts["still_running"]), ("unknown", "true"), ticket)
        self.assertEqual(len(server.calls), 1)

    def test_one_that_takes_too_long_is_not_begun_again(self):
        server, worker = self.place("hang")
        ticket, _, facts = self.run_one(worker, {"run": ["x"], "sla": {"timeout": "2s"}})
        self.assertEqual((ticket["status"], facts["remote_outcome"], facts["timed_out"]), ("FAILED", "unknown", "true"), ticket)
        self.assertIn("may still run", ticket["error_message"])
        time.sleep(1)
        self.assertEqual(len(server.calls), 1)

    def test_nobody_there(self):
        server = LambdaService("reset")
        server.close()
        worker = self.worker({"LAMBDA_ENDPOINT_URL": server.url()})
        ticket, _, facts = self.run_one(worker, {"run": ["x"]})
        self.assertEqual(ticket["status"], "FAILED")
        self.assertIn("no runtime can take this ticket", ticket["error_message"])
        self.assertNotIn("remote_outcome", facts)


class Functions(Backend):
    """The stand-in. A function cannot be stopped: what still runs there is nobody's to remove, and is no left-over."""

    runtime = "lambda"
    has = {"command", "retry", "refusal", "record", "engine_away"}
    lacks = {
        "huge_output": "an answer has at most 6 MiB",
        "live_log": "the output comes with the answer",
        "stop": "a call cannot be taken back",
        "image": "the function is what it is",
        "memory_limit": "the function has its own",
        "adoption": "a call cannot be asked about later",
        "start_time": "nothing is adopted",
        "engine_stop": "a call has no answer then, and is not sent again (Misbehaviour)",
    }

    def start(self):
        self.service = LambdaService()

    def close(self):
        self.service.close()

    def settings(self):
        return {**self.service.settings(), "LOCAL_RUNTIME_GRACE_SECONDS": "1"}

    def no_engine(self):
        return {"LAMBDA_ENDPOINT_URL": "http://127.0.0.1:1"}

    def refused(self):
        with self.service.lock:
            self.service.how = [(404, {"message": "Function not found: nowhere"}, {"x-amzn-ErrorType": "ResourceNotFoundException"}),
                                "run"]
        return self.ticket("true"), {}, "Function not found: nowhere"

    def told(self):
        return "\n".join(f"{path} {headers} {body.decode()}" for path, headers, body in self.service.calls)

    def begun(self, since):
        with self.service.lock:
            return [at for at in self.service.called_at if at >= since]

    def running(self):
        with self.service.lock:
            return [process.pid for process in self.service.running]

    def clean(self):
        self.service.how = ["run"]
        self.service.end_functions()
        wait_until(lambda: self.running() == [], 20)


@conformance
class OnFunctions(RuntimeTest):
    """The common cases, and what is so only here: a function goes on when nobody waits for it any more."""

    backend = Functions()

    def test_timeout_is_said_and_nothing_runs_twice(self):
        worker = self.worker()
        ticket = self.run_one(worker, self.backend.ticket("sleep 30", sla={"timeout_ms": 1500}))
        self.assert_failed(ticket, "timed out after .* may still run")
        self.assertEqual((ticket["attempts"], len(self.backend.running())), (1, 1))
        self.assertEqual(self.facts(ticket)["still_running"], "true")

    def test_keys_are_not_sent(self):
        self.run_one(self.worker(), self.backend.ticket("true"))
        self.assertIn("Credential=", self.backend.told())
        self.assertNotIn(self.backend.settings()["LAMBDA_SECRET_KEY"], self.backend.told())


del RuntimeTest  # it would be run too


if __name__ == "__main__":
    unittest.main()
