"""The Avro schemas of tickets and results, written from the contract and not from the worker's code, and their framing."""

import io
import json
import struct

import fastavro


def _enum(name, *symbols):
    return {"type": "enum", "name": name, "symbols": list(symbols)}


def _optional(name, kind):
    return {"name": name, "type": ["null", kind], "default": None}


def _map(name, items="string"):
    return {"name": name, "type": {"type": "map", "values": items}, "default": {}}


def _list(name):
    return {"name": name, "type": {"type": "array", "items": "string"}, "default": []}


def _field(name, kind, **more):
    return {"name": name, "type": kind, **more}


TICKET = {
    "type": "record", "name": "ExecutionTicket", "namespace": "com.neuralhivemind.orchestration", "fields": [
        _field("ticket_id", "string"), _field("plan_id", "string"), _field("intent_id", "string"),
        _field("decision_id", "string"), _optional("correlation_id", "string"), _optional("trace_id", "string"),
        _optional("span_id", "string"), _field("task_id", "string"),
        _field("task_type", _enum("TaskType", "BUILD", "DEPLOY", "TEST", "VALIDATE", "EXECUTE", "COMPENSATE", "QUERY",
                                  "TRANSFORM")),
        _field("description", "string"), _list("dependencies"),
        _field("status", _enum("TicketStatus", "PENDING", "RUNNING", "COMPLETED", "FAILED", "COMPENSATING",
                               "COMPENSATED"), default="PENDING"),
        _field("priority", _enum("Priority", "LOW", "NORMAL", "HIGH", "CRITICAL")),
        _field("risk_band", _enum("RiskBand", "low", "medium", "high", "critical")),
        _field("sla", {"type": "record", "name": "SLA", "fields": [
            _field("deadline", "long"), _field("timeout_ms", "long"), _field("max_retries", "int")]}),
        _field("qos", {"type": "record", "name": "QoS", "fields": [
            _field("delivery_mode", _enum("DeliveryMode", "AT_MOST_ONCE", "AT_LEAST_ONCE", "EXACTLY_ONCE")),
            _field("consistency", _enum("Consistency", "EVENTUAL", "STRONG")),
            _field("durability", _enum("Durability", "TRANSIENT", "PERSISTENT"))]}),
        _map("parameters"), _list("required_capabilities"),
        _field("security_level", _enum("SecurityLevel", "PUBLIC", "INTERNAL", "CONFIDENTIAL", "RESTRICTED")),
        _field("created_at", "long"), _optional("started_at", "long"), _optional("completed_at", "long"),
        _optional("estimated_duration_ms", "long"), _optional("actual_duration_ms", "long"),
        _field("retry_count", "int", default=0), _optional("error_message", "string"),
        _optional("compensation_ticket_id", "string"), _map("metadata"), _field("schema_version", "int", default=1),
    ]}

RESULT = {
    "type": "record", "name": "ExecutionResult", "namespace": "neural.hive.execution", "fields": [
        _field("ticket_id", "string"), _field("status", _enum("ExecutionStatus", "COMPLETED", "FAILED", "RUNNING")),
        _field("result", {"type": "record", "name": "ExecutionResultPayload", "fields": [
            _field("success", "boolean"), _map("output"), _map("metadata"), _list("logs")]}),
        _optional("error_message", "string"), _optional("actual_duration_ms", "long"), _field("agent_id", "string"),
        _field("timestamp", "long"), _field("schema_version", "int", default=1),
    ]}

PARSED_TICKET = fastavro.parse_schema(TICKET)
PARSED_RESULT = fastavro.parse_schema(RESULT)


def frame(schema_id, parsed, record):
    """Confluent framing: a zero byte, the schema's id, the record."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, parsed, record)
    return struct.pack(">bI", 0, schema_id) + body.getvalue()


def ticket_to_avro(schema_id, ticket):
    """Avro carries text only: parameters that are none become JSON text."""
    flat = {key: value if isinstance(value, str) else json.dumps(value) for key, value in ticket["parameters"].items()}
    sla = dict(ticket["sla"], deadline=ticket["sla"].get("deadline") or 0)
    return frame(schema_id, PARSED_TICKET, dict(ticket, parameters=flat, sla=sla))


def unframe(value, parsed):
    """The schema id and the record."""
    zero, schema_id = struct.unpack(">bI", value[:5])
    if zero != 0:
        raise ValueError("not framed")
    return schema_id, fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed, None)


def decode_result(value):
    """A result in either encoding. What JSON has as extra keys at the top, Avro has in result.metadata."""
    if not value.startswith(b"\0"):
        return json.loads(value)
    return unframe(value, PARSED_RESULT)[1]


def decode_ticket(value):
    if not value.startswith(b"\0"):
        return json.loads(value)
    return unframe(value, PARSED_TICKET)[1]
