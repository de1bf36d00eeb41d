// Any bytes as a plan file, as YAML and as JSON: never a crash; what is accepted is made of valid tickets without
// cycles, and JSON that both readers accept means the same to both.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>

#include "base/check.h"
#include "core/codec/json_write.h"
#include "core/codec/ticket_json.h"
#include "core/plan/cycles.h"
#include "plan_file/plan_file.h"
#include "plan_file/yaml.h"

namespace {

constexpr wa::DocumentLimits kLimits{1024 * 1024, 64, 20'000};

void check_plan(const wa::Plan& plan) {
    std::map<std::string_view, std::uint32_t> numbers;
    for (const auto& entry : plan.tickets) {
        const auto number = static_cast<std::uint32_t>(numbers.size());
        WA_CHECK(numbers.emplace(entry.ticket.ticket_id, number).second, "ids are unique");
        wa::TicketLimits limits;
        limits.max_bytes = 64 * 1024 * 1024;
        // A parameter sits two levels less deep in the file than in the ticket at most, never deeper.
        const auto again = wa::parse_ticket(wa::write_ticket(entry.ticket), limits);
        WA_CHECK(again && wa::same_ticket(*again, entry.ticket), "every ticket of a plan is valid");
    }
    std::vector<std::vector<std::uint32_t>> needs(plan.tickets.size());
    for (std::size_t i = 0; i < plan.tickets.size(); ++i) {
        for (const auto& id : plan.tickets[i].ticket.dependencies) {
            if (const auto found = numbers.find(id); found != numbers.end()) needs[i].push_back(found->second);
        }
    }
    WA_CHECK(wa::find_cycles(needs, 1).empty(), "an accepted plan has no cycle");
    for (const auto& compensation : plan.compensations)
        WA_CHECK(compensation.of < plan.tickets.size(), "of a ticket");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const wa::TextFormat format : {wa::TextFormat::kYaml, wa::TextFormat::kJson}) {
        wa::SeededRandom random(1);
        const auto reading = wa::read_plan_text(text, format, wa::PlanContext{random, 1'767'000'000'000, "f"}, kLimits);
        WA_CHECK(reading.plan.has_value() == !wa::has_errors(reading.problems), "a plan or errors");
        WA_CHECK(reading.problems.size() <= wa::kMaxProblems + 1, "problems are bounded");
        for (const auto form : {wa::ProblemFormat::kHuman, wa::ProblemFormat::kGithub}) {
            (void)wa::format_problems(reading.problems, form, 1, "1");
        }
        for (const auto form : {wa::ProblemFormat::kJson, wa::ProblemFormat::kSarif}) {
            WA_CHECK(wa::parse_json(wa::format_problems(reading.problems, form, 1, "1")).has_value(),
                     "reports are JSON");
        }
        if (reading.plan) check_plan(*reading.plan);
    }
    const auto yaml = wa::read_yaml_document(text, kLimits);
    const auto json = wa::read_json_document(text, kLimits);
    if (yaml) {
        const auto again = wa::read_json_document(wa::json_text(yaml->root), {64 * 1024 * 1024, 64, 20'000});
        WA_CHECK(again && again->root == yaml->root, "YAML's value can be said in JSON");
    }
    (void)json;
    return 0;
}
