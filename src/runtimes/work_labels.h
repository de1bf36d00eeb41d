// The labels of everything that is made in a container engine or a cluster for a ticket
// (contract/executors.md 6.3, 6.4).
#pragma once

#include <string_view>

namespace wa::work_labels {

inline constexpr std::string_view kTicket = "neural-hive.io/ticket-id";
inline constexpr std::string_view kPlan = "neural-hive.io/plan-id";
inline constexpr std::string_view kTask = "neural-hive.io/task-id";
inline constexpr std::string_view kAttempt = "neural-hive.io/attempt";
inline constexpr std::string_view kWorker = "neural-hive.io/worker";
inline constexpr std::string_view kDomain = "neural-hive.io/domain";
inline constexpr std::string_view kWork = "neural-hive.io/work";  // what was asked for, as a hash
inline constexpr std::string_view kDeadline = "neural-hive.io/deadline";
inline constexpr std::string_view kManagedBy = "worker-agents";

}  // namespace wa::work_labels
