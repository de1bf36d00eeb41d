// Between bytes on Kafka and what the engine knows: JSON or framed Avro in, Avro or JSON out (contract/tickets.md 3.3,
// 3.4). Schemas come from the registry and are kept for good: they never change under their id.
//
// Threading: use(), readable(), ending() and refresh() on the loop; everything else from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/kafka/results_reader.h"
#include "adapters/kafka/sink.h"
#include "base/error.h"
#include "core/codec/avro_result.h"
#include "core/codec/avro_ticket.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"
#include "ports/schemas.h"

namespace wa::app {

enum class ResultsFormat : std::uint8_t { kAuto, kAvro, kJson };

class MessageCodec {
public:
    // `subject`: under which our results' schema is published, "<topic>-value".
    // `unusable`: told once of each schema under which others write results that nobody can read, and why; may be
    // empty.
    MessageCodec(ResultsFormat format, std::string subject,
                 std::function<void(SchemaId, const std::string&)> unusable = {});

    // Null where no registry is configured: then framed messages are poison and results are JSON. Publishes the schema
    // of results. The registry outlives this, or is taken away by use(nullptr).
    void use(Schemas* schemas);

    // False: the schema of this message is being asked for, or the id of our own (the first results shall not be JSON
    // only because the registry has not had the time to answer); `again` is called when it is worth another look.
    [[nodiscard]] bool readable(std::string_view payload, std::function<void()> again);
    [[nodiscard]] Result<Ticket> decode(std::string_view payload) const;
    // Of a result that others wrote. A schema that is not known yet is asked for; some results wait for theirs.
    void ending(std::string_view payload, kafka::EndingDecoded done);
    [[nodiscard]] kafka::EncodedResult encode(const ExecutionResult& result) const;
    // Looks whether the id of our schema is known by now, lets go of messages that waited for it, and asks again, once
    // in five calls, for schemas that results of others wait for. To be called a few times a second.
    void refresh();
    // Results that had to be JSON, since the start.
    [[nodiscard]] std::uint64_t json_fallbacks() const { return fallbacks_; }

private:
    // What is known of one writer's schema: how to read its tickets, or why nobody can.
    struct Reader {
        std::optional<AvroTicketReader> tickets;
        std::string why_not;
    };
    // Results of others under one schema: how to read them (null: nobody can), and those that wait for it.
    struct Verdicts {
        std::optional<AvroVerdictReader> reader;
        bool known = false;
        bool asking = false;
        std::vector<std::pair<std::string, kafka::EndingDecoded>> waiting;  // bodies
    };
    [[nodiscard]] bool waits_for_own_schema();
    void learn(const SchemaAnswer& answer);
    void ask_for_verdicts(SchemaId id, Verdicts& verdicts);
    void learn_verdicts(const SchemaAnswer& answer);

    ResultsFormat format_;
    std::string subject_;
    std::function<void(SchemaId, const std::string&)> unusable_;
    Schemas* schemas_ = nullptr;
    mutable std::mutex mutex_;
    std::map<SchemaId, std::shared_ptr<const Reader>> readers_;
    std::map<SchemaId, Verdicts> verdicts_;
    std::size_t verdicts_waiting_ = 0;
    unsigned refreshed_ = 0;
    std::atomic<std::int64_t> result_schema_{-1};
    std::vector<std::function<void()>> waiting_for_own_;
    mutable std::atomic<std::uint64_t> fallbacks_{0};
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa::app
