#include "cli/sse.h"

namespace wa::cli {

std::vector<SseEvent> SseParser::feed(std::string_view bytes) {
    std::vector<SseEvent> out;
    for (const char c : bytes) {
        if (c == '\n' && after_cr_) {  // CR LF is one line end
            after_cr_ = false;
            continue;
        }
        after_cr_ = c == '\r';
        if (c == '\n' || c == '\r') {
            if (!skipping_) line(line_, out);
            skipping_ = false;
            line_.clear();
            continue;
        }
        if (skipping_) continue;
        if (line_.size() >= limit_) {
            skipping_ = true;
            oversize_ = true;
            line_.clear();
            continue;
        }
        line_ += c;
    }
    return out;
}

void SseParser::line(std::string_view text, std::vector<SseEvent>& out) {
    if (text.empty()) {
        if (oversize_) {
            ++dropped_;
        } else if (has_data_) {
            if (event_.type.empty()) event_.type = "message";
            event_.id = last_id_;
            out.push_back(std::move(event_));
        }
        event_ = {};
        has_data_ = false;
        oversize_ = false;
        return;
    }
    if (text.front() == ':') return;
    const std::size_t colon = text.find(':');
    const std::string_view field = text.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "data") {
        if (event_.data.size() + value.size() > limit_) {
            oversize_ = true;
            return;
        }
        if (has_data_) event_.data += '\n';
        event_.data += value;
        has_data_ = true;
    } else if (field == "event") {
        event_.type = value;
    } else if (field == "id" && value.find('\0') == std::string_view::npos) {
        last_id_ = value;
    }
}

}  // namespace wa::cli
