// Which programs may be run: by name or path, by the first arguments, and by the bytes of the file that is executed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace wa {

// What an allowed command comes down to.
struct AllowedProgram {
    std::string path;    // absolute: the file to execute
    std::string digest;  // its SHA-256 in hex, when an entry demands one; else empty
};

class CommandPolicy {
public:
    // `allowed`: entries of one or more words.
    //   sh                        a name without '/', found through `search_path`
    //   /opt/tool                 an absolute path, which allows exactly itself
    //   /opt/tool@sha256:<hex>    and only while the file has this digest
    //   git clone https://*       further words are patterns ('*', '?') for the first arguments, in order
    //   make check $              a last word "$": no further arguments
    // Empty = nothing is allowed; an entry that cannot be read allows nothing. `search_path`: folders separated by ':';
    // only absolute ones count.
    CommandPolicy(const std::vector<std::string>& allowed, std::string_view search_path);

    // Whether this command (argv) may run, and as what. Errors: kNotAllowed (Fault::kInput), or kExecutionFailed when
    // it is allowed but there is no such program.
    [[nodiscard]] Result<AllowedProgram> resolve(const std::vector<std::string>& command) const;
    // The absolute path of a program, without asking the list: for commands that another list has allowed.
    [[nodiscard]] Result<std::string> find(std::string_view program) const;
    // The usable folders of the search path, as PATH for tasks.
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    struct Entry {
        std::string program;
        std::string digest;
        std::vector<std::string> arguments;  // patterns
        bool closed = false;                 // no further arguments
    };
    [[nodiscard]] static bool fits(const Entry& entry, const std::vector<std::string>& command);

    std::vector<Entry> entries_;
    std::vector<std::string> folders_;
    std::string path_;
};

}  // namespace wa
