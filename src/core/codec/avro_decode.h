// Avro binary, written under one schema and read as another: the resolution rules of the specification (1.11).
//
// What two schemas have to do with each other is worked out once (AvroResolver::make) and used for every message.
//
// Decoding gives JSON values in the shape of the reader's schema: records and maps are objects, arrays are arrays,
// enums and strings are texts, unions are the value of their branch (no tag), int and long are int64, float and double
// are doubles (which may be infinite or not a number), bytes and fixed are texts of characters up to U+00FF
// (bytes_as_text()). A repeated key of a map keeps its last value.
//
// The bytes are hostile. Every length is checked against what is left before anything is allocated; items of arrays and
// maps are counted against the size of the message, so that items of no bytes cannot multiply; depth is bounded; texts
// must be UTF-8; an int must fit 32 bits, a boolean must be 0 or 1, and nothing may follow the value. Memory is at most
// proportional to the message: about 64 bytes for each of its bytes, and the defaults of the reader's schema for each
// record.
//
// Pure; an AvroResolver is immutable and may be used from any thread.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/storage_ptr.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "core/codec/avro_schema.h"

namespace wa {

struct AvroLimits {
    std::size_t max_bytes = 1'048'576;
    std::size_t max_depth = 64;  // records, arrays and maps inside one another
};

class AvroResolver {
public:
    // Error: kInvalidArgument (Fault::kInput) when nothing written under `writer` can be read as `reader`; the message
    // says where they differ. A difference that only some values have (a branch of a union, a symbol) is an error of
    // those values, when they come.
    static Result<AvroResolver> make(const AvroSchema& writer, const AvroSchema& reader);

    // `storage` holds the value: hand in a monotonic_resource that outlives it when speed matters.
    // Errors: kMalformed, kLimitExceeded (max_bytes); Retry::kNever, Fault::kInput; never throws.
    [[nodiscard]] Result<boost::json::value> decode(std::string_view body, const AvroLimits& limits = {},
                                                    boost::json::storage_ptr storage = {}) const;

    // What to do with the next value of the writer. Public for the parts of this codec only.
    enum class Operation : std::uint8_t {
        kNull,
        kBoolean,
        kInt,
        kLong,
        kFloat,
        kDouble,
        kBytes,
        kString,
        kFixed,
        kEnum,
        kArray,
        kMap,
        kRecord,
        kUnion,          // the writer's: an index tells which step follows
        kIntToDouble,    // also to float
        kLongToDouble,   // also to float
        kBytesToString,  // must be UTF-8
        kStringToBytes,  // as bytes_as_text()
        kUnreadable,     // the reader has no place for it: `why`
    };
    struct FieldStep {
        std::string name;  // of the reader when it has the field, else of the writer
        std::uint32_t step = 0;
        bool wanted = false;  // false: read over
    };
    struct Symbol {
        std::string text;
        bool known = false;  // false: the reader has neither the symbol nor a default
    };
    struct Step {
        Operation operation = Operation::kNull;
        std::vector<std::uint32_t> parts;                                  // items, values or branches
        std::vector<FieldStep> fields;                                     // in the writer's order
        std::vector<std::pair<std::string, boost::json::value>> defaults;  // of fields the writer does not have
        std::vector<Symbol> symbols;
        std::size_t size = 0;  // fixed: bytes; record: members of the object
        std::string why;
    };

private:
    friend class AvroPlanner;
    std::vector<Step> steps_;
    std::uint32_t root_ = 0;
};

}  // namespace wa
