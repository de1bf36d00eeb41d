// Schemas in a folder, so that a restart finds them while the registry is down: one small file for each, named by
// registry and id, checked when read. Loop thread only; a few small files, so it works in place.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "ports/schemas.h"

namespace wa::schema_registry {

class DiskCache {
public:
    // `folder` is created when needed (0700). `registry`: its base URL without credentials.
    DiskCache(std::string folder, std::string registry, std::size_t max_files);

    // Everything of this registry that is whole. Damaged files are removed. The error is about the folder.
    Result<void> read_all(const std::function<void(SchemaId, std::string)>& found);
    // A new file in place of an old one. Does nothing when there are too many.
    Result<void> put(SchemaId id, std::string_view schema);

private:
    [[nodiscard]] std::string path_of(SchemaId id) const;

    std::string folder_;
    std::string registry_;
    std::string prefix_;
    std::size_t max_files_;
    std::size_t files_ = 0;
};

}  // namespace wa::schema_registry
