#!/usr/bin/env python3
"""Compares proto/otlp_trace.proto with the published definitions of OTLP: every field and value of ours must be there,
with the same number, type and name. Run by hand when either changes (needs protoc and the network once):

    python3 -m venv venv && venv/bin/pip install opentelemetry-proto==1.27.0 && venv/bin/python tests/proto/compare_otlp.py
"""

import pathlib
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent


def ours():
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", "-I", SOURCE / "proto", f"--descriptor_set_out={out.name}",
                        SOURCE / "proto/otlp_trace.proto"], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out.name).read_bytes()).file[0]


def published():
    """Name without package -> message, and the same for enums."""
    messages, enums = {}, {}
    for module in (trace_service_pb2, trace_pb2, common_pb2, resource_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            walk(message, "", messages, enums)
    return messages, enums


def walk(message, prefix, messages, enums):
    name = prefix + message.name
    messages[name] = message
    for enum in message.enum_type:
        enums[f"{name}.{enum.name}"] = enum
    for inner in message.nested_type:
        walk(inner, name + ".", messages, enums)


def short(type_name, names):
    """The longest known name that the full one ends with."""
    return max((name for name in names if type_name.endswith("." + name)), key=len, default=type_name)


def main():
    file = ours()
    messages, enums = {}, {}
    for message in file.message_type:
        walk(message, "", messages, enums)
    true_messages, true_enums = published()
    problems, compared = [], 0
    for name, message in messages.items():
        other = true_messages.get(name)
        if other is None:
            problems.append(f"{name}: no such message")
            continue
        fields = {field.name: field for field in other.field}
        for field in message.field:
            compared += 1
            theirs = fields.get(field.name)
            if theirs is None:
                problems.append(f"{name}.{field.name}: no such field")
                continue
            mine = (field.number, field.type, field.label, short(field.type_name, messages | enums))
            real = (theirs.number, theirs.type, theirs.label, short(theirs.type_name, true_messages | true_enums))
            if mine != real:
                problems.append(f"{name}.{field.name}: {mine}, published {real}")
    for name, enum in enums.items():
        real = {value.name: value.number for value in true_enums[name].value} if name in true_enums else {}
        for value in enum.value:
            compared += 1
            if real.get(value.name) != value.number:
                problems.append(f"{name}.{value.name}: {value.number}, published {real.get(value.name)}")
    service = trace_service_pb2.DESCRIPTOR.services_by_name["TraceService"].full_name
    if service != f"{file.package}.{file.service[0].name}":
        problems.append(f"service {file.package}.{file.service[0].name}, published {service}")
    print("\n".join(problems) if problems else f"{compared} fields and values are as published")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
