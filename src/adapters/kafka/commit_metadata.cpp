#include "adapters/kafka/commit_metadata.h"

namespace wa::kafka {

std::string mark_topic(std::string text, std::string_view topic_id) {
    if (topic_id.empty() || topic_id.size() >= kTopicMarkBytes || topic_id.find('@') != std::string_view::npos)
        return text;
    text += '@';
    text += topic_id;
    return text;
}

MarkedMetadata read_mark(std::string_view metadata) {
    const auto at = metadata.rfind('@');
    if (at == std::string_view::npos || metadata.size() - at > kTopicMarkBytes) return {std::string(metadata), {}};
    return {std::string(metadata.substr(0, at)), std::string(metadata.substr(at + 1))};
}

}  // namespace wa::kafka
