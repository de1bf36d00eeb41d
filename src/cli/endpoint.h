// Where the worker is, and with what token it is spoken to (interface.md "CLI finds the server by").
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "cli/command_line.h"
#include "config/settings.h"

namespace wa::cli {

struct Server {
    std::string base_url;     // "http://127.0.0.1:8080"; on a socket the host is "localhost"
    std::string socket_path;  // empty = TCP
    std::string token;        // empty = none
    std::string label;        // as people know it: "unix:/…/api.sock", "http://127.0.0.1:8080"
    std::string found_by;     // "--server", "state folder /…", "default address"
};

// --server; else the state folder that was given (its socket when somebody listens there, else its `endpoints` file);
// else the same of the default folder; else http://127.0.0.1:8080. The token of the state folder is sent to this
// machine only. Errors: kUnavailable (a folder was named and nothing runs there), kInvalidArgument (--server is no
// address), kNotFound and kNotAllowed (--token-file cannot be read).
[[nodiscard]] Result<Server> find_server(const GlobalOptions& global, const config::Environment& environment);

// The folder that is meant: --state-dir or STATE_DIR, else the default one; may be empty.
[[nodiscard]] std::string state_folder(const GlobalOptions& global, const config::Environment& environment);

}  // namespace wa::cli
