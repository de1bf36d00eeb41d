// Room on the disk that is kept for endings (cluster rule 25): a file of real blocks beside the store, given back to
// the file system when an ending finds the disk full, and taken again when there is room. Private to this folder.
#pragma once

#include <cstddef>
#include <filesystem>

#include "base/error.h"

namespace wa::store {

class Reserve {
public:
    Reserve(std::filesystem::path store, std::size_t bytes);
    // Makes the file whole; kDiskFull when there is no room. Nothing to do when it is.
    [[nodiscard]] Result<void> fill();
    // Gives the room back. True when there was some.
    bool spend();
    [[nodiscard]] bool whole() const { return whole_; }
    // Is there room for `bytes` more beside the reserve?
    [[nodiscard]] Result<void> probe(std::size_t bytes) const;

private:
    std::filesystem::path path_;
    std::filesystem::path probe_path_;
    std::size_t bytes_;
    bool whole_ = false;
};

}  // namespace wa::store
