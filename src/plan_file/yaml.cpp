#include "plan_file/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <istream>
#include <map>
#include <optional>
#include <streambuf>
#include <string>
#include <utility>
#include <vector>

#include "core/codec/text.h"

namespace wa {
namespace json = boost::json;

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// A stream over text that stays where it is.
class ViewBuffer : public std::streambuf {
public:
    explicit ViewBuffer(std::string_view text) {
        // streambuf wants a pointer to non-const, and a get area is never written to.
        char* begin = const_cast<char*>(text.data());  // NOLINT
        setg(begin, begin, begin + text.size());
    }
};

// Ends the parse from inside a handler; yaml-cpp has no other way to stop early. Never leaves this file.
struct Refused {
    ErrorCode code;
    std::string message;
    TextMark mark;
};

// yaml-cpp counts bytes; people count characters. Events come in the order of the text, so one cursor that moves along
// costs one pass in all.
class Places {
public:
    explicit Places(std::string_view text) : text_(text) {}

    TextMark at(const YAML::Mark& mark) {
        if (mark.is_null() || static_cast<std::size_t>(mark.pos) > text_.size()) return {};
        const auto target = static_cast<std::size_t>(mark.pos);
        if (target < at_) step_back(target);
        for (; at_ < target; ++at_) {
            if (text_[at_] == '\n') {
                ++mark_.line;
                mark_.column = 1;
            } else if (!is_continuation(text_[at_])) {
                ++mark_.column;
            }
        }
        return mark_;
    }

private:
    static bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

    // The few events that name an earlier place (values that are left out) are near.
    void step_back(std::size_t target) {
        bool other_line = false;
        for (; at_ > target; --at_) {
            const char c = text_[at_ - 1];
            if (c == '\n') {
                other_line = true;
                --mark_.line;
            } else if (!is_continuation(c)) {
                --mark_.column;
            }
        }
        if (!other_line) return;
        mark_.column = 1;
        for (std::size_t i = target; i > 0 && text_[i - 1] != '\n'; --i) {
            if (!is_continuation(text_[i - 1])) ++mark_.column;
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
    TextMark mark_{1, 1};
};

// The number that `text` stands for, when writing that number gives `text` again.
std::optional<json::value> exact_number(const std::string& text) {
    if (text.empty() || text.size() > 24) return std::nullopt;
    const char* begin = text.data();
    const char* end = begin + text.size();
    std::int64_t whole = 0;
    if (const auto [stop, failure] = std::from_chars(begin, end, whole); failure == std::errc() && stop == end) {
        if (std::to_string(whole) == text) return json::value(whole);
        return std::nullopt;
    }
    double number = 0;
    const auto [stop, failure] = std::from_chars(begin, end, number, std::chars_format::fixed);
    if (failure != std::errc() || stop != end) return std::nullopt;
    if (value_text(json::value(number)) != text) return std::nullopt;
    return json::value(number);
}

json::value plain_scalar(const std::string& text, const json::storage_ptr& storage) {
    if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL")
        return json::value(nullptr, storage);
    if (text == "true" || text == "True" || text == "TRUE") return json::value(true, storage);
    if (text == "false" || text == "False" || text == "FALSE") return json::value(false, storage);
    if (const auto number = exact_number(text)) return json::value(*number, storage);
    return json::value(json::string_view(text.data(), text.size()), storage);
}

// Builds the value from yaml-cpp's events. One open container per level; marks are noted in the order of the text.
class Builder : public YAML::EventHandler {
public:
    Builder(std::string_view text, const DocumentLimits& limits, json::storage_ptr storage)
        : text_(text), places_(text), limits_(limits), storage_(std::move(storage)), root_(nullptr, storage_) {}

    // yaml-cpp takes the end of the text for the end of a quoted scalar when a line end stands before it, and so makes
    // one value of everything that follows a forgotten quote. Only the last scalar can be such a one.
    void check_last_quote() {
        if (!last_quoted_ || last_quoted_->is_null()) return;
        std::string_view rest = text_.substr(std::min(static_cast<std::size_t>(last_quoted_->pos), text_.size()));
        while (rest.starts_with('&') || rest.starts_with('!')) {
            rest.remove_prefix(std::min(rest.find_first_of(" \t\r\n"), rest.size()));
            rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
        }
        if (!rest.starts_with('"') && !rest.starts_with('\'')) return;
        const char quote = rest.front();
        for (std::size_t i = 1; i < rest.size(); ++i) {
            if (rest[i] == '\\' && quote == '"') {
                ++i;
            } else if (rest[i] == quote) {
                if (quote == '"' || i + 1 == rest.size() || rest[i + 1] != quote) return;
                ++i;
            }
        }
        refuse(*last_quoted_, "a quote is not closed");
    }

    Document take() && { return Document{std::move(root_), std::move(marks_), {}}; }

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (documents_++ > 0) refuse(mark, "a second document begins, or something that does not belong to the first");
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        scalar(mark, anchor, 0, json::value(nullptr, storage_));
    }

    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const auto found = anchors_.find(anchor);
        if (found == anchors_.end()) refuse(mark, "an alias stands inside of what it names");
        if (expects_key()) refuse(mark, "an alias cannot be a key");
        // Copies of copies could otherwise pile up a depth that no text has.
        if (levels_.size() + found->second.depth > limits_.max_depth) refuse_depth(mark);
        const std::size_t size = found->second.marks;
        count(mark, size);
        count_copy(mark, found->second.bytes);
        bytes_ += found->second.bytes;
        marks_.insert(marks_.end(), size, places_.at(mark));
        place(mark, json::value(found->second.value, storage_), found->second.depth);
    }

    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& text) override {
        const bool plain = tag == "?";
        const bool known = plain || tag == "!" || tag.empty() || tag == "tag:yaml.org,2002:str";
        last_quoted_ = plain ? std::nullopt : std::optional<YAML::Mark>(mark);
        if (!known) refuse(mark, "the tag \"" + clip(tag) + "\" is not supported");
        if (expects_key()) {
            if (anchor != 0) refuse(mark, "a key cannot have an anchor");
            return key(mark, text);
        }
        scalar(
            mark, anchor, text.size(),
            plain ? plain_scalar(text, storage_) : json::value(json::string_view(text.data(), text.size()), storage_));
    }

    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        check_container_tag(mark, tag, "tag:yaml.org,2002:seq");
        open(mark, anchor, json::value(json::array(storage_)));
    }
    void OnSequenceEnd() override { close(); }

    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        check_container_tag(mark, tag, "tag:yaml.org,2002:map");
        open(mark, anchor, json::value(json::object(storage_)));
    }
    void OnMapEnd() override { close(); }

private:
    struct Level {
        json::value value;
        YAML::anchor_t anchor;
        std::size_t first_mark;
        std::size_t first_byte;  // of bytes_
        YAML::Mark mark;
        std::size_t depth = 1;             // of nested containers, this one included
        std::optional<std::string> key{};  // of an object, between key and value
    };
    struct Anchored {
        json::value value;
        std::size_t marks;
        std::size_t bytes;  // of its texts and keys
        std::size_t depth;
    };

    [[noreturn]] void refuse(const YAML::Mark& mark, std::string message) {
        throw Refused{ErrorCode::kMalformed, std::move(message), places_.at(mark)};
    }
    [[noreturn]] void refuse_depth(const YAML::Mark& mark) {
        refuse(mark, "nested deeper than " + std::to_string(limits_.max_depth) + " levels");
    }
    void check_container_tag(const YAML::Mark& mark, const std::string& tag, std::string_view standard) {
        if (tag.empty() || tag == "?" || tag == "!" || tag == standard) return;
        refuse(mark, "the tag \"" + clip(tag) + "\" is not supported");
    }
    void count(const YAML::Mark& mark, std::size_t values) {
        count_ += values;
        if (count_ <= limits_.max_values) return;
        throw Refused{ErrorCode::kLimitExceeded,
                      "the text holds more than " + std::to_string(limits_.max_values) +
                          " values (aliases counted as what they stand for)",
                      places_.at(mark)};
    }
    // One long text may be named a hundred thousand times: what the copies hold is bounded like the text itself.
    void count_copy(const YAML::Mark& mark, std::size_t bytes) {
        copied_ += bytes;
        if (copied_ <= limits_.max_bytes) return;
        throw Refused{ErrorCode::kLimitExceeded,
                      "what the aliases stand for is larger than " + std::to_string(limits_.max_bytes) + " bytes",
                      places_.at(mark)};
    }
    [[nodiscard]] bool expects_key() const {
        return !levels_.empty() && levels_.back().value.is_object() && !levels_.back().key;
    }

    void key(const YAML::Mark& mark, const std::string& text) {
        Level& level = levels_.back();
        if (level.value.get_object().contains(text)) refuse(mark, "the key \"" + clip(text) + "\" appears twice");
        count(mark, 1);
        bytes_ += text.size();
        marks_.push_back(places_.at(mark));
        level.key = text;
    }

    void scalar(const YAML::Mark& mark, YAML::anchor_t anchor, std::size_t bytes, json::value value) {
        if (expects_key()) refuse(mark, "a key is missing");  // `: x`, or the word null
        count(mark, 1);
        bytes_ += bytes;
        marks_.push_back(places_.at(mark));
        if (anchor != 0) remember(mark, anchor, value, 1, bytes, 0);
        place(mark, std::move(value), 0);
    }

    void open(const YAML::Mark& mark, YAML::anchor_t anchor, json::value container) {
        if (expects_key()) refuse(mark, "a key must be a word, not a list or a mapping");
        if (levels_.size() >= limits_.max_depth) refuse_depth(mark);
        count(mark, 1);
        levels_.push_back(Level{std::move(container), anchor, marks_.size(), bytes_, mark});
        marks_.push_back(places_.at(mark));
    }

    void close() {
        Level level = std::move(levels_.back());
        levels_.pop_back();
        if (level.anchor != 0)
            remember(level.mark, level.anchor, level.value, marks_.size() - level.first_mark, bytes_ - level.first_byte,
                     level.depth);
        place(level.mark, std::move(level.value), level.depth);
    }

    // The copy that is kept is memory as well, so it counts.
    void remember(const YAML::Mark& mark, YAML::anchor_t anchor, const json::value& value, std::size_t marks,
                  std::size_t bytes, std::size_t depth) {
        count(mark, marks);
        count_copy(mark, bytes);
        anchors_.insert_or_assign(anchor, Anchored{json::value(value, storage_), marks, bytes, depth});
    }

    void place(const YAML::Mark& mark, json::value value, std::size_t depth) {
        if (levels_.empty()) {
            // Assigning would copy: the storages are the same object, so moving does not.
            root_ = std::move(value);
            return;
        }
        Level& level = levels_.back();
        level.depth = std::max(level.depth, depth + 1);
        if (auto* array = level.value.if_array()) {
            array->push_back(std::move(value));
        } else {
            if (!level.key) refuse(mark, "a key is missing");
            level.value.get_object().emplace(*level.key, std::move(value));
            level.key.reset();
        }
    }

    std::string_view text_;
    Places places_;
    const DocumentLimits& limits_;
    json::storage_ptr storage_;
    json::value root_;
    std::vector<TextMark> marks_;
    std::vector<Level> levels_;
    std::size_t bytes_ = 0;   // of texts and keys so far, copies included
    std::size_t copied_ = 0;  // of what was copied for aliases
    std::map<YAML::anchor_t, Anchored> anchors_;
    std::size_t count_ = 0;
    std::size_t documents_ = 0;
    std::optional<YAML::Mark> last_quoted_;  // only when the last scalar was a quoted one
};

Error yaml_error(ErrorCode code, std::string message) {
    return make_error(code, Retry::kNever, Fault::kInput, "yaml", std::move(message));
}

Failure refuse(ErrorCode code, std::string_view what, TextMark mark, TextMark* where) {
    if (where != nullptr) *where = mark;
    std::string message = code == ErrorCode::kMalformed ? "not valid YAML" : "too large";
    if (mark.line > 0) message += " at line " + std::to_string(mark.line) + ", column " + std::to_string(mark.column);
    return Failure(yaml_error(code, message + ": " + std::string(what)));
}

Result<void> check_bytes(std::string_view text, const DocumentLimits& limits, TextMark* where) {
    if (text.size() > limits.max_bytes) {
        return Failure(yaml_error(ErrorCode::kLimitExceeded, "the text is " + std::to_string(text.size()) +
                                                                 " bytes long; at most " +
                                                                 std::to_string(limits.max_bytes) + " are allowed"));
    }
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = utf8_length(text.substr(at, 4));
        if (length == 0) return refuse(ErrorCode::kMalformed, "the text is not UTF-8", mark_at(text, at), where);
        if (text[at] == '\0') return refuse(ErrorCode::kMalformed, "a NUL character", mark_at(text, at), where);
        at += length;
    }
    return {};
}

Result<Document> parse(std::string_view text, const DocumentLimits& limits) {
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    Builder builder(text, limits, json::make_shared_resource<json::monotonic_resource>());
    parser.HandleNextDocument(builder);
    builder.check_last_quote();
    parser.HandleNextDocument(builder);  // refuses when there is one
    return std::move(builder).take();
}

}  // namespace

Result<Document> read_yaml_document(std::string_view text, const DocumentLimits& limits, TextMark* where) {
    WA_CHECKED(check_bytes(text, limits, where));
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    try {
        return parse(text, limits);
    } catch (const Refused& refused) {
        return refuse(refused.code, refused.message, refused.mark, where);
    } catch (const YAML::Exception& thrown) {
        return refuse(ErrorCode::kMalformed, thrown.msg, Places(text).at(thrown.mark), where);
    } catch (const std::bad_alloc&) {
        return Failure(yaml_error(ErrorCode::kLimitExceeded, "the text needs more memory than there is"));
    } catch (const std::exception& thrown) {
        return refuse(ErrorCode::kMalformed, thrown.what(), {}, where);
    }
}

}  // namespace wa
