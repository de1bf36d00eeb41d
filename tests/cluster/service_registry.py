"""Stand-in for the Service Registry (gRPC), by the contract and with its quirks.

    service_registry.py [--grpc-port N] [--control-port N] [--tls CERTIFICATE KEY CLIENT_CA] [--token-needed]

Prints `export SERVICE_REGISTRY_HOST=…`, `export SERVICE_REGISTRY_PORT=…`, ports, then `ready`; ends when its standard
input does.

Its quirks, as the real one: Register always makes a new id and ignores the telemetry; no capabilities or type 0 end as
UNKNOWN with the text of a type error; an unknown agent, a malformed id and telemetry out of range all answer NOT_FOUND to
a heartbeat, with Portuguese text; Deregister of a malformed id is INTERNAL, of an unknown one success=false.

Control routes (JSON, on the control port):
    POST /mode    {"mode": "up" | "down" (port closed) | "refuse" (`code`, `details`) | "hang", "methods": ["Heartbeat", …],
                   "count": N, "for_ms": T}; after `count` calls or `for_ms` it is up again
    POST /forget  {} every agent, or {"agent_id": ID}
    GET  /calls[?since=N]   every call in order: seq, at_ms, method, request, metadata, answer (code name), agent_id
    GET  /agents            what is registered now
"""

import argparse
import asyncio
import time
import uuid

import grpc
from google.protobuf import json_format

import small_http
from registry_messages import CLASSES, METHODS, PACKAGE
from small_http import Answer

HEALTHY, UNHEALTHY, DEGRADED = 1, 2, 3


class Refused(Exception):
    def __init__(self, code, details):
        super().__init__(details)
        self.code, self.details = code, details


class Registry:
    def __init__(self, token_needed):
        self.token_needed = token_needed
        self.agents, self.calls = {}, []
        self.mode, self.left, self.until = {"mode": "up"}, None, None
        self.grpc = None  # the server, while the port is open
        self.port, self.credentials = 0, None

    # ------------------------------------------------------------ methods

    def register(self, request):
        if not request.capabilities or request.agent_type == 0:
            raise Refused(grpc.StatusCode.UNKNOWN, "Unexpected <class 'TypeError'>: object NoneType can't be used in 'await' expression")
        now, agent_id = int(time.time()), str(uuid.uuid4())
        agent = CLASSES["AgentInfo"](
            agent_id=agent_id, agent_type=request.agent_type, capabilities=request.capabilities, metadata=request.metadata,
            status=HEALTHY, registered_at=now, last_seen=now, namespace=request.namespace or "default",
            cluster=request.cluster or "local", version=request.version or "1.0.0", schema_version=1)
        agent.telemetry.success_rate = 0.0
        self.agents[agent_id] = agent
        return CLASSES["RegisterResponse"](agent_id=agent_id, registration_token=f"token-{agent_id}", registered_at=now)

    def heartbeat(self, request):
        try:
            agent_id = str(uuid.UUID(request.agent_id))
        except ValueError:
            raise Refused(grpc.StatusCode.NOT_FOUND, "badly formed hexadecimal UUID string") from None
        telemetry = request.telemetry
        if not 0 <= telemetry.success_rate <= 1 or min(telemetry.avg_duration_ms, telemetry.total_executions,
                                                       telemetry.failed_executions) < 0:
            raise Refused(grpc.StatusCode.NOT_FOUND, "telemetry out of range")
        agent = self.agents.get(agent_id)
        if agent is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Agente {request.agent_id} não encontrado")
        agent.telemetry.CopyFrom(telemetry)
        agent.last_seen = int(time.time())
        rate = telemetry.success_rate
        agent.status = UNHEALTHY if rate < 0.3 else DEGRADED if rate < 0.5 else HEALTHY
        return CLASSES["HeartbeatResponse"](status=agent.status, last_seen=agent.last_seen)

    def deregister(self, request):
        try:
            agent_id = str(uuid.UUID(request.agent_id))
        except ValueError:
            raise Refused(grpc.StatusCode.INTERNAL, "Erro interno: badly formed hexadecimal UUID string") from None
        return CLASSES["DeregisterResponse"](success=self.agents.pop(agent_id, None) is not None)

    def discoveragents(self, request):
        found = [agent for agent in self.agents.values()
                 if set(request.capabilities) <= set(agent.capabilities) and agent.status != UNHEALTHY]
        return CLASSES["DiscoverResponse"](agents=found[:request.max_results or 5], ranked=True)

    def getagent(self, request):
        if request.agent_id not in self.agents:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Agente {request.agent_id} não encontrado")
        return CLASSES["GetAgentResponse"](agent=self.agents[request.agent_id])

    def listagents(self, request):
        return CLASSES["ListAgentsResponse"](agents=[a for a in self.agents.values()
                                                     if request.agent_type in (0, a.agent_type)])

    # ------------------------------------------------------------ gRPC

    async def call(self, method, request, context):
        entry = {"seq": len(self.calls), "at_ms": int(time.time() * 1000), "method": method, "answer": "none",
                 "request": json_format.MessageToDict(request, preserving_proto_field_name=True),
                 "metadata": {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}}
        self.calls.append(entry)
        try:
            await self.misbehave(method)
            if self.token_needed and not entry["metadata"].get("authorization", "").startswith("Bearer "):
                raise Refused(grpc.StatusCode.UNAUTHENTICATED, "missing token")
            answer = getattr(self, method.lower())(request)
        except Refused as refused:
            entry["answer"] = refused.code.name
            await context.abort(refused.code, refused.details)
        entry["answer"] = "OK"
        entry["agent_id"] = getattr(answer, "agent_id", "")
        return answer

    async def misbehave(self, method):
        mode = self.mode
        if mode["mode"] == "up" or method not in mode.get("methods", [method]):
            return
        if self.until is not None and time.monotonic() > self.until or self.left == 0:
            self.mode = {"mode": "up"}
            return
        if self.left is not None:
            self.left -= 1
        if mode["mode"] == "hang":
            await asyncio.sleep(3600)
        raise Refused(grpc.StatusCode[mode.get("code", "UNAVAILABLE")], mode.get("details", "told to refuse"))

    def handlers(self):
        def unary(method):
            async def behave(request, context):
                return await self.call(method, request, context)
            asked, answered = METHODS[method]
            return grpc.unary_unary_rpc_method_handler(behave, CLASSES[asked].FromString, CLASSES[answered].SerializeToString)

        # The others answer UNIMPLEMENTED: no worker calls them.
        methods = {name: unary(name) for name in METHODS if name not in ("WatchAgents", "NotifyAgent")}
        return grpc.method_handlers_generic_handler(f"{PACKAGE}.ServiceRegistry", methods)

    async def up(self):
        if self.grpc is not None:
            return
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.keepalive_permit_without_calls", 1),
                                          ("grpc.http2.min_ping_interval_without_data_ms", 1000)])
        server.add_generic_rpc_handlers((self.handlers(),))
        address = f"127.0.0.1:{self.port}"
        self.port = (server.add_secure_port(address, self.credentials) if self.credentials
                     else server.add_insecure_port(address))
        await server.start()
        self.grpc = server

    async def down(self):
        if self.grpc is not None:
            server, self.grpc = self.grpc, None
            await server.stop(0)

    # ------------------------------------------------------------ control

    def control(self, request):
        what = f"{request.method} {request.path}"
        try:
            if what == "POST /mode":
                self.set_mode(request.json())
            elif what == "POST /forget":
                agent_id = request.json().get("agent_id")
                if agent_id is None:
                    self.agents.clear()
                else:
                    del self.agents[agent_id]
            elif what == "GET /calls":
                return Answer(200, self.calls[int(request.query.get("since", 0)):])
            elif what == "GET /agents":
                return Answer(200, [json_format.MessageToDict(a, preserving_proto_field_name=True)
                                    for a in self.agents.values()])
            else:
                return Answer(404, {"detail": "no such control route"})
        except (ValueError, KeyError, TypeError) as trouble:
            return Answer(400, {"detail": f"{type(trouble).__name__}: {trouble}"})
        return Answer(200, {})

    def set_mode(self, mode):
        if mode["mode"] not in ("up", "down", "refuse", "hang"):
            raise ValueError(f"no mode {mode['mode']}")
        grpc.StatusCode[mode.get("code", "UNAVAILABLE")]
        loop = asyncio.get_running_loop()
        self.left = mode.get("count")
        self.until = time.monotonic() + mode["for_ms"] / 1000 if "for_ms" in mode else None
        self.mode = {"mode": "up"} if mode["mode"] == "down" else mode
        loop.create_task(self.down() if mode["mode"] == "down" else self.up())
        if mode["mode"] == "down" and "for_ms" in mode:
            loop.call_later(mode["for_ms"] / 1000, lambda: loop.create_task(self.up()))


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--service-registry-port", type=int, dest="grpc_port")
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--tls", nargs=3, metavar=("CERTIFICATE", "KEY", "CLIENT_CA"))
    parser.add_argument("--token-needed", action="store_true")
    arguments = parser.parse_args()
    registry = Registry(arguments.token_needed)
    registry.port = arguments.grpc_port or 0
    if arguments.tls:
        certificate, key, client_ca = (open(path, "rb").read() for path in arguments.tls)
        registry.credentials = grpc.ssl_server_credentials([(key, certificate)], client_ca, require_client_auth=True)
    await registry.up()
    control = small_http.Server(registry.control, arguments.control_port)
    await control.up()
    print(f"export CONTROL_PORT={control.port}\nexport SERVICE_REGISTRY_HOST=127.0.0.1\n"
          f"export SERVICE_REGISTRY_PORT={registry.port}\nready", flush=True)
    await small_http.until_input_ends()
    await registry.down()


if __name__ == "__main__":
    asyncio.run(main())
