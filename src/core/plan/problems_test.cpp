#include "core/plan/problems.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace wa {
namespace {

using testing::HasSubstr;

std::vector<Problem> sample() {
    return {{Severity::kError,
             "unknown-key",
             "unknown key \"dependecies\" in ticket \"deploy\"",
             "tickets.deploy.dependecies",
             14,
             7,
             "plan.yaml",
             {}},
            {Severity::kError,
             "missing-dependency",
             "ticket \"smoke\" depends on \"deplyo\"",
             "tickets.smoke.needs",
             22,
             15,
             "plan.yaml",
             {}},
            {Severity::kWarning,
             "timeout-beyond-deadline",
             "100%: too long\nsecond",
             "tickets.smoke.sla",
             31,
             18,
             "plan.yaml",
             {}}};
}

TEST(FormatProblems, HumanIsAligned) {
    EXPECT_EQ(format_problems(sample(), ProblemFormat::kHuman, 1, "1.0"),
              "plan.yaml:14:7  error    unknown key \"dependecies\" in ticket \"deploy\"\n"
              "plan.yaml:22:15 error    ticket \"smoke\" depends on \"deplyo\"\n"
              "plan.yaml:31:18 warning  100%: too long?second\n"
              "1 file, 2 errors, 1 warning\n");
    EXPECT_EQ(format_problems({}, ProblemFormat::kHuman, 2, "1.0"), "2 files, 0 errors, 0 warnings\n");
}

TEST(FormatProblems, HumanCannotSteerATerminal) {
    const std::vector<Problem> problems{{Severity::kError, "x", "a\x1b[31mb\x7f", "", 0, 0, "f\n.yaml", {}}};
    EXPECT_EQ(format_problems(problems, ProblemFormat::kHuman, 1, "1.0"),
              "f?.yaml error    a?[31mb?\n1 file, 1 error, 0 warnings\n");
}

TEST(FormatProblems, JsonHasCountsAndPlaces) {
    const auto report = boost::json::parse(format_problems(sample(), ProblemFormat::kJson, 1, "1.0"));
    EXPECT_EQ(report.at("files"), 1);
    EXPECT_EQ(report.at("errors"), 2);
    EXPECT_EQ(report.at("warnings"), 1);
    EXPECT_EQ(report.at("problems").as_array().size(), 3U);
    EXPECT_EQ(report.at("problems").at(0), boost::json::parse(R"({"severity":"error","rule":"unknown-key",
        "message":"unknown key \"dependecies\" in ticket \"deploy\"","path":"tickets.deploy.dependecies","file":"plan.yaml","line":14,"column":7})"));
}

TEST(FormatProblems, GithubEscapesItsSeparators) {
    auto problems = sample();
    problems[0].file = "a,b:c.yaml";
    const std::string text = format_problems(problems, ProblemFormat::kGithub, 1, "1.0");
    EXPECT_THAT(text, HasSubstr("::error file=a%2Cb%3Ac.yaml,line=14,col=7,title=unknown-key::unknown key "
                                "\"dependecies\" in ticket \"deploy\"\n"));
    EXPECT_THAT(text, HasSubstr("title=timeout-beyond-deadline::100%25: too long%0Asecond\n"));
}

TEST(FormatProblems, SarifHasTheShapeViewersNeed) {
    auto problems = sample();
    problems[0].file = "my plan.yaml";
    problems[2].line = 0;
    const auto log = boost::json::parse(format_problems(problems, ProblemFormat::kSarif, 1, "1.2.3"));
    EXPECT_EQ(log.at("version"), "2.1.0");
    const auto& run = log.at("runs").at(0);
    EXPECT_EQ(run.at("tool").at("driver").at("name"), "worker-agents");
    EXPECT_EQ(run.at("tool").at("driver").at("version"), "1.2.3");
    EXPECT_EQ(run.at("tool").at("driver").at("rules").as_array().size(), 3U);
    const auto& first = run.at("results").at(0);
    EXPECT_EQ(first.at("ruleId"), "unknown-key");
    EXPECT_EQ(first.at("level"), "error");
    const auto& place = first.at("locations").at(0).at("physicalLocation");
    EXPECT_EQ(place.at("artifactLocation").at("uri"), "my%20plan.yaml");
    EXPECT_EQ(place.at("region").at("startLine"), 14);
    EXPECT_EQ(place.at("region").at("startColumn"), 7);
    EXPECT_FALSE(run.at("results").at(2).at("locations").at(0).at("physicalLocation").as_object().contains("region"));
}

TEST(ProblemFormats, HaveWords) {
    EXPECT_EQ(parse_problem_format("sarif"), ProblemFormat::kSarif);
    EXPECT_EQ(parse_problem_format("xml"), std::nullopt);
}

TEST(WorstCode, MalformedBeforeLimitBeforeTheRest) {
    auto problems = sample();
    EXPECT_EQ(worst_code(problems), ErrorCode::kInvalidArgument);
    problems[1].code = ErrorCode::kLimitExceeded;
    EXPECT_EQ(worst_code(problems), ErrorCode::kLimitExceeded);
    problems[0].code = ErrorCode::kMalformed;
    EXPECT_EQ(worst_code(problems), ErrorCode::kMalformed);
}

TEST(ProblemList, KeepsAHundredAndCountsTheRest) {
    Document document;
    ProblemList list;
    for (int i = 0; i < 250; ++i)
        list.error("x", "m" + std::to_string(i), "", {&document.root, false});
    const auto problems = std::move(list).finish(document, "f");
    ASSERT_EQ(problems.size(), kMaxProblems + 1);
    EXPECT_EQ(problems.back().message, "and 150 more problems");
    EXPECT_EQ(problems[0].message, "m0");
}

}  // namespace
}  // namespace wa
