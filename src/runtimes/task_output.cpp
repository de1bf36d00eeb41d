#include "runtimes/task_output.h"

#include <algorithm>
#include <utility>

namespace wa {

TaskOutput::TaskOutput() : out_(mask_), err_(mask_) {}

void TaskOutput::begin(const std::vector<std::string>& secrets, std::unique_ptr<TaskLog> log) {
    mask_ = SecretMask(secrets);
    log_ = std::move(log);
}

void TaskOutput::read_again() {
    out_.skip = out_.seen - out_.before;
    err_.skip = err_.seen - err_.before;
}

void TaskOutput::begin_another() {
    out_.before = out_.seen;
    err_.before = err_.seen;
    out_.skip = err_.skip = 0;
}

bool TaskOutput::take(TaskLogStream stream, std::string_view bytes) {
    Stream& one = stream == TaskLogStream::kStderr ? err_ : out_;
    const std::size_t skipped = std::min<std::uint64_t>(one.skip, bytes.size());
    one.skip -= skipped;
    bytes.remove_prefix(skipped);
    if (bytes.empty()) return true;
    one.seen += bytes.size();
    return keep(one, stream, mask_.empty() ? std::string(bytes) : one.masked.feed(bytes));
}

bool TaskOutput::keep(Stream& stream, TaskLogStream name, const std::string& text) {
    if (text.empty()) return true;
    stream.kept.append(text);
    return !log_ || log_->append(name, text);
}

void TaskOutput::finish() {
    if (mask_.empty()) return;
    static_cast<void>(keep(out_, TaskLogStream::kStdout, out_.masked.finish()));
    static_cast<void>(keep(err_, TaskLogStream::kStderr, err_.masked.finish()));
}

void TaskOutput::close(std::string_view why) {
    if (log_) log_->close(why);
}

std::string TaskOutput::last_line(std::size_t max_bytes) const {
    std::string line = mask_.apply(err_.kept.last_line(max_bytes));
    return line.empty() ? mask_.apply(out_.kept.last_line(max_bytes)) : line;
}

void TaskOutput::describe(AttemptReport& attempt, std::size_t room, std::size_t lines) const {
    // Each stream may use what the other leaves of the room, and at least half of it.
    const std::size_t others = room - std::min<std::size_t>(room, out_.kept.total());
    const std::string err = err_.kept.text(std::max(room / 2, others), lines);
    const std::string out = out_.kept.text(room - std::min(room, err.size()), lines);
    const bool truncated = out.size() < out_.kept.total() || err.size() < err_.kept.total();
    attempt.metadata["truncated"] = truncated ? "true" : "false";
    attempt.output["stdout"] = out;
    attempt.output["stderr"] = err;
    attempt.metadata["stdout_bytes"] = std::to_string(out_.seen);
    attempt.metadata["stderr_bytes"] = std::to_string(err_.seen);
}

}  // namespace wa
