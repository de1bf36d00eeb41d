// A log file that somebody else wrote: reading it ends, within bounds, in an answer or an error.
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

#include "adapters/task_logs/log_reader.h"
#include "base/check.h"
#include "core/codec/text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::string folder = [] {
        std::string path = "/tmp/wa-log-fuzz-" + std::to_string(::getpid());
        ::mkdir(path.c_str(), 0700);
        return path;
    }();
    if (size < 12) return 0;
    wa::TaskLogQuery query;
    std::memcpy(&query.from, data, sizeof query.from);
    if (data[8] != 0) query.tail_lines = data[8];
    query.max_bytes = data[9];
    const bool proper_header = (data[10] & 1U) != 0;
    std::string file;
    if (proper_header) {
        const wa::task_logs::FileHeader header;
        file.assign(reinterpret_cast<const char*>(&header), sizeof header);
    }
    file.append(reinterpret_cast<const char*>(data + 11), size - 11);
    std::ofstream(folder + "/t.1.log", std::ios::binary | std::ios::trunc) << file;
    for (int page = 0; page < 1000; ++page) {
        const auto read = wa::task_logs::read_log(folder, "t", query);
        if (!read) break;
        for (const wa::TaskLogChunk& chunk : read->chunks)
            WA_CHECK(wa::is_utf8(chunk.text), "always text");
        if (!read->more) break;
        WA_CHECK(read->next > query.from || query.tail_lines, "a page leads on");
        query.from = read->next;
        query.tail_lines.reset();
    }
    return 0;
}
