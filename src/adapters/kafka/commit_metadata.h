// What stands in the metadata of a commit: the engine's text, and behind an "@" the id of the topic whose offsets these
// are. A commit names its topic only; when a topic of that name is made anew, what a worker that has not noticed yet
// commits would count for the new one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wa::kafka {

// What the mark takes at most, of the bytes that a broker allows (cluster-rule 12).
inline constexpr std::size_t kTopicMarkBytes = 64;

// `text` has no "@". An id that is empty or too long is left out: then nobody can tell, as before.
[[nodiscard]] std::string mark_topic(std::string text, std::string_view topic_id);

struct MarkedMetadata {
    std::string text;
    std::string topic_id;  // empty = not said
};
[[nodiscard]] MarkedMetadata read_mark(std::string_view metadata);

}  // namespace wa::kafka
