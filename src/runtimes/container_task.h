// What an EXECUTE ticket may ask for wherever it runs in a container: its command, image, variables and user, read and
// checked once for all of those runtimes (contract/executors.md 6.1). Pure. Permanent errors only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/codec/parameters.h"
#include "core/ticket/result.h"
#include "runtimes/image_name.h"

namespace wa {

struct ContainerRules {
    std::string_view origin;  // of errors: "docker"
    const std::vector<std::string>& allowed_images;
    std::string_view default_image;
    std::string_view user;  // of who asks for none
    bool allow_root = false;
    std::string_view allow_root_fix;  // what would allow it; empty = nothing does
};

// An argument list: with `shell` a script for sh and its arguments.
[[nodiscard]] Result<std::vector<std::string>> read_container_command(const Parameters& parameters);
// Mounts, devices, privileges and capabilities are never taken from a ticket; standard input and secrets cannot be
// given to a container. A ticket that asks for them is refused: it would not do what it was written for.
[[nodiscard]] Result<void> refuse_what_is_not_taken(const Parameters& parameters, std::string_view origin);
[[nodiscard]] Result<ImageName> read_image(const Parameters& parameters, const ContainerRules& rules);
// "uid[:gid]" in numbers. Names are looked up in the image's own /etc/passwd, where any name may be root: they are
// taken only where root is allowed.
[[nodiscard]] Result<std::string> read_container_user(const Parameters& parameters, const ContainerRules& rules);
// Within a container the names are the image's business; their form is ours.
[[nodiscard]] Result<StringMap> read_container_variables(const Parameters& parameters);
[[nodiscard]] Result<std::string> read_container_folder(const Parameters& parameters);

// Something that a ticket may not have: the parameter, why, and what would allow it.
[[nodiscard]] Failure not_allowed(std::string_view origin, std::string_view field, std::string why,
                                  std::string fix = {});

}  // namespace wa
