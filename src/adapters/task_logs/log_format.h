// The bytes of a task log on disk.
//
// A log is a head file and, once that is full, numbered segments of which the last two are kept:
//   <root>/<2 hex of the id>/<id>.<attempt>.log      the beginning
//   <root>/<2 hex of the id>/<id>.<attempt>.log.<n>  n = 1, 2, … the end
// Each file is a FileHeader and then frames: FrameHeader and that many bytes. Files are only ever appended to, so a
// frame that a crash cut short is the last one, and a reader stops before it. Positions count the frames of the whole
// log, also of segments that are gone; file headers are not counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ports/task_log.h"

namespace wa::task_logs {

inline constexpr std::size_t kMaxFrameBytes = 64 * 1024;
inline constexpr std::uint64_t kFileMagic = 0x314b4f4f42474f4cULL;
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint16_t kFrameMagic = 0x5741;
inline constexpr std::uint8_t kClosedFrame = 0;  // in place of a stream: the last frame of a complete log

struct FileHeader {
    std::uint64_t magic = kFileMagic;
    std::uint32_t version = kVersion;
    std::uint32_t segment = 0;          // 0 = head
    std::uint64_t position = 0;         // of its first frame
    std::uint64_t payload_before = 0;   // bytes of output in everything before it
    std::uint64_t payload_in_head = 0;  // bytes of output in the head file; 0 there
};
static_assert(sizeof(FileHeader) == 40);

struct FrameHeader {
    std::uint8_t stream = 0;
    std::uint8_t reserved = 0;
    std::uint16_t magic = kFrameMagic;
    std::uint32_t size = 0;
    std::int64_t at = 0;  // epoch milliseconds
};
static_assert(sizeof(FrameHeader) == 16);

[[nodiscard]] inline bool is_valid(const FrameHeader& header) {
    return header.magic == kFrameMagic && header.reserved == 0 && header.size <= kMaxFrameBytes &&
           header.stream <= static_cast<std::uint8_t>(TaskLogStream::kWorker);
}

// "ab": which of the 256 folders.
[[nodiscard]] std::string folder_of(std::string_view ticket_id);
// The id as part of a file name: what is not a letter, digit, '-' or '_' as %XX; long ones end in a hash.
[[nodiscard]] std::string file_stem(std::string_view ticket_id);

struct LogFileName {
    std::int32_t attempt = 0;
    std::uint32_t segment = 0;
};
// What a file name in the folder says, if it belongs to the ticket with this stem.
[[nodiscard]] std::optional<LogFileName> parse_file_name(std::string_view stem, std::string_view name);
[[nodiscard]] std::string make_file_name(std::string_view stem, std::int32_t attempt, std::uint32_t segment);

}  // namespace wa::task_logs
