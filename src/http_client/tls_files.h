// Certificates and keys, kept in memory and read again when their files change. Loop thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/error.h"

namespace wa::http {

class TlsFiles {
public:
    // The bytes of a PEM file as it is now. Looks at the file each time (one system call), reads it when it is another
    // one. Errors: kUnavailable, retryable (it may be in the middle of being replaced); names the path.
    [[nodiscard]] Result<std::shared_ptr<const std::string>> read(const std::string& path);

private:
    struct Kept {
        std::uint64_t device = 0;
        std::uint64_t inode = 0;
        std::int64_t size = 0;
        std::int64_t changed_ns = 0;
        std::shared_ptr<const std::string> bytes;
    };
    std::unordered_map<std::string, Kept> kept_;
};

}  // namespace wa::http
