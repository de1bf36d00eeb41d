// A kubeconfig (client-go's format, v1; YAML or JSON): what one of its contexts says about a cluster and a login. Pure.
// What is taken and what is refused: kubernetes_access.h.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"

namespace wa::kubernetes {

inline constexpr std::size_t kMaxKubeconfigBytes = 1 << 20;

// Where there is a text and a file, the text counts. Files have whole paths.
struct Login {
    std::string context;  // the one that was taken
    std::string server;   // "https://10.0.0.1:6443", perhaps with a path; no slash at its end
    bool tls = false;
    bool verify = true;
    std::string ca_pem;
    std::string ca_file;
    std::string cert_pem;
    std::string cert_file;
    std::string key_pem;
    std::string key_file;
    std::string token_file;  // wins over `token` while it can be read
    std::string token;
    std::string user;  // with password; never beside a token
    std::string password;

    [[nodiscard]] bool has_token() const { return !token.empty() || !token_file.empty(); }
    [[nodiscard]] bool has_secret() const { return has_token() || !user.empty(); }
};

// `context`: empty = the file's current-context. Relative paths in the file count from `folder`.
// Errors: kInvalidArgument, kMalformed, kLimitExceeded, permanent. They name fields, contexts, clusters and users;
// never a token, a key or a password.
[[nodiscard]] Result<Login> read_kubeconfig(std::string_view text, const std::string& context,
                                            const std::filesystem::path& folder);

// A token as it stands in a file, white space at its ends removed. Errors: kInvalidArgument: it is empty, too long, or
// cannot stand in a header.
[[nodiscard]] Result<std::string> read_token(std::string_view text);

// An API server's address without the slash at its end, for Login::server. Errors: kInvalidArgument.
[[nodiscard]] Result<std::string> read_server(std::string_view text, bool& tls);

}  // namespace wa::kubernetes
