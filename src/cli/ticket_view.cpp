#include "cli/ticket_view.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <map>

#include "cli/states.h"
#include "cli/text.h"

namespace wa::cli {
namespace {

std::string lower(std::string text) {
    for (char& c : text) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
}

std::optional<std::int64_t> moment_of(const json::object& object, std::initializer_list<std::string_view> names) {
    const auto value = number_of(object, names);
    return value && *value > 0 ? value : std::nullopt;
}

std::string when(std::optional<std::int64_t> at, const TimeStyle& style) {
    if (!at) return {};
    return style.relative ? age_text(style.now - *at) : rfc3339(*at);
}

// In a list, a sentence takes one line.
std::string first_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator = ", ") {
    std::string out;
    for (const std::string& part : parts)
        out += (out.empty() ? std::string() : std::string(separator)) + part;
    return out;
}

// Objects of a list, whatever the list is called.
std::vector<const json::object*> rows_of(const json::object& answer, std::initializer_list<std::string_view> names) {
    std::vector<const json::object*> rows;
    for (const std::string_view name : names) {
        for (const json::value& value : array_of(answer, name)) {
            if (value.is_object()) rows.push_back(&value.get_object());
        }
        if (!rows.empty()) break;
    }
    return rows;
}

std::string counts_text(const std::map<std::string, std::size_t>& counts) {
    std::vector<std::string> parts;
    for (const auto& [word, count] : counts)
        parts.push_back(std::to_string(count) + " " + word);
    return joined(parts);
}

std::int64_t count_of(const json::object& counts, std::initializer_list<std::string_view> phases) {
    std::int64_t sum = 0;
    for (const std::string_view phase : phases)
        sum += number_of(counts, phase).value_or(0);
    return sum;
}

std::string plan_state(const json::object& plan) {
    const json::object& counts = object_of(plan, "counts");
    const std::int64_t total = number_of(plan, "total").value_or(0);
    const std::int64_t good = count_of(counts, {"completed", "simulated", "compensated"});
    const std::int64_t bad = count_of(counts, {"failed", "dependency-failed", "dead-lettered"});
    const std::int64_t cancelled = count_of(counts, {"cancelled"});
    if (std::string state = lower(text_of(plan, {"phase", "state", "status"})); !state.empty()) return state;
    if (number_of(plan, "open").value_or(0) > 0 || good + bad + cancelled < total) return "running";
    if (bad > 0) return "failed";
    return cancelled > 0 ? "cancelled" : "completed";
}

std::string field_line(std::string_view name, const std::string& text) {
    if (text.empty()) return {};
    return pad(name, 10) + " " + printable(text) + "\n";
}

std::string labelled(std::string_view name, const std::string& text) {
    return text.empty() ? std::string() : std::string(name) + " " + text;
}

// Two columns, as in the header of `tickets show`.
std::string pair_line(std::string_view name, const std::string& left, const std::string& right) {
    std::string line = pad(name, 10) + " " + pad(printable(left), 38) + printable(right);
    line.erase(line.find_last_not_of(' ') + 1);
    return line + "\n";
}

std::string attempt_end(const json::object& attempt) {
    return text_of(attempt, {"outcome", "end", "status"});
}

std::string attempt_cause(const json::object& attempt, std::int64_t ended_at) {
    std::vector<std::string> parts;
    const std::string fault = text_of(attempt, "fault");
    const std::string error = first_line(text_of(attempt, {"error", "cause"}));
    if (!fault.empty() || !error.empty()) parts.push_back(fault + (fault.empty() || error.empty() ? "" : ": ") + error);
    if (const auto code = number_of(attempt, "exit_code");
        code && error.find("exit code") == std::string::npos && *code != 0) {
        parts.push_back("exit code " + std::to_string(*code));
    }
    if (const auto signal = number_of(attempt, "signal"); signal && *signal != 0)
        parts.push_back("signal " + std::to_string(*signal));
    if (flag_of(attempt, "retryable")) parts.emplace_back("retryable");
    std::string text = joined(parts);
    if (const auto next = moment_of(attempt, {"next_try_at"}); next && ended_at > 0 && *next > ended_at) {
        text += "; next try after " + run_text(*next - ended_at);
    }
    return text;
}

Table attempts_table(const json::array& attempts, const TimeStyle& style) {
    Table table;
    table.columns = {{"TRY"}, {"STARTED"}, {"QUEUED"}, {"RAN"}, {"END", false, 0, true}, {"CAUSE"}};
    for (const json::value& value : attempts) {
        if (!value.is_object()) continue;
        const json::object& attempt = value.get_object();
        const auto started = moment_of(attempt, {"started_at"});
        const auto ended = moment_of(attempt, {"ended_at"});
        const auto queued = number_of(attempt, "queued_ms");
        std::string ran;
        if (started && ended) ran = run_text(*ended - *started);
        if (started && !ended) ran = run_text(style.now - *started);
        table.rows.push_back({text_of(attempt, {"number", "attempt"}), started ? clock_text(*started) : "",
                              queued ? run_text(*queued) : "", ran, ended ? attempt_end(attempt) : "running",
                              attempt_cause(attempt, ended.value_or(0))});
    }
    return table;
}

std::string output_line(const json::object& ticket) {
    const json::object& result = object_of(ticket, "result");
    // The result record holds another record of the same name (contract/tickets.md 5).
    const json::object& inner = object_of(result, "result").empty() ? result : object_of(result, "result");
    constexpr std::size_t kShown = 8;
    constexpr std::size_t kLongest = 120;
    std::string text;
    std::size_t shown = 0;
    for (const auto& [key, value] : object_of(inner, "output")) {
        if (value.is_null()) continue;
        if (++shown > kShown) {
            text += "…";
            break;
        }
        std::string one = scalar_text(value);
        text += std::string(key) + "=" + fit(printable(first_line(one)), kLongest) + " ";
    }
    return text;
}

std::string depends_line(const json::object& ticket) {
    // Either ids, or objects that also say where they stand.
    std::vector<std::string> parts;
    for (const std::string_view name : {"needs", "depends_on", "dependencies"}) {
        for (const json::value& value : array_of(ticket, name)) {
            if (value.is_object()) {
                const json::object& one = value.get_object();
                const std::string task = text_of(one, {"task_id", "name", "ticket_id"});
                parts.push_back(task + " " + std::string(sign(kind_of(text_of(one, {"phase", "status"})))));
            } else {
                parts.emplace_back(short_id(scalar_text(value)));
            }
        }
        if (!parts.empty()) break;
    }
    return joined(parts);
}

}  // namespace

TicketFacts ticket_facts(const json::object& ticket, std::int64_t now) {
    TicketFacts facts;
    facts.id = text_of(ticket, {"ticket_id", "id"});
    facts.task = text_of(ticket, {"task_id", "name", "task"});
    facts.type = text_of(ticket, {"task_type", "type"});
    facts.status = text_of(ticket, "status");
    facts.phase = text_of(ticket, {"phase", "state"});
    if (facts.phase.empty()) facts.phase = lower(facts.status);
    facts.plan = text_of(ticket, {"plan_id", "plan_name"});
    facts.worker = text_of(ticket, {"worker", "worker_id", "agent_id"});
    facts.why = text_of(ticket, {"why", "reason", "error_message", "error"});
    facts.attempts = static_cast<std::int32_t>(std::clamp<std::int64_t>(
        number_of(ticket, {"attempts", "attempt", "attempt_count"}).value_or(0), 0, 1'000'000));
    facts.max_attempts = number_of(ticket, {"max_attempts", "attempts_allowed"});
    const json::object& sla = object_of(ticket, "sla");
    if (const auto retries = number_of(sla, "max_retries"); !facts.max_attempts && retries)
        facts.max_attempts = *retries + 1;
    facts.created_at = moment_of(ticket, {"submitted_at", "created_at"});
    facts.started_at = moment_of(ticket, {"started_at"});
    facts.ended_at = moment_of(ticket, {"ended_at", "completed_at"});
    facts.deadline = moment_of(ticket, {"deadline", "deadline_at"});
    if (!facts.deadline) facts.deadline = moment_of(sla, {"deadline"});
    const auto measured = moment_of(ticket, {"actual_duration_ms", "duration_ms", "run_ms"});
    if (is_over(kind_of(facts.phase))) {
        facts.run_ms = measured;
        if (!measured && facts.started_at && facts.ended_at) facts.run_ms = *facts.ended_at - *facts.started_at;
    } else if (facts.started_at && kind_of(facts.phase) == Kind::kRunning) {
        facts.run_ms = std::max<std::int64_t>(0, now - *facts.started_at);
    }
    return facts;
}

std::string tries_text(const TicketFacts& facts) {
    std::string text = std::to_string(facts.attempts);
    if (facts.max_attempts) text += "/" + std::to_string(*facts.max_attempts);
    return text;
}

std::string sla_text(const TicketFacts& facts, std::int64_t now) {
    if (is_over(kind_of(facts.phase))) {
        const std::int64_t ended = facts.ended_at.value_or(0);
        return facts.deadline && ended > *facts.deadline ? "missed" : "ok";
    }
    if (!facts.deadline) return {};
    return *facts.deadline <= now ? "missed" : age_text(*facts.deadline - now);
}

Table tickets_table(const json::object& answer, const TimeStyle& style) {
    Table table;
    table.columns = {{"ID"},
                     {"TASK", false, 24},
                     {"TYPE"},
                     {"STATE", false, 0, true},
                     {"TRY"},
                     {"AGE"},
                     {"RUN"},
                     {"SLA"},
                     {"WORKER", false, 16},
                     {"PLAN", true},
                     {"DEPS", true},
                     {"PARTITION@OFFSET", true},
                     {"CORRELATION", true},
                     {"WHY"}};
    for (const json::object* ticket : rows_of(answer, {"tickets", "items"})) {
        const TicketFacts facts = ticket_facts(*ticket, style.now);
        const json::object& source = object_of(*ticket, "source");
        std::string position = text_of(*ticket, {"source", "position"});
        if (position.empty() && number_of(source, "offset")) {
            position = text_of(source, "partition") + "@" + text_of(source, "offset");
        }
        table.rows.push_back({std::string(short_id(facts.id)), facts.task, facts.type, facts.phase, tries_text(facts),
                              when(facts.created_at, style), facts.run_ms ? run_text(*facts.run_ms) : "",
                              sla_text(facts, style.now), facts.worker, facts.plan,
                              std::to_string(array_of(*ticket, "dependencies").size()), position,
                              text_of(*ticket, "correlation_id"), first_line(facts.why)});
    }
    return table;
}

std::string tickets_summary(const json::object& answer) {
    std::map<std::string, std::size_t> counts;
    std::string look_at;
    const auto rows = rows_of(answer, {"tickets", "items"});
    for (const json::object* ticket : rows) {
        const TicketFacts facts = ticket_facts(*ticket, 0);
        ++counts[printable(facts.phase)];
        const Kind kind = kind_of(facts.phase);
        const bool stuck = kind == Kind::kStuck || kind == Kind::kWaiting || kind == Kind::kFailed;
        if (look_at.empty() && stuck) look_at = short_id(facts.id);
    }
    const std::int64_t total = number_of(answer, "total").value_or(static_cast<std::int64_t>(rows.size()));
    std::string text = std::to_string(rows.size()) + (rows.size() == 1 ? " ticket" : " tickets");
    if (total > static_cast<std::int64_t>(rows.size())) text += " of " + std::to_string(total);
    if (!counts.empty()) text += " (" + counts_text(counts) + ")";
    if (!look_at.empty()) text += "      next: tickets explain " + printable(look_at);
    return text + "\n";
}

Table plans_table(const json::object& answer, const TimeStyle& style) {
    Table table;
    table.columns = {{"PLAN"}, {"NAME", false, 24}, {"STATE", false, 0, true}, {"DONE"}, {"FAILED"},
                     {"AGE"},  {"BY", true},        {"INTENT", true}};
    for (const json::object* plan : rows_of(answer, {"plans", "items"})) {
        const json::object& counts = object_of(*plan, "counts");
        const std::int64_t total = number_of(*plan, "total").value_or(0);
        const std::int64_t bad = count_of(counts, {"failed", "dependency-failed", "dead-lettered"});
        const std::int64_t over = count_of(counts, {"completed", "simulated", "compensated", "cancelled"}) + bad;
        table.rows.push_back({text_of(*plan, {"plan_id", "id"}), text_of(*plan, "name"), plan_state(*plan),
                              std::to_string(over) + "/" + std::to_string(total), std::to_string(bad),
                              when(moment_of(*plan, {"created_at"}), style), text_of(*plan, "submitted_by"),
                              text_of(*plan, "intent_id")});
    }
    return table;
}

Table dead_letters_table(const json::object& answer, const TimeStyle& style) {
    Table table;
    table.columns = {{"KEY"},    {"STATE"}, {"TICKET"},  {"TASK", false, 24}, {"TYPE"},
                     {"REASON"}, {"AGE"},   {"REPLAYS"}, {"PLAN", true},      {"ERROR"}};
    for (const json::object* letter : rows_of(answer, {"dlq", "letters", "dead_letters", "items", "messages"})) {
        table.rows.push_back({text_of(*letter, {"key", "id"}), text_of(*letter, "state"),
                              std::string(short_id(text_of(*letter, "ticket_id"))), text_of(*letter, "task_id"),
                              text_of(*letter, "task_type"), text_of(*letter, "reason"),
                              when(moment_of(*letter, {"at", "created_at", "dead_at"}), style),
                              std::to_string(number_of(*letter, "replays").value_or(0)), text_of(*letter, "plan_id"),
                              first_line(text_of(*letter, {"error", "error_message"}))});
    }
    return table;
}

Table executors_table(const json::object& answer) {
    Table table;
    table.columns = {{"TYPE"}, {"BACKEND"}, {"STATE"}, {"RUNNING"}, {"NOTE"}};
    for (const json::object* executor : rows_of(answer, {"executors", "items"})) {
        const std::string type = text_of(*executor, {"task_type", "type", "name"});
        const auto backends = rows_of(*executor, {"runtimes", "backends", "providers"});
        if (backends.empty()) {
            std::string named = joined(texts_of(*executor, "runtimes"));
            if (named.empty()) named = text_of(*executor, {"backend", "runtime"});
            table.rows.push_back({type, named, text_of(*executor, {"state", "status"}),
                                  text_of(*executor, {"running", "executing"}),
                                  text_of(*executor, {"note", "detail", "reason"})});
        }
        for (const json::object* backend : backends) {
            table.rows.push_back({type, text_of(*backend, {"name", "backend", "runtime"}),
                                  text_of(*backend, {"state", "status", "available"}),
                                  text_of(*backend, {"running", "executing"}),
                                  text_of(*backend, {"note", "detail", "reason"})});
        }
    }
    return table;
}

const json::array& attempts_of(const json::value& body) {
    static const json::array kNone;
    if (body.is_array()) return body.get_array();
    return body.is_object() ? array_of(body.get_object(), "attempts") : kNone;
}

std::string ticket_page(const json::object& ticket, const json::value& attempts, const TimeStyle& style, bool colours) {
    const TicketFacts facts = ticket_facts(ticket, style.now);
    std::string out = pad(printable(facts.task), 50) + printable(facts.id) + "\n";
    const std::string state = facts.status + (facts.phase.empty() ? "" : "  (phase " + facts.phase + ")");
    std::string first = pair_line(
        "State", state, joined({labelled("Plan", facts.plan), labelled("  Intent", text_of(ticket, "intent_id"))}, ""));
    if (colours) {
        const std::string_view on = colour(kind_of(facts.phase));
        first = std::string(on) + first.substr(0, first.size() - 1) + std::string(kPlain) + "\n";
    }
    out += first;
    const std::string runtime = text_of(ticket, {"runtime", "backend"});
    out += pair_line("Type", facts.type + (runtime.empty() ? "" : " via " + runtime),
                     joined({labelled("Worker", facts.worker), labelled("  Trace", text_of(ticket, "trace_id"))}, ""));
    std::vector<std::string> sla;
    if (facts.deadline) {
        sla.push_back(is_over(kind_of(facts.phase)) || *facts.deadline <= style.now
                          ? "deadline " + rfc3339(*facts.deadline)
                          : "deadline in " + run_text(*facts.deadline - style.now));
    }
    if (const auto timeout = number_of(object_of(ticket, "sla"), "timeout_ms"))
        sla.push_back("timeout " + run_text(*timeout));
    sla.push_back("tries " + std::to_string(facts.attempts) +
                  (facts.max_attempts ? " of " + std::to_string(*facts.max_attempts) : std::string()));
    out += field_line("SLA", joined(sla, " · "));
    out += field_line("Source", text_of(ticket, {"source", "position"}));
    if (facts.created_at) out += field_line("Received", rfc3339(*facts.created_at));
    out += field_line("Depends on", depends_line(ticket));
    std::vector<std::string> needed_by;
    for (const json::value& value : array_of(ticket, "needed_by")) {
        if (value.is_object()) {
            const json::object& one = value.get_object();
            needed_by.push_back(text_of(one, {"task_id", "name", "ticket_id"}) + " " +
                                std::string(sign(kind_of(text_of(one, {"phase", "status"})))));
        } else {
            needed_by.emplace_back(short_id(scalar_text(value)));
        }
    }
    out += field_line("Needed by", joined(needed_by));
    if (!facts.why.empty()) out += field_line("Why", facts.why);
    if (const auto& list = attempts_of(attempts); !list.empty()) {
        if (auto table = render(attempts_table(list, style), {.colours = colours})) out += "\n" + *table;
    }
    const std::string output = output_line(ticket);
    if (!output.empty()) out += "\n" + field_line("Output", output);
    return out;
}

std::string explain_page(const json::object& explanation, std::string_view name) {
    std::string out = printable(text_of(explanation, "summary"));
    if (out.empty()) out = printable(name) + ": " + printable(text_of(explanation, {"phase", "reason"}));
    out += "\n";
    const json::array& conditions = array_of(explanation, "conditions");
    if (!conditions.empty()) out += "\n";
    std::size_t width = 0;
    for (const json::value& value : conditions) {
        if (value.is_object()) width = std::max(width, display_width(printable(text_of(value.get_object(), "name"))));
    }
    for (const json::value& value : conditions) {
        if (!value.is_object()) continue;
        const json::object& condition = value.get_object();
        const json::value* met = member(condition, "met");
        const bool asked = met != nullptr && met->is_bool();
        const std::string_view mark = !asked ? "-" : met->get_bool() ? "✔" : "✖";
        std::string line = std::string(mark) + " " + pad(printable(text_of(condition, "name")), width) + "  " +
                           printable(text_of(condition, "detail"));
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    }
    if (const std::string fix = text_of(explanation, "fix"); !fix.empty()) out += "\nfix: " + printable(fix) + "\n";
    return out;
}

std::string worker_page(const json::object& status, const json::object& readiness, bool colours) {
    std::string out;
    const std::string agent = text_of(status, "agent_id");
    const bool ready = flag_of(readiness, "ready");
    const std::string drain = text_of(status, {"drain_phase", "drain"});
    std::string state = ready ? "ready" : "not ready";
    if (!drain.empty() && drain != "false") state = drain == "true" ? "draining" : drain;
    if (flag_of(status, "paused")) state += ", intake paused";
    std::string first =
        pad("Worker", 10) + " " + printable(agent) + "  " + (ready ? "✔ " : "✖ ") + printable(state) + "\n";
    if (colours)
        first = std::string(colour(ready ? Kind::kDone : Kind::kFailed)) + first.substr(0, first.size() - 1) +
                std::string(kPlain) + "\n";
    out += first;
    out += field_line("Version", text_of(object_of(status, "telemetry"), "version"));
    if (const auto up = number_of(status, "uptime_seconds"); up && *up >= 0 && *up < 10'000'000'000)
        out += field_line("Up", age_text(*up * 1000));
    out += field_line("Slots", text_of(status, "active_tasks") + "/" + text_of(status, "max_concurrent_tasks"));
    out += field_line("In flight", text_of(status, "in_flight"));
    const json::object& queue =
        object_of(status, "counts").empty() ? object_of(status, "queue") : object_of(status, "counts");
    std::vector<std::string> parts;
    for (const auto& [key, value] : queue) {
        if (!value.is_structured()) parts.push_back(scalar_text(value) + " " + std::string(key));
    }
    out += field_line("Tickets", joined(parts));
    out += field_line("Types", joined(texts_of(status, "capabilities")));
    for (const auto& [key, value] : object_of(readiness, "checks")) {
        if (value.is_bool() && !ready)
            out += field_line("Check", std::string(key) + ": " + (value.get_bool() ? "yes" : "no"));
    }
    const auto tasks = rows_of(status, {"tasks"});
    if (!tasks.empty()) {
        Table table;
        table.columns = {{"ID"}, {"TASK"}, {"TYPE"}, {"STATE", false, 0, true}, {"PRIORITY"}};
        for (const json::object* task : tasks) {
            table.rows.push_back({std::string(short_id(text_of(*task, "ticket_id"))), text_of(*task, "task_id"),
                                  text_of(*task, "task_type"), text_of(*task, {"phase", "state"}),
                                  text_of(*task, "priority")});
        }
        if (auto text = render(table, {.colours = colours})) out += "\n" + *text;
    }
    return out;
}

std::string doctor_page(const json::object& report) {
    std::string out;
    const auto checks = rows_of(report, {"checks", "items"});
    std::size_t width = 0;
    for (const json::object* check : checks)
        width = std::max(width, display_width(printable(text_of(*check, "name"))));
    std::size_t errors = 0;
    std::size_t warnings = 0;
    for (const json::object* check : checks) {
        const std::string state = lower(text_of(*check, {"status", "state", "result"}));
        std::string_view mark = "✔";
        if (state == "error" || state == "fail" || state == "failed") {
            mark = "✖";
            ++errors;
        } else if (state == "warning" || state == "warn") {
            mark = "!";
            ++warnings;
        } else if (state == "skipped" || state == "off") {
            mark = "-";
        }
        std::string line = pad(printable(text_of(*check, "name")), width) + " " + std::string(mark) + " " +
                           printable(text_of(*check, {"detail", "message", "proof"}));
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
        if (const std::string fix = text_of(*check, "fix"); !fix.empty()) {
            out += std::string(width + 3, ' ') + "fix: " + printable(fix) + "\n";
        }
    }
    const auto plural = [](std::size_t count, const char* word) {
        return std::to_string(count) + " " + word + (count == 1 ? "" : "s");
    };
    return out + plural(errors, "error") + ", " + plural(warnings, "warning") + "\n";
}

ProgressState plan_progress(const json::object& plan, std::int64_t now, std::size_t limit) {
    ProgressState state;
    const json::object& head = object_of(plan, "plan").empty() ? plan : object_of(plan, "plan");
    state.title = text_of(head, {"plan_id", "id", "name"});
    const auto nodes = rows_of(plan, {"nodes", "tickets"});
    std::int64_t last_end = 0;
    bool open = false;
    std::map<std::string, std::string> names;
    for (const json::object* node : nodes)
        names[text_of(*node, {"ticket_id", "id"})] = text_of(*node, {"task_id", "name"});
    for (const json::object* node : nodes) {
        const TicketFacts facts = ticket_facts(*node, now);
        last_end = std::max(last_end, facts.ended_at.value_or(0));
        open = open || !is_over(kind_of(facts.phase));
        if (state.nodes.size() >= limit) continue;
        ProgressNode one;
        one.id = facts.id;
        one.name = facts.task.empty() ? std::string(short_id(facts.id)) : facts.task;
        one.phase = facts.phase;
        one.run_ms = facts.run_ms.value_or(-1);
        one.tries = facts.attempts;
        one.why = first_line(facts.why);
        state.nodes.push_back(std::move(one));
    }
    constexpr std::int64_t kMostTickets = 10'000'000;
    const std::int64_t said = std::clamp<std::int64_t>(number_of(head, "total").value_or(0), 0, kMostTickets);
    state.total = std::max(nodes.size(), static_cast<std::size_t>(said));
    if (const auto unfinished = number_of(head, "open");
        unfinished && *unfinished >= 0 && *unfinished <= kMostTickets) {
        state.ended = state.total - std::min(state.total, static_cast<std::size_t>(*unfinished));
        open = *unfinished > 0;
    }
    if (const auto changed = moment_of(head, {"changed_at"}); last_end == 0 && changed) last_end = *changed;
    for (const json::value& step : array_of(plan, "critical_path")) {
        const std::string text =
            step.is_object() ? text_of(step.get_object(), {"task_id", "name", "ticket_id"}) : scalar_text(step);
        const auto name = names.find(text);
        state.critical_path.push_back(name == names.end() ? text : name->second);
    }
    const std::int64_t created = moment_of(head, {"created_at"}).value_or(now);
    state.elapsed_ms = std::max<std::int64_t>(0, (open || last_end == 0 ? now : last_end) - created);
    return state;
}

}  // namespace wa::cli
