// Reads a log while it may still be written. Stateless; any thread.
#pragma once

#include <string>

#include "adapters/task_logs/log_format.h"
#include "base/error.h"

namespace wa::task_logs {

[[nodiscard]] Result<TaskLogPage> read_log(const std::string& folder, const std::string& stem,
                                           const TaskLogQuery& query);

}  // namespace wa::task_logs
