"""Secure connections to a real broker: each kind works; what is wrong is said so that a person can mend it, and no secret
gets out; certificates are replaced while the worker runs."""

import base64
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

import flow_test
import harness
from harness import kafka_admin


def make_certificate(tls, name):
    """Another client certificate of the broker's authority, in `tls`; gives the paths of certificate and key."""
    subprocess.run(["bash", "-euc", f"""
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}
        echo extendedKeyUsage=clientAuth >{name}.ext
        openssl x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out {name}.crt -extfile {name}.ext"""],
                   cwd=tls, check=True, capture_output=True)
    return pathlib.Path(tls, f"{name}.crt"), pathlib.Path(tls, f"{name}.key")


class Provider(http.server.ThreadingHTTPServer):
    """An OpenID provider as far as clients ask it for tokens: unsigned ones, which the broker's own test validator takes."""

    def __init__(self, secret):
        super().__init__(("127.0.0.1", 0), Provider.Handler)
        self.secret, self.asked = secret, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/token"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.server.asked += 1
            name, _, secret = base64.b64decode(self.headers.get("Authorization", "Basic Og==").split()[1]).decode().partition(":")
            form = urllib.parse.parse_qs(body)
            name, secret = form.get("client_id", [name])[0], form.get("client_secret", [secret])[0]
            good = urllib.parse.unquote(secret) == self.server.secret
            now = int(time.time())
            answer = {"error": "invalid_client"}
            if good:
                parts = [{"alg": "none"}, {"sub": name, "iat": now, "exp": now + 300, "scope": "kafka"}]
                token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
                answer = {"access_token": token + ".", "token_type": "Bearer", "expires_in": 300}
            data = json.dumps(answer).encode()
            self.send_response(200 if good else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_words):
            pass


class Secure(unittest.TestCase):
    security = "none"
    more = {}

    @classmethod
    def setUpClass(cls):
        if cls is Secure:
            raise unittest.SkipTest("what the others share")
        harness.need_binary()
        cls.kafka = harness.peer(cls, harness.Kafka(KAFKA_SECURITY=cls.security, **cls.more))

    def setUp(self):
        self.topics = {name: self.kafka.topic(name, 3) for name in ("tickets", "results", "dead", "alerts")}

    def worker(self, wait=True, without=(), **settings):
        every = flow_test.settings_of(self.kafka, self.topics, LOCAL_RUNTIME_ALLOWED_COMMANDS="true,env,sh,sleep", **settings)
        worker = harness.Worker({key: value for key, value in every.items() if key not in without})
        self.addCleanup(worker.close)
        return worker.start(wait=wait)

    def run_one(self, command=("true",), limit=60):
        one = harness.ticket(list(command))
        self.kafka.produce_tickets(self.topics["tickets"], [one])
        end = time.monotonic() + limit
        while time.monotonic() < end:
            found = [result for record, result in self.kafka.results(self.topics["results"])
                     if record.key.decode() == one["ticket_id"]]
            if found:
                self.assertEqual([result["status"] for result in found], ["COMPLETED"])
                return found[0]
            time.sleep(0.3)
        self.fail("no result")

    def says_why(self, worker, *words, fix=(), limit=40):
        """It is not ready, and tells the reason in its log, to those who ask whether it is ready, and by doctor."""
        harness.wait_until(lambda: (worker.state / "endpoints").exists() and
                           all(word in self.doctor(worker)["detail"] for word in words), limit, 0.5)
        row = self.doctor(worker)
        self.assertEqual(row["status"], "error")
        for word in words:
            self.assertIn(word, row["detail"])
        for word in fix:
            self.assertIn(word, row["fix"])
        status, body = worker.request("GET", "/ready")
        self.assertEqual(status, 503)
        log = (worker.folder / "log").read_text(errors="replace")
        for word in words[1:]:
            self.assertIn(word, log)
        self.assertIn(words[0], worker.cli("doctor").stdout)
        self.assertTrue(worker.running())

    @staticmethod
    def doctor(worker):
        rows = worker.request("GET", "/api/v1/doctor", timeout=60)[1]["checks"]
        return next(row for row in rows if row["name"] == "kafka")

    def nowhere(self, worker, *secrets):
        places = {"log": (worker.folder / "log").read_text(errors="replace")}
        for path in ("/metrics", "/api/v1/config", "/api/v1/doctor", "/api/v1/status", "/ready", "/health"):
            places[path] = json.dumps(worker.request("GET", path, timeout=60)[1])
        places["config show"] = worker.cli("config", "show").stdout
        everything = [worker.process.pid, *worker.processes()]
        for pid in everything:
            places[f"command line of {pid}"] = harness.read_bytes(f"/proc/{pid}/cmdline").decode(errors="replace")
        for pid in worker.processes():
            places[f"environment of {pid}"] = harness.read_bytes(f"/proc/{pid}/environ").decode(errors="replace")
        for file in worker.state.rglob("*"):
            if file.is_file() and not file.is_socket():
                places[str(file)] = file.read_bytes().decode(errors="replace")
        for place, text in places.items():
            for secret in secrets:
                self.assertNotIn(secret, text, f"a secret in {place}")


class Tls(Secure):
    security = "tls"

    def settings(self, **more):
        return {**self.kafka.worker_settings(), **more}

    def test_mutual_tls_works(self):
        worker = self.worker(**self.settings())
        self.run_one()
        self.assertEqual(self.doctor(worker)["status"], "ok")
        worker.cli("dlq", "ls", check=0)

    def test_a_wrong_authority_is_said(self):
        worker = self.worker(wait=False, **self.settings(KAFKA_SSL_CA_LOCATION=self.kafka["KAFKA_OTHER_CA_LOCATION"]))
        self.says_why(worker, "no secure connection", "certificate", fix=("KAFKA_SSL_CA_LOCATION",))

    def test_a_missing_client_certificate_is_said(self):
        worker = self.worker(wait=False, without=("KAFKA_SSL_CERTIFICATE_LOCATION", "KAFKA_SSL_KEY_LOCATION"), **self.settings())
        self.says_why(worker, "no secure connection", fix=("KAFKA_SSL_CERTIFICATE_LOCATION",))

    def test_plain_text_to_a_secure_broker_is_said(self):
        worker = self.worker(wait=False, **self.settings(KAFKA_SECURITY_PROTOCOL="PLAINTEXT"))
        self.says_why(worker, "the brokers at", fix=("KAFKA_SECURITY_PROTOCOL",))

    def test_files_that_are_no_certificates_end_the_start(self):
        with tempfile.NamedTemporaryFile("w", suffix=".crt") as file:
            file.write("no certificate")
            file.flush()
            worker = self.worker(wait=False, **self.settings(KAFKA_SSL_CERTIFICATE_LOCATION=file.name))
            self.assertNotEqual(worker.wait(30), 0)
            self.assertIn("ssl.certificate.location", worker.tail())


class Permitted(Secure):
    """A broker that knows clients by their certificates and permits each only what it was given."""
    security = "tls"
    more = {"KAFKA_ACL": "1"}

    def permit(self, name, yes=True):
        def rules(kind):
            operation, permission = kafka_admin.AclOperation, kafka_admin.AclPermissionType
            words = (f"User:CN={name}", "*", operation.ALL if yes else operation.ANY, permission.ALLOW if yes else permission.ANY)
            pattern = kafka_admin.ResourcePatternType
            return [kind(resource, "*", pattern.LITERAL, *words)
                    for resource in (kafka_admin.ResourceType.TOPIC, kafka_admin.ResourceType.GROUP,
                                     kafka_admin.ResourceType.TRANSACTIONAL_ID)]
        admin = self.kafka.admin()
        changes = admin.create_acls(rules(kafka_admin.AclBinding)) if yes else admin.delete_acls(rules(kafka_admin.AclBindingFilter))
        for change in changes.values():
            change.result(30)

    def certificate(self, name):
        return make_certificate(pathlib.Path(self.kafka["KAFKA_SSL_CA_LOCATION"]).parent, name)

    def settings(self, pair):
        return {**self.kafka.worker_settings(), "KAFKA_SSL_CERTIFICATE_LOCATION": str(pair[0]),
                "KAFKA_SSL_KEY_LOCATION": str(pair[1])}

    def test_what_is_not_permitted_is_said(self):
        worker = self.worker(wait=False, **self.settings(self.certificate("stranger")))
        self.says_why(worker, "do not permit", fix=("group-",))

    def test_a_replaced_client_certificate_is_used_without_a_restart(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="wa-tls-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        first, second = self.certificate("first"), self.certificate("second")
        mounted = (folder / "tls.crt", folder / "tls.key")

        def put(*pairs):
            for source, target in pairs:
                new = target.with_suffix(".new")
                new.write_bytes(source.read_bytes())
                os.replace(new, target)

        def events():
            return [line.get("event") for line in worker.log_lines()]

        self.permit("first")
        self.permit("second")
        put(*zip(first, mounted))
        worker = self.worker(**self.settings(mounted))
        self.run_one()
        self.kafka.produce(self.topics["dead"], [(b"{}", None, 0), (b"{}", None, 0)])
        worker.cli("dlq", "discard", "0-0", check=0)
        # A key that does not belong to the certificate: nothing changes, and that is said.
        put((second[1], mounted[1]))
        self.assertTrue(harness.wait_until(lambda: "kafka_certificates_refused" in events(), 90, 0.5))
        self.run_one()
        put(*zip(second, mounted))
        self.assertTrue(harness.wait_until(lambda: "consumer_made_anew" in events(), 90, 0.5))
        self.assertEqual(events().count("kafka_certificates_changed"), 1)
        # From here on whoever still comes with the old one can do nothing, and every connection is made anew.
        self.permit("first", False)
        self.run_one()
        self.kafka.stop()
        self.kafka.start()
        self.run_one(limit=120)
        worker.wait_ready(60)
        worker.cli("dlq", "discard", "0-1", check=0)
        records = self.kafka.read_all(self.topics["results"])
        self.assertEqual(len(records), len({record.key for record in records}), "one result each")
        self.assertEqual(len(records), 4)
        worker.terminate()
        self.assertEqual(worker.wait(), 0)


class Sasl(Secure):
    security = "sasl"

    def settings(self, protocol="SASL_SSL", mechanism="SCRAM-SHA-512", **more):
        base = self.kafka.worker_settings()
        base.update(KAFKA_BOOTSTRAP_SERVERS=self.kafka[f"KAFKA_{protocol}_BOOTSTRAP_SERVERS"],
                    KAFKA_SECURITY_PROTOCOL=protocol, KAFKA_SASL_MECHANISM=mechanism)
        for name in ("KAFKA_SSL_CERTIFICATE_LOCATION", "KAFKA_SSL_KEY_LOCATION"):
            base.pop(name, None)
        return {**base, **more}

    def test_every_mechanism_works_over_tls_and_without(self):
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            for protocol in ("SASL_SSL", "SASL_PLAINTEXT"):
                with self.subTest(mechanism=mechanism, protocol=protocol):
                    self.setUp()
                    worker = self.worker(**self.settings(protocol, mechanism))
                    self.run_one()
                    worker.terminate()
                    self.assertEqual(worker.wait(), 0)

    def test_the_password_comes_from_a_file_and_goes_nowhere(self):
        password = self.kafka["KAFKA_SASL_PASSWORD"]
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(password + "\n")
            file.flush()
            worker = self.worker(without=("KAFKA_SASL_PASSWORD",), **self.settings(KAFKA_SASL_PASSWORD_FILE=file.name))
            result = self.run_one(["env"])
            self.assertIn("PATH=", json.dumps(result), "what it printed is in its result")
            self.assertNotIn(password, json.dumps(result))
            self.nowhere(worker, password)
            self.assertNotIn(password, harness.read_bytes(f"/proc/{worker.process.pid}/environ").decode(errors="replace"))

    def test_a_password_in_the_environment_does_not_reach_tasks(self):
        password = self.kafka["KAFKA_SASL_PASSWORD"]
        worker = self.worker(LOG_LEVEL="DEBUG", **self.settings())
        result = self.run_one(["sh", "-c", "env; cat /proc/self/environ; cat /proc/$PPID/environ; ps axe; true"])
        self.assertIn("PATH=", json.dumps(result), "what it printed is in its result")
        self.assertNotIn(password, json.dumps(result))
        one = harness.ticket(["sleep", "30"])
        self.kafka.produce_tickets(self.topics["tickets"], [one])
        harness.wait_until(lambda: worker.request("GET", "/api/v1/status")[1]["active_tasks"] == 1, 30, 0.2)
        self.nowhere(worker, password)

    def test_a_wrong_password_is_said_and_not_shown(self):
        for mechanism in ("PLAIN", "SCRAM-SHA-512"):
            with self.subTest(mechanism=mechanism):
                wrong = "wrong-7c1d9e52b0"
                worker = self.worker(wait=False, LOG_LEVEL="DEBUG", **self.settings(mechanism=mechanism, KAFKA_SASL_PASSWORD=wrong))
                self.says_why(worker, "do not accept this login", "uthentication",
                              fix=("KAFKA_SASL_PASSWORD", mechanism))
                self.nowhere(worker, wrong)
                worker.terminate()
                worker.wait()

    def test_a_wrong_authority_is_said(self):
        worker = self.worker(wait=False, **self.settings(KAFKA_SSL_CA_LOCATION=self.kafka["KAFKA_OTHER_CA_LOCATION"]))
        self.says_why(worker, "no secure connection", "certificate", fix=("KAFKA_SSL_CA_LOCATION",))

    def test_tokens_of_an_openid_provider(self):
        provider = Provider("client-secret-94b1")
        self.addCleanup(provider.shutdown)
        oauth = {"KAFKA_OAUTH_TOKEN_URL": provider.url, "KAFKA_OAUTH_CLIENT_ID": "worker", "KAFKA_OAUTH_SCOPE": "kafka"}
        for name in ("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"):
            oauth[name] = ""
        names = ("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD")
        worker = self.worker(without=names, **{**self.settings(mechanism="OAUTHBEARER"), **oauth,
                                               "KAFKA_OAUTH_CLIENT_SECRET": "client-secret-94b1"})
        self.run_one()
        self.assertGreater(provider.asked, 0)
        self.nowhere(worker, "client-secret-94b1")
        worker.terminate()
        self.assertEqual(worker.wait(), 0)
        self.setUp()
        worker = self.worker(wait=False, without=names, LOG_LEVEL="DEBUG",
                             **{**self.settings(mechanism="OAUTHBEARER"), **oauth, "KAFKA_OAUTH_CLIENT_SECRET": "wrong-5d21"})
        self.says_why(worker, "do not accept this login", fix=("KAFKA_OAUTH_CLIENT_SECRET",))
        self.nowhere(worker, "wrong-5d21")


if __name__ == "__main__":
    unittest.main()
