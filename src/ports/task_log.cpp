#include "ports/task_log.h"

namespace wa {

std::string_view to_string(TaskLogStream stream) {
    switch (stream) {
        case TaskLogStream::kStdout: return "stdout";
        case TaskLogStream::kStderr: return "stderr";
        case TaskLogStream::kWorker: return "worker";
    }
    return "worker";
}

}  // namespace wa
