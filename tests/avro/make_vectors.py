#!/usr/bin/env python3
"""Writes tests/avro/vectors.json: Avro schemas, data and what fastavro makes of them.

An independent implementation, so that our codec is not only compared with itself. Run by hand when cases are added
(the tests read the file and need no network):

    python3 -m venv venv && venv/bin/pip install fastavro==1.9.7 && venv/bin/python tests/avro/make_vectors.py
"""

import io
import json
import pathlib
import random

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
TICKET = json.loads((SOURCE / "schemas/execution-ticket/execution-ticket.avsc").read_text())
RESULT = json.loads((SOURCE / "schemas/execution-result/execution-result.avsc").read_text())


def record(*fields, name="R", **more):
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name, kind, **more):
    return {"name": name, "type": kind, **more}


def schemas():
    """Texts whose canonical form and fingerprint are compared."""
    yield TICKET
    yield RESULT
    yield "int"
    yield {"type": "string", "logicalType": "uuid", "doc": "dropped"}
    yield ["null", "long"]
    yield {"type": "map", "values": {"type": "array", "items": "bytes"}}
    yield {"type": "fixed", "name": "F", "namespace": "a.b", "size": 12, "aliases": ["G"]}
    yield {"type": "enum", "name": "x.y.E", "symbols": ["A", "B_2"], "doc": "ö \" \\", "default": "A"}
    yield record(field("v", "int", default=1, doc="d"), field("next", ["null", "Node"]), name="Node", namespace="n.s")
    yield record(field("a", record(field("e", {"type": "enum", "name": "E", "symbols": ["S"]}), name="In",
                                   namespace="other")),
                 field("b", "other.In"), field("c", "other.E"), name="Out", namespace="space")


def written(writer, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(writer), value)
    return out.getvalue()


def read(writer, reader, data):
    value = fastavro.schemaless_reader(io.BytesIO(data), fastavro.parse_schema(writer), fastavro.parse_schema(reader))
    return as_json(value)


def as_json(value):
    """Bytes as Avro writes them in JSON."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value


def resolutions():
    """(writer, reader, values)"""
    numbers = [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 2**31 - 1, -2**31]
    longs = numbers + [2**31, -2**31 - 1, 2**53, 2**63 - 1, -2**63]
    texts = ["", "a", "grün €", "\U0001F600", "x" * 300]
    yield "int", "int", numbers
    yield "long", "long", longs
    yield "int", "long", numbers
    yield "int", "double", numbers
    yield "long", "double", [0, 5, -7, 2**40]
    yield "long", "float", [0, 5, -7]
    yield "float", "double", [0.5, -1.25, 1e10]
    yield "double", "double", [0.1, -1e300, 5e-324]
    yield "boolean", "boolean", [True, False]
    yield "null", "null", [None]
    yield "string", "string", texts
    yield "string", "bytes", ["", "ascii"]
    yield "bytes", "string", [b"", b"plain", "grün".encode()]
    yield "bytes", "bytes", [b"", b"\x00\x7f\x80\xff"]
    four = {"type": "fixed", "name": "F", "size": 4}
    yield four, four, [b"\x00\x01\xfe\xff"]
    yield {"type": "array", "items": "int"}, {"type": "array", "items": "long"}, [[], [1, 2, 3], list(range(200))]
    yield {"type": "map", "values": "int"}, {"type": "map", "values": "double"}, [{}, {"a": 1, "ü": -5}]
    yield {"type": "array", "items": "null"}, {"type": "array", "items": "null"}, [[None] * 500]
    letters = {"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}
    yield letters, {"type": "enum", "name": "E", "symbols": ["C", "A", "D", "B"]}, ["A", "B", "C"]
    yield letters, {"type": "enum", "name": "E", "symbols": ["A", "OTHER"], "default": "OTHER"}, ["A", "B", "C"]
    yield ["null", "string"], ["string", "null"], [None, "x"]
    yield "string", ["null", "string"], ["x"]
    yield ["null", "int"], ["null", "long"], [None, 7]
    yield ["int", "string"], ["string", "long"], [7, "x"]
    yield ["null", "string"], "string", ["only texts"]
    yield "int", ["null", "double", "long"], [3]
    old = record(field("a", "int"), field("gone", {"type": "map", "values": {"type": "array", "items": letters}}),
                 field("b", "string"))
    new = record(field("b", "string"), field("added", {"type": "array", "items": "int"}, default=[1, 2]),
                 field("a", "long"), field("maybe", ["null", "string"], default=None),
                 field("deep", record(field("x", "int", default=4), field("y", "bytes", default="\u00ff"), name="D"),
                       default={"x": 9, "y": "\u00fe"}))
    yield old, new, [{"a": 5, "gone": {"k": ["A", "C"], "l": []}, "b": "text"}]
    yield (record(field("old_name", "int")), record(field("new_name", "int", aliases=["old_name"])),
           [{"old_name": 3}])
    node = record(field("value", "int"), field("next", ["null", "Node"]), name="Node")
    wide = record(field("value", "long"), field("next", ["null", "Node"]), field("more", "string", default="d"),
                  name="Node")
    yield node, wide, [{"value": 1, "next": {"value": 2, "next": {"value": 3, "next": None}}}]
    tree = record(field("kids", {"type": "array", "items": "Tree"}), name="Tree")
    yield tree, tree, [{"kids": [{"kids": []}, {"kids": [{"kids": []}]}]}]


def random_ticket(chance):
    def text(limit=20):
        letters = "abcXYZ 09-_/äß€\U0001F680\n\"\\{}"
        return "".join(chance.choice(letters) for _ in range(chance.randrange(limit)))

    def maybe(make):
        return make() if chance.random() < 0.5 else None

    def number():
        return chance.choice([0, 1, 1767225600000, 2**40, 123456789])

    def pick(name):
        kinds = {}
        collect_enums(TICKET, kinds)
        return chance.choice(kinds[name])

    def table():
        return {text(12): text() for _ in range(chance.randrange(5))}

    return {
        "ticket_id": f"t-{chance.randrange(10**9)}", "plan_id": text(), "intent_id": text(), "decision_id": text(),
        "correlation_id": maybe(text), "trace_id": maybe(text), "span_id": maybe(text), "task_id": text(),
        "task_type": pick("TaskType"), "description": text(300),
        "dependencies": [f"d-{i}" for i in range(chance.randrange(5))], "status": pick("TicketStatus"),
        "priority": pick("Priority"), "risk_band": pick("RiskBand"),
        "sla": {"deadline": number(), "timeout_ms": chance.randrange(1, 10**8), "max_retries": chance.randrange(101)},
        "qos": {"delivery_mode": pick("DeliveryMode"), "consistency": pick("Consistency"),
                "durability": pick("Durability")},
        "parameters": table(), "required_capabilities": [text() for _ in range(chance.randrange(4))],
        "security_level": pick("SecurityLevel"), "created_at": number(), "started_at": None, "completed_at": None,
        "estimated_duration_ms": maybe(number), "actual_duration_ms": maybe(number),
        "retry_count": chance.randrange(100), "error_message": maybe(text), "compensation_ticket_id": maybe(text),
        "metadata": table(), "schema_version": chance.randrange(1, 5),
    }


def collect_enums(schema, kinds):
    if isinstance(schema, dict):
        if schema.get("type") == "enum":
            kinds[schema["name"]] = schema["symbols"]
        for part in schema.values():
            collect_enums(part, kinds)
    elif isinstance(schema, list):
        for part in schema:
            collect_enums(part, kinds)


def older_ticket_schema():
    """A revision without some fields, with one more, and with other numbers: as producers may have."""
    schema = json.loads(json.dumps(TICKET))
    schema["fields"] = [item for item in schema["fields"] if item["name"] not in ("metadata", "span_id", "retry_count")]
    for item in schema["fields"]:
        if item["name"] == "created_at":
            item["type"] = "int"
    schema["fields"].insert(3, {"name": "tenant", "type": ["null", {"type": "map", "values": "bytes"}], "default": None})
    return schema


def main():
    chance = random.Random(20260101)
    out = {"made_by": f"tests/avro/make_vectors.py with fastavro {fastavro.__version__}"}
    out["fingerprints"] = [
        {"schema": schema, "canonical": to_parsing_canonical_form(schema),
         "fingerprint": fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")} for schema in schemas()]
    out["resolutions"] = []
    for writer, reader, values in resolutions():
        cases = []
        for value in values:
            data = written(writer, value)
            cases.append({"hex": data.hex(), "value": read(writer, reader, data)})
        out["resolutions"].append({"writer": writer, "reader": reader, "cases": cases})
    out["tickets"] = []
    for _ in range(40):
        ticket = random_ticket(chance)
        out["tickets"].append({"hex": written(TICKET, ticket).hex(), "value": ticket})
    older = older_ticket_schema()
    out["older_writer"] = older
    out["older_tickets"] = []
    for _ in range(10):
        ticket = {**random_ticket(chance), "created_at": 7, "tenant": {"x": b"\xff\x00"}}
        data = written(older, ticket)
        out["older_tickets"].append({"hex": data.hex(), "value": read(older, TICKET, data)})
    target = SOURCE / "tests/avro/vectors.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
