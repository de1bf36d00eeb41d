#include "executors/test_wish.h"

#include <algorithm>
#include <utility>

#include "core/codec/parameters.h"
#include "core/codec/shell_words.h"
#include "core/codec/text.h"

namespace wa {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kOrigin = "test";
constexpr std::size_t kMaxSuiteBytes = 200;
constexpr std::size_t kShownBytes = 200;

// "a//b/./c" -> [a, b, c].
std::vector<std::string_view> components(std::string_view path) {
    std::vector<std::string_view> parts;
    while (!path.empty()) {
        const std::string_view part = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(path.size(), part.size() + 1));
        if (!part.empty() && part != ".") parts.push_back(part);
    }
    return parts;
}

Result<void> check_report_path(const Parameters& parameters, std::string_view key, std::string_view path) {
    if (path.size() > kMaxReportPatternBytes) return parameters.refuse(key, "a path in it is too long");
    if (path.starts_with('/')) return parameters.refuse(key, "it must be relative to the working directory");
    const auto parts = components(path);
    if (parts.empty()) return parameters.refuse(key, "a path in it names no file");
    if (std::ranges::find(parts, "..") != parts.end()) return parameters.refuse(key, "it may not contain '..'");
    return {};
}

Result<std::vector<std::string>> report_patterns(const Parameters& parameters, std::string_view key) {
    WA_TRY(const auto given, parameters.list(key));
    std::vector<std::string> patterns = given.value_or(std::vector<std::string>{});
    if (patterns.size() > kMaxReportPatterns) {
        return parameters.refuse(key, "it has more than " + std::to_string(kMaxReportPatterns) + " patterns");
    }
    for (const std::string& pattern : patterns)
        WA_CHECKED(check_report_path(parameters, key, pattern));
    return patterns;
}

Result<std::string> read_provider(const Parameters& parameters) {
    WA_TRY(const auto word,
           parameters.word({"test_provider", "provider", "ci_provider"},
                           {"github_actions", "github", "gitlab_ci", "gitlab", "jenkins", "local", "simulation"}));
    if (word == "github") return std::string("github_actions");
    if (word == "gitlab") return std::string("gitlab_ci");
    return word.value_or("");
}

Result<std::vector<std::string>> read_argv(const Parameters& parameters) {
    WA_TRY(const auto command, parameters.command({"command", "test_command"}));
    std::vector<std::string> argv = command.value_or(std::vector<std::string>{});
    WA_TRY(const auto arguments, parameters.command("args"));
    if (argv.empty()) return argv;  // arguments of nothing
    if (arguments) argv.insert(argv.end(), arguments->begin(), arguments->end());
    return argv;
}

// The words that an entry of the list is about, never what may be a secret.
std::string shown(const std::vector<std::string>& argv) {
    if (argv.empty()) return {};
    std::string text = argv.front();
    if (argv.size() > 1 && !argv[1].starts_with('-') && !names_secret(argv[1])) text += " " + argv[1];
    return clip(text, kShownBytes);
}

}  // namespace

bool TestWish::names_ci() const {
    return provider == "github_actions" || provider == "gitlab_ci" || provider == "jenkins";
}

Result<TestWish> read_test_wish(const Ticket& ticket) {
    const Parameters parameters(ticket.parameters);
    TestWish wish;
    WA_TRY(const auto suite, parameters.text_or("test_suite", kDefaultTestSuite));
    wish.suite = clip(suite, kMaxSuiteBytes);
    WA_TRY(wish.provider, read_provider(parameters));
    WA_TRY(wish.argv, read_argv(parameters));
    WA_TRY(const auto variables, parameters.map({"env_vars", "env"}));
    wish.variables = variables.value_or(StringMap{});
    WA_TRY(wish.working_dir, parameters.text("working_dir"));
    WA_TRY(wish.timeout, parameters.duration("timeout_seconds", {milliseconds(1), std::chrono::hours(24 * 7)}));
    WA_TRY(wish.junit, report_patterns(parameters, "junit_xml_path"));
    WA_TRY(wish.coverage, report_patterns(parameters, "coverage_report_path"));
    WA_TRY(const auto summary, parameters.text("report_path", kMaxReportPatternBytes));
    if (summary) {
        WA_CHECKED(check_report_path(parameters, "report_path", *summary));
        wish.summary = *summary;
        wish.summary_named = true;
    }
    WA_TRY(wish.allow_local, parameters.boolean("allow_local_fallback"));
    if (wish.provider == "local" && wish.argv.empty()) return parameters.refuse("command", "it is missing");
    return wish;
}

AllowedTestCommands::AllowedTestCommands(const std::vector<std::string>& entries) {
    for (const std::string& entry : entries) {
        auto words = split_shell_words(entry);
        if (words && !words->empty()) entries_.push_back(std::move(*words));
    }
}

Result<void> AllowedTestCommands::check(const std::vector<std::string>& argv) const {
    const bool allowed = std::ranges::any_of(entries_, [&](const std::vector<std::string>& entry) {
        return entry.size() <= argv.size() && std::equal(entry.begin(), entry.end(), argv.begin());
    });
    if (allowed) return {};
    Error error = make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, std::string(kOrigin),
                             "the test command '" + shown(argv) + "' is not allowed: " +
                                 (entries_.empty() ? "ALLOWED_TEST_COMMANDS is empty"
                                                   : "it does not begin with the words of an entry of "
                                                     "ALLOWED_TEST_COMMANDS"));
    error.field = "parameters.command";
    error.fix = "add its first words to ALLOWED_TEST_COMMANDS, if it may run on this machine";
    return Failure(std::move(error));
}

Result<void> check_workspace(const std::optional<std::string>& working_dir, std::string_view root) {
    if (root.empty() || !working_dir) return {};
    const auto parts = components(*working_dir);
    const auto folder = components(root);
    const bool upwards = std::ranges::find(parts, "..") != parts.end();
    const bool below = !working_dir->starts_with('/') ||
                       (folder.size() <= parts.size() && std::equal(folder.begin(), folder.end(), parts.begin()));
    if (below && !upwards) return {};
    Error error = make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, std::string(kOrigin),
                             "working_dir '" + clip(*working_dir, kShownBytes) + "' does not lie in " +
                                 std::string(root) + " (TEST_WORKSPACE_ROOT)");
    error.field = "parameters.working_dir";
    error.fix = "use a folder in TEST_WORKSPACE_ROOT";
    return Failure(std::move(error));
}

}  // namespace wa
