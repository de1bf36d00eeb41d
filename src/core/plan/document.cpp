#include "core/plan/document.h"

#include <boost/json/array.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/object.hpp>
#include <unordered_map>

namespace wa {
namespace json = boost::json;

namespace {

// Walks JSON that is known to be valid, so tokens are all there is to see: every string, literal and opening bracket
// begins a value or a key.
class JsonMarks {
public:
    explicit JsonMarks(std::string_view text) : text_(text) {
        if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
    }

    std::vector<TextMark> run() {
        std::vector<TextMark> marks;
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c == '"') {
                marks.push_back(mark_);
                skip_string();
            } else if (c == '{' || c == '[') {
                marks.push_back(mark_);
                step();
            } else if (is_literal(c)) {
                marks.push_back(mark_);
                while (at_ < text_.size() && is_literal(text_[at_]))
                    step();
            } else {
                step();
            }
        }
        return marks;
    }

private:
    static bool is_literal(char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' || c == 'E';
    }
    void step() {
        const char c = text_[at_++];
        if (c == '\n') {
            ++mark_.line;
            mark_.column = 1;
        } else if ((static_cast<unsigned char>(c) & 0xC0U) != 0x80U) {
            ++mark_.column;
        }
    }
    void skip_string() {
        step();
        while (at_ < text_.size() && text_[at_] != '"') {
            if (text_[at_] == '\\') step();
            if (at_ < text_.size()) step();
        }
        if (at_ < text_.size()) step();
    }

    std::string_view text_;
    std::size_t at_ = 0;
    TextMark mark_{1, 1};
};

// Numbers keys and values in the order of the text and hands each to `visit`.
template <class Visit>
void walk(const json::value& root, Visit visit) {
    struct Step {
        const json::value* value;
        bool has_key;
    };
    std::vector<Step> open{{&root, false}};
    std::size_t number = 0;
    while (!open.empty()) {
        const Step step = open.back();
        open.pop_back();
        if (step.has_key) visit(step.value, true, number++);
        visit(step.value, false, number++);
        if (const auto* object = step.value->if_object()) {
            for (auto member = object->end(); member != object->begin();)
                open.push_back({&(--member)->value(), true});
        } else if (const auto* array = step.value->if_array()) {
            for (auto item = array->end(); item != array->begin();)
                open.push_back({--item, false});
        }
    }
}

}  // namespace

std::vector<TextMark> Document::all_marks() const {
    return marks.empty() ? JsonMarks(json).run() : marks;
}

std::vector<TextMark> locate(const Document& document, const std::vector<DocumentPlace>& places) {
    std::vector<TextMark> found(places.size());
    if (places.empty()) return found;
    std::unordered_map<const json::value*, std::vector<std::size_t>> wanted;
    for (std::size_t i = 0; i < places.size(); ++i)
        wanted[places[i].value].push_back(i);
    const std::vector<TextMark> marks = document.all_marks();
    walk(document.root, [&](const json::value* value, bool key, std::size_t number) {
        const auto entry = wanted.find(value);
        if (entry == wanted.end() || number >= marks.size()) return;
        for (const std::size_t i : entry->second) {
            if (places[i].key == key) found[i] = marks[number];
        }
    });
    return found;
}

Result<Document> read_json_document(std::string_view text, const DocumentLimits& limits, TextMark* where) {
    const JsonLimits json_limits{limits.max_bytes, limits.max_depth, DuplicateKeys::kRejectAll, limits.max_values};
    WA_TRY(json::value root,
           parse_json(text, json_limits, json::make_shared_resource<json::monotonic_resource>(), where));
    return Document{std::move(root), {}, text};
}

}  // namespace wa
