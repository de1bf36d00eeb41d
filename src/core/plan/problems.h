// What is wrong with a file, and how to say it: to a person, to a program, to GitHub's log, to a SARIF viewer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/plan/document.h"

namespace wa {

enum class Severity : std::uint8_t { kError, kWarning };
std::string_view to_string(Severity severity);

struct Problem {
    Severity severity = Severity::kError;
    std::string rule;          // stable word: "syntax", "unknown-key", "missing-dependency", "cycle", …
    std::string message;       // one sentence
    std::string path;          // "tickets.deploy.sla.timeout", "tickets[3].dependencies[0]"; empty = the file
    std::uint32_t line = 0;    // 1-based; 0 = unknown
    std::uint32_t column = 0;  // 1-based, in characters
    std::string file;
    // For HTTP: kMalformed 400, kLimitExceeded 413, everything else 422.
    ErrorCode code = ErrorCode::kInvalidArgument;
};

inline constexpr std::size_t kMaxProblems = 100;

[[nodiscard]] std::size_t count(const std::vector<Problem>& problems, Severity severity);
[[nodiscard]] inline bool has_errors(const std::vector<Problem>& problems) {
    return count(problems, Severity::kError) > 0;
}
// The most telling code of the errors (malformed before limit before invalid); kInvalidArgument when there is none.
[[nodiscard]] ErrorCode worst_code(const std::vector<Problem>& problems);

// Collects up to kMaxProblems and counts the rest. Places are looked up once, in finish().
class ProblemList {
public:
    void error(std::string_view rule, std::string message, std::string path, DocumentPlace place,
               ErrorCode code = ErrorCode::kInvalidArgument);
    void warning(std::string_view rule, std::string message, std::string path, DocumentPlace place);
    [[nodiscard]] bool any_error() const { return errors_ > 0; }
    [[nodiscard]] bool full() const { return problems_.size() >= kMaxProblems; }
    // In the order of the text. When some were left out, a last one says how many.
    [[nodiscard]] std::vector<Problem> finish(const Document& document, const std::string& file) &&;

private:
    void add(Problem problem, DocumentPlace place);

    std::vector<Problem> problems_;
    std::vector<DocumentPlace> places_;
    std::size_t errors_ = 0;
    std::size_t left_out_ = 0;
};

enum class ProblemFormat : std::uint8_t { kHuman, kJson, kGithub, kSarif };
std::optional<ProblemFormat> parse_problem_format(std::string_view word);  // human, json, github, sarif

// The whole report, ending with a line end. `files` is how many were checked; `version` is the program's, for SARIF.
[[nodiscard]] std::string format_problems(const std::vector<Problem>& problems, ProblemFormat format, std::size_t files,
                                          std::string_view version);

}  // namespace wa
