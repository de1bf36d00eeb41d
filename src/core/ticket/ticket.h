// The execution ticket: one unit of work, as it comes in on the wire (contract/tickets.md 3 and 4).
//
// A Ticket is a plain value. Whoever holds one may trust what core/codec/ticket_json.h promises: every field was
// checked, defaults are filled in, and the sizes are bounded.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wa {

// The order of each enumeration is its index on the Avro wire; never reorder.
enum class TaskType : std::uint8_t { kBuild, kDeploy, kTest, kValidate, kExecute, kCompensate, kQuery, kTransform };
enum class TicketStatus : std::uint8_t { kPending, kRunning, kCompleted, kFailed, kCompensating, kCompensated };
enum class Priority : std::uint8_t { kLow, kNormal, kHigh, kCritical };
enum class RiskBand : std::uint8_t { kLow, kMedium, kHigh, kCritical };
enum class SecurityLevel : std::uint8_t { kPublic, kInternal, kConfidential, kRestricted };
enum class DeliveryMode : std::uint8_t { kAtMostOnce, kAtLeastOnce, kExactlyOnce };
enum class Consistency : std::uint8_t { kEventual, kStrong };
enum class Durability : std::uint8_t { kTransient, kPersistent };

inline constexpr std::size_t kTaskTypeCount = 8;

// Wire spellings ("EXECUTE", "PENDING", "medium", …).
std::string_view to_string(TaskType value);
std::string_view to_string(TicketStatus value);
std::string_view to_string(Priority value);
std::string_view to_string(RiskBand value);
std::string_view to_string(SecurityLevel value);
std::string_view to_string(DeliveryMode value);
std::string_view to_string(Consistency value);
std::string_view to_string(Durability value);

// Exact wire spelling, except that task types are accepted in any case (legacy producers write them in lower case).
std::optional<TaskType> parse_task_type(std::string_view text);
std::optional<TicketStatus> parse_ticket_status(std::string_view text);
std::optional<Priority> parse_priority(std::string_view text);
std::optional<RiskBand> parse_risk_band(std::string_view text);
std::optional<SecurityLevel> parse_security_level(std::string_view text);
std::optional<DeliveryMode> parse_delivery_mode(std::string_view text);
std::optional<Consistency> parse_consistency(std::string_view text);
std::optional<Durability> parse_durability(std::string_view text);

struct Sla {
    std::optional<std::int64_t> deadline;     // epoch milliseconds, absolute; absent = none
    std::int64_t timeout_ms = 60'000;         // of one attempt, before TASK_TIMEOUT_MULTIPLIER; 1 .. 7 days
    std::optional<std::int32_t> max_retries;  // 0 .. 100; absent = MAX_RETRIES_PER_TICKET. Attempts = retries + 1

    friend bool operator==(const Sla&, const Sla&) = default;
};

// Descriptive only: the guarantees of this worker do not depend on it.
struct Qos {
    DeliveryMode delivery_mode = DeliveryMode::kAtLeastOnce;
    Consistency consistency = Consistency::kEventual;
    Durability durability = Durability::kPersistent;

    friend bool operator==(const Qos&, const Qos&) = default;
};

struct Ticket {
    std::string ticket_id;
    std::string plan_id;
    std::string intent_id;
    std::string decision_id;
    std::string correlation_id;  // empty = absent
    std::string trace_id;        // empty = absent
    std::string span_id;         // empty = absent
    std::string task_id;
    TaskType task_type = TaskType::kExecute;
    std::string description;
    std::vector<std::string> dependencies;  // ticket ids; no duplicates, not itself
    TicketStatus status = TicketStatus::kPending;
    Priority priority = Priority::kNormal;
    RiskBand risk_band = RiskBand::kMedium;
    Sla sla;
    Qos qos;
    boost::json::object
        parameters;  // any JSON in JSON tickets, text only in Avro ones: read through core/codec/parameters.h
    std::vector<std::string> required_capabilities;
    SecurityLevel security_level = SecurityLevel::kInternal;
    std::int64_t created_at = 0;  // epoch milliseconds; 0 = absent
    std::optional<std::int64_t> started_at;
    std::optional<std::int64_t> completed_at;
    std::optional<std::int64_t> estimated_duration_ms;
    std::optional<std::int64_t> actual_duration_ms;
    std::int32_t retry_count = 0;
    std::string error_message;           // empty = absent
    std::string compensation_ticket_id;  // empty = absent
    std::map<std::string, std::string, std::less<>> metadata;
    std::int32_t schema_version = 1;
};

}  // namespace wa
