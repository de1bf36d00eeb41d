// Passwords of image registries, as the file config.json of the docker command holds them (setting DOCKER_AUTH_CONFIG).
// Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace wa {

class RegistryAuth {
public:
    // {"auths": {"registry.example.com": {"auth": base64 of "user:password"} | {"username", "password"} |
    // {"identitytoken"}}}. Empty = none. Errors never quote it.
    [[nodiscard]] static Result<RegistryAuth> parse(std::string_view json);

    // The value of X-Registry-Auth for a registry ("docker.io", "registry.example.com:5000"); empty = none is known.
    [[nodiscard]] std::string header_for(std::string_view registry) const;
    // For masks: what must never be shown.
    [[nodiscard]] std::vector<std::string> secrets() const;

private:
    struct Entry {
        std::string username;
        std::string password;
        std::string token;
        std::string address;
    };
    std::map<std::string, Entry, std::less<>> entries_;  // by the registry's host
};

}  // namespace wa
