#include "core/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <chrono>
#include <map>

#include "base/random.h"
#include "core/compensation/compensation.h"

namespace wa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr EpochMillis kNow = 1'767'000'000'000;

PlanReading read(std::string_view text, std::size_t max_tickets = kMaxPlanTickets) {
    const auto document = read_json_document(text);
    if (!document) {
        ADD_FAILURE() << document.error().message;
        return {};
    }
    SeededRandom random(7);
    return read_plan(*document, PlanContext{random, kNow, "plan.json", "plan", max_tickets});
}
Plan good(std::string_view text) {
    auto reading = read(text);
    for (const auto& problem : reading.problems) {
        if (problem.severity == Severity::kError) ADD_FAILURE() << problem.message;
    }
    return reading.plan ? std::move(*reading.plan) : Plan{};
}
Plan quiet(std::string_view text) {
    const auto reading = read(text);
    for (const auto& problem : reading.problems)
        ADD_FAILURE() << problem.message;
    return reading.plan ? *reading.plan : Plan{};
}
const Ticket& ticket(const Plan& plan, std::string_view name) {
    for (const auto& entry : plan.tickets) {
        if (entry.name == name) return entry.ticket;
    }
    static const Ticket none;
    ADD_FAILURE() << "no ticket " << name;
    return none;
}
// The text of one ticket "a" in a plan.
std::string one(std::string_view body) {
    return R"({"tickets":{"a":{)" + std::string(body) + "}}}";
}
std::string run_one(std::string_view more) {
    return one(R"("run":"true")" + (more.empty() ? "" : "," + std::string(more)));
}

void expect_problem(std::string_view text, std::string_view rule, std::string_view path, std::string_view part,
                    Severity severity = Severity::kError) {
    const auto reading = read(text);
    EXPECT_EQ(reading.plan.has_value(), !has_errors(reading.problems));
    std::string all;
    for (const auto& problem : reading.problems) {
        all += problem.rule + " at " + problem.path + ": " + problem.message + "\n";
        if (problem.rule != rule || problem.path != path || problem.severity != severity) continue;
        if (problem.message.find(part) == std::string::npos) continue;
        EXPECT_GT(problem.line, 0U);
        EXPECT_GT(problem.column, 0U);
        EXPECT_EQ(problem.file, "plan.json");
        return;
    }
    ADD_FAILURE() << "expected " << rule << " at " << path << " with \"" << part << "\", found:\n" << all;
}
void expect_warning(std::string_view text, std::string_view rule, std::string_view path, std::string_view part) {
    expect_problem(text, rule, path, part, Severity::kWarning);
}

constexpr std::string_view kExample = R"({
  "plan": "hello",
  "defaults": { "sla": { "timeout": "5m", "deadline": "30m", "max_retries": 3 } },
  "tickets": {
    "fetch": { "type": "EXECUTE", "run": ["curl", "-fsS", "http://127.0.0.1:9/x"], "runtime": "local" },
    "build": { "type": "BUILD", "needs": ["fetch"], "parameters": { "artifact_id": "app" } },
    "tests": { "type": "TEST", "needs": ["build"], "run": "pytest -q", "junit": "out/*.xml" },
    "undo": { "type": "COMPENSATE", "compensates": "build" }
  }
})";

// Each ticket gets its own copy of the defaults: a small file must not become any amount of memory.
TEST(ReadPlan, WhatDefaultsAddToAllTicketsIsBounded) {
    const std::string big(1000, 'v');
    for (const std::string& defaults :
         {R"("metadata":{"k":")" + big + R"("})", R"("env":{"K":")" + big + R"("})",
          R"("parameters":{"x":{"y":[")" + big + R"("]}})", R"("working_dir":"/)" + big + R"(")"}) {
        const std::string text = R"({"defaults":{)" + defaults +
                                 R"(},"tickets":{"a":{"run":"true"},"b":{"run":"true"},"c":{"run":"true"}}})";
        const auto document = read_json_document(text);
        ASSERT_TRUE(document);
        SeededRandom random(7);
        PlanContext context{random, kNow, "plan.json"};
        context.max_shared_bytes = 2500;
        const PlanReading reading = read_plan(*document, context);
        EXPECT_FALSE(reading.plan) << defaults;
        ASSERT_THAT(reading.problems, SizeIs(1)) << defaults;
        EXPECT_EQ(reading.problems[0].code, ErrorCode::kLimitExceeded);
        EXPECT_THAT(reading.problems[0].message, HasSubstr("more than 2500 bytes"));
        context.max_shared_bytes = 4000;
        EXPECT_TRUE(read_plan(*document, context).plan) << defaults;
    }
}

TEST(ReadPlan, ExpandsTheExample) {
    const Plan plan = quiet(kExample);
    EXPECT_EQ(plan.name, "hello");
    EXPECT_THAT(plan.plan_id, MatchesRegex("hello-[0-9A-Z]{8}"));
    ASSERT_THAT(plan.tickets, SizeIs(3));
    EXPECT_EQ(plan.tickets[0].name, "fetch");
    EXPECT_EQ(plan.tickets[1].name, "build");
    EXPECT_EQ(plan.tickets[2].name, "tests");
    const Ticket& fetch = plan.tickets[0].ticket;
    const Ticket& build = plan.tickets[1].ticket;
    const Ticket& tests = plan.tickets[2].ticket;
    EXPECT_EQ(fetch.task_type, TaskType::kExecute);
    EXPECT_EQ(fetch.task_id, "fetch");
    EXPECT_EQ(fetch.plan_id, plan.plan_id);
    EXPECT_EQ(fetch.status, TicketStatus::kPending);
    EXPECT_EQ(fetch.created_at, kNow);
    EXPECT_EQ(fetch.sla, (Sla{kNow + 1'800'000, 300'000, 3}));
    EXPECT_EQ(
        fetch.parameters,
        boost::json::parse(R"({"runtime":"local","command":["curl","-fsS","http://127.0.0.1:9/x"]})").as_object());
    EXPECT_THAT(fetch.dependencies, IsEmpty());
    EXPECT_THAT(build.dependencies, ElementsAre(fetch.ticket_id));
    EXPECT_EQ(build.parameters, boost::json::parse(R"({"artifact_id":"app"})").as_object());
    EXPECT_THAT(tests.dependencies, ElementsAre(build.ticket_id));
    EXPECT_EQ(tests.parameters,
              boost::json::parse(R"({"command":["pytest","-q"],"junit_xml_path":"out/*.xml","test_provider":"local"})")
                  .as_object());
    EXPECT_FALSE(fetch.correlation_id.empty());
    EXPECT_EQ(fetch.correlation_id, build.correlation_id);
    EXPECT_NE(fetch.ticket_id, build.ticket_id);
    ASSERT_THAT(plan.compensations, SizeIs(1));
    EXPECT_EQ(plan.compensations[0].name, "undo");
    EXPECT_EQ(plan.compensations[0].of, 1U);
    EXPECT_EQ(plan.compensations[0].ticket_id, compensation_id(build.ticket_id));
    EXPECT_EQ(build.metadata.at("compensation_action"), "delete_artifacts");
    for (const auto& entry : plan.tickets)
        EXPECT_TRUE(parse_ticket(write_ticket(entry.ticket))) << entry.name;
}

TEST(ReadPlan, SameSeedSameIds) {
    EXPECT_EQ(quiet(kExample).tickets[0].ticket.ticket_id, quiet(kExample).tickets[0].ticket.ticket_id);
}

TEST(ReadPlan, TopLevelValuesReachEveryTicket) {
    const Plan plan = quiet(R"({"plan":"My plan!","plan_id":"p-1","description":"d","intent_id":"i","decision_id":"e",
        "correlation_id":"c","metadata":{"team":"x","n":5},"$schema":"s","x-anchors":[1],
        "tickets":{"a":{"run":"true","metadata":{"team":"y"}}}})");
    const Ticket& a = ticket(plan, "a");
    EXPECT_EQ(plan.plan_id, "p-1");
    EXPECT_EQ(plan.description, "d");
    EXPECT_EQ(a.plan_id, "p-1");
    EXPECT_EQ(a.intent_id, "i");
    EXPECT_EQ(a.decision_id, "e");
    EXPECT_EQ(a.correlation_id, "c");
    EXPECT_EQ(a.metadata.at("team"), "y");
    EXPECT_EQ(a.metadata.at("n"), "5");
}

TEST(ReadPlan, PlanIdIsASlugOfTheName) {
    EXPECT_THAT(quiet(R"({"plan":"My plan! é","tickets":{"a":{"run":"x"}}})").plan_id,
                MatchesRegex("My-plan-[0-9A-Z]{8}"));
    EXPECT_THAT(quiet(R"({"tickets":{"a":{"run":"x"}}})").plan_id, MatchesRegex("plan-[0-9A-Z]{8}"));
}

TEST(ReadPlan, TicketsWinOverDefaults) {
    const Plan plan = quiet(R"({"defaults":{"runtime":"docker","image":"i:1","working_dir":"w","env":{"A":"1","B":"2"},
        "parameters":{"x":1,"y":1},"sla":{"timeout":"1m","max_retries":1},"qos":{"consistency":"STRONG"},"priority":"HIGH",
        "risk_band":"low","security_level":"PUBLIC","required_capabilities":["c"],"metadata":{"m":"1","n":"1"}},
        "tickets":{
          "a":{"run":"true"},
          "b":{"run":"true","runtime":"local","env":{"B":"3"},"parameters":{"y":2},"sla":{"max_retries":5},"priority":2,
               "risk_band":"high","security_level":"restricted","required_capabilities":"d","metadata":{"n":"2"},
               "qos":{"durability":"TRANSIENT"}},
          "c":{"type":"query","parameters":{"collection":"z"}}}})");
    const Ticket& a = ticket(plan, "a");
    EXPECT_EQ(a.parameters, boost::json::parse(R"({"x":1,"y":1,"runtime":"docker","image":"i:1","working_dir":"w",
        "env_vars":{"A":"1","B":"2"},"command":["true"]})")
                                .as_object());
    EXPECT_EQ(a.sla, (Sla{std::nullopt, 60'000, 1}));
    EXPECT_EQ(a.priority, Priority::kHigh);
    EXPECT_EQ(a.risk_band, RiskBand::kLow);
    EXPECT_EQ(a.security_level, SecurityLevel::kPublic);
    EXPECT_THAT(a.required_capabilities, ElementsAre("c"));
    EXPECT_EQ(a.qos.consistency, Consistency::kStrong);
    const Ticket& b = ticket(plan, "b");
    EXPECT_EQ(b.parameters.at("runtime"), "local");
    EXPECT_EQ(b.parameters.at("y"), 2);
    EXPECT_EQ(b.parameters.at("env_vars"), boost::json::parse(R"({"A":"1","B":"3"})"));
    EXPECT_EQ(b.sla, (Sla{std::nullopt, 60'000, 5}));
    EXPECT_EQ(b.priority, Priority::kLow);
    EXPECT_EQ(b.risk_band, RiskBand::kHigh);
    EXPECT_EQ(b.security_level, SecurityLevel::kRestricted);
    EXPECT_THAT(b.required_capabilities, ElementsAre("d"));
    EXPECT_EQ(b.metadata.at("m"), "1");
    EXPECT_EQ(b.metadata.at("n"), "2");
    EXPECT_EQ(b.qos, (Qos{DeliveryMode::kAtLeastOnce, Consistency::kStrong, Durability::kTransient}));
    // Defaults that mean nothing to a type stay away from it.
    EXPECT_EQ(ticket(plan, "c").parameters, boost::json::parse(R"({"x":1,"y":1,"collection":"z"})").as_object());
}

TEST(ReadPlan, TypeDefaultsToExecuteWhenThereIsACommand) {
    EXPECT_EQ(ticket(quiet(run_one("")), "a").task_type, TaskType::kExecute);
    EXPECT_EQ(ticket(quiet(one(R"("type":"deploy")")), "a").task_type, TaskType::kDeploy);
    expect_problem(one(R"("description":"x")"), "required", "tickets.a.type", "type of ticket \"a\" is missing");
    expect_problem(one(R"("type":"EXECUT","run":"x")"), "unknown-word", "tickets.a.type",
                   "(did you mean \"EXECUTE\"?)");
}

TEST(ReadPlan, RunIsSplitLikeAShellWould) {
    const auto command = [](std::string_view body) { return ticket(quiet(one(body)), "a").parameters.at("command"); };
    EXPECT_EQ(command(R"("run":"go test './a b'")"), (boost::json::array{"go", "test", "./a b"}));
    EXPECT_EQ(command(R"("run":["sleep",5])"), (boost::json::array{"sleep", "5"}));
    EXPECT_EQ(command(R"("run":"sh -c 'a | b > c'")"), (boost::json::array{"sh", "-c", "a | b > c"}));
    expect_problem(one(R"("run":"'x")"), "wrong-type", "tickets.a.run", "cannot be split into words");
    expect_problem(one(R"("run":[])"), "wrong-type", "tickets.a.run", "is empty");
    expect_problem(one(R"("run":"  ","type":"TEST")"), "wrong-type", "tickets.a.run", "is empty");
    expect_problem(one(R"("run":{"a":1})"), "wrong-type", "tickets.a.run", "a command: text or a list of words");
    expect_problem(one(R"("run":["a",["b"]])"), "wrong-type", "tickets.a.run", "a list of texts, found a list");
    expect_problem(one(R"("type":"BUILD","run":"x")"), "no-effect", "tickets.a.run",
                   "no effect on a ticket of type BUILD");
}

TEST(ReadPlan, WarnsWhenACommandExpectsAShell) {
    for (const std::string_view run : {"a | b", "a && b", "a > b", "echo $HOME", "echo $(date)", "a\\nb c"}) {
        expect_warning(one("\"run\":\"" + std::string(run) + "\""), "shell-syntax", "tickets.a.run",
                       "not given to a shell");
    }
    quiet(run_one(""));
    quiet(one(R"("run":"a \\\n b")"));
    quiet(one(R"("run":"a b\n")"));
    quiet(one(R"("run":["a","|"])"));
}

TEST(ReadPlan, SlaSpellings) {
    const auto sla = [](std::string_view body) {
        return ticket(good(run_one("\"sla\":{" + std::string(body) + "}")), "a").sla;
    };
    EXPECT_EQ(sla(R"("timeout":"1h30m")").timeout_ms, 5'400'000);
    EXPECT_EQ(sla(R"("timeout_ms":1500)").timeout_ms, 1500);
    EXPECT_EQ(sla(R"("timeout_ms":"1500")").timeout_ms, 1500);
    EXPECT_EQ(sla(R"("deadline":"10m")").deadline, kNow + 600'000);
    EXPECT_EQ(sla(R"("deadline":1867225600000)").deadline, 1'867'225'600'000);
    EXPECT_EQ(sla(R"("deadline":0)").deadline, std::nullopt);
    EXPECT_EQ(sla(R"("deadline":null)").deadline, std::nullopt);
    const auto bad = [](std::string_view body, std::string_view key, std::string_view part,
                        std::string_view rule = "wrong-type") {
        expect_problem(run_one("\"sla\":{" + std::string(body) + "}"), rule, "tickets.a.sla." + std::string(key), part);
    };
    bad(R"("timeout":300)", "timeout", "sla.timeout of ticket \"a\" must be a duration with a unit");
    bad(R"("timeout":"300")", "timeout", "a duration with a unit");
    bad(R"("timeout":"8d")", "timeout", "between 1ms and 7d", "out-of-range");
    bad(R"("timeout":"0s")", "timeout", "between 1ms and 7d", "out-of-range");
    bad(R"("timeout":"5m","timeout_ms":5)", "timeout", "keep one of them", "given-twice");
    bad(R"("timeout_ms":0)", "timeout_ms", "from 1 to 604800000", "out-of-range");
    bad(R"("timeout_ms":1.5)", "timeout_ms", "a whole number");
    bad(R"("deadline":600)", "deadline", "a duration from now with a unit");
    bad(R"("deadline":"tomorrow")", "deadline", "a duration from now");
    bad(R"("max_retries":101)", "max_retries", "from 0 to 100", "out-of-range");
    bad(R"("max_retrys":1)", "max_retrys",
        "unknown key \"max_retrys\" in sla of ticket \"a\" (did you mean \"max_retries\"?)", "unknown-key");
    expect_problem(run_one(R"("sla":5)"), "wrong-type", "tickets.a.sla", "a mapping");
}

TEST(ReadPlan, WarnsAboutTimeLimitsThatCannotHold) {
    expect_warning(run_one(R"("sla":{"timeout":"10m","deadline":"5m"})"), "timeout-beyond-deadline",
                   "tickets.a.sla.timeout", "(10m) is longer than the deadline allows");
    expect_warning(R"({"defaults":{"sla":{"deadline":"5m"}},"tickets":{"a":{"run":"x","sla":{"timeout":"10m"}}}})",
                   "timeout-beyond-deadline", "tickets.a.sla", "(10m) is longer than its deadline allows");
    expect_warning(run_one(R"("sla":{"deadline":1267225600000})"), "past-deadline", "tickets.a.sla.deadline",
                   "already past");
    quiet(R"({"defaults":{"sla":{"timeout":"5m","deadline":"10m"}},"tickets":{"a":{"run":"x"}}})");
}

TEST(ReadPlan, UnknownKeysAreErrorsWithASuggestion) {
    expect_problem(R"({"tikets":{}})", "unknown-key", "tikets", "unknown key \"tikets\" (did you mean \"tickets\"?)");
    expect_problem(R"({"defaults":{"runtim":"x"},"tickets":{"a":{"run":"x"}}})", "unknown-key", "defaults.runtim",
                   "unknown key \"runtim\" in defaults (did you mean \"runtime\"?)");
    expect_problem(run_one(R"("dependecies":[])"), "unknown-key", "tickets.a.dependecies",
                   "unknown key \"dependecies\" in ticket \"a\" (did you mean \"dependencies\"?)");
    expect_problem(run_one(R"("timeout":"5m")"), "unknown-key", "tickets.a.timeout", "(it belongs into sla)");
    expect_problem(run_one(R"("qos":{"x":1})"), "unknown-key", "tickets.a.qos.x", "in qos of ticket \"a\"");
    expect_problem(run_one(R"("<<":{})"), "unknown-key", "tickets.a.<<", "merge keys are not supported");
}

TEST(ReadPlan, WrongTypesAreErrors) {
    expect_problem("[]", "wrong-type", "", "a plan must be a mapping");
    expect_problem("{}", "required", "tickets", "a mapping of names to tickets");
    expect_problem(R"({"tickets":5})", "required", "tickets", "a mapping of names");
    expect_problem(R"({"tickets":{}})", "required", "tickets", "at least one ticket");
    expect_problem(R"({"tickets":{"a":5}})", "wrong-type", "tickets.a", "ticket \"a\" must be a mapping");
    expect_problem(R"({"tickets":[5]})", "wrong-type", "tickets[0]", "must be a mapping");
    expect_problem(R"({"tickets":[{"run":"x"}]})", "required", "tickets[0].name", "needs a name");
    expect_problem(R"({"defaults":[],"tickets":{"a":{"run":"x"}}})", "wrong-type", "defaults", "must be a mapping");
    expect_problem(R"({"plan":["x"],"tickets":{"a":{"run":"x"}}})", "wrong-type", "plan", "must be a text");
    expect_problem(run_one(R"("priority":"urgent")"), "unknown-word", "tickets.a.priority", "one of LOW");
    expect_problem(run_one(R"("priority":11)"), "unknown-word", "tickets.a.priority", "one of LOW");
    expect_problem(run_one(R"("risk_band":"extreme")"), "unknown-word", "tickets.a.risk_band", "one of low");
    expect_problem(run_one(R"("env":["A=1"])"), "wrong-type", "tickets.a.env", "a mapping");
    expect_problem(run_one(R"("env":{"A":null})"), "wrong-type", "tickets.a.env.A", "has no value");
    expect_problem(run_one(R"("env":{"A":[1]})"), "wrong-type", "tickets.a.env.A", "must be a text");
    expect_problem(run_one(R"("parameters":"x")"), "wrong-type", "tickets.a.parameters", "a mapping");
    expect_problem(run_one(R"("needs":{"b":1})"), "wrong-type", "tickets.a.needs", "a list of ticket names");
    expect_problem(run_one(R"("needs":[""])"), "wrong-type", "tickets.a.needs", "a list of ticket names");
    expect_problem(run_one(R"("ticket_id":"")"), "out-of-range", "tickets.a.ticket_id", "1 to 255 bytes");
    expect_problem(R"({"tickets":{"":{"run":"x"}}})", "out-of-range", "tickets.", "1 to 255 bytes");
}

TEST(ReadPlan, TheSameThingTwiceIsAnError) {
    expect_problem(run_one(R"("parameters":{"command":"y"})"), "given-twice", "tickets.a.run", "parameters.command");
    expect_problem(run_one(R"("runtime":"local","parameters":{"runtime":"docker"})"), "given-twice",
                   "tickets.a.runtime", "keep one");
    expect_problem(run_one(R"("env":{"A":"1"},"parameters":{"env_vars":{}})"), "given-twice", "tickets.a.env",
                   "env_vars");
}

TEST(ReadPlan, WarnsAboutWhatHasNoEffect) {
    expect_warning(one(R"("type":"BUILD","runtime":"local")"), "no-effect", "tickets.a.runtime",
                   "ticket of type BUILD");
    expect_warning(run_one(R"("junit":"x.xml")"), "no-effect", "tickets.a.junit", "ticket of type EXECUTE");
    expect_warning(one(R"("type":"EXECUTE")"), "nothing-to-run", "tickets.a.run", "has no command");
    expect_warning(one(R"("type":"TEST")"), "nothing-to-run", "tickets.a.run", "names no test provider");
    expect_warning(run_one(R"("runtime":"dokcer")"), "unknown-word", "tickets.a.runtime", "(did you mean \"docker\"?)");
    expect_warning(run_one(R"("name":"b")"), "no-effect", "tickets.a.name",
                   "the key in front of the ticket is its name");
}

TEST(ReadPlan, NeedsAreResolvedByNameAndId) {
    const Plan plan = quiet(R"({"tickets":{
        "a":{"run":"x","ticket_id":"id-a"},"b":{"run":"x","needs":"a"},"c":{"run":"x","needs":["id-a","b","a"],"dependencies":["b"]}}})");
    EXPECT_THAT(ticket(plan, "b").dependencies, ElementsAre("id-a"));
    EXPECT_THAT(ticket(plan, "c").dependencies, ElementsAre("id-a", ticket(plan, "b").ticket_id));
    EXPECT_THAT(plan.external_dependencies, IsEmpty());
}

TEST(ReadPlan, MissingDependencyHasASuggestion) {
    expect_problem(R"({"tickets":{"deploy":{"run":"x"},"smoke":{"run":"x","needs":["deplyo"]}}})", "missing-dependency",
                   "tickets.smoke.needs",
                   "ticket \"smoke\" depends on \"deplyo\", which is not in this plan (did you mean \"deploy\"?)");
}

TEST(ReadPlan, IdsOfEarlierTicketsAreExternal) {
    const std::string id = "0e4b8a52-77aa-4b3c-8a63-5a1c2f0b9d20";
    const Plan plan = quiet(R"({"tickets":{"a":{"run":"x","needs":[")" + id + R"("]},"b":{"run":"x","needs":[")" + id +
                            R"(","a"]}}})");
    EXPECT_THAT(plan.external_dependencies, ElementsAre(id));
    EXPECT_THAT(ticket(plan, "b").dependencies, ElementsAre(id, ticket(plan, "a").ticket_id));
}

TEST(ReadPlan, CyclesAreShownWithTheirPath) {
    expect_problem(
        R"({"tickets":{"build":{"run":"x","needs":["unit-tests"]},"unit-tests":{"run":"x","needs":["build"]}}})",
        "cycle", "tickets.build", "cycle: build → unit-tests → build");
    expect_problem(R"({"tickets":{"a":{"run":"x","needs":["a"]}}})", "self-dependency", "tickets.a.needs",
                   "depends on itself");
    const auto reading = read(
        R"({"tickets":{"z":{"run":"x"},"a":{"run":"x","needs":["c"]},"b":{"run":"x","needs":["a","z"]},"c":{"run":"x","needs":["b"]}}})");
    ASSERT_THAT(reading.problems, SizeIs(1));
    EXPECT_EQ(reading.problems[0].message, "cycle: a → c → b → a");
}

TEST(ReadPlan, LongCyclesAreCut) {
    std::string text = R"({"tickets":{)";
    for (int i = 0; i < 500; ++i) {
        text += (i > 0 ? ",\"t" : "\"t") + std::to_string(i) + R"(":{"run":"x","needs":["t)" +
                std::to_string((i + 1) % 500) + R"("]})";
    }
    const auto reading = read(text + "}}");
    ASSERT_THAT(reading.problems, SizeIs(1));
    EXPECT_THAT(reading.problems[0].message, HasSubstr("t0 → t1 → "));
    EXPECT_THAT(reading.problems[0].message, HasSubstr("489 more"));
    EXPECT_THAT(reading.problems[0].message, HasSubstr("t499 → t0"));
    EXPECT_LT(reading.problems[0].message.size(), 200U);
}

TEST(ReadPlan, DuplicateIdsAndNames) {
    expect_problem(R"({"tickets":{"a":{"run":"x","ticket_id":"i"},"b":{"run":"x","ticket_id":"i"}}})", "duplicate-id",
                   "tickets.b.ticket_id", "used twice");
    expect_problem(R"({"tickets":[{"name":"a","run":"x"},{"name":"a","run":"x"}]})", "duplicate-name", "tickets[1]",
                   "used twice");
}

TEST(ReadPlan, Limits) {
    const auto many = read(R"({"tickets":{"a":{"run":"x"},"b":{"run":"x"},"c":{"run":"x"}}})", 2);
    ASSERT_THAT(many.problems, SizeIs(1));
    EXPECT_EQ(many.problems[0].rule, "limit");
    EXPECT_EQ(worst_code(many.problems), ErrorCode::kLimitExceeded);
    std::string text = R"({"tickets":{"z":{"run":"x","needs":[)";
    for (int i = 0; i <= 1000; ++i)
        text += (i > 0 ? ",\"a" : "\"a") + std::to_string(i) + "\"";
    text += "]}";
    for (int i = 0; i <= 1000; ++i)
        text += ",\"a" + std::to_string(i) + R"(":{"run":"x"})";
    expect_problem(text + "}}", "limit", "tickets.z.needs", "at most 1000");
    std::string env = "\"env\":{";
    for (int i = 0; i <= 128; ++i)
        env += (i > 0 ? ",\"V" : "\"V") + std::to_string(i) + "\":1";
    expect_problem(run_one(env + "}"), "limit", "tickets.a.env", "more than 128");
    expect_problem(R"({"plan":")" + std::string(129, 'p') + R"(","tickets":{"a":{"run":"x"}}})", "out-of-range", "plan",
                   "1 to 128 bytes");
}

TEST(ReadPlan, TenThousandProblemsAreAHundredAndACount) {
    std::string text = R"({"tickets":{)";
    for (int i = 0; i < 10'000; ++i)
        text += (i > 0 ? ",\"t" : "\"t") + std::to_string(i) + R"(":{"run":"x","needs":["nowhere"]})";
    const auto reading = read(text + "}}");
    EXPECT_EQ(reading.problems.size(), kMaxProblems + 1);
    EXPECT_EQ(reading.problems.back().message, "and 9900 more problems");
}

TEST(ReadPlan, Compensations) {
    const Plan plan = quiet(R"({"tickets":{
        "build":{"type":"BUILD"},"go":{"run":"x"},"check":{"type":"VALIDATE"},
        "undo":{"compensates":"build","parameters":{"action":"special","k":[1]},"sla":{"timeout":"10s"}},
        "ungo":{"type":"compensate","compensates":"go","run":["rm","-rf","a b"],"working_dir":"w","env":{"A":"1"}}}})");
    EXPECT_THAT(plan.tickets, SizeIs(3));
    EXPECT_THAT(plan.compensations, SizeIs(2));
    const Ticket& build = ticket(plan, "build");
    EXPECT_EQ(build.metadata.at("compensation_action"), "special");
    EXPECT_EQ(build.metadata.at("compensation_parameters"), R"({"k":[1]})");
    EXPECT_EQ(build.metadata.at("compensation_timeout_ms"), "10000");
    const Ticket& go = ticket(plan, "go");
    EXPECT_EQ(go.metadata.at("compensation_action"), "rollback_execution");
    EXPECT_EQ(boost::json::parse(go.metadata.at("compensation_parameters")),
              boost::json::parse(R"({"rollback_script":"rm -rf 'a b'","working_dir":"w","env_vars":{"A":"1"}})"));
    EXPECT_FALSE(ticket(plan, "check").metadata.contains("compensation_action"));
    CompensationFacts facts;
    facts.attempts_started = 1;
    const auto made = compensation_for(go, facts);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->ticket.ticket_id, plan.compensations[1].ticket_id);
    EXPECT_EQ(made->ticket.parameters.at("rollback_script"), "rm -rf 'a b'");
}

TEST(ReadPlan, CompensationMistakes) {
    const auto bad = [](std::string_view entry, std::string_view rule, std::string_view key, std::string_view part) {
        expect_problem(R"({"tickets":{"build":{"type":"BUILD"},"u":{)" + std::string(entry) + "}}}", rule,
                       "tickets.u." + std::string(key), part);
    };
    bad(R"("type":"TEST","compensates":"build")", "wrong-type", "type", "must be COMPENSATE");
    bad(R"("compensates":"biuld")", "missing-dependency", "compensates", "(did you mean \"build\"?)");
    bad(R"("compensates":"u")", "wrong-type", "compensates", "which is a compensation itself");
    bad(R"("compensates":"build","needs":["build"])", "no-effect", "needs", "cannot need anything");
    expect_problem(R"({"tickets":{"b":{"type":"BUILD"},"u":{"compensates":"b"},"v":{"compensates":"b"}}})",
                   "given-twice", "tickets.v.compensates", "has a compensation already");
    expect_problem(R"({"tickets":{"b":{"type":"BUILD"},"u":{"compensates":"b"},"v":{"run":"x","needs":["u"]}}})",
                   "missing-dependency", "tickets.v.needs", "runs only if \"b\" fails");
    EXPECT_EQ(quiet(one(R"("type":"COMPENSATE","parameters":{"action":"x"})")).tickets.size(), 1U);
}

TEST(ReadPlan, ListOfNamedTickets) {
    const Plan plan = quiet(R"({"tickets":[{"name":"a","run":"x"},{"name":"b","run":"y","needs":["a"]}]})");
    EXPECT_THAT(ticket(plan, "b").dependencies, ElementsAre(ticket(plan, "a").ticket_id));
    expect_problem(R"({"tickets":[{"name":"a","run":"x","nedes":[]}]})", "unknown-key", "tickets[0].nedes",
                   "in ticket \"a\"");
}

// Sent again, it must be the same plan: 409 would follow from another plan id in every ticket.
TEST(ReadPlan, TicketsThatAllBringIdsMakeThePlansId) {
    std::uint64_t seed = 0;  // another one at each reading
    const auto id_of = [&seed](const std::string& text) {
        const auto document = read_json_document(text);
        SeededRandom random(++seed);
        const PlanReading reading = read_plan(*document, PlanContext{random, kNow, "plan.json", "plan"});
        if (!reading.plan) return "no plan " + std::to_string(seed);
        for (const PlanTicket& each : reading.plan->tickets)
            EXPECT_EQ(each.ticket.plan_id, reading.plan->plan_id);
        return reading.plan->plan_id;
    };
    const std::string plan =
        R"({"plan":"p","tickets":{"a":{"ticket_id":"i-1","run":"x"},"b":{"ticket_id":"i-2","run":"y"}}})";
    const std::string id = id_of(plan);
    EXPECT_THAT(id, MatchesRegex("p-[0-9A-Z]{8}"));
    EXPECT_EQ(id_of(plan), id);
    EXPECT_EQ(
        id_of(
            R"({"plan":"p","tickets":[{"name":"b","ticket_id":"i-2","run":"y"},{"name":"a","ticket_id":"i-1","run":"x"}]})"),
        id);
    // Other ids, or ids cut elsewhere, are another plan.
    EXPECT_NE(id_of(R"({"plan":"p","tickets":{"a":{"ticket_id":"i-1","run":"x"}}})"), id);
    EXPECT_NE(id_of(R"({"plan":"p","tickets":{"a":{"ticket_id":"i-1i","run":"x"},"b":{"ticket_id":"-2","run":"y"}}})"),
              id);
    // With one id made up, so is the plan's.
    const std::string half = R"({"plan":"p","tickets":{"a":{"ticket_id":"i-1","run":"x"},"b":{"run":"y"}}})";
    EXPECT_NE(id_of(half), id_of(half));
    // Wire tickets as well.
    const std::string wire = R"({"tickets":[{"ticket_id":"t-1","task_id":"a","task_type":"EXECUTE"}]})";
    EXPECT_EQ(id_of(wire), id_of(wire));
}

TEST(ReadPlan, WireTickets) {
    const Plan plan = quiet(R"({"tickets":[
        {"ticket_id":"t-1","task_id":"a","task_type":"EXECUTE","plan_id":"p-9","unknown":1,"correlation_id":"c"},
        {"task_id":"b","task_type":"test","dependencies":["t-1","t-1"]},
        {"ticket_id":"t-3","task_id":"a","task_type":"QUERY","dependencies":["b","0e4b8a52-77aa-4b3c-8a63-5a1c2f0b9d20"],"created_at":5}]})");
    ASSERT_THAT(plan.tickets, SizeIs(3));
    EXPECT_EQ(plan.plan_id, "p-9");
    EXPECT_EQ(plan.tickets[0].name, "a");
    EXPECT_EQ(plan.tickets[0].ticket.correlation_id, "c");
    EXPECT_EQ(plan.tickets[0].ticket.created_at, kNow);
    EXPECT_EQ(plan.tickets[1].name, "b");
    EXPECT_EQ(plan.tickets[1].ticket.plan_id, "p-9");
    EXPECT_FALSE(plan.tickets[1].ticket.ticket_id.empty());
    EXPECT_THAT(plan.tickets[2].ticket.dependencies,
                ElementsAre(plan.tickets[1].ticket.ticket_id, "0e4b8a52-77aa-4b3c-8a63-5a1c2f0b9d20"));
    EXPECT_EQ(plan.tickets[2].name, "t-3");
    EXPECT_EQ(plan.tickets[2].ticket.created_at, 5);
    EXPECT_THAT(plan.external_dependencies, SizeIs(1));
}

TEST(ReadPlan, WireTicketMistakes) {
    const auto bad = [](std::string_view tickets, std::string_view rule, std::string_view path, std::string_view part) {
        expect_problem(R"({"tickets":[)" + std::string(tickets) + "]}", rule, path, part);
    };
    bad(R"({"ticket_id":"t","task_id":"a","task_type":"DANCE"})", "invalid-ticket", "tickets[0].task_type",
        "must be one of BUILD");
    bad(R"({"ticket_id":"t","task_id":"a","task_type":"TEST","sla":{"timeout_ms":0},"dependencies":["x",5]})",
        "invalid-ticket", "tickets[0].sla.timeout_ms", "tickets[0]: sla.timeout_ms must be");
    bad(R"({"ticket_id":"t","task_id":"a","task_type":"TEST","dependencies":["x",5]})", "invalid-ticket",
        "tickets[0].dependencies[1]", "");
    bad(R"({"ticket_id":"t","task_id":"a","task_type":"TEST","dependencies":["t"]})", "invalid-ticket",
        "tickets[0].dependencies[0]", "itself");
    bad(R"({"ticket_id":"t","task_id":"a","task_type":"TEST","dependencies":["a"]})", "self-dependency",
        "tickets[0].needs", "itself");
    bad(R"({"ticket_id":"t","task_id":"a","task_type":"TEST","dependencies":["zz"]})", "missing-dependency",
        "tickets[0].needs", "\"zz\"");
    bad(R"({"ticket_id":"t","task_id":"a","task_type":"TEST"},{"ticket_id":"t","task_id":"b","task_type":"TEST"})",
        "duplicate-id", "tickets[1].ticket_id", "used twice");
    bad(R"({"ticket_id":"t","task_id":"a","task_type":"TEST","dependencies":["u"]},{"ticket_id":"u","task_id":"b","task_type":"TEST","dependencies":["t"]})",
        "cycle", "tickets[0]", "cycle: a → b → a");
    bad(R"({"task_id":"a","task_type":"TEST"},{"task_id":"a","task_type":"TEST"},{"task_id":"c","task_type":"TEST","dependencies":["a"]})",
        "missing-dependency", "tickets[2].needs", "several tickets have that name");
    bad(R"({"task_id":"a","task_type":"TEST","plan_id":"p"},{"task_id":"b","task_type":"TEST","plan_id":"q"})",
        "invalid-ticket", "tickets[1].plan_id", "but the plan is \"p\"");
}

TEST(ReadPlan, HundredThousandTicketsInOneChain) {
    std::string text = R"({"tickets":{"t0":{"run":"x"})";
    for (int i = 1; i < 100'000; ++i) {
        text += ",\"t" + std::to_string(i) + R"(":{"run":"x","needs":["t)" + std::to_string(i - 1) + R"("]})";
    }
    const Plan plan = quiet(text + "}}");
    EXPECT_EQ(plan.tickets.size(), 100'000U);
    EXPECT_THAT(plan.tickets.back().ticket.dependencies, ElementsAre(plan.tickets[99'998].ticket.ticket_id));
}

TEST(CheckTicketDocument, PointsAtTheField) {
    const auto document = read_json_document(
        "{\"ticket_id\":\"t\",\"task_id\":\"a\",\n\"task_type\":\"TEST\",\n \"sla\":{\"timeout_ms\":0}}");
    ASSERT_TRUE(document);
    const auto problems = check_ticket_document(*document, "t.json");
    ASSERT_THAT(problems, SizeIs(1));
    EXPECT_EQ(problems[0].path, "sla.timeout_ms");
    EXPECT_EQ(problems[0].line, 3U);
    EXPECT_EQ(problems[0].column, 22U);
}

}  // namespace
}  // namespace wa
