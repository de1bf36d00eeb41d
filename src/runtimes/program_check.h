// The file that is about to be executed: which one it is, and whether its bytes are those that the operator pinned.
#pragma once

#include <map>
#include <string>

#include "base/error.h"
#include "process/spawner.h"

namespace wa {

class ProgramCheck {
public:
    // Looks at the file, and reads all of it when a digest (SHA-256, hex) is demanded and it has changed since the last
    // time. Errors: kNotAllowed when the digest is another one, kExecutionFailed when it cannot be read. Without a
    // digest a file that cannot be looked at gives no identity: the start says best what is wrong.
    [[nodiscard]] Result<std::optional<ProgramIdentity>> look(const std::string& path, const std::string& digest);

private:
    struct Known {
        ProgramIdentity identity;
        std::string digest;
    };
    std::map<std::string, Known> known_;  // one for each pinned program
};

}  // namespace wa
