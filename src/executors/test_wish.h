// What a TEST ticket asks for: its parameters, checked (contract/executors.md 4.1), and whether its command may run on
// this machine.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"

namespace wa {

inline constexpr std::string_view kDefaultTestSuite = "default";
inline constexpr std::string_view kDefaultTestSummary = "report.json";
inline constexpr std::size_t kMaxReportPatterns = 32;
inline constexpr std::size_t kMaxReportPatternBytes = 1024;

struct TestWish {
    std::string provider;  // "github_actions", "gitlab_ci", "jenkins", "local", "simulation"; empty = none named
    std::string suite{kDefaultTestSuite};
    std::vector<std::string> argv;  // empty = no command
    StringMap variables;
    std::optional<std::string> working_dir;
    std::optional<std::chrono::milliseconds> timeout;
    std::vector<std::string> junit;     // patterns below the working directory
    std::vector<std::string> coverage;  // the same
    std::string summary{kDefaultTestSummary};
    bool summary_named = false;
    std::optional<bool> allow_local;  // allow_local_fallback

    [[nodiscard]] bool names_ci() const;
};

// Permanent errors only; they name the parameter.
[[nodiscard]] Result<TestWish> read_test_wish(const Ticket& ticket);

// The list of commands that may run here (ALLOWED_TEST_COMMANDS). An entry allows every command that begins with
// exactly its words: "npm test" allows "npm test -- x", and neither "npm testx" nor "npm". Nothing listed, nothing
// allowed. A program given as a path is allowed by an entry with that very path only.
class AllowedTestCommands {
public:
    // Entries are split as a shell would; one that cannot be split allows nothing.
    explicit AllowedTestCommands(const std::vector<std::string>& entries);
    [[nodiscard]] Result<void> check(const std::vector<std::string>& argv) const;

private:
    std::vector<std::vector<std::string>> entries_;
};

// TEST_WORKSPACE_ROOT as far as the text of the path tells; links are the local runtime's business.
[[nodiscard]] Result<void> check_workspace(const std::optional<std::string>& working_dir, std::string_view root);

}  // namespace wa
