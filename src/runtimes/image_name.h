// The name of a container image: [registry/]repository[:tag][@digest]. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace wa {

struct ImageName {
    std::string text;        // as it was given
    std::string registry;    // "docker.io" when none is named
    std::string repository;  // with the registry as it was given, without tag and digest
    std::string tag;         // "latest" when neither tag nor digest is given; empty with a digest only
    std::string digest;      // "sha256:…"; empty = none

    // What a pull asks for beside the repository.
    [[nodiscard]] const std::string& version() const { return digest.empty() ? tag : digest; }
};

// kInvalidArgument for what is no name of an image. At most 512 bytes.
[[nodiscard]] Result<ImageName> parse_image_name(std::string_view text);

}  // namespace wa
