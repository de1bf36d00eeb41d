#include "admin/log_tail.h"

#include <utility>

namespace wa::admin {

LogTail::LogTail(const TaskLogs& logs, std::string ticket_id, std::int32_t attempt, std::optional<TaskLogStream> stream,
                 std::optional<std::size_t> tail_lines)
    : logs_(logs) {
    query_.ticket_id = std::move(ticket_id);
    query_.attempt = attempt;
    query_.stream = stream;
    query_.tail_lines = tail_lines;
}

Result<LogTail::Piece> LogTail::next(std::size_t max_bytes) {
    query_.max_bytes = max_bytes;
    auto page = logs_.read(query_);
    Piece piece;
    if (!page) {
        if (page.error().code != ErrorCode::kNotFound) return tl::unexpected(std::move(page).error());
        piece.absent = true;
        return piece;
    }
    query_.tail_lines.reset();
    query_.from = page->next;
    piece.chunks = std::move(page->chunks);
    piece.more = page->more;
    piece.ended = page->closed && !page->more;
    return piece;
}

std::vector<LogLine> newest_lines(const std::vector<TaskLogChunk>& chunks, std::size_t most, std::size_t& skipped) {
    std::vector<LogLine> lines;
    for (const TaskLogChunk& chunk : chunks) {
        std::string_view rest = chunk.text;
        while (!rest.empty()) {
            const std::size_t end = rest.find('\n');
            lines.push_back({chunk.stream, chunk.at, std::string(rest.substr(0, end))});
            rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
        }
    }
    if (lines.size() > most) {
        skipped += lines.size() - most;
        lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(most));
    }
    return lines;
}

}  // namespace wa::admin
