#include "plan_file/plan_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <fstream>
#include <set>
#include <sstream>

#include "plan_file/yaml.h"

namespace wa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr EpochMillis kNow = 1'767'000'000'000;

PlanReading read(std::string_view text, TextFormat format = TextFormat::kAuto) {
    SeededRandom random(3);
    return read_plan_text(text, format, PlanContext{random, kNow, "plan.yaml"});
}

TEST(ReadPlanText, ReadsTheExampleOfTheManual) {
    const auto reading = read(R"(plan: hello
defaults: { sla: { timeout: 5m, deadline: 30m, max_retries: 3 } }
tickets:
  fetch:  { type: EXECUTE, run: ["curl", "-fsS", "http://127.0.0.1:9/…"], runtime: local }
  build:  { type: BUILD,   needs: [fetch], parameters: { x: 1 } }
  tests:  { type: TEST,    needs: [build], run: "pytest -q", junit: "out/*.xml" }
  undo:   { type: COMPENSATE, compensates: build }
)");
    EXPECT_THAT(reading.problems, IsEmpty());
    ASSERT_TRUE(reading.plan);
    EXPECT_EQ(reading.plan->name, "hello");
    EXPECT_THAT(reading.plan->tickets, SizeIs(3));
    EXPECT_THAT(reading.plan->compensations, SizeIs(1));
    EXPECT_EQ(reading.plan->tickets[0].ticket.sla, (Sla{kNow + 1'800'000, 300'000, 3}));
}

TEST(ReadPlanText, YamlAndJsonGiveTheSamePlan) {
    const auto yaml = read("plan: p\ntickets:\n  a: {run: x, priority: 9}\n  b: {run: [y, '1.10'], needs: a}\n");
    const auto json =
        read(R"({"plan":"p","tickets":{"a":{"run":"x","priority":9},"b":{"run":["y","1.10"],"needs":"a"}}})");
    ASSERT_TRUE(yaml.plan && json.plan);
    ASSERT_EQ(yaml.plan->tickets.size(), json.plan->tickets.size());
    for (std::size_t i = 0; i < yaml.plan->tickets.size(); ++i) {
        EXPECT_TRUE(same_ticket(yaml.plan->tickets[i].ticket, json.plan->tickets[i].ticket));
    }
}

TEST(ReadPlanText, SpellingSurvivesInEnvironmentAndCommand) {
    const auto reading = read("tickets: {a: {run: [echo, 1.10, yes, 0755], env: {V: 1.10, Y: yes, T: true, N: 5}}}");
    ASSERT_TRUE(reading.plan) << reading.problems.at(0).message;
    const auto& parameters = reading.plan->tickets[0].ticket.parameters;
    EXPECT_EQ(parameters.at("command"), (boost::json::array{"echo", "1.10", "yes", "0755"}));
    EXPECT_EQ(parameters.at("env_vars"), (boost::json::object{{"N", "5"}, {"T", "true"}, {"V", "1.10"}, {"Y", "yes"}}));
}

TEST(ReadPlanText, AnchorsMayStandUnderExtensionKeys) {
    const auto reading = read("x-env: &env {A: 1}\ntickets:\n  a: {run: x, env: *env}\n  b: {run: y, env: *env}\n");
    EXPECT_THAT(reading.problems, IsEmpty());
    ASSERT_TRUE(reading.plan);
    EXPECT_EQ(reading.plan->tickets[1].ticket.parameters.at("env_vars").at("A"), "1");
}

TEST(ReadPlanText, FormatIsFoundOut) {
    EXPECT_TRUE(read("{ tickets: { a: { run: x } } }").plan);
    EXPECT_TRUE(read("\xEF\xBB\xBF {\"tickets\": {\"a\": {\"run\": \"x\"}}}").plan);
    EXPECT_TRUE(read("{\"tickets\": {\"a\": {\"run\": \"x\"}}}", TextFormat::kYaml).plan);
    EXPECT_FALSE(read("tickets: {a: {run: x}}", TextFormat::kJson).plan);
    EXPECT_THAT(read("{\"tickets\": }").problems.at(0).message, HasSubstr("not valid JSON at line 1"));
    EXPECT_EQ(format_of("a/b.json"), TextFormat::kJson);
    EXPECT_EQ(format_of("b.yml"), TextFormat::kYaml);
    EXPECT_EQ(format_of("-"), TextFormat::kAuto);
}

TEST(ReadPlanText, UnreadableTextIsOneProblem) {
    const auto reading = read("tickets: [\n");
    ASSERT_THAT(reading.problems, SizeIs(1));
    EXPECT_FALSE(reading.plan);
    EXPECT_EQ(reading.problems[0].rule, "syntax");
    EXPECT_EQ(reading.problems[0].code, ErrorCode::kMalformed);
    EXPECT_EQ(reading.problems[0].file, "plan.yaml");
    EXPECT_GT(reading.problems[0].line, 0U);
    SeededRandom random(3);
    const auto large = read_plan_text(std::string(100, ' '), TextFormat::kAuto, PlanContext{random}, {.max_bytes = 99});
    EXPECT_EQ(worst_code(large.problems), ErrorCode::kLimitExceeded);
}

TEST(ValidateText, SaysWhereAndWhatInTheWordsOfTheManual) {
    const auto problems = validate_text("plan.yaml", R"(plan: x
tickets:
  build:
    run: make
    needs: [unit-tests]
  unit-tests:
    run: ctest
    needs: [build]
  deploy:
    type: DEPLOY
    sla: { timeout_ms: 600000, deadline: 5m }
    dependecies: [build]
  smoke:
    run: ./smoke
    needs: [ deplyo ]
)",
                                        kNow);
    EXPECT_EQ(
        format_problems(problems, ProblemFormat::kHuman, 1, "1"),
        "plan.yaml:3:3   error    cycle: build → unit-tests → build\n"
        "plan.yaml:11:24 warning  sla.timeout_ms of ticket \"deploy\" (10m) is longer than the deadline allows\n"
        "plan.yaml:12:5  error    unknown key \"dependecies\" in ticket \"deploy\" (did you mean \"dependencies\"?)\n"
        "plan.yaml:15:14 error    ticket \"smoke\" depends on \"deplyo\", which is not in this plan (did you mean "
        "\"deploy\"?)\n"
        "1 file, 3 errors, 1 warning\n");
}

TEST(ValidateText, KnowsTicketFiles) {
    EXPECT_THAT(validate_text("t.json", R"({"ticket_id":"t","task_id":"a","task_type":"TEST"})", kNow), IsEmpty());
    const auto problems =
        validate_text("t.yaml", "ticket_id: t\ntask_id: a\ntask_type: TEST\nstatus: assigned\n", kNow);
    ASSERT_THAT(problems, SizeIs(1));
    EXPECT_EQ(problems[0].path, "status");
    EXPECT_EQ(problems[0].line, 4U);
    EXPECT_EQ(problems[0].column, 9U);
}

TEST(ValidateText, NothingAtAllIsNotAPlan) {
    for (const std::string_view text : {"", "# nothing\n", "just words", "- a\n- b\n", "5"}) {
        const auto problems = validate_text("p.yaml", text, kNow);
        EXPECT_TRUE(has_errors(problems)) << text;
    }
}

std::set<std::string> property_names(const boost::json::value& schema) {
    std::set<std::string> names;
    for (const auto& member : schema.at("properties").as_object())
        names.emplace(member.key().data(), member.key().size());
    return names;
}
std::set<std::string> known(PlanSection section) {
    std::set<std::string> names;
    for (const auto key : plan_keys(section))
        names.emplace(key);
    return names;
}
void expect_described(const boost::json::value& schema, const std::string& where) {
    for (const auto& member : schema.at("properties").as_object()) {
        const auto& property = member.value().as_object();
        EXPECT_TRUE(property.contains("description") || property.contains("$ref"))
            << where << "." << std::string(member.key().data(), member.key().size());
    }
}

TEST(PlanSchema, KnowsTheSameKeysAsTheReader) {
    std::ifstream file(std::string(WA_SOURCE_DIR) + "/schemas/plan.schema.json");
    std::stringstream text;
    text << file.rdbuf();
    const auto schema = parse_json(text.str());
    ASSERT_TRUE(schema) << schema.error().message;
    const auto& definitions = schema->at("$defs");
    const std::vector<std::tuple<std::string, const boost::json::value*, PlanSection>> places{
        {"plan", &*schema, PlanSection::kPlan},
        {"defaults", &definitions.at("defaults"), PlanSection::kDefaults},
        {"ticket", &definitions.at("ticket"), PlanSection::kTicket},
        {"sla", &definitions.at("sla"), PlanSection::kSla},
        {"qos", &definitions.at("qos"), PlanSection::kQos}};
    for (const auto& [name, place, section] : places) {
        EXPECT_EQ(property_names(*place), known(section)) << name;
        EXPECT_EQ(place->at("additionalProperties"), false) << name;
        expect_described(*place, name);
    }
    for (const auto& member : definitions.as_object())
        EXPECT_TRUE(member.value().as_object().contains("description"));
    EXPECT_EQ(definitions.at("sla").at("properties").at("timeout_ms").at("maximum"), kMaxTimeoutMs);
    EXPECT_EQ(definitions.at("sla").at("properties").at("max_retries").at("maximum"), kMaxRetries);
}

}  // namespace
}  // namespace wa
