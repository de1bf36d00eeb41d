#include "core/codec/shell_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace wa {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> split(std::string_view text) {
    const auto words = split_shell_words(text);
    EXPECT_TRUE(words) << text;
    return words.value_or(std::vector<std::string>{"<refused>"});
}

TEST(ShellWords, SplitsAtBlanks) {
    EXPECT_THAT(split("  go\ttest\n./... "), ElementsAre("go", "test", "./..."));
    EXPECT_THAT(split(" \t\n"), IsEmpty());
}

TEST(ShellWords, HonoursQuotes) {
    EXPECT_THAT(split(R"(echo 'a b' "c d" e'f'"g")"), ElementsAre("echo", "a b", "c d", "efg"));
    EXPECT_THAT(split(R"('' "")"), ElementsAre("", ""));
    EXPECT_THAT(split(R"("a\"b\\c\$d\x" 'a\b')"), ElementsAre(R"(a"b\c$d\x)", R"(a\b)"));
}

TEST(ShellWords, HonoursBackslashes) {
    EXPECT_THAT(split(R"(a\ b \'c)"), ElementsAre("a b", "'c"));
    EXPECT_THAT(split("a\\\nb \"c\\\nd\""), ElementsAre("ab", "cd"));
}

TEST(ShellWords, ExpandsNothing) {
    EXPECT_THAT(split("echo $HOME | cat > x; ls *"), ElementsAre("echo", "$HOME", "|", "cat", ">", "x;", "ls", "*"));
}

TEST(ShellWords, RefusesWhatIsNotClosed) {
    for (const std::string_view text : {"'a", "\"a", "a\\", "\"a\\\"", "\"\\"})
        EXPECT_FALSE(split_shell_words(text)) << text;
    EXPECT_FALSE(split_shell_words(std::string_view("a\0b", 3)));
}

TEST(ShellWords, QuotedWordsComeBack) {
    const bool held = rc::check("quote and split are inverse", [](const std::vector<std::string>& words) {
        std::string line;
        for (const auto& word : words) {
            RC_PRE(word.find('\0') == std::string::npos);
            line += quote_shell_word(word) + " ";
        }
        const auto again = split_shell_words(line);
        RC_ASSERT(again.has_value());
        RC_ASSERT(*again == words);
    });
    EXPECT_TRUE(held);
}

}  // namespace
}  // namespace wa
