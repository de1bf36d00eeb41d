// Small files (certificates, keys, tokens), kept in memory and read again when they change. Loop thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace wa::http {

struct KeptFilesOptions {
    std::string what = "TLS file";        // in messages
    std::string origin = "http";          // of errors
    std::int64_t max_bytes = 4LL << 20U;  // of one; trust stores are large
};

class KeptFiles {
public:
    explicit KeptFiles(KeptFilesOptions options = {}) : options_(std::move(options)) {}

    // The bytes of a file as it is now. Looks at the file each time (one system call), reads it when it is another
    // one. Errors: kUnavailable, retryable (it may be in the middle of being replaced); names the path.
    [[nodiscard]] Result<std::shared_ptr<const std::string>> read(const std::string& path);

private:
    [[nodiscard]] Failure cannot_read(const std::string& path, const std::string& why) const;

    struct Kept {
        std::uint64_t device = 0;
        std::uint64_t inode = 0;
        std::int64_t size = 0;
        std::int64_t changed_ns = 0;
        std::shared_ptr<const std::string> bytes;
    };
    KeptFilesOptions options_;
    std::unordered_map<std::string, Kept> kept_;
};

}  // namespace wa::http
