#include "app/api_binding.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "app/build_info.h"
#include "config/render.h"

namespace wa::app {
namespace {

namespace json = boost::json;

json::object check(std::string_view name, std::string_view status, std::string detail, std::string_view fix = {}) {
    json::object row{{"name", name}, {"status", status}, {"detail", std::move(detail)}};
    if (!fix.empty()) row["fix"] = fix;
    return row;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words)
        text += (text.empty() ? "" : ", ") + word;
    return text;
}

json::object disk_check(const std::string& folder) {
    struct statvfs facts{};
    if (::statvfs(folder.c_str(), &facts) != 0) return check("disk", "error", "cannot ask about " + folder);
    const double free_gib =
        static_cast<double>(facts.f_bavail) * static_cast<double>(facts.f_frsize) / (1024.0 * 1024 * 1024);
    const double share =
        facts.f_blocks == 0 ? 0.0 : static_cast<double>(facts.f_bavail) / static_cast<double>(facts.f_blocks);
    const std::string detail = std::to_string(free_gib).substr(0, 5) + " GiB free for " + folder;
    if (free_gib < 0.1)
        return check("disk", "error", detail, "free some space: submits are refused when the disk is full");
    return share < 0.1 ? check("disk", "warning", detail, "less than a tenth of the disk is free")
                       : check("disk", "ok", detail);
}

bool reaches_minimum(const IsolationReport& report, const config::Settings& settings) {
    if (!settings.flag("LOCAL_RUNTIME_ENABLE_SANDBOX")) return true;
    const auto wanted = parse_isolation_level(settings.text("LOCAL_RUNTIME_MIN_ISOLATION"));
    const auto reached = parse_isolation_level(report.level);
    return wanted && reached && *reached >= *wanted;
}

json::object local_check(const IsolationReport& report, const config::Settings& settings) {
    std::string detail = "isolation: " + report.level;
    if (!report.measures.empty()) detail += " (" + joined(report.measures) + ")";
    if (!report.missing.empty()) detail += "; not in force: " + joined(report.missing);
    if (!settings.flag("LOCAL_RUNTIME_ENABLED"))
        return check("local", "warning", "switched off", "LOCAL_RUNTIME_ENABLED=true");
    if (report.level == "none") return check("local", "error", std::move(detail));
    if (!reaches_minimum(report, settings)) {
        return check("local", "error", std::move(detail),
                     "tasks are refused: allow the worker what is missing, or lower LOCAL_RUNTIME_MIN_ISOLATION");
    }
    if (parse_isolation_level(report.level).value_or(IsolationLevel::kNone) < IsolationLevel::kNamespaces) {
        return check(
            "local", "warning", std::move(detail),
            "tasks see more of this machine than they need: docs/explanation/sandbox.md says what each level needs");
    }
    return check("local", "ok", std::move(detail));
}

json::object runtime_row(std::string_view name, bool ready, std::string_view note) {
    json::object row{{"name", name}, {"state", ready ? "ready" : "off"}};
    if (!note.empty()) row["note"] = note;
    return row;
}

// The runtimes of EXECUTE, the providers of TEST.
json::object executor_row(const ApiParts& parts, TaskType type) {
    const bool test = type == TaskType::kTest;
    bool local = parts.settings.flag("LOCAL_RUNTIME_ENABLED");
    std::string note = local ? "isolation: " + parts.isolation().level : std::string("LOCAL_RUNTIME_ENABLED=false");
    if (local && !reaches_minimum(parts.isolation(), parts.settings)) {
        local = false;
        note += ", below LOCAL_RUNTIME_MIN_ISOLATION";
    }
    if (local && test && parts.settings.list("ALLOWED_TEST_COMMANDS").empty()) {
        local = false;
        note = "ALLOWED_TEST_COMMANDS is empty";
    }
    const bool simulation = parts.settings.text("SIMULATION_POLICY") != "deny";
    json::array backends;
    backends.push_back(runtime_row("local", local, note));
    backends.push_back(runtime_row("simulation", simulation, simulation ? "labelled" : "SIMULATION_POLICY=deny"));
    bool other = false;
    if (!test) {
        for (const RuntimeState& runtime : parts.runtimes()) {
            backends.push_back(runtime_row(runtime.name, runtime.available, runtime.detail));
            other |= runtime.available;
        }
    }
    if (test) {
        for (const std::string_view name : {"github_actions", "gitlab_ci", "jenkins"})
            backends.push_back(runtime_row(name, false, "not built"));
    }
    return json::object{{"task_type", to_string(type)},
                        {"state", local || simulation || other ? "ready" : "off"},
                        {test ? "providers" : "runtimes", std::move(backends)}};
}

std::string executors(const ApiParts& parts) {
    json::array rows;
    for (const TaskType type : parts.task_types)
        rows.push_back(executor_row(parts, type));
    return json::serialize(json::object{{"executors", std::move(rows)}});
}

json::object test_check(const config::Settings& settings) {
    const std::vector<std::string>& allowed = settings.list("ALLOWED_TEST_COMMANDS");
    if (allowed.empty()) {
        return check("tests", "warning", "no test command may run here",
                     "list the first words of test commands in ALLOWED_TEST_COMMANDS");
    }
    return check("tests", "ok", "commands that may run: " + joined(allowed));
}

std::string doctor(const ApiParts& parts) {
    json::array rows;
    rows.push_back(check("config", "ok", "read and consistent"));
    for (std::vector<std::string>& row : parts.platform_checks()) {
        constexpr std::size_t kWithFix = 4;
        row.resize(kWithFix);
        rows.push_back(check(row[0], row[1], std::move(row[2]), row[3]));
    }
    rows.push_back(disk_check(parts.state_dir));
    rows.push_back(local_check(parts.isolation(), parts.settings));
    for (const RuntimeState& runtime : parts.runtimes()) {
        // What is switched off on purpose is no fault.
        const bool good = runtime.available || !runtime.wanted;
        const std::string_view status = !good ? "error" : runtime.available && !runtime.fix.empty() ? "warning" : "ok";
        rows.push_back(check(runtime.name, status, runtime.detail, runtime.fix));
    }
    if (std::ranges::find(parts.task_types, TaskType::kTest) != parts.task_types.end())
        rows.push_back(test_check(parts.settings));
    return json::serialize(json::object{{"checks", std::move(rows)}});
}

}  // namespace

admin::Routers bind_api(const ApiParts& parts) {
    admin::ApiContext context;
    context.store = parts.store;
    context.dead_letters = &parts.dead_letters;
    context.engine = &parts.engine;
    context.task_logs = &parts.task_logs;
    context.clock = &parts.clock;
    context.random = &parts.random;
    context.registry = &parts.registry;
    context.metrics = &parts.metrics;
    context.hub = &parts.hub;
    context.log = &parts.log;
    context.health = &parts.health;
    context.facts.agent_id = parts.agent_id;
    context.facts.version = kVersion;
    context.facts.namespace_name = parts.settings.text("NAMESPACE");
    context.facts.cluster = parts.settings.text("CLUSTER");
    context.facts.task_types = parts.task_types;
    context.facts.max_concurrent_tasks = static_cast<std::size_t>(parts.settings.integer("MAX_CONCURRENT_TASKS"));
    context.facts.max_retries = static_cast<std::int32_t>(parts.settings.integer("MAX_RETRIES_PER_TICKET"));
    context.facts.started_at = parts.clock.wall_now();
    context.draining = parts.draining;
    context.registration = parts.registration;
    context.ended_in_queue = parts.ended_in_queue;
    context.ending_under_way = parts.ending_under_way;
    context.config_json = [in_force = parts.settings_in_force] {
        return json::serialize(config::show_json(*in_force(), {true, false}));
    };
    context.runtimes = [states = parts.runtimes] {
        std::vector<std::pair<std::string, std::string>> shown;
        for (RuntimeState& runtime : states()) {
            if (runtime.wanted)
                shown.emplace_back(std::move(runtime.name), runtime.available ? "ready" : std::move(runtime.detail));
        }
        return shown;
    };
    context.executors_json = [parts] { return executors(parts); };
    context.doctor_json = [parts] { return doctor(parts); };
    return admin::make_routes(std::move(context));
}

}  // namespace wa::app
