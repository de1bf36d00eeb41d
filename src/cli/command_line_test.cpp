#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace wa::cli {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

std::variant<Invocation, Answered> parse(std::initializer_list<std::string> args,
                                         const config::Environment& environment = {}) {
    return parse_command_line(args, environment);
}

template <class T>
T command(std::initializer_list<std::string> args) {
    auto parsed = parse(args);
    if (const auto* answered = std::get_if<Answered>(&parsed)) {
        ADD_FAILURE() << answered->err << answered->out;
        return {};
    }
    const auto* found = std::get_if<T>(&std::get<Invocation>(parsed).command);
    if (found == nullptr) {
        ADD_FAILURE() << "another command";
        return {};
    }
    return *found;
}

Answered refused(std::initializer_list<std::string> args) {
    auto parsed = parse(args);
    if (!std::holds_alternative<Answered>(parsed)) {
        ADD_FAILURE() << "was accepted";
        return {};
    }
    return std::get<Answered>(parsed);
}

TEST(CommandLine, EveryCommandIsUnderstood) {
    EXPECT_EQ(command<SubmitCommand>({"submit", "a.yaml", "-", "--wait"}).files,
              (std::vector<std::string>{"a.yaml", "-"}));
    EXPECT_TRUE(command<SubmitCommand>({"submit", "--follow", "a.yaml"}).follow);
    EXPECT_TRUE(command<SubmitCommand>({"submit", "a", "--dry-run", "--allow-simulated"}).allow_simulated);
    EXPECT_EQ(command<StatusCommand>({"status"}).id, "");
    EXPECT_EQ(command<StatusCommand>({"status", "3f9a"}).id, "3f9a");
    EXPECT_EQ(command<TicketsListCommand>({"tickets", "ls", "--failed"}).status, "FAILED");
    EXPECT_EQ(command<TicketsListCommand>({"tickets", "list", "--limit", "7", "--plan", "p"}).limit, 7U);
    EXPECT_EQ(command<TicketShowCommand>({"tickets", "show", "@latest"}).id, "@latest");
    EXPECT_EQ(command<TicketShowCommand>({"ticket", "get", "abcd"}).id, "abcd");
    const auto logs = command<TicketLogsCommand>(
        {"tickets", "logs", "abcd", "-f", "--tail", "5", "--attempt", "2", "--stream", "err"});
    EXPECT_TRUE(logs.follow && logs.tail == 5U && logs.attempt == 2 && logs.stream == "err");
    EXPECT_EQ(command<TicketWatchCommand>({"tickets", "watch", "abcd"}).id, "abcd");
    EXPECT_EQ(command<TicketExplainCommand>({"tickets", "explain", "abcd"}).id, "abcd");
    const auto cancel =
        command<TicketCancelCommand>({"tickets", "cancel", "a", "b", "--grace", "10s", "--reason", "r"});
    EXPECT_EQ(cancel.ids.size(), 2U);
    EXPECT_EQ(cancel.grace, std::chrono::seconds(10));
    EXPECT_EQ(command<TicketRetryCommand>({"tickets", "retry", "a"}).ids.size(), 1U);
    EXPECT_EQ(command<PlansListCommand>({"plans", "ls"}).limit, 100U);
    EXPECT_EQ(command<PlanShowCommand>({"plans", "show", "p"}).id, "p");
    EXPECT_EQ(command<PlanWatchCommand>({"plans", "watch", "p"}).id, "p");
    EXPECT_TRUE(command<PlanCancelCommand>({"plans", "cancel", "p", "--dry-run"}).dry_run);
    EXPECT_TRUE(command<PlanRetryCommand>({"plans", "retry", "p", "--failed"}).failed);
    command<DlqListCommand>({"dlq", "ls"});
    EXPECT_EQ(command<DlqShowCommand>({"dlq", "show", "7"}).key, "7");
    EXPECT_FALSE(command<DlqChangeCommand>({"dlq", "replay", "7", "8"}).discard);
    EXPECT_TRUE(command<DlqChangeCommand>({"dlq", "discard", "--all", "--reason", "old"}).discard);
    EXPECT_EQ(command<DlqExportCommand>({"dlq", "export", "f.jsonl"}).file, "f.jsonl");
    const auto some = command<DlqExportCommand>({"dlq", "export", "--ticket", "t-1", "--reason", "decode_error"});
    EXPECT_EQ(some.ticket + " " + some.reason, "t-1 decode_error");
    command<ExecutorsCommand>({"executors", "ls"});
    EXPECT_TRUE(command<DrainCommand>({"drain", "--wait", "--grace", "10m", "--reason", "x"}).wait);
    EXPECT_TRUE(command<DrainCommand>({"drain", "--undo"}).undo);
    EXPECT_TRUE(command<LogsCommand>({"logs", "-f", "--level", "DEBUG"}).follow);
    EXPECT_EQ(command<ValidateCommand>({"validate", "a", "b", "--format", "sarif"}).format, ProblemFormat::kSarif);
    EXPECT_EQ(command<ValidateCommand>({"validate", "a", "--json"}).format, ProblemFormat::kJson);
    command<DoctorCommand>({"doctor"});
    EXPECT_TRUE(command<ConfigShowCommand>({"config", "show", "--origin", "--diff-defaults"}).origin);
    EXPECT_EQ(command<ConfigShowCommand>({"config", "show", "--mode", "run"}).mode, config::Mode::kRun);
    EXPECT_TRUE(command<ConfigInitCommand>({"config", "init", "f", "--force"}).force);
    command<ConfigSchemaCommand>({"config", "schema"});
    command<VersionCommand>({"version"});
    command<VersionCommand>({"--version"});
    EXPECT_EQ(command<CompletionCommand>({"completion", "zsh"}).shell, "zsh");
    EXPECT_EQ(command<CompleteCommand>({"__complete", "tickets", "sh"}).words.size(), 2U);
}

TEST(Parse, CompletionAsksTheWorkerThatTheLineNames) {
    const auto parsed = parse_command_line(
        {"__complete", "--state-dir", "/s", "--server=http://h:1", "tickets", "show", "--token-file"},
        {{"STATE_DIR", "/env"}});
    const auto& global = std::get<Invocation>(parsed).global;
    EXPECT_EQ(global.state_dir, "/s");
    EXPECT_EQ(global.server, "http://h:1");
    EXPECT_EQ(global.token_file, "");  // still being typed
    const auto plain = parse_command_line({"__complete", "tickets", "show", ""}, {{"STATE_DIR", "/env"}});
    EXPECT_EQ(std::get<Invocation>(plain).global.state_dir, "/env");
}

TEST(CommandLine, DevAndRunTakeEverySettingAsAFlag) {
    const auto dev =
        command<DevCommand>({"dev", "--state-dir", "/s", "--example", "diamond", "--example", "project", "--exit",
                             "--max-concurrent-tasks=3", "--log-level", "debug", "--local-runtime-allow-shell",
                             "--opa-token-file", "/t", "--allow-simulated"});
    EXPECT_EQ(dev.examples, (std::vector<std::string>{"diamond", "project"}));
    EXPECT_TRUE(dev.exit && dev.allow_simulated);
    const SettingFlags expected{{"STATE_DIR", "/s"},
                                {"MAX_CONCURRENT_TASKS", "3"},
                                {"LOG_LEVEL", "debug"},
                                {"LOCAL_RUNTIME_ALLOW_SHELL", "true"},
                                {"OPA_TOKEN_FILE", "/t"}};
    EXPECT_EQ(dev.settings, expected);
    EXPECT_EQ(command<RunCommand>({"run", "--http-port", "0"}).settings, (SettingFlags{{"HTTP_PORT", "0"}}));
    EXPECT_EQ(command<RunCommand>({"run", "--local-runtime-enabled=false"}).settings,
              (SettingFlags{{"LOCAL_RUNTIME_ENABLED", "false"}}));
    EXPECT_EQ(command<ConfigShowCommand>({"config", "show", "--http-port", "1"}).settings.size(), 1U);
    auto parsed = parse({"--state-dir", "/x", "dev"});
    EXPECT_EQ(std::get<Invocation>(parsed).global.state_dir, "/x");
}

TEST(CommandLine, GlobalFlagsStandAnywhere) {
    for (const auto& args : {std::vector<std::string>{"--server", "http://x", "-o", "json", "tickets", "ls"},
                             std::vector<std::string>{"tickets", "--server=http://x", "ls", "-o", "json"},
                             std::vector<std::string>{"tickets", "ls", "--json", "--server", "http://x"}}) {
        auto parsed = parse_command_line(args, {});
        ASSERT_TRUE(std::holds_alternative<Invocation>(parsed)) << std::get<Answered>(parsed).err;
        EXPECT_EQ(std::get<Invocation>(parsed).global.server, "http://x");
        EXPECT_EQ(std::get<Invocation>(parsed).global.format, Format::kJson);
    }
    auto parsed = parse({"status", "--color", "always", "--columns", "id, task", "--no-headers", "-q", "-v", "-y",
                         "--no-input", "--timeout", "1m", "--token-file", "/t", "--config", "/c"});
    const GlobalOptions& global = std::get<Invocation>(parsed).global;
    EXPECT_EQ(global.colour, ColourWhen::kAlways);
    EXPECT_EQ(global.columns, (std::vector<std::string>{"id", "task"}));
    EXPECT_TRUE(!global.headers && global.quiet && global.verbose && global.yes && global.no_input);
    EXPECT_EQ(global.timeout, std::chrono::minutes(1));
    EXPECT_EQ(global.token_file, "/t");
    EXPECT_EQ(global.config_file, "/c");
}

TEST(CommandLine, EnvironmentFillsInWhatFlagsLeaveOut) {
    const config::Environment environment{
        {"WORKER_AGENTS_SERVER", "http://env"}, {"STATE_DIR", "/env"}, {"WORKER_AGENTS_TOKEN_FILE", "/tok"}};
    auto from_env = parse({"status"}, environment);
    EXPECT_EQ(std::get<Invocation>(from_env).global.server, "http://env");
    EXPECT_EQ(std::get<Invocation>(from_env).global.state_dir, "/env");
    EXPECT_EQ(std::get<Invocation>(from_env).global.token_file, "/tok");
    auto from_flag = parse({"status", "--server", "http://flag"}, environment);
    EXPECT_EQ(std::get<Invocation>(from_flag).global.server, "http://flag");
}

TEST(CommandLine, MistakesAreExplained) {
    EXPECT_EQ(refused({}).exit_code, 2);
    EXPECT_THAT(refused({"submti", "x"}).err, HasSubstr("unknown command \"submti\" (did you mean submit?)"));
    EXPECT_THAT(refused({"tickets", "shwo", "x"}).err, HasSubstr("did you mean show?"));
    EXPECT_THAT(refused({"tickets", "ls", "--limt", "5"}).err,
                HasSubstr("unknown flag --limt (did you mean --limit?)"));
    EXPECT_THAT(refused({"dev", "--max-concurent-tasks=5"}).err, HasSubstr("did you mean --max-concurrent-tasks?"));
    EXPECT_THAT(refused({"tickets", "show"}).err, HasSubstr("ID is required"));
    EXPECT_THAT(refused({"tickets", "show", "a", "b"}).err, HasSubstr("one argument too many"));
    EXPECT_THAT(refused({"tickets"}).err, HasSubstr("explain"));
    EXPECT_THAT(refused({"status", "-o", "xml"}).err, HasSubstr("-o must be"));
    EXPECT_THAT(refused({"status", "--timeout", "soon"}).err, HasSubstr("--timeout must be a duration"));
    EXPECT_THAT(refused({"tickets", "cancel", "x", "--grace", "1h"}).err, HasSubstr("at most 5m"));
    EXPECT_THAT(refused({"tickets", "ls", "--limit", "0"}).err, Not(HasSubstr("\x1b")));
    EXPECT_THAT(refused({"drain", "--undo", "--now"}).err, HasSubstr("stands alone"));
    EXPECT_THAT(refused({"dlq", "replay"}).err, HasSubstr("--all"));
    EXPECT_THAT(refused({"dlq", "replay", "7", "--all"}).err, HasSubstr("--all"));
    EXPECT_THAT(refused({"dev", "--http-port"}).err, HasSubstr("needs a value"));
    EXPECT_THAT(refused({"completion", "tcsh"}).err, HasSubstr("fix: worker-agents completion --help"));
    EXPECT_THAT(refused({"x\x1b[2J"}).err, Not(HasSubstr("\x1b")));
    for (const auto& one : {refused({"tickets", "show"}), refused({"nope"}), refused({"status", "--nope"})})
        EXPECT_EQ(one.exit_code, 2);
}

TEST(CommandLine, TokensAreNeverFlags) {
    EXPECT_THAT(refused({"status", "--token", "hunter2"}).err, HasSubstr("--token-file"));
    EXPECT_THAT(refused({"status", "--token=hunter2"}).err, Not(HasSubstr("hunter2")));
}

TEST(CommandLine, HelpNamesEnvironmentAndDefaults) {
    const Answered help = refused({"--help"});
    EXPECT_EQ(help.exit_code, 0);
    for (const char* text : {"dev", "submit", "dlq", "completion", "WORKER_AGENTS_SERVER", "--token-file"})
        EXPECT_THAT(help.out, HasSubstr(text));
    EXPECT_THAT(help.out, Not(HasSubstr("__complete")));
    const Answered dev = refused({"dev", "--help"});
    EXPECT_THAT(dev.out, HasSubstr("--max-concurrent-tasks"));
    EXPECT_THAT(dev.out, HasSubstr("[env MAX_CONCURRENT_TASKS, default 5]"));
    EXPECT_THAT(refused({"tickets", "logs", "--help"}).out, HasSubstr("--tail"));
    EXPECT_THAT(refused({"help", "tickets", "logs"}).out, HasSubstr("--tail"));
    EXPECT_EQ(refused({"help"}).exit_code, 0);
}

TEST(Complete, WordsOfTheTree) {
    EXPECT_EQ(complete({"subm"}).words, std::vector<std::string>{"submit"});
    EXPECT_THAT(complete({""}).words, Contains("tickets"));
    EXPECT_THAT(complete({"tickets", ""}).words, Contains("explain"));
    EXPECT_THAT(complete({"tickets", "ls", "--f"}).words, Contains("--failed"));
    EXPECT_THAT(complete({"dev", "--kafka-t"}).words, Contains("--kafka-tickets-topic"));
    EXPECT_THAT(complete({"tickets", "ls", "--status", "F"}).words, Contains("FAILED"));
    EXPECT_THAT(complete({"dev", "--log-level", ""}).words, Contains("DEBUG"));
    EXPECT_THAT(complete({"completion", ""}).words, Contains("fish"));
    EXPECT_EQ(complete({"tickets", "show", "3f"}).live, Live::kTickets);
    EXPECT_EQ(complete({"--server", "x", "plans", "watch", ""}).live, Live::kPlans);
    EXPECT_EQ(complete({"submit", ""}).live, Live::kFiles);
    EXPECT_EQ(complete({"status", ""}).live, Live::kAnyId);
    EXPECT_TRUE(complete({}).words.empty());
}

}  // namespace
}  // namespace wa::cli
