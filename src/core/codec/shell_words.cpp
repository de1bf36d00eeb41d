#include "core/codec/shell_words.h"

#include <optional>

namespace wa {
namespace {

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

// Inside double quotes a backslash keeps its meaning only before these.
bool is_escapable(char c) {
    return c == '"' || c == '\\' || c == '$' || c == '`';
}

class Splitter {
public:
    explicit Splitter(std::string_view text) : text_(text) {}

    Result<std::vector<std::string>> run() {
        if (text_.find('\0') != std::string_view::npos)
            return invalid("", "a command must not contain a NUL character");
        while (at_ < text_.size()) {
            const char c = text_[at_++];
            if (is_blank(c)) {
                finish_word();
            } else if (c == '\'') {
                WA_CHECKED(single_quoted());
            } else if (c == '"') {
                WA_CHECKED(double_quoted());
            } else if (c == '\\') {
                WA_CHECKED(escaped());
            } else {
                word() += c;
            }
        }
        finish_word();
        return std::move(words_);
    }

private:
    // An empty pair of quotes is a word too, so "no word yet" is not the same as an empty one.
    std::string& word() {
        if (!word_) word_.emplace();
        return *word_;
    }
    void finish_word() {
        if (word_) words_.push_back(std::move(*word_));
        word_.reset();
    }
    Result<void> single_quoted() {
        const std::size_t end = text_.find('\'', at_);
        if (end == std::string_view::npos) return invalid("", "a single quote (') is not closed");
        word() += text_.substr(at_, end - at_);
        at_ = end + 1;
        return {};
    }
    Result<void> double_quoted() {
        std::string& out = word();
        while (at_ < text_.size()) {
            const char c = text_[at_++];
            if (c == '"') return {};
            if (c != '\\' || at_ == text_.size()) {
                out += c;
            } else if (text_[at_] == '\n') {
                ++at_;
            } else {
                if (!is_escapable(text_[at_])) out += '\\';
                out += text_[at_++];
            }
        }
        return invalid("", "a double quote (\") is not closed");
    }
    Result<void> escaped() {
        if (at_ == text_.size()) return invalid("", "nothing follows the last backslash");
        const char c = text_[at_++];
        if (c != '\n') word() += c;
        return {};
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::optional<std::string> word_;
    std::vector<std::string> words_;
};

bool is_plain(char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool digit = c >= '0' && c <= '9';
    return letter || digit || std::string_view("_-./:=,+@%").find(c) != std::string_view::npos;
}

}  // namespace

Result<std::vector<std::string>> split_shell_words(std::string_view text) {
    return Splitter(text).run();
}

std::string quote_shell_word(std::string_view word) {
    bool plain = !word.empty();
    for (const char c : word)
        plain = plain && is_plain(c);
    if (plain) return std::string(word);
    std::string quoted = "'";
    for (const char c : word) {
        if (c == '\'') {
            quoted += "'\\''";
        } else {
            quoted += c;
        }
    }
    return quoted + "'";
}

}  // namespace wa
