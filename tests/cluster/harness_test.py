"""Goal: what the cluster tests stand on holds: peers start, stop and go with their test; readers see what is committed."""

import os
import pathlib
import subprocess
import sys
import unittest
import uuid

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

import avro_schemas
import harness
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from harness import Kafka, SchemaRegistry, parse_metrics, ticket, wait_until


class Schemas(unittest.TestCase):
    def test_they_are_those_of_the_contract(self):
        for schema, expected in ((avro_schemas.TICKET, "a754342886ab3e49"), (avro_schemas.RESULT, "0ed75a6fedb2ed21")):
            canonical = to_parsing_canonical_form(fastavro.parse_schema(schema))
            self.assertEqual(fingerprint(canonical, "CRC-64-AVRO"), expected)

    def test_vector_of_a_result(self):
        value = bytes.fromhex(
            "00000000084836663062366331652d336135352d346130652d396130642d3064"
            "3566356532623763313100010212657869745f636f6465023000020e72756e74"
            "696d650a6c6f63616c000208646f6e6500000292534861326339643766342d35"
            "6231312d346330662d396133392d336630613963316232643365e0b1aae8ee66"
            "02")
        schema_id, record = avro_schemas.unframe(value, avro_schemas.PARSED_RESULT)
        self.assertEqual((schema_id, record["status"], record["actual_duration_ms"]), (8, "COMPLETED", 5321))
        self.assertEqual(avro_schemas.frame(8, avro_schemas.PARSED_RESULT, record), value)


class MetricsText(unittest.TestCase):
    def test_labels_and_numbers(self):
        metrics = parse_metrics('# HELP a b\na{x="1",y="q\\"u\\n"} 2\na{x="2"} 3e0\nb +Inf\n')
        self.assertEqual(metrics.value("a"), 5)
        self.assertEqual(metrics.value("a", x="1", y='q"u\n'), 2)
        self.assertIsNone(metrics.value("a", x="3"))
        self.assertEqual(metrics.value("b"), float("inf"))
        with self.assertRaises(AssertionError):
            parse_metrics("not a sample")


class Broker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = harness.peer(cls, Kafka())

    def test_tickets_in_both_encodings_come_back(self):
        topic = self.kafka.topic("tickets", partitions=3)
        tickets = [ticket(["sh", "-c", f"echo {n}"]) for n in range(30)]
        placed = self.kafka.produce_tickets(topic, tickets[:15])
        placed.update(self.kafka.produce_tickets(topic, tickets[15:], schema_id=7, spread=lambda _: 2))
        read = {avro_schemas.decode_ticket(r.value)["ticket_id"]: (r.partition, r.offset) for r in self.kafka.read_all(topic)}
        self.assertEqual(read, placed)
        self.assertEqual({placed[t["ticket_id"]][0] for t in tickets[15:]}, {2})

    def test_readers_do_not_see_what_was_aborted_or_is_open(self):
        topic = self.kafka.topic("results", partitions=1)
        writer = Producer({"bootstrap.servers": self.kafka.plain, "transactional.id": str(uuid.uuid4()), "log_level": 0})
        writer.init_transactions(30)
        for value, end in ((b"seen", writer.commit_transaction), (b"aborted", writer.abort_transaction),
                           (b"seen too", writer.commit_transaction), (b"open", None)):
            writer.begin_transaction()
            writer.produce(topic, value)
            writer.flush(30)
            if end:
                end(30)
        self.assertEqual([r.value for r in self.kafka.read_all(topic)], [b"seen", b"seen too"])
        self.assertEqual(len(self.kafka.read_all(topic, committed_only=False)), 4)
        writer.abort_transaction(30)

    def test_offsets_and_metadata_of_a_group_survive_a_restart_of_the_broker(self):
        topic, group = self.kafka.topic("tickets", partitions=2), str(uuid.uuid4())
        self.kafka.produce_tickets(topic, [ticket() for _ in range(5)], spread=lambda _: 1)
        consumer = Consumer({"bootstrap.servers": self.kafka.plain, "group.id": group, "enable.auto.commit": False,
                             "session.timeout.ms": 2000, "auto.offset.reset": "earliest", "log_level": 0})
        consumer.subscribe([topic])
        self.assertTrue(wait_until(lambda: consumer.poll(0.1), 30))
        self.assertEqual(self.kafka.assigned(group, topic), [0, 1])
        consumer.commit(offsets=[TopicPartition(topic, 1, 3, "note")], asynchronous=False)
        consumer.close()
        before = self.kafka["KAFKA_PID"], self.kafka.plain
        self.kafka.stop()
        self.kafka.start()
        self.assertNotEqual(self.kafka["KAFKA_PID"], before[0])
        self.assertEqual(self.kafka.plain, before[1])
        self.assertEqual(self.kafka.committed(group, topic), {1: (3, "note")})
        self.assertEqual(len(self.kafka.read_all(topic)), 5)

    def test_killed_and_frozen_brokers_come_back(self):
        topic = self.kafka.topic("t", partitions=1)
        self.kafka.freeze()
        self.kafka.thaw()
        self.kafka.kill()
        self.kafka.start()
        self.kafka.produce(topic, [(b"x", b"k", None)])
        self.assertEqual(len(self.kafka.read_all(topic)), 1)


class SecureBroker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = harness.peer(cls, Kafka(KAFKA_SECURITY="sasl"))

    def connects(self, seconds=20, **settings):
        settings = {key.replace("_", "."): value for key, value in settings.items()}
        try:
            return self.topic in Producer({"log_level": 0, **settings}).list_topics(timeout=seconds).topics
        except KafkaException:
            return False

    def test_every_way_in(self):
        self.topic = self.kafka.topic("t", partitions=1)
        values = self.kafka.values
        ca, user = values["KAFKA_SSL_CA_LOCATION"], values["KAFKA_SASL_USERNAME"]
        certificate = {"ssl_certificate_location": values["KAFKA_SSL_CERTIFICATE_LOCATION"],
                       "ssl_key_location": values["KAFKA_SSL_KEY_LOCATION"]}
        ssl = {"bootstrap_servers": values["KAFKA_SSL_BOOTSTRAP_SERVERS"], "security_protocol": "SSL"}
        self.assertTrue(self.connects(**ssl, ssl_ca_location=ca, **certificate))
        password = {"sasl_username": user, "sasl_password": values["KAFKA_SASL_PASSWORD"]}
        for protocol in ("SASL_SSL", "SASL_PLAINTEXT"):
            base = {"bootstrap_servers": values[f"KAFKA_{protocol}_BOOTSTRAP_SERVERS"], "security_protocol": protocol}
            if protocol == "SASL_SSL":
                base["ssl_ca_location"] = ca
            for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    self.assertTrue(self.connects(**base, sasl_mechanism=mechanism, **password))
            with self.subTest(protocol=protocol, mechanism="OAUTHBEARER"):
                self.assertTrue(self.connects(**base, sasl_mechanism="OAUTHBEARER", sasl_oauthbearer_config="principal=worker",
                                              enable_sasl_oauthbearer_unsecure_jwt="true"))

    def test_who_does_not_belong_stays_out(self):
        self.topic = self.kafka.topic("t", partitions=1)
        values = self.kafka.values
        ssl = {"bootstrap_servers": values["KAFKA_SSL_BOOTSTRAP_SERVERS"], "security_protocol": "SSL"}
        self.assertFalse(self.connects(4, **ssl, ssl_ca_location=values["KAFKA_SSL_CA_LOCATION"]))
        sasl = {"bootstrap_servers": values["KAFKA_SASL_SSL_BOOTSTRAP_SERVERS"], "security_protocol": "SASL_SSL",
                "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "worker"}
        self.assertFalse(self.connects(4, **sasl, sasl_password="wrong", ssl_ca_location=values["KAFKA_SSL_CA_LOCATION"]))
        self.assertFalse(self.connects(4, **sasl, sasl_password=values["KAFKA_SASL_PASSWORD"],
                                       ssl_ca_location=values["KAFKA_OTHER_CA_LOCATION"]))


class Registry(unittest.TestCase):
    def test_schemas_get_ids_and_keep_them_over_a_restart(self):
        registry = harness.peer(self, SchemaRegistry())
        first = registry.register("execution.tickets-value", avro_schemas.TICKET)
        self.assertNotEqual(first, registry.register("execution.results-value", avro_schemas.RESULT))
        registry.stop()
        registry.start()
        self.assertEqual(first, registry.register("execution.tickets-value", avro_schemas.TICKET))


class Owner(unittest.TestCase):
    def test_a_peer_goes_with_the_test_that_started_it(self):
        code = ("import os, signal, harness\n"
                "redis = harness.Redis().start()\n"
                "print(redis['REDIS_PID'], redis.instance, flush=True)\n"
                "os.kill(os.getpid(), signal.SIGKILL)\n")
        done = subprocess.run([sys.executable, "-B", "-c", code], cwd=pathlib.Path(__file__).parent, text=True,
                              capture_output=True, timeout=120)
        if "SkipTest" in done.stderr:
            self.skipTest(done.stderr.splitlines()[-1])
        pid, instance = done.stdout.split()
        self.assertTrue(wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 30), "it outlived its test")
        root = pathlib.Path(os.environ.get("WA_PEERS_DIR") or pathlib.Path(
            os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "worker-agents/peers"))
        self.assertTrue(wait_until(lambda: not (root / "redis" / instance).exists(), 30), "its folder was left behind")


if __name__ == "__main__":
    unittest.main()
