// Where writer schemas come from and where our own are made known: the Schema Registry.
//
// Threading: the loop; callbacks are never called from inside a call.
// Rules: contract/tickets.md 3.3 and 3.4.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace wa {

using SchemaId = std::uint32_t;  // as in the five bytes before an Avro message

enum class SchemaState : std::uint8_t {
    kFound,
    kNotFound,     // the registry knows no such id, or it is no plain Avro schema: the message is poison
    kUnreachable,  // nobody can say now: the message must wait
};

struct SchemaAnswer {
    SchemaId id = 0;
    SchemaState state = SchemaState::kUnreachable;
    std::shared_ptr<const std::string> text;        // the schema as JSON text, when found
    std::string detail;                             // one sentence, when not
    std::optional<std::chrono::milliseconds> wait;  // kUnreachable: asking earlier is useless
};

class Schemas {
public:
    virtual ~Schemas() = default;

    // The schema if it is at hand; null when it must be fetched.
    [[nodiscard]] virtual std::shared_ptr<const std::string> find(SchemaId id) = 0;
    // Exactly one answer, unless this object is destroyed before. Many may ask for one id: the registry is asked once.
    virtual void fetch(SchemaId id, std::function<void(const SchemaAnswer&)> done) = 0;

    // Registers a schema of ours under a subject ("<topic>-value"), again and again until it is done or refused for
    // good. Calling it again with the same text changes nothing.
    virtual void publish(std::string subject, std::string text) = 0;
    // The id of what was published under the subject; nothing as long as it is not known: write JSON then.
    [[nodiscard]] virtual std::optional<SchemaId> published(std::string_view subject) const = 0;
    // Whether the first answer to publish() is still awaited: not for longer than a call may take.
    [[nodiscard]] virtual bool is_publishing(std::string_view subject) const = 0;
};

}  // namespace wa
