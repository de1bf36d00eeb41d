// Health, readiness, status, metrics, drain, description of the API, settings, doctor, executors, validation.
#include <algorithm>
#include <boost/json/array.hpp>

#include "admin/openapi.h"
#include "admin/records.h"
#include "admin/support.h"
#include "core/codec/json_write.h"
#include "plan_file/plan_file.h"

namespace wa::admin {
namespace json = boost::json;
using observability::CheckResult;
using observability::Health;
namespace {

json::value text(std::string_view value) {
    return json::value(json::string(value));
}

Registration registration_of(const Api& api) {
    return api.context.registration ? api.context.registration() : Registration{};
}

// The worker's own body of contract/services.md 4, with our loops beside the original's one check.
void health(const std::shared_ptr<Api>& api, net::Request, net::Responder responder) {
    const std::vector<CheckResult> results = api->context.health->liveness();
    const bool good = Health::all_good(results);
    json::object checks;
    json::object vault;
    vault["enabled"] = api->context.facts.vault_enabled;
    vault["status"] = api->context.facts.vault_enabled ? "not_initialized" : "disabled";
    checks["vault"] = std::move(vault);
    for (const CheckResult& result : results) {
        json::object check;
        check["status"] = result.good ? "healthy" : "unhealthy";
        if (!result.good) check["error"] = text(result.detail);
        checks[result.name] = std::move(check);
    }
    json::object out;
    out["status"] = good ? "healthy" : "unhealthy";
    out["agent_id"] = text(api->context.facts.agent_id);
    out["timestamp"] = api->now();
    out["checks"] = std::move(checks);
    responder.send(json_response(json_text(out), good ? 200 : 503));
}

void ready(const std::shared_ptr<Api>& api, net::Request, net::Responder responder) {
    const auto loop = responder.loop();
    api->snapshot(loop, [api, answer = share(std::move(responder))](const EngineSnapshot* taken) {
        std::vector<CheckResult> results = api->context.health->readiness();
        for (CheckResult& result : api->context.health->liveness())
            results.push_back(std::move(result));
        const Registration registration = registration_of(*api);
        bool good = Health::all_good(results) && taken != nullptr && registration.registered && !api->draining();
        json::object checks;
        checks["registered"] = registration.registered;
        checks["max_concurrent"] = api->context.facts.max_concurrent_tasks;
        if (taken != nullptr) {
            if (taken->gauges.slots > 0) checks["max_concurrent"] = taken->gauges.slots;
            checks["active_tasks"] = taken->gauges.executing;
            checks["draining"] = taken->gauges.draining || api->draining();
            checks["paused"] = !taken->gauges.open;
            if (taken->gauges.draining) good = false;
        } else {
            checks["engine"] = "does not answer";
        }
        json::object reasons;
        for (const CheckResult& result : results) {
            if (!checks.contains(result.name)) checks[result.name] = result.good;
            if (!result.good) reasons[result.name] = text(result.detail);
        }
        if (api->context.runtimes) {
            json::object runtimes;
            for (const auto& [name, state] : api->context.runtimes())
                runtimes[name] = text(state);
            if (!runtimes.empty()) checks["runtimes"] = std::move(runtimes);
        }
        json::object out;
        out["ready"] = good;
        out["checks"] = std::move(checks);
        if (!reasons.empty()) out["reasons"] = std::move(reasons);
        answer->send(json_response(json_text(out), good ? 200 : 503));
    });
}

json::object task_record(const RunningTask& task) {
    json::object out;
    out["ticket_id"] = text(task.ticket_id);
    out["task_id"] = text(task.task_id);
    out["plan_id"] = text(task.plan_id);
    out["task_type"] = text(to_string(task.task_type));
    out["priority"] = text(to_string(task.priority));
    out["phase"] = text(phase(task.state));
    out["attempt"] = task.attempt;
    out["started_at"] = task.started_at == 0 ? json::value(nullptr) : json::value(task.started_at);
    out["progress_pct"] = nullptr;  // no executor reports it
    out["why"] = text(task.why);
    return out;
}

bool is_running(const RunningTask& task) {
    return task.state == State::kStarting || task.state == State::kRunning || task.state == State::kCancelling;
}

void add_engine_state(json::object& out, const EngineSnapshot& taken) {
    out["active_tasks"] = taken.gauges.executing;
    if (taken.gauges.slots > 0) out["max_concurrent_tasks"] = taken.gauges.slots;  // may change by a reload
    out["in_flight"] = taken.gauges.in_flight;
    out["in_flight_limit"] = taken.gauges.in_flight_limit;
    out["paused"] = !taken.gauges.open;
    out["paused_for_ms"] = to_millis(taken.paused_for);
    out["draining"] = taken.gauges.draining;
    out["drain_phase"] = text(taken.drain_phase);
    json::array tasks;
    for (const RunningTask& task : taken.tasks)
        tasks.push_back(task_record(task));
    out["tasks"] = std::move(tasks);
    const auto running = std::ranges::find_if(taken.tasks, is_running);
    // The scheduler of contract/services.md looks for one task by this name.
    out["running_task"] = running == taken.tasks.end() ? json::value(nullptr) : json::value(task_record(*running));
    json::object queue;
    queue["waiting"] = taken.gauges.parked + taken.gauges.held;
    queue["queued"] = taken.gauges.ready + taken.gauges.queued;
    queue["backing_off"] = taken.gauges.backing_off;
    queue["reporting"] = taken.gauges.reporting;
    out["queue"] = std::move(queue);
    json::object totals;
    totals["completed"] = taken.completed;
    totals["failed"] = taken.failed;
    totals["success_rate"] = taken.success_rate;
    totals["average_duration_ms"] = taken.average_duration_ms;
    totals["last_ended_at"] = taken.last_ended_at;
    out["totals"] = std::move(totals);
    if (!taken.sink_healthy) out["sink_error"] = text(taken.sink_error);
}

void status(const std::shared_ptr<Api>& api, net::Request, net::Responder responder) {
    const auto loop = responder.loop();
    api->snapshot(loop, [api, answer = share(std::move(responder))](const EngineSnapshot* taken) {
        const WorkerFacts& facts = api->context.facts;
        const Registration registration = registration_of(*api);
        json::array capabilities;
        for (const TaskType type : facts.task_types)
            capabilities.push_back(text(to_string(type)));
        json::object telemetry;
        telemetry["namespace"] = text(facts.namespace_name);
        telemetry["cluster"] = text(facts.cluster);
        telemetry["version"] = text(facts.version);
        json::object out;
        out["agent_id"] = text(facts.agent_id);
        out["agent_type"] = "WORKER";
        out["capabilities"] = std::move(capabilities);
        out["active_tasks"] = 0;
        out["max_concurrent_tasks"] = facts.max_concurrent_tasks;
        out["registered"] = registration.registered;
        out["uptime_seconds"] = std::max<EpochMillis>(0, api->now() - facts.started_at) / 1000;
        out["telemetry"] = std::move(telemetry);
        out["authenticated_spiffe_id"] = nullptr;
        out["registry_agent_id"] =
            registration.registry_agent_id.empty() ? json::value(nullptr) : text(registration.registry_agent_id);
        out["engine_answers"] = taken != nullptr;
        if (taken != nullptr) add_engine_state(out, *taken);
        if (api->context.store != nullptr) {
            if (const auto counts = api->context.store->counts()) {
                json::object by_phase;
                for (const auto& [phase_found, count] : *counts)
                    by_phase[to_string(phase_found)] = count;
                out["counts"] = std::move(by_phase);
            }
        }
        answer->send(json_response(json_text(out)));
    });
}

void metrics(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const bool open = observability::wants_open_metrics(request.header("accept"));
    const auto loop = responder.loop();
    api->snapshot(loop, [api, open, answer = share(std::move(responder))](const EngineSnapshot* taken) {
        // An engine that stands still keeps its last gauges; the health metrics and /health say that it does.
        if (taken != nullptr) api->context.metrics->set_gauges(taken->gauges);
        if (api->context.server_stats) {
            const net::ServerStats stats = api->context.server_stats();
            api->context.metrics->http_connections(stats.connections, stats.refused);
        }
        net::Response response;
        response.content_type =
            std::string(open ? observability::kOpenMetricsContentType : observability::kTextContentType);
        response.body = api->context.registry->expose(open);
        answer->send(std::move(response));
    });
}

void openapi(const std::shared_ptr<Api>&, net::Request, net::Responder responder) {
    responder.send(json_response(std::string(openapi_document())));
}

void drain(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto body = body_object(request, true);
    if (!body) return responder.send(error_response(body.error()));
    bool now = false;
    if (const auto* value = body->if_contains("now"); value != nullptr && !value->is_null()) {
        if (!value->is_bool()) return responder.send(error_response(invalid("now", "must be true or false").value()));
        now = value->get_bool();
    }
    if (body->contains("grace_seconds")) {
        return responder.send(error_response(
            invalid("grace_seconds",
                    "the grace is set by SHUTDOWN_GRACE_SECONDS; a drain can only be hurried with \"now\"")
                .value()));
    }
    api->context.engine->drain(now, text_or(*body, "reason", "api"));
    json::object out;
    out["draining"] = true;
    out["now"] = now;
    responder.send(json_response(json_text(out), 202));
}

void undrain(const std::shared_ptr<Api>& api, net::Request, net::Responder responder) {
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    api->context.engine->undrain(on_loop<void>(loop, [api, answer](Result<void> result) {
        if (!result) return answer->send(error_response(result.error()));
        api->forget_snapshot();
        answer->send(json_response("{\"draining\":false}", 202));
    }));
}

void config(const std::shared_ptr<Api>& api, net::Request, net::Responder responder) {
    if (!api->context.config_json) return responder.send(net::problem(501, "this worker does not show its settings"));
    responder.send(json_response(api->context.config_json()));
}

void doctor(const std::shared_ptr<Api>& api, net::Request, net::Responder responder) {
    if (!api->context.doctor_json) return responder.send(net::problem(501, "this worker has no doctor"));
    const auto answer = share(std::move(responder));
    const bool taken = api->background->run([api, answer] { answer->send(json_response(api->context.doctor_json())); });
    if (!taken) answer->send(unavailable("too many long requests at once", 1));
}

void executors(const std::shared_ptr<Api>& api, net::Request, net::Responder responder) {
    if (api->context.executors_json) return responder.send(json_response(api->context.executors_json()));
    json::array rows;
    for (const TaskType type : api->context.facts.task_types) {
        json::object one;
        one["task_type"] = text(to_string(type));
        one["state"] = "ready";
        rows.push_back(std::move(one));
    }
    json::object out;
    out["executors"] = std::move(rows);
    responder.send(json_response(json_text(out)));
}

std::string validation_json(const std::vector<Problem>& problems) {
    json::array rows;
    for (const Problem& problem : problems) {
        json::object one;
        one["severity"] = text(to_string(problem.severity));
        one["rule"] = text(problem.rule);
        one["message"] = text(problem.message);
        one["path"] = text(problem.path);
        one["line"] = problem.line;
        one["column"] = problem.column;
        rows.push_back(std::move(one));
    }
    json::object out;
    out["valid"] = !has_errors(problems);
    out["problems"] = std::move(rows);
    return json_text(out);
}

// Whatever is wrong with the text is the answer, not an error of the request.
void validate(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto answer = share(std::move(responder));
    const auto text_body = std::make_shared<const std::string>(std::move(request.body));
    const bool heavy = text_body->size() > kInlineBody;
    const auto work = [api, answer, text_body] {
        answer->send(json_response(validation_json(validate_text("", *text_body, api->now()))));
    };
    if (!heavy) return work();
    if (!api->background->run(work)) answer->send(unavailable("too many long requests at once", 1));
}

}  // namespace

void add_metrics_route(RouteTable& table) {
    table.get("/metrics", metrics, net::Access::kOpen);
}

void add_system_routes(RouteTable& table) {
    table.get("/health", health, net::Access::kOpen);
    table.get("/ready", ready, net::Access::kOpen);
    table.get("/openapi.json", openapi, net::Access::kOpen);
    table.get("/api/v1/openapi.json", openapi, net::Access::kOpen);
    table.get("/api/v1/status", status);
    table.get("/api/v1/executors", executors);
    table.get("/api/v1/config", config);
    table.get("/api/v1/doctor", doctor);
    table.write("POST", "/api/v1/drain", drain);
    table.write("POST", "/api/v1/undrain", undrain);
    table.write("POST", "/api/v1/validate", validate, kMaxPlanBody,
                {"application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"});
}

}  // namespace wa::admin
