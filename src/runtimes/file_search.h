// Finding files by pattern below a folder that somebody else may change at any time, and opening them.
//
// No link is ever followed and nothing outside the folder is ever reached: every step opens one name in a folder that
// is already open. What is no regular file is never opened.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "process/fd.h"

namespace wa {

struct SearchLimits {
    std::size_t entries = 200'000;  // looked at in all
    std::size_t depth = 64;         // folders below the first
    std::size_t files = 1000;       // found in all
};

// `*` stands for any characters of one name, `?` for one. Neither matches a leading dot, as in a shell.
[[nodiscard]] bool name_fits(std::string_view name, std::string_view pattern);

class FileSearch {
public:
    // Something that fits but is no regular file: a link, a pipe, a device.
    struct Oddity {
        std::string path;
        std::string what;  // "a link", …
    };
    // `stop` is asked now and then: why to stop looking, nullptr to go on. `folder` must stay open.
    FileSearch(int folder, SearchLimits limits, std::function<const char*()> stop)
        : folder_(folder), limits_(limits), stop_(std::move(stop)) {}

    // The files that fit, sorted, by their path below the folder. A pattern is names with `*` and `?` between slashes;
    // a name `**` stands for any number of folders, or none. Limits count over all calls.
    [[nodiscard]] std::vector<std::string> find(std::string_view pattern);
    [[nodiscard]] const std::vector<Oddity>& oddities() const { return oddities_; }  // at most 100
    [[nodiscard]] const std::string& stopped() const { return stopped_; }            // why it ended early; else empty

private:
    struct Entry {
        std::string name;
        unsigned char type = 0;  // d_type
    };
    struct Pattern {
        std::vector<std::string> names;
        std::vector<std::string> found;
    };
    bool over();
    [[nodiscard]] std::vector<Entry> list(int folder);
    void walk(Pattern& pattern, int folder, const std::string& prefix, std::size_t index, std::size_t depth);
    void walk_below(Pattern& pattern, int folder, const std::string& prefix, std::size_t index, std::size_t depth);
    void enter(Pattern& pattern, int folder, const std::string& prefix, const std::string& name, std::size_t index,
               std::size_t depth);
    void take(Pattern& pattern, int folder, const std::string& prefix, const std::string& name, bool named);

    int folder_;
    SearchLimits limits_;
    std::function<const char*()> stop_;
    std::size_t entries_ = 0;
    std::size_t files_ = 0;
    std::vector<Oddity> oddities_;
    std::string stopped_;
};

struct OpenFile {
    Fd file;
    std::uint64_t size = 0;
    EpochMillis modified = 0;
};
// Opens a regular file for reading by its path below `folder`. Errors: kNotFound, kNotAllowed (not a regular file, a
// link on the way, a path that leaves the folder), kUnavailable.
[[nodiscard]] Result<OpenFile> open_below(int folder, std::string_view path);

// All bytes of a file that had `size` of them; kLimitExceeded when it has grown beyond `most`.
[[nodiscard]] Result<std::string> read_whole(const Fd& file, std::uint64_t size, std::uint64_t most,
                                             const std::atomic<bool>& cancelled);

}  // namespace wa
