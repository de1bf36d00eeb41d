// One entry of a plan file, read and checked but not yet expanded. Private to core/plan.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "core/plan/problems.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"

namespace wa {

// Where in the file we are, in words and as a path. Cheap: texts are made only when something is wrong.
struct PlanScope {
    std::string_view base{};                   // "defaults", or empty
    std::optional<std::string_view> ticket{};  // name of the ticket
    std::optional<std::size_t> index{};        // its position, when the tickets are a list
    std::string_view inner{};                  // "sla", "qos", or empty

    [[nodiscard]] PlanScope in(std::string_view name) const {
        PlanScope scope = *this;
        scope.inner = name;
        return scope;
    }
    // "tickets.deploy.sla.timeout"
    [[nodiscard]] std::string path(std::string_view key = {}) const;
    // `sla.timeout of ticket "deploy"`, "defaults.sla.timeout"
    [[nodiscard]] std::string subject(std::string_view key) const;
    // ` in sla of ticket "deploy"`, " in defaults", ""
    [[nodiscard]] std::string inside() const;
};

struct SlaPatch {
    std::optional<std::int64_t> timeout_ms;
    std::optional<std::int64_t> deadline;  // epoch milliseconds; 0 = said to be none
    bool relative_deadline = false;        // counted from the moment of reading
    std::optional<std::int32_t> max_retries;
    const boost::json::value* timeout_at = nullptr;
    const boost::json::value* deadline_at = nullptr;
};

// What both `defaults` and a ticket may say. Pointers go into the document.
struct PlanSettings {
    std::optional<Priority> priority;
    std::optional<RiskBand> risk_band;
    std::optional<SecurityLevel> security_level;
    SlaPatch sla;
    std::optional<DeliveryMode> delivery_mode;
    std::optional<Consistency> consistency;
    std::optional<Durability> durability;
    std::optional<std::vector<std::string>> capabilities;
    StringMap metadata;
    StringMap env;
    std::optional<std::string> working_dir;
    std::optional<std::string> runtime;
    std::optional<std::string> image;
    const boost::json::object* parameters = nullptr;
};

struct PlanEntry : PlanSettings {
    std::string ticket_id;
    std::optional<TaskType> type;
    std::string description;
    std::vector<const boost::json::value*> needs;  // one text each
    std::vector<std::string> run;
    std::string junit;
    std::string compensates;  // empty = it does not
};

[[nodiscard]] PlanSettings read_plan_defaults(const boost::json::value& value, EpochMillis now, ProblemList& problems);
[[nodiscard]] PlanEntry read_plan_entry(const boost::json::value& value, const PlanScope& scope, EpochMillis now,
                                        ProblemList& problems);

// Reads single values of an object and notes what is wrong with them; shared with the top level of the plan.
class PlanObject {
public:
    PlanObject(const boost::json::object& object, PlanScope scope, ProblemList& problems)
        : object_(object), scope_(scope), problems_(problems) {}

    [[nodiscard]] const boost::json::value* find(std::string_view key) const;  // null for JSON null, too
    [[nodiscard]] std::optional<std::string> text(std::string_view key) const;
    [[nodiscard]] const boost::json::object* object(std::string_view key) const;
    [[nodiscard]] std::optional<std::int64_t> integer(std::string_view key, std::int64_t low, std::int64_t high) const;
    [[nodiscard]] StringMap texts(std::string_view key, bool null_allowed) const;
    [[nodiscard]] std::optional<std::vector<std::string>> list(std::string_view key) const;
    void check_keys(std::span<const std::string_view> known) const;

    void wrong(std::string_view key, std::string_view wanted, const boost::json::value& found,
               std::string_view rule = "wrong-type") const;
    void error(std::string_view rule, std::string_view key, const boost::json::value& at, std::string message) const;
    void warn(std::string_view rule, std::string_view key, const boost::json::value& at, std::string message) const;
    [[nodiscard]] const PlanScope& scope() const { return scope_; }

private:
    const boost::json::object& object_;
    PlanScope scope_;
    ProblemList& problems_;
};

}  // namespace wa
