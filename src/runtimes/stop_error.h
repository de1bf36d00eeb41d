// What an attempt that was told to stop reports.
#pragma once

#include <string>

#include "base/error.h"
#include "ports/executor.h"

namespace wa {

// Timeouts are retryable (the attempt's time was over, not the ticket's), interruptions too; a cancel is final.
[[nodiscard]] Error stop_error(StopReason reason, std::string origin);
// "12.345": seconds for metadata.
[[nodiscard]] std::string seconds_text(Duration duration);

}  // namespace wa
