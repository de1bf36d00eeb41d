// Reading tickets and writing results, as Avro and as JSON. One JSON object on stdout: processor time of one, in
// nanoseconds, the best of several rounds.
//
//   avro_bench
//
// "resolve" is making the plan for a writer's schema: once per schema id, not per message. "foreign" reads a ticket of
// a writer with one more field and without two others.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>

#include "core/codec/avro_decode.h"
#include "core/codec/avro_frame.h"
#include "core/codec/avro_result.h"
#include "core/codec/avro_schemas.h"
#include "core/codec/avro_ticket.h"
#include "core/codec/result_json.h"
#include "core/codec/testing/avro_ticket_writer.h"
#include "core/codec/ticket_json.h"

namespace {

[[noreturn]] void give_up(const std::string& message) {
    std::fprintf(stderr, "avro_bench: %s\n", message.c_str());
    std::exit(1);
}

double cpu_ns() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

double best_of(int times, const auto& work) {
    constexpr int kRounds = 20;
    double best = std::numeric_limits<double>::max();
    for (int round = 0; round < kRounds; ++round) {
        const double began = cpu_ns();
        for (int i = 0; i < times; ++i)
            work();
        best = std::min(best, (cpu_ns() - began) / times);
    }
    return best;
}

wa::Ticket sample() {
    auto ticket = wa::parse_ticket(R"({
        "ticket_id": "6f0b6c1e-3a55-4a0e-9a0d-0d5f5e2b7c11", "plan_id": "plan-0042", "intent_id": "intent-0007",
        "decision_id": "decision-0019", "correlation_id": "corr-9d1e", "task_id": "task-3", "task_type": "EXECUTE",
        "description": "run smoke script", "dependencies": ["0e4b8a52-77aa-4b3c-8a63-5a1c2f0b9d20"],
        "status": "PENDING", "priority": "HIGH", "risk_band": "medium",
        "sla": {"deadline": 1767225600000, "timeout_ms": 120000, "max_retries": 2},
        "qos": {"delivery_mode": "AT_LEAST_ONCE", "consistency": "EVENTUAL", "durability": "PERSISTENT"},
        "parameters": {"runtime": "local"}, "required_capabilities": ["python"], "security_level": "INTERNAL",
        "created_at": 1767220000000, "estimated_duration_ms": 40000, "metadata": {"workflow_id": "wf-1"}})");
    if (!ticket) give_up(ticket.error().describe());
    return *ticket;
}

// A writer's schema with a field in front that we do not know.
std::string foreign_schema() {
    std::string text(wa::ticket_schema_text());
    const std::string before = "{\"name\": \"ticket_id\"";
    const auto place = text.find(before);
    if (place == std::string::npos) give_up("the schema changed");
    return text.insert(place, R"({"name": "tenant", "type": ["null", "string"]}, )");
}

}  // namespace

int main() {
    const wa::Ticket ticket = sample();
    const std::string body = wa::testing::avro_of(ticket);
    const std::string foreign = std::string("\2") + "\12tenan" + body;
    const std::string text = wa::write_ticket(ticket);
    const auto own_reader = wa::AvroTicketReader::make(wa::ticket_schema_text());
    const std::string other_schema = foreign_schema();
    const auto foreign_reader = wa::AvroTicketReader::make(other_schema);
    if (!own_reader || !foreign_reader) give_up("a schema was refused");
    wa::ExecutionResult result;
    result.ticket_id = ticket.ticket_id;
    result.output = {{"exit_code", "0"}, {"stdout", std::string(200, 'x')}};
    result.metadata = {{"runtime", "local"}, {"outcome", "completed"}, {"attempts", "1"}};
    result.plan_id = ticket.plan_id;
    const auto need = [](bool good) {
        if (!good) give_up("refused");
    };
    std::printf("{\"ticket_avro_bytes\":%zu,\"ticket_json_bytes\":%zu", body.size(), text.size());
    const auto print = [](const char* name, double nanoseconds) { std::printf(",\"%s_ns\":%.0f", name, nanoseconds); };
    constexpr int kTimes = 20'000;
    print("read_avro", best_of(kTimes, [&] { need(wa::decode_ticket_avro(*own_reader, body).has_value()); }));
    print("read_avro_foreign",
          best_of(kTimes, [&] { need(wa::decode_ticket_avro(*foreign_reader, foreign).has_value()); }));
    print("read_json", best_of(kTimes, [&] { need(wa::parse_ticket(text).has_value()); }));
    print("write_result_avro", best_of(kTimes, [&] { need(!wa::encode_result_avro(result, 8).empty()); }));
    print("write_result_json", best_of(kTimes, [&] { need(!wa::write_result(result).empty()); }));
    print("resolve", best_of(100, [&] { need(wa::AvroTicketReader::make(other_schema).has_value()); }));
    std::printf("}\n");
    return 0;
}
