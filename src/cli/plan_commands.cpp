#include <boost/json/array.hpp>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/states.h"
#include "cli/text.h"
#include "cli/watch.h"
#include "core/codec/json_write.h"

namespace wa::cli {
namespace {

std::string plan_path(const std::string& id, std::string_view rest = {}) {
    return "/api/v1/plans/" + encoded(id) + std::string(rest);
}

Result<void> list(Session& session, const PlansListCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    std::string target = "/api/v1/plans?limit=" + std::to_string(command.limit);
    if (command.offset > 0) target += "&offset=" + std::to_string(command.offset);
    WA_TRY(const ApiAnswer answer, api->get(target));
    WA_CHECKED(session.print_list(answer, "plans", "plan_id", &plans_table));
    if (session.machine_output() || session.global().format == Format::kName) return {};
    WA_TRY(const json::object object, body_object(answer));
    const std::size_t shown = array_of(object, "plans").size();
    session.hint(std::to_string(shown) + (shown == 1 ? " plan\n" : " plans\n"));
    return {};
}

// The nodes of a plan under the name that the ticket table looks for.
json::object as_ticket_list(const json::object& plan) {
    json::object out;
    const json::array& nodes = array_of(plan, "nodes");
    out["tickets"] = nodes.empty() ? array_of(plan, "tickets") : nodes;
    if (const json::value* total = member(plan, "total"); total != nullptr) out["total"] = *total;
    return out;
}

Result<void> show(Session& session, const PlanShowCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    WA_TRY(const std::string id, resolve_plan(*api, command.id));
    WA_TRY(const ApiAnswer answer, api->get(plan_path(id)));
    WA_TRY(const bool printed, session.print_machine(answer));
    if (printed) return {};
    WA_TRY(const json::object plan, body_object(answer));
    const json::object tickets = as_ticket_list(plan);
    if (session.global().format == Format::kName) {
        for (const json::value& value : array_of(tickets, "tickets")) {
            if (value.is_object()) session.console().out(printable(text_of(value.get_object(), "ticket_id")) + "\n");
        }
        return {};
    }
    const TimeStyle style = session.times();
    ProgressState state = plan_progress(plan, style.now);
    const std::string path = [&state] {
        std::string text;
        for (const std::string& step : state.critical_path)
            text += (text.empty() ? "" : " → ") + printable(step);
        return text;
    }();
    WA_TRY(const std::string table, render(tickets_table(tickets, style), session.table_options()));
    session.console().out(table);
    if (!path.empty()) session.hint("critical path: " + path + "\n");
    session.hint(tickets_summary(tickets));
    return {};
}

Result<void> print_ids(Session& session, const ApiAnswer& answer, std::string_view what) {
    WA_TRY(const bool printed, session.print_machine(answer));
    if (printed) return {};
    WA_TRY(const json::object object, body_object(answer));
    std::vector<std::string> ids;
    for (const std::string_view name : {"ticket_ids", "tickets", "ids"}) {
        if (ids.empty()) ids = texts_of(object, name);
    }
    std::string text;
    for (const std::string& id : ids)
        text += printable(id) + "\n";
    session.console().out(text);
    session.hint(std::to_string(ids.size()) + (ids.size() == 1 ? " ticket " : " tickets ") + std::string(what) + "\n");
    return {};
}

// Names what a change would touch.
std::vector<const ProgressNode*> touched(const ProgressState& state, bool open, bool failed_only) {
    std::vector<const ProgressNode*> out;
    for (const ProgressNode& node : state.nodes) {
        const Kind kind = kind_of(node.phase);
        const bool takes = open ? !is_over(kind)
                                : is_over(kind) && (!failed_only || kind == Kind::kFailed || kind == Kind::kCancelled);
        if (takes) out.push_back(&node);
    }
    return out;
}

struct PlanAt {
    std::string id;
    ProgressState state;
};
Result<PlanAt> look(Session& session, const std::string& text) {
    WA_TRY(ApiClient * api, session.api());
    PlanAt plan;
    WA_TRY(plan.id, resolve_plan(*api, text));
    WA_TRY(const ApiAnswer answer, api->get(plan_path(plan.id)));
    WA_TRY(const json::object object, body_object(answer));
    plan.state = plan_progress(object, session.clock().wall_now());
    return plan;
}

void print_touched(Session& session, const std::vector<const ProgressNode*>& nodes, std::string_view what) {
    Table table;
    table.columns = {{"ID"}, {"TASK"}, {"STATE", false, 0, true}};
    for (const ProgressNode* node : nodes)
        table.rows.push_back({std::string(short_id(node->id)), node->name, node->phase});
    if (auto text = render(table, session.table_options())) session.console().out(*text);
    session.hint(std::string(what) + "; nothing was done\n");
}

Result<int> cancel(Session& session, const PlanCancelCommand& command) {
    WA_TRY(const PlanAt plan, look(session, command.id));
    const auto nodes = touched(plan.state, true, false);
    if (command.dry_run) {
        print_touched(session, nodes, "these would be stopped");
        return kExitOk;
    }
    WA_TRY(const bool yes, session.confirm("stop " + std::to_string(nodes.size()) +
                                           (nodes.size() == 1 ? " ticket of " : " tickets of ") + plan.id + "?"));
    if (!yes) return kExitOther;
    WA_TRY(ApiClient * api, session.api());
    WA_TRY(const ApiAnswer answer, api->post(plan_path(plan.id, "/cancel"), R"({"reason":"user_request"})"));
    WA_CHECKED(print_ids(session, answer, "stopped"));
    return kExitOk;
}

Result<int> retry(Session& session, const PlanRetryCommand& command) {
    WA_TRY(const PlanAt plan, look(session, command.id));
    const auto nodes = touched(plan.state, false, command.failed);
    if (command.dry_run) {
        print_touched(session, nodes, "these would run again");
        return kExitOk;
    }
    WA_TRY(ApiClient * api, session.api());
    WA_TRY(const ApiAnswer answer,
           api->post(plan_path(plan.id, "/retry"), command.failed ? R"({"only":"failed"})" : R"({"only":"all"})"));
    WA_CHECKED(print_ids(session, answer, "back in the queue"));
    session.hint("next: worker-agents plans watch " + printable(plan.id) + "\n");
    return kExitOk;
}

}  // namespace

int run(Session& session, const PlansListCommand& command) {
    const auto done = list(session, command);
    return done ? kExitOk : session.failed("cannot list plans", done.error());
}

int run(Session& session, const PlanShowCommand& command) {
    const auto done = show(session, command);
    return done ? kExitOk : session.failed("cannot show plan " + command.id, done.error());
}

int run(Session& session, const PlanWatchCommand& command) {
    session.watch_interrupts();
    auto api = session.api();
    if (!api) return session.failed("cannot watch " + command.id, api.error());
    auto id = resolve_plan(**api, command.id);
    if (!id) return session.failed("cannot watch " + command.id, id.error());
    return watch(session, {{*id}, {}}, {.allow_simulated = command.allow_simulated, .view_on_out = true});
}

int run(Session& session, const PlanCancelCommand& command) {
    const auto code = cancel(session, command);
    return code ? *code : session.failed("cannot cancel plan " + command.id, code.error());
}

int run(Session& session, const PlanRetryCommand& command) {
    const auto code = retry(session, command);
    return code ? *code : session.failed("cannot retry plan " + command.id, code.error());
}

}  // namespace wa::cli
