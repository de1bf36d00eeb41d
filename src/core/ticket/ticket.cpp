#include "core/ticket/ticket.h"

#include <array>

namespace wa {
namespace {

// The position of a word in its table is the value of the enumerator and the index on the Avro wire.
constexpr std::array<std::string_view, kTaskTypeCount> kTaskTypes{"BUILD",   "DEPLOY",     "TEST",  "VALIDATE",
                                                                  "EXECUTE", "COMPENSATE", "QUERY", "TRANSFORM"};
constexpr std::array<std::string_view, 6> kStatuses{"PENDING", "RUNNING",      "COMPLETED",
                                                    "FAILED",  "COMPENSATING", "COMPENSATED"};
constexpr std::array<std::string_view, 4> kPriorities{"LOW", "NORMAL", "HIGH", "CRITICAL"};
constexpr std::array<std::string_view, 4> kRiskBands{"low", "medium", "high", "critical"};
constexpr std::array<std::string_view, 4> kSecurityLevels{"PUBLIC", "INTERNAL", "CONFIDENTIAL", "RESTRICTED"};
constexpr std::array<std::string_view, 3> kDeliveryModes{"AT_MOST_ONCE", "AT_LEAST_ONCE", "EXACTLY_ONCE"};
constexpr std::array<std::string_view, 2> kConsistencies{"EVENTUAL", "STRONG"};
constexpr std::array<std::string_view, 2> kDurabilities{"TRANSIENT", "PERSISTENT"};

template <class Enum, std::size_t N>
std::string_view word_of(const std::array<std::string_view, N>& words, Enum value) {
    const auto index = static_cast<std::size_t>(value);
    return index < N ? words[index] : words[0];
}

template <class Enum, std::size_t N>
std::optional<Enum> value_of(const std::array<std::string_view, N>& words, std::string_view text) {
    for (std::size_t i = 0; i < N; ++i) {
        if (words[i] == text) return static_cast<Enum>(i);
    }
    return std::nullopt;
}

bool equals_ignoring_case(std::string_view text, std::string_view upper) {
    if (text.size() != upper.size()) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if ((c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c) != upper[i]) return false;
    }
    return true;
}

}  // namespace

std::string_view to_string(TaskType value) {
    return word_of(kTaskTypes, value);
}
std::string_view to_string(TicketStatus value) {
    return word_of(kStatuses, value);
}
std::string_view to_string(Priority value) {
    return word_of(kPriorities, value);
}
std::string_view to_string(RiskBand value) {
    return word_of(kRiskBands, value);
}
std::string_view to_string(SecurityLevel value) {
    return word_of(kSecurityLevels, value);
}
std::string_view to_string(DeliveryMode value) {
    return word_of(kDeliveryModes, value);
}
std::string_view to_string(Consistency value) {
    return word_of(kConsistencies, value);
}
std::string_view to_string(Durability value) {
    return word_of(kDurabilities, value);
}

std::optional<TaskType> parse_task_type(std::string_view text) {
    for (std::size_t i = 0; i < kTaskTypes.size(); ++i) {
        if (equals_ignoring_case(text, kTaskTypes[i])) return static_cast<TaskType>(i);
    }
    return std::nullopt;
}
std::optional<TicketStatus> parse_ticket_status(std::string_view text) {
    return value_of<TicketStatus>(kStatuses, text);
}
std::optional<Priority> parse_priority(std::string_view text) {
    return value_of<Priority>(kPriorities, text);
}
std::optional<RiskBand> parse_risk_band(std::string_view text) {
    return value_of<RiskBand>(kRiskBands, text);
}
std::optional<SecurityLevel> parse_security_level(std::string_view text) {
    return value_of<SecurityLevel>(kSecurityLevels, text);
}
std::optional<DeliveryMode> parse_delivery_mode(std::string_view text) {
    return value_of<DeliveryMode>(kDeliveryModes, text);
}
std::optional<Consistency> parse_consistency(std::string_view text) {
    return value_of<Consistency>(kConsistencies, text);
}
std::optional<Durability> parse_durability(std::string_view text) {
    return value_of<Durability>(kDurabilities, text);
}

}  // namespace wa
