// Which programs may be run, by name and by the file that is really executed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace wa {

class CommandPolicy {
public:
    // `allowed`: names without '/', found through `search_path`, or absolute paths, which allow exactly themselves.
    // Empty = nothing is allowed. `search_path`: folders separated by ':'; only absolute ones count.
    CommandPolicy(std::vector<std::string> allowed, std::string_view search_path);

    // The absolute path to execute for this first word of a command. Errors: kNotAllowed (Fault::kInput), or
    // kExecutionFailed when it is allowed but there is no such program.
    [[nodiscard]] Result<std::string> resolve(std::string_view program) const;
    [[nodiscard]] bool allows(std::string_view program) const;
    // The same without asking the list: for commands that another list has allowed.
    [[nodiscard]] Result<std::string> find(std::string_view program) const;
    // The usable folders of the search path, as PATH for tasks.
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::vector<std::string> allowed_;
    std::vector<std::string> folders_;
    std::string path_;
};

}  // namespace wa
