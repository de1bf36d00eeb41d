"""The Service Registry's messages and methods, from the contract's tables; no generated code."""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "neural_hive.service_registry"
_TYPES = {"string": 9, "int64": 3, "int32": 5, "double": 1, "bool": 8}

ENUMS = {
    "AgentType": ("AGENT_TYPE_UNSPECIFIED", "WORKER", "SCOUT", "GUARD", "ANALYST"),
    "AgentStatus": ("AGENT_STATUS_UNSPECIFIED", "HEALTHY", "UNHEALTHY", "DEGRADED"),
}
EVENT_TYPE = ("EVENT_TYPE_UNSPECIFIED", "REGISTERED", "UPDATED", "DEREGISTERED", "STATUS_CHANGED")
# name: fields as "name type" in the order of their numbers; "*": repeated, "map": text by text
MESSAGES = {
    "AgentTelemetry": ("success_rate double", "avg_duration_ms int64", "total_executions int64", "failed_executions int64",
                       "last_execution_at int64"),
    "AgentInfo": ("agent_id string", "agent_type AgentType", "capabilities string*", "metadata map",
                  "telemetry AgentTelemetry", "status AgentStatus", "registered_at int64", "last_seen int64",
                  "namespace string", "cluster string", "version string", "schema_version int32"),
    "RegisterRequest": ("agent_type AgentType", "capabilities string*", "metadata map", "namespace string", "cluster string",
                        "version string", "telemetry AgentTelemetry"),
    "RegisterResponse": ("agent_id string", "registration_token string", "registered_at int64"),
    "HeartbeatRequest": ("agent_id string", "telemetry AgentTelemetry"),
    "HeartbeatResponse": ("status AgentStatus", "last_seen int64"),
    "DeregisterRequest": ("agent_id string",),
    "DeregisterResponse": ("success bool",),
    "DiscoverRequest": ("capabilities string*", "filters map", "max_results int32"),
    "DiscoverResponse": ("agents AgentInfo*", "ranked bool"),
    "GetAgentRequest": ("agent_id string",),
    "GetAgentResponse": ("agent AgentInfo",),
    "ListAgentsRequest": ("agent_type AgentType", "filters map"),
    "ListAgentsResponse": ("agents AgentInfo*",),
    "WatchAgentsRequest": ("agent_type AgentType",),
    "AgentChangeEvent": ("event_type AgentChangeEvent.EventType", "agent AgentInfo", "timestamp int64"),
    "NotifyAgentRequest": ("agent_id string", "notification_type string", "message string", "metadata map"),
    "NotifyAgentResponse": ("success bool", "error string"),
}
METHODS = {
    "Register": ("RegisterRequest", "RegisterResponse"), "Heartbeat": ("HeartbeatRequest", "HeartbeatResponse"),
    "Deregister": ("DeregisterRequest", "DeregisterResponse"), "DiscoverAgents": ("DiscoverRequest", "DiscoverResponse"),
    "GetAgent": ("GetAgentRequest", "GetAgentResponse"), "ListAgents": ("ListAgentsRequest", "ListAgentsResponse"),
    "NotifyAgent": ("NotifyAgentRequest", "NotifyAgentResponse"), "WatchAgents": ("WatchAgentsRequest", "AgentChangeEvent"),
}


def _add_enum(enum, name, symbols):
    enum.name = name
    for number, symbol in enumerate(symbols):
        enum.value.add(name=symbol, number=number)


def _add_field(message, number, text):
    name, kind = text.split()
    field = message.field.add(name=name, number=number, label=3 if kind.endswith("*") or kind == "map" else 1)
    kind = kind.rstrip("*")
    if kind == "map":
        entry = message.nested_type.add(name=name.capitalize() + "Entry")
        entry.options.map_entry = True
        for at, part in enumerate(("key", "value"), 1):
            entry.field.add(name=part, number=at, label=1, type=9)
        field.type, field.type_name = 11, f".{PACKAGE}.{message.name}.{entry.name}"
    elif kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type = 14 if kind in ENUMS or "." in kind else 11
        field.type_name = f".{PACKAGE}.{kind}"


def _classes():
    file = descriptor_pb2.FileDescriptorProto(name="service_registry.proto", package=PACKAGE, syntax="proto3")
    for name, symbols in ENUMS.items():
        _add_enum(file.enum_type.add(), name, symbols)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == "AgentChangeEvent":
            _add_enum(message.enum_type.add(), "EventType", EVENT_TYPE)
        for number, text in enumerate(fields, 1):
            _add_field(message, number, text)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


CLASSES = _classes()
