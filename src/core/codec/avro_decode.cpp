#include "core/codec/avro_decode.h"

#include <array>
#include <bit>
#include <boost/json/array.hpp>
#include <cstring>
#include <limits>
#include <new>

#include "core/codec/text.h"

namespace wa {
namespace json = boost::json;

namespace {

// Items and values of no bytes that a message may hold beyond two for each of its bytes (see Decoder::charge).
constexpr std::uint64_t kFreeItems = 1024;
constexpr std::size_t kMaxVarintBytes = 10;
constexpr std::size_t kReserve = 64;  // items that a block's count is trusted for

Error avro_error(ErrorCode code, std::string message) {
    return make_error(code, Retry::kNever, Fault::kInput, "avro", std::move(message));
}

bool is_text(std::string_view bytes) {
    // Mostly ASCII: eight at a time.
    while (bytes.size() >= sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data(), sizeof word);
        if ((word & 0x8080808080808080U) != 0) return is_utf8(bytes);
        bytes.remove_prefix(sizeof word);
    }
    return is_utf8(bytes);
}

template <class Float, class Bits>
double float_from(std::string_view bytes) {
    Bits bits = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bits |= static_cast<Bits>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    return static_cast<double>(std::bit_cast<Float>(bits));
}

// Follows the steps through the bytes. The first error stops everything; its place is put together on the way out.
class Decoder {
public:
    using Step = AvroResolver::Step;
    using Operation = AvroResolver::Operation;

    Decoder(const std::vector<Step>& steps, std::string_view body, const AvroLimits& limits)
        : steps_(steps),
          rest_(body),
          size_(body.size()),
          items_left_(2 * body.size() + kFreeItems),
          depth_left_(limits.max_depth) {}

    bool run(std::uint32_t root, json::value& out) {
        if (!read(steps_[root], &out)) return false;
        return rest_.empty() || fail("something follows the end of the value");
    }

    Error error() const {
        const std::string place = path_.empty() ? "" : " in " + clip(path_, 200);
        return avro_error(ErrorCode::kMalformed,
                          "not valid Avro data at byte " + std::to_string(size_ - rest_.size()) + place + ": " + what_);
    }

private:
    bool fail(std::string_view what) {
        what_ = what;
        return false;
    }
    bool fail_in(std::string_view place) {
        if (path_.size() < 200) path_ = path_.empty() ? std::string(place) : std::string(place) + "." + path_;
        return false;
    }

    bool take(std::size_t count, std::string_view& bytes) {
        if (count > rest_.size()) return fail("the data ends too early");
        bytes = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return true;
    }
    bool read_long(std::int64_t& out) {
        std::uint64_t bits = 0;
        const std::size_t end = std::min(rest_.size(), kMaxVarintBytes);
        for (std::size_t i = 0; i < end; ++i) {
            const auto byte = static_cast<unsigned char>(rest_[i]);
            bits |= static_cast<std::uint64_t>(byte & 0x7FU) << (7 * i);
            if (byte >= 0x80) continue;
            if (i + 1 == kMaxVarintBytes && byte > 1) return fail("a number does not fit 64 bits");
            rest_.remove_prefix(i + 1);
            out = static_cast<std::int64_t>(bits >> 1U) ^ -static_cast<std::int64_t>(bits & 1U);
            return true;
        }
        return fail(end == kMaxVarintBytes ? "a number is longer than ten bytes" : "the data ends too early");
    }
    bool read_int(std::int64_t& out) {
        if (!read_long(out)) return false;
        const bool fits =
            out >= std::numeric_limits<std::int32_t>::min() && out <= std::numeric_limits<std::int32_t>::max();
        return fits || fail("an int does not fit 32 bits");
    }
    bool read_bytes(std::string_view& bytes) {
        std::int64_t length = 0;
        if (!read_long(length)) return false;
        if (length < 0) return fail("a length is negative");
        if (static_cast<std::uint64_t>(length) > rest_.size()) return fail("a length is larger than what is left");
        return take(static_cast<std::size_t>(length), bytes);
    }
    bool read_text(std::string_view& bytes) {
        if (!read_bytes(bytes)) return false;
        return is_text(bytes) || fail("a text is not UTF-8");
    }

    static void put_text(json::value* out, std::string_view text) {
        if (out != nullptr) out->emplace_string().assign(text.data(), text.size());
    }
    static bool put(json::value* out, bool truth) {
        if (out != nullptr) out->emplace_bool() = truth;
        return true;
    }
    static bool put(json::value* out, std::int64_t number) {
        if (out != nullptr) out->emplace_int64() = number;
        return true;
    }
    static bool put(json::value* out, double number) {
        if (out != nullptr) out->emplace_double() = number;
        return true;
    }

    bool read(const Step& step, json::value* out) {
        std::int64_t number = 0;
        std::string_view bytes;
        switch (step.operation) {
            case Operation::kNull: return charge(1);  // a value begins as null
            case Operation::kBoolean:
                if (!take(1, bytes)) return false;
                if (static_cast<unsigned char>(bytes.front()) > 1) return fail("a boolean is neither 0 nor 1");
                return put(out, bytes.front() == 1);
            case Operation::kInt: return read_int(number) && put(out, number);
            case Operation::kLong: return read_long(number) && put(out, number);
            case Operation::kIntToDouble: return read_int(number) && put(out, static_cast<double>(number));
            case Operation::kLongToDouble: return read_long(number) && put(out, static_cast<double>(number));
            case Operation::kFloat: return take(4, bytes) && put(out, float_from<float, std::uint32_t>(bytes));
            case Operation::kDouble: return take(8, bytes) && put(out, float_from<double, std::uint64_t>(bytes));
            case Operation::kString:
            case Operation::kBytesToString:
                if (!read_text(bytes)) return false;
                put_text(out, bytes);
                return true;
            case Operation::kStringToBytes:
                if (!read_text(bytes)) return false;
                put_text(out, bytes_as_text(bytes));
                return true;
            case Operation::kBytes:
                if (!read_bytes(bytes)) return false;
                if (out != nullptr) put_text(out, bytes_as_text(bytes));
                return true;
            case Operation::kFixed:
                if (!take(step.size, bytes)) return false;
                if (out != nullptr) put_text(out, bytes_as_text(bytes));
                return true;
            case Operation::kEnum: return read_symbol(step, out);
            case Operation::kUnion: return read_branch(step, out);
            case Operation::kArray:
            case Operation::kMap:
            case Operation::kRecord: return read_nested(step, out);
            case Operation::kUnreadable: return fail(step.why);
        }
        return fail("a step is unknown");
    }

    bool read_symbol(const Step& step, json::value* out) {
        std::int64_t index = 0;
        if (!read_long(index)) return false;
        if (index < 0 || static_cast<std::uint64_t>(index) >= step.symbols.size()) {
            return fail("a symbol's index is out of range");
        }
        const auto& symbol = step.symbols[static_cast<std::size_t>(index)];
        if (out != nullptr && !symbol.known) return fail("the symbol " + symbol.text + " is unknown here");
        put_text(out, symbol.text);
        return true;
    }

    bool read_branch(const Step& step, json::value* out) {
        std::int64_t index = 0;
        if (!read_long(index)) return false;
        if (index < 0 || static_cast<std::uint64_t>(index) >= step.parts.size()) {
            return fail("a union's index is out of range");
        }
        return read(steps_[step.parts[static_cast<std::size_t>(index)]], out);
    }

    bool read_nested(const Step& step, json::value* out) {
        if (depth_left_ == 0) return fail("nested too deep");
        --depth_left_;
        const bool done = step.operation == Operation::kRecord  ? read_record(step, out)
                          : step.operation == Operation::kArray ? read_array(steps_[step.parts.front()], out)
                                                                : read_map(steps_[step.parts.front()], out);
        ++depth_left_;
        return done;
    }

    bool read_record(const Step& step, json::value* out) {
        json::object* object = nullptr;
        if (step.fields.empty() && !charge(1)) return false;
        if (out != nullptr) {
            object = &out->emplace_object();
            object->reserve(step.size);
        }
        for (const auto& field : step.fields) {
            json::value* place = nullptr;
            if (object != nullptr && field.wanted) place = &object->emplace(field.name, nullptr).first->value();
            if (!read(steps_[field.step], place)) return fail_in(field.name);
        }
        if (object == nullptr) return true;
        for (const auto& [name, value] : step.defaults)
            object->emplace(name, value);
        return true;
    }

    // The next block's number of items; 0 at the end.
    bool read_count(std::uint64_t& count) {
        std::int64_t number = 0;
        if (!read_long(number)) return false;
        count = number < 0 ? -static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number);
        if (number < 0) {  // the block's size in bytes follows, for readers that jump over it
            std::int64_t size = 0;
            if (!read_long(size)) return false;
            if (size < 0 || static_cast<std::uint64_t>(size) > rest_.size()) {
                return fail("a block is larger than what is left");
            }
        }
        return charge(count);
    }
    // An item mostly takes a byte, and a null mostly the byte of its union's index, so there are no more of them than
    // twice the bytes. What takes no bytes at all (items that are null or empty records) has the allowance, once for
    // the whole message.
    bool charge(std::uint64_t count) {
        if (count > items_left_) return fail("more items than the data can hold");
        items_left_ -= count;
        return true;
    }

    bool read_array(const Step& item, json::value* out) {
        json::array* array = out == nullptr ? nullptr : &out->emplace_array();
        while (true) {
            std::uint64_t count = 0;
            if (!read_count(count)) return false;
            if (count == 0) return true;
            if (array != nullptr) array->reserve(array->size() + std::min<std::size_t>(count, kReserve));
            for (; count > 0; --count) {
                json::value* place = array == nullptr ? nullptr : &array->emplace_back(nullptr);
                if (!read(item, place)) return false;
            }
        }
    }

    bool read_map(const Step& value, json::value* out) {
        json::object* object = out == nullptr ? nullptr : &out->emplace_object();
        while (true) {
            std::uint64_t count = 0;
            if (!read_count(count)) return false;
            if (count == 0) return true;
            for (; count > 0; --count) {
                std::string_view key;
                if (!read_text(key)) return false;
                json::value* place = object == nullptr ? nullptr : &fresh(*object, key);
                if (!read(value, place)) return false;
            }
        }
    }
    static json::value& fresh(json::object& object, std::string_view key) {
        const auto [entry, added] = object.emplace(key, nullptr);
        if (!added) entry->value() = nullptr;
        return entry->value();
    }

    const std::vector<Step>& steps_;
    std::string_view rest_;
    std::size_t size_;
    std::uint64_t items_left_;
    std::size_t depth_left_;
    std::string what_;
    std::string path_;
};

}  // namespace

Result<json::value> AvroResolver::decode(std::string_view body, const AvroLimits& limits,
                                         json::storage_ptr storage) const {
    if (body.size() > limits.max_bytes) {
        return Failure(avro_error(ErrorCode::kLimitExceeded, "the data is " + std::to_string(body.size()) +
                                                                 " bytes long; at most " +
                                                                 std::to_string(limits.max_bytes) + " are allowed"));
    }
    try {
        Decoder decoder(steps_, body, limits);
        json::value value(nullptr, std::move(storage));
        if (!decoder.run(root_, value)) return Failure(decoder.error());
        return value;
    } catch (const std::bad_alloc&) {
        return Failure(avro_error(ErrorCode::kLimitExceeded, "the data needs more memory than there is"));
    } catch (const std::exception& thrown) {
        return Failure(avro_error(ErrorCode::kMalformed, std::string("not valid Avro data: ") + thrown.what()));
    }
}

}  // namespace wa
