// Server-sent events, read bit by bit from a stream that may be cut anywhere or be garbage.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wa::cli {

struct SseEvent {
    std::string type;  // "message" when the server named none
    std::string data;
    std::string id;
};

// Bounded: a line or an event larger than the limit is dropped as a whole.
class SseParser {
public:
    explicit SseParser(std::size_t limit = 1024 * 1024) : limit_(limit) {}
    // The events that `bytes` complete.
    [[nodiscard]] std::vector<SseEvent> feed(std::string_view bytes);
    [[nodiscard]] const std::string& last_id() const { return last_id_; }
    [[nodiscard]] std::size_t dropped() const { return dropped_; }

private:
    void line(std::string_view text, std::vector<SseEvent>& out);

    std::size_t limit_;
    std::string line_;
    bool skipping_ = false;  // the current line was too long
    bool after_cr_ = false;
    SseEvent event_;
    bool has_data_ = false;
    bool oversize_ = false;
    std::string last_id_;
    std::size_t dropped_ = 0;
};

}  // namespace wa::cli
