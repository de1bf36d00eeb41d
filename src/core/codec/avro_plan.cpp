// Working out, once, how values of one schema are read as another.
#include <algorithm>
#include <map>
#include <optional>

#include "core/codec/avro_decode.h"
#include "core/codec/text.h"

namespace wa {

namespace {

using Operation = AvroResolver::Operation;
using Step = AvroResolver::Step;

// The steps of one resolution grow with the product of the two schemas when these are built to do so.
constexpr std::size_t kMaxSteps = 65'536;
// Recursion of the planner itself: deeper than any schema's text may nest (AvroSchemaLimits::max_depth), but a chain of
// names can be longer than that.
constexpr std::size_t kMaxPlanDepth = 256;

bool is_number(AvroKind kind) {
    return kind == AvroKind::kInt || kind == AvroKind::kLong || kind == AvroKind::kFloat || kind == AvroKind::kDouble;
}

// How a primitive of the writer becomes one of the reader; nothing when it cannot.
std::optional<Operation> promotion(AvroKind writer, AvroKind reader) {
    if (writer == reader) return static_cast<Operation>(writer);
    if (is_number(writer) && is_number(reader) && writer < reader) {
        if (reader == AvroKind::kLong) return Operation::kInt;  // the value is an int64 either way
        if (writer == AvroKind::kInt) return Operation::kIntToDouble;
        if (writer == AvroKind::kLong) return Operation::kLongToDouble;
        return Operation::kFloat;  // to double, likewise
    }
    if (writer == AvroKind::kBytes && reader == AvroKind::kString) return Operation::kBytesToString;
    if (writer == AvroKind::kString && reader == AvroKind::kBytes) return Operation::kStringToBytes;
    return std::nullopt;
}

bool same_name(const AvroType& writer, const AvroType& reader) {
    if (unqualified(writer.name) == unqualified(reader.name)) return true;
    return std::ranges::find(reader.aliases, writer.name) != reader.aliases.end();
}

}  // namespace

class AvroPlanner {
public:
    AvroPlanner(const AvroSchema& writer, const AvroSchema& reader) : writer_(writer), reader_(reader) {}

    Result<AvroResolver> run() {
        plan_.root_ = resolve(writer_.root(), reader_.root());
        std::string why;
        if (too_large_) {
            why = "they are too large or too deep";
        } else if (step(plan_.root_).operation == Operation::kUnreadable) {
            why = step(plan_.root_).why;
        } else {
            return std::move(plan_);
        }
        return Failure(make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "avro",
                                  "the writer's schema cannot be read as ours: " + why));
    }

private:
    using Index = std::uint32_t;
    static constexpr AvroTypeIndex kNobody = static_cast<AvroTypeIndex>(-1);  // a reader that wants nothing

    Step& step(Index index) { return plan_.steps_[index]; }

    std::string describe(const AvroType& type) const {
        return type.name.empty() ? std::string(to_string(type.kind)) : clip(type.name);
    }

    // The step for a pair of types; made once, so that recursive schemas end.
    Index resolve(AvroTypeIndex writer, AvroTypeIndex reader) {
        const std::pair<AvroTypeIndex, AvroTypeIndex> pair(writer, reader);
        if (const auto known = made_.find(pair); known != made_.end()) return known->second;
        if (depth_ >= kMaxPlanDepth || plan_.steps_.size() >= kMaxSteps) {
            too_large_ = true;
            return add(unreadable("too deep"));
        }
        ++depth_;
        const bool to_branch = reader != kNobody && reader_.type(reader).kind == AvroKind::kUnion &&
                               writer_.type(writer).kind != AvroKind::kUnion;
        const Index index = to_branch ? branch_for(writer, reader) : make_at_new_index(pair);
        --depth_;
        made_.emplace(pair, index);
        return index;
    }
    // The index is known before the step is: a recursive type refers to it.
    Index make_at_new_index(const std::pair<AvroTypeIndex, AvroTypeIndex>& pair) {
        const Index index = add({});
        made_.emplace(pair, index);
        Step made = make(pair.first, pair.second);
        step(index) = std::move(made);
        return index;
    }
    Index add(Step made) {
        plan_.steps_.push_back(std::move(made));
        return static_cast<Index>(plan_.steps_.size() - 1);
    }

    Step unreadable(std::string why) const {
        Step made;
        made.operation = Operation::kUnreadable;
        made.why = std::move(why);
        return made;
    }
    bool readable(Index index) { return step(index).operation != Operation::kUnreadable; }
    // `why` one level up.
    Step unreadable_inside(std::string_view place, Index index) {
        const std::string& why = step(index).why;
        return unreadable(why.size() > 300 ? why : std::string(place) + ": " + why);
    }

    Step make(AvroTypeIndex writer_index, AvroTypeIndex reader_index) {
        const AvroType& writer = writer_.type(writer_index);
        if (writer.kind == AvroKind::kUnion) return make_writer_union(writer, reader_index);
        if (reader_index == kNobody) return make_skip(writer);
        const AvroType& reader = reader_.type(reader_index);
        if (writer.kind != reader.kind || writer.kind < AvroKind::kFixed) {
            const auto operation = promotion(writer.kind, reader.kind);
            if (!operation) return unreadable(describe(writer) + " is no " + describe(reader));
            Step made;
            made.operation = *operation;
            return made;
        }
        switch (writer.kind) {
            case AvroKind::kFixed: return make_fixed(writer, reader);
            case AvroKind::kEnum: return make_enum(writer, reader);
            case AvroKind::kRecord: return make_record(writer, reader);
            default: return make_container(writer, reader.parts.front());
        }
    }

    Step make_writer_union(const AvroType& writer, AvroTypeIndex reader) {
        Step made;
        made.operation = Operation::kUnion;
        bool any = false;
        for (const AvroTypeIndex branch : writer.parts) {
            const Index part = resolve(branch, reader);
            any = any || readable(part);
            made.parts.push_back(part);
        }
        return any ? made : unreadable_inside("no branch of the union", made.parts.front());
    }

    // The branch of the same kind (and name) if there is one, else the first that the value can be promoted to.
    Index branch_for(AvroTypeIndex writer, AvroTypeIndex reader) {
        const AvroType& type = writer_.type(writer);
        for (const bool exact : {true, false}) {
            for (const AvroTypeIndex branch : reader_.type(reader).parts) {
                const AvroType& other = reader_.type(branch);
                if ((other.kind == type.kind && other.name == type.name) != exact) continue;
                const Index part = resolve(writer, branch);
                if (readable(part)) return part;
            }
        }
        return add(unreadable(describe(type) + " fits no branch of the union"));
    }

    Step make_fixed(const AvroType& writer, const AvroType& reader) const {
        if (!same_name(writer, reader)) return unreadable(describe(writer) + " is no " + describe(reader));
        if (writer.size != reader.size) return unreadable(describe(writer) + " has another size");
        Step made;
        made.operation = Operation::kFixed;
        made.size = writer.size;
        return made;
    }

    Step make_enum(const AvroType& writer, const AvroType& reader) const {
        if (!same_name(writer, reader)) return unreadable(describe(writer) + " is no " + describe(reader));
        Step made;
        made.operation = Operation::kEnum;
        for (const std::string& symbol : writer.symbols) {
            if (std::ranges::find(reader.symbols, symbol) != reader.symbols.end()) {
                made.symbols.push_back({symbol, true});
            } else if (reader.default_symbol) {
                made.symbols.push_back({reader.symbols[*reader.default_symbol], true});
            } else {
                made.symbols.push_back({symbol, false});
            }
        }
        return made;
    }

    Step make_container(const AvroType& writer, AvroTypeIndex reader_part) {
        const Index part = resolve(writer.parts.front(), reader_part);
        const bool array = writer.kind == AvroKind::kArray;
        if (!readable(part)) return unreadable_inside(array ? "items" : "values", part);
        Step made;
        made.operation = array ? Operation::kArray : Operation::kMap;
        made.parts = {part};
        return made;
    }

    static bool is_alias(const std::string& name, const AvroField& field) {
        return std::ranges::find(field.aliases, name) != field.aliases.end();
    }

    Step make_record(const AvroType& writer, const AvroType& reader) {
        if (!same_name(writer, reader)) return unreadable(describe(writer) + " is no " + describe(reader));
        Step made;
        made.operation = Operation::kRecord;
        made.size = reader.fields.size();
        std::vector<bool> filled(reader.fields.size());
        for (const AvroField& field : writer.fields) {
            const std::size_t place = place_of(field, reader, filled);
            const bool wanted = place < reader.fields.size();
            const Index part = resolve(field.type, wanted ? reader.fields[place].type : kNobody);
            if (!readable(part)) return unreadable_inside(field.name, part);
            if (wanted) filled[place] = true;
            made.fields.push_back({wanted ? reader.fields[place].name : field.name, part, wanted});
        }
        for (std::size_t i = 0; i < reader.fields.size(); ++i) {
            const AvroField& field = reader.fields[i];
            if (filled[i]) continue;
            if (!field.default_value) return unreadable(field.name + " is missing and has no default");
            auto value = reader_.default_for(field.type, *field.default_value);
            if (!value) return unreadable(field.name + ": " + value.error().message);
            made.defaults.emplace_back(field.name, std::move(*value));
        }
        return made;
    }

    // Where the reader keeps a field of the writer: under its name, else under an alias; the end when it does not.
    static std::size_t place_of(const AvroField& field, const AvroType& reader, const std::vector<bool>& filled) {
        std::size_t by_alias = reader.fields.size();
        for (std::size_t i = 0; i < reader.fields.size(); ++i) {
            if (filled[i]) continue;
            if (reader.fields[i].name == field.name) return i;
            if (by_alias == reader.fields.size() && is_alias(field.name, reader.fields[i])) by_alias = i;
        }
        return by_alias;
    }

    Step make_skip(const AvroType& writer) {
        Step made;
        switch (writer.kind) {
            case AvroKind::kRecord:
                made.operation = Operation::kRecord;
                for (const AvroField& field : writer.fields)
                    made.fields.push_back({field.name, resolve(field.type, kNobody), false});
                return made;
            case AvroKind::kEnum:
                made.operation = Operation::kEnum;
                for (const std::string& symbol : writer.symbols)
                    made.symbols.push_back({symbol, true});
                return made;
            case AvroKind::kFixed:
                made.operation = Operation::kFixed;
                made.size = writer.size;
                return made;
            case AvroKind::kArray:
            case AvroKind::kMap: return make_container(writer, kNobody);
            default: made.operation = static_cast<Operation>(writer.kind); return made;
        }
    }

    const AvroSchema& writer_;
    const AvroSchema& reader_;
    AvroResolver plan_;
    std::map<std::pair<AvroTypeIndex, AvroTypeIndex>, Index> made_;
    std::size_t depth_ = 0;
    bool too_large_ = false;
};

Result<AvroResolver> AvroResolver::make(const AvroSchema& writer, const AvroSchema& reader) {
    return AvroPlanner(writer, reader).run();
}

}  // namespace wa
