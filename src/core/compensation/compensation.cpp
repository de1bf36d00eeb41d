#include "core/compensation/compensation.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "base/random.h"
#include "core/codec/json_limits.h"
#include "core/codec/text.h"
#include "core/codec/ticket_json.h"

namespace wa {
namespace json = boost::json;

namespace {

constexpr std::size_t kShortId = 8;
constexpr std::size_t kMaxReasonBytes = 1024;

bool may_be_compensated(const Ticket& failed, const CompensationFacts& facts) {
    if (failed.task_type == TaskType::kCompensate || facts.simulated || facts.attempts_started < 1) return false;
    switch (facts.outcome) {
        case Outcome::kCompleted:
        case Outcome::kDependencyFailed:
        case Outcome::kDependencyTimeout:
        case Outcome::kInvalid: return false;
        case Outcome::kExecutionFailed:
        case Outcome::kTimeout:
        case Outcome::kDeadlineExceeded:
        case Outcome::kCancelled:
        case Outcome::kPreempted: return true;
    }
    return false;
}

std::string_view declared(const Ticket& ticket, std::string_view key) {
    const auto found = ticket.metadata.find(key);
    return found == ticket.metadata.end() ? std::string_view() : std::string_view(found->second);
}

// What the ticket says is undone as it says; else what was recorded; else what its type suggests.
std::string choose_action(const Ticket& failed, const std::vector<UndoableEffect>& undoable) {
    if (const auto action = declared(failed, kCompensationActionKey); !action.empty()) return std::string(action);
    if (!undoable.empty()) return undoable.front().undo;
    return std::string(compensation_action(failed.task_type));
}

std::string short_id(const Ticket& ticket) {
    return std::string(utf8_prefix(ticket.ticket_id, kShortId));
}

json::value parameter_or(const Ticket& ticket, std::string_view key, json::value fallback) {
    const auto* value = ticket.parameters.if_contains(key);
    if (value == nullptr || value->is_null()) return fallback;
    return *value;
}

void copy_parameter(const Ticket& from, std::string_view key, json::object& to) {
    if (const auto* value = from.parameters.if_contains(key); value != nullptr && !value->is_null()) to[key] = *value;
}

json::array names_of(const std::vector<UndoableEffect>& effects, std::string_view kind) {
    json::array names;
    for (const auto& effect : effects) {
        if (kind.empty() || effect.kind == kind) names.emplace_back(effect.name);
    }
    return names;
}

json::object action_parameters(std::string_view action, const Ticket& failed,
                               const std::vector<UndoableEffect>& effects) {
    json::object p;
    if (action == "delete_artifacts") {
        p["artifact_ids"] = names_of(effects, "artifact");
        for (const auto* key : {"registry_url", "repository", "image_tag"})
            copy_parameter(failed, key, p);
    } else if (action == "rollback_deployment") {
        p["deployment_name"] = parameter_or(failed, "deployment_name", json::value("deploy-" + short_id(failed)));
        p["previous_revision"] = parameter_or(failed, "previous_revision", "HEAD~1");
        p["namespace"] = parameter_or(failed, "namespace", "default");
        p["provider"] = parameter_or(failed, "provider", "argocd");
        copy_parameter(failed, "cluster_server", p);
    } else if (action == "cleanup_test_env") {
        p["test_id"] = failed.ticket_id;
        copy_parameter(failed, "namespace", p);
        p["resources"] = names_of(effects, "");
        p["cleanup_jobs"] = true;
    } else if (action == "revert_approval") {
        copy_parameter(failed, "approval_id", p);
        p["validation_id"] = failed.ticket_id;
        p["plan_id"] = failed.plan_id;
        p["revert_reason"] = "the validation failed";
        p["revert_status"] = "PENDING";
    } else if (action == "rollback_execution") {
        p["execution_id"] = failed.ticket_id;
        copy_parameter(failed, "rollback_script", p);
        copy_parameter(failed, "working_dir", p);
        p["cleanup_outputs"] = true;
        p["script_timeout"] = 60;
    } else if (action == "generic_cleanup") {
        p["original_params"] = failed.parameters;
    }
    return p;
}

json::array effect_list(const std::vector<UndoableEffect>& effects) {
    json::array list;
    for (const auto& effect : effects) {
        if (list.size() == kMaxCompensatedEffects) break;
        list.push_back(json::object{{"kind", effect.kind}, {"name", effect.name}, {"undo", effect.undo}});
    }
    return list;
}

void add_declared_parameters(const Ticket& failed, json::object& parameters, std::vector<Error>& warnings) {
    const auto text = declared(failed, kCompensationParametersKey);
    if (text.empty()) return;
    const auto parsed = parse_json(text);
    if (parsed && parsed->is_object()) {
        for (const auto& member : parsed->get_object())
            parameters[member.key()] = member.value();
        return;
    }
    warnings.push_back(
        invalid("metadata.compensation_parameters",
                "metadata.compensation_parameters must be text that holds a JSON object; it was left out")
            .value());
}

std::int64_t timeout_of(const Ticket& failed, std::vector<Error>& warnings) {
    const auto text = declared(failed, kCompensationTimeoutKey);
    if (text.empty()) return kCompensationTimeoutMs;
    const auto number = parse_whole_number(text);
    if (number && *number >= 1 && *number <= kMaxTimeoutMs) return *number;
    warnings.push_back(
        invalid("metadata.compensation_timeout_ms", "metadata.compensation_timeout_ms must be milliseconds from 1 to " +
                                                        std::to_string(kMaxTimeoutMs) + "; " +
                                                        std::to_string(kCompensationTimeoutMs) + " is used instead")
            .value());
    return kCompensationTimeoutMs;
}

Ticket skeleton(const Ticket& failed, const CompensationFacts& facts) {
    Ticket ticket;
    ticket.ticket_id = compensation_id(failed.ticket_id);
    ticket.plan_id = failed.plan_id;
    ticket.intent_id = failed.intent_id;
    ticket.decision_id = failed.decision_id;
    ticket.correlation_id = failed.correlation_id;
    ticket.trace_id = failed.trace_id;
    ticket.span_id = failed.span_id;
    ticket.task_id = "compensate-" + short_id(failed);
    ticket.task_type = TaskType::kCompensate;
    ticket.description = "undo " + (failed.task_id.empty() ? failed.ticket_id : failed.task_id);
    ticket.priority = failed.priority;
    ticket.risk_band = failed.risk_band;
    ticket.security_level = failed.security_level;
    ticket.created_at = std::max<std::int64_t>(facts.now, 0);
    return ticket;
}

void add_metadata(const Ticket& failed, std::string reason, Ticket& ticket) {
    ticket.metadata["compensation_reason"] = std::move(reason);
    ticket.metadata["original_task_type"] = to_string(failed.task_type);
    ticket.metadata["original_status"] = to_string(TicketStatus::kFailed);
    if (const auto workflow = declared(failed, "workflow_id"); !workflow.empty())
        ticket.metadata["workflow_id"] = workflow;
}

}  // namespace

std::string compensation_id(std::string_view original_ticket_id) {
    return uuid5(original_ticket_id);
}

std::string_view compensation_action(TaskType original) {
    switch (original) {
        case TaskType::kBuild: return "delete_artifacts";
        case TaskType::kDeploy: return "rollback_deployment";
        case TaskType::kTest: return "cleanup_test_env";
        case TaskType::kValidate: return "revert_approval";
        case TaskType::kExecute: return "rollback_execution";
        case TaskType::kCompensate:
        case TaskType::kQuery:
        case TaskType::kTransform: return "generic_cleanup";
    }
    return "generic_cleanup";
}

std::optional<Compensation> compensation_for(const Ticket& failed, const CompensationFacts& facts) {
    if (!may_be_compensated(failed, facts)) return std::nullopt;
    std::vector<UndoableEffect> undoable = facts.effects;
    std::erase_if(undoable, [](const UndoableEffect& effect) { return effect.undo.empty(); });
    if (declared(failed, kCompensationActionKey).empty() && undoable.empty()) return std::nullopt;

    Compensation compensation{skeleton(failed, facts), {}};
    Ticket& ticket = compensation.ticket;
    const std::string action = choose_action(failed, undoable);
    std::string reason = facts.reason.empty() ? "the ticket failed" : clip(facts.reason, kMaxReasonBytes);
    ticket.sla.timeout_ms = timeout_of(failed, compensation.warnings);
    ticket.parameters = action_parameters(action, failed, undoable);
    if (!undoable.empty()) ticket.parameters["effects"] = effect_list(undoable);
    add_declared_parameters(failed, ticket.parameters, compensation.warnings);
    // Last, so that no declaration can make the compensation speak about another ticket.
    ticket.parameters["action"] = action;
    ticket.parameters["reason"] = reason;
    ticket.parameters["original_ticket_id"] = failed.ticket_id;
    ticket.parameters["original_task_type"] = to_string(failed.task_type);
    add_metadata(failed, std::move(reason), ticket);
    return compensation;
}

}  // namespace wa
