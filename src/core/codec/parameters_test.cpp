#include "core/codec/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "core/codec/json_write.h"

namespace wa {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

// A Parameters that owns its object.
class From {
public:
    explicit From(std::string_view text)
        : object_(boost::json::parse(boost::json::string_view(text.data(), text.size())).as_object()),
          parameters_(object_) {}
    const Parameters* operator->() const { return &parameters_; }

private:
    boost::json::object object_;
    Parameters parameters_;
};

template <class T>
void expect_invalid(const Result<T>& result, std::string_view field, std::string_view part,
                    ErrorCode code = ErrorCode::kInvalidArgument) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, code);
    EXPECT_EQ(result.error().retry, Retry::kNever);
    EXPECT_EQ(result.error().fault, Fault::kInput);
    EXPECT_EQ(result.error().field, field);
    EXPECT_TRUE(result.error().message.starts_with("invalid_parameter: " + std::string(field)))
        << result.error().message;
    EXPECT_THAT(result.error().message, HasSubstr(std::string(part)));
}

TEST(Parameters, AbsentIsMissingNullEmptyAndNone) {
    const From p(R"({"a":null,"b":"","c":"None","d":"null","e":"none"})");
    for (const char* key : {"a", "b", "c", "d", "missing"}) {
        EXPECT_FALSE(p->has(key)) << key;
        EXPECT_EQ(p->text(key).value(), std::nullopt);
        EXPECT_EQ(p->integer(key).value(), std::nullopt);
        EXPECT_EQ(p->number(key).value(), std::nullopt);
        EXPECT_EQ(p->boolean(key).value(), std::nullopt);
        EXPECT_EQ(p->duration(key).value(), std::nullopt);
        EXPECT_EQ(p->object(key).value(), std::nullopt);
        EXPECT_EQ(p->array(key).value(), std::nullopt);
        EXPECT_EQ(p->command(key).value(), std::nullopt);
        EXPECT_EQ(p->list(key).value(), std::nullopt);
        EXPECT_EQ(p->map(key).value(), std::nullopt);
        EXPECT_EQ(p->text_or(key, "x").value(), "x");
        EXPECT_EQ(p->integer_or(key, 7).value(), 7);
    }
    EXPECT_TRUE(p->has("e"));
}

TEST(Parameters, FirstPresentNameWins) {
    const From p(R"({"ref":"r","branch":"b","commit":"c","commit_sha":""})");
    EXPECT_EQ(p->text({"branch", "ref"}).value(), "b");
    EXPECT_EQ(p->text({"commit_sha", "commit"}).value(), "c");
}

TEST(Parameters, TextTakesScalars) {
    const From p(R"({"s":"x","i":5,"f":1.5,"b":true,"o":{},"l":[]})");
    EXPECT_EQ(p->text("s").value(), "x");
    EXPECT_EQ(p->text("i").value(), "5");
    EXPECT_EQ(p->text("f").value(), "1.5");
    EXPECT_EQ(p->text("b").value(), "true");
    expect_invalid(p->text("o"), "parameters.o", "must be a text, found an object");
    expect_invalid(p->text("l"), "parameters.l", "found a list");
    expect_invalid(p->required_text("nothing"), "parameters.nothing", "is missing");
}

TEST(Parameters, TextIsBoundedAndHasNoNul) {
    boost::json::object object;
    object["big"] = std::string(kMaxParameterBytes + 1, 'x');
    object["fits"] = std::string(kMaxParameterBytes, 'x');
    object["nul"] = std::string("a\0b", 3);
    const Parameters p(object);
    EXPECT_TRUE(p.text("fits"));
    expect_invalid(p.text("big"), "parameters.big", "at most 65536", ErrorCode::kLimitExceeded);
    expect_invalid(p.text("nul"), "parameters.nul", "NUL");
}

TEST(Parameters, WordListsWhatIsAllowed) {
    const From p(R"({"provider":" ArgoCD ","bad":"helm"})");
    EXPECT_EQ(p->word("provider", {"argocd", "flux"}).value(), "argocd");
    expect_invalid(p->word("bad", {"argocd", "flux"}), "parameters.bad",
                   "one of argocd, flux, found the text \"helm\"");
}

TEST(Parameters, IntegerTakesNumbersAndTheirText) {
    const From p(R"({"a":5,"b":"5","c":" 5 ","d":5.0,"e":"5.0","f":5.5,"g":"x","h":true,"i":1e30,"j":[1]})");
    for (const char* key : {"a", "b", "c", "d", "e"})
        EXPECT_EQ(p->integer(key).value(), 5) << key;
    for (const char* key : {"f", "g", "h", "i", "j"}) {
        expect_invalid(p->integer(key), std::string("parameters.") + key, "a whole number");
    }
}

TEST(Parameters, IntegerRangeIsChecked) {
    const From p(R"({"a":5,"b":"0"})");
    EXPECT_EQ(p->integer("a", {1, 5}).value(), 5);
    expect_invalid(p->integer("a", {1, 4}), "parameters.a", "a whole number from 1 to 4, found 5");
    expect_invalid(p->integer_or("b", 3, {.min = 1}), "parameters.b", "at least 1");
}

TEST(Parameters, NumberIsFiniteAndInRange) {
    const From p(R"({"a":0.5,"b":"0.5","c":1,"d":"nan","e":"1e999","f":"inf"})");
    EXPECT_EQ(p->number("a").value(), 0.5);
    EXPECT_EQ(p->number("b").value(), 0.5);
    EXPECT_EQ(p->number("c").value(), 1.0);
    for (const char* key : {"d", "e", "f"})
        EXPECT_FALSE(p->number(key)) << key;
    expect_invalid(p->number_or("c", 0, {0, 0.5}), "parameters.c", "from 0.0 to 0.5");
}

TEST(Parameters, BooleanTakesTheUsualWords) {
    const From p(
        R"({"a":true,"b":"TRUE","c":1,"d":"yes","e":"On","f":false,"g":"0","h":"no","i":"off","j":2,"k":"maybe"})");
    for (const char* key : {"a", "b", "c", "d", "e"})
        EXPECT_EQ(p->boolean(key).value(), true) << key;
    for (const char* key : {"f", "g", "h", "i"})
        EXPECT_EQ(p->boolean(key).value(), false) << key;
    expect_invalid(p->boolean("j"), "parameters.j", "true or false, found 2");
    expect_invalid(p->boolean("k"), "parameters.k", "true or false");
    EXPECT_EQ(p->boolean_or("missing", true).value(), true);
}

TEST(Parameters, DurationTakesSecondsAndUnits) {
    const From p(R"({"a":90,"b":"90","c":"90s","d":"1m30s","e":1.5,"f":"soon","g":-1,"h":{},"i":1e300})");
    for (const char* key : {"a", "b", "c", "d"})
        EXPECT_EQ(p->duration(key).value(), 90s) << key;
    EXPECT_EQ(p->duration("e").value(), 1500ms);
    for (const char* key : {"f", "g", "h", "i"})
        expect_invalid(p->duration(key), std::string("parameters.") + key, "a duration");
    expect_invalid(p->duration("a", {1s, 1min}), "parameters.a", "from 1s to 1m");
    EXPECT_EQ(p->duration_or("missing", 5s).value(), 5s);
}

TEST(Parameters, ObjectAndArrayMayBeText) {
    const From p(R"({"a":{"x":1},"b":"{\"x\":1}","c":"[1]","d":[1],"e":"{x}","f":5})");
    EXPECT_EQ(p->object("a").value()->at("x"), 1);
    EXPECT_EQ(p->object("b").value()->at("x"), 1);
    EXPECT_EQ(p->array("c").value()->at(0), 1);
    EXPECT_EQ(p->array("d").value()->at(0), 1);
    for (const char* key : {"c", "e", "f"})
        expect_invalid(p->object(key), std::string("parameters.") + key, "an object");
    for (const char* key : {"a", "e", "f"})
        expect_invalid(p->array(key), std::string("parameters.") + key, "a list");
}

TEST(Parameters, CommandIsListJsonTextOrShellWords) {
    const From p(
        R"({"a":["echo","a b",5,true],"b":"[\"echo\",\"a b\"]","c":"echo 'a b' c","d":"[ -f x ]","e":"'open","f":{},"g":5})");
    EXPECT_THAT(*p->command("a").value(), ElementsAre("echo", "a b", "5", "true"));
    EXPECT_THAT(*p->command("b").value(), ElementsAre("echo", "a b"));
    EXPECT_THAT(*p->command("c").value(), ElementsAre("echo", "a b", "c"));
    EXPECT_THAT(*p->command("d").value(), ElementsAre("[", "-f", "x", "]"));
    EXPECT_THAT(*p->command("g").value(), ElementsAre("5"));
    expect_invalid(p->command("e"), "parameters.e", "cannot be split into words");
    expect_invalid(p->command("f"), "parameters.f", "a command");
}

TEST(Parameters, PlainListsAreSplitAtCommas) {
    const From p(R"({"a":"x, y ,,z z","b":"[\"x,y\"]","c":["p"],"d":"[x, y]","e":","})");
    EXPECT_THAT(*p->list("a").value(), ElementsAre("x", "y", "z z"));
    EXPECT_THAT(*p->list("b").value(), ElementsAre("x,y"));
    EXPECT_THAT(*p->list("c").value(), ElementsAre("p"));
    EXPECT_THAT(*p->list("e").value(), IsEmpty());
    expect_invalid(p->list("d"), "parameters.d", "begins like a JSON list");
}

TEST(Parameters, ListItemsAreTexts) {
    const From p(R"({"a":["x",null],"b":["x",{"k":[1]}]})");
    expect_invalid(p->command("a"), "parameters.a[1]", "found null");
    EXPECT_THAT(*p->list("b").value(), ElementsAre("x", "{\"k\":[1]}"));
}

TEST(Parameters, MapTakesObjectsAndPairs) {
    const From p(
        R"({"a":{"A":"1","B":2,"C":null,"D":{"x":1}},"b":"{\"A\":\"1\"}","c":["A=1","B=x=y"],"d":"A=1, B=2\nC=","e":"A","f":["=1"],"g":5,"h":"{oops"})");
    EXPECT_THAT(*p->map("a").value(), ElementsAre(Pair("A", "1"), Pair("B", "2"), Pair("D", "{\"x\":1}")));
    EXPECT_THAT(*p->map("b").value(), ElementsAre(Pair("A", "1")));
    EXPECT_THAT(*p->map("c").value(), ElementsAre(Pair("A", "1"), Pair("B", "x=y")));
    EXPECT_THAT(*p->map("d").value(), ElementsAre(Pair("A", "1"), Pair("B", "2"), Pair("C", "")));
    for (const char* key : {"e", "f", "g", "h"})
        expect_invalid(p->map(key), std::string("parameters.") + key, "must be");
}

TEST(Parameters, ListsAndMapsAreBounded) {
    boost::json::object object;
    boost::json::array many;
    for (std::size_t i = 0; i <= kMaxParameterListItems; ++i)
        many.emplace_back("x");
    object["many"] = many;
    object["commas"] = [] {
        std::string text;
        for (std::size_t i = 0; i <= kMaxParameterListItems; ++i)
            text += "x,";
        return text;
    }();
    boost::json::object entries;
    for (std::size_t i = 0; i <= kMaxParameterMapEntries; ++i)
        entries["K" + std::to_string(i)] = "v";
    object["entries"] = entries;
    object["long"] = boost::json::array{std::string(kMaxParameterBytes + 1, 'x')};
    const Parameters p(object);
    for (const char* key : {"many", "commas"}) {
        expect_invalid(p.list(key), std::string("parameters.") + key, "at most 256", ErrorCode::kLimitExceeded);
    }
    expect_invalid(p.map("entries"), "parameters.entries", "at most 128", ErrorCode::kLimitExceeded);
    expect_invalid(p.command("long"), "parameters.long[0]", "at most 65536", ErrorCode::kLimitExceeded);
}

TEST(Parameters, SecretsAreNotQuoted) {
    const From p(
        R"({"github_token":"hunter2 is secret","env":{"PASSWORD":"x\u0000hunter2"},"args":["ok","a\u0000hunter2"]})");
    for (const auto& error : {p->integer("github_token").error(), p->map("env").error(), p->command("args").error()}) {
        EXPECT_THAT(error.message, Not(HasSubstr("hunter2")));
    }
    EXPECT_EQ(p->map("env").error().field, "parameters.env.PASSWORD");
}

TEST(Parameters, LongValuesAreClipped) {
    boost::json::object object;
    object["count"] = std::string(500, 'z');
    const Parameters p(object, "tickets.x.parameters");
    const auto number = p.integer("count");
    ASSERT_FALSE(number);
    EXPECT_EQ(number.error().field, "tickets.x.parameters.count");
    EXPECT_LT(number.error().message.size(), 200U);
}

TEST(Parameters, TellsUnknownKeys) {
    const From p(R"({"a":1,"b":2,"c":3})");
    EXPECT_THAT(p->unknown_keys({"a", "c"}), ElementsAre("b"));
}

TEST(Parameters, JsonAndTextFormsReadAlike) {
    const bool held =
        rc::check("a list reads the same as JSON and as text (Avro)", [](const std::vector<std::string>& words) {
            boost::json::array array;
            for (const auto& word : words) {
                RC_PRE(word.find('\0') == std::string::npos);
                std::string clean;
                append_json_string(clean, word);
                array.push_back(boost::json::parse(clean));
            }
            RC_PRE(array.size() <= kMaxParameterListItems);
            const boost::json::object real{{"x", array}};
            const boost::json::object text{{"x", json_text(array)}};
            RC_ASSERT(Parameters(real).command("x").value() == Parameters(text).command("x").value());
            RC_ASSERT(Parameters(real).list("x").value() == Parameters(text).list("x").value());
        });
    EXPECT_TRUE(held);
}

}  // namespace
}  // namespace wa
