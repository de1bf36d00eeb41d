#include "app/message_codec.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "core/codec/avro_result.h"
#include "core/codec/avro_schemas.h"
#include "core/codec/result_json.h"

namespace wa::app {
namespace {

class FakeSchemas final : public Schemas {
public:
    std::shared_ptr<const std::string> find(SchemaId id) override {
        const auto found = known.find(id);
        return found == known.end() ? nullptr : found->second;
    }
    void fetch(SchemaId id, std::function<void(const SchemaAnswer&)> done) override {
        asked.emplace_back(id, std::move(done));
    }
    void publish(std::string, std::string) override {}
    std::optional<SchemaId> published(std::string_view) const override { return own; }
    bool is_publishing(std::string_view) const override { return publishing; }

    void answer(SchemaState state) {
        const auto [id, done] = std::exchange(asked, {}).at(0);
        const auto text =
            state == SchemaState::kFound ? std::make_shared<const std::string>(result_schema_text()) : nullptr;
        done(SchemaAnswer{id, state, text, "because", {}});
    }

    std::optional<SchemaId> own;
    bool publishing = false;
    std::map<SchemaId, std::shared_ptr<const std::string>> known;
    std::vector<std::pair<SchemaId, std::function<void(const SchemaAnswer&)>>> asked;
};

ExecutionResult failure() {
    ExecutionResult result;
    result.ticket_id = "t";
    result.error_message = "exit code 2";
    return result;
}

class ForeignResults : public ::testing::Test {
protected:
    ForeignResults() { codec.use(&schemas); }
    void ask(const std::string& payload) {
        codec.ending(payload, [this](std::optional<kafka::DecodedEnding> ending) { endings.push_back(ending); });
    }

    FakeSchemas schemas;
    std::vector<std::pair<SchemaId, std::string>> unusable;
    MessageCodec codec{ResultsFormat::kAuto, "results-value",
                       [this](SchemaId id, const std::string& why) { unusable.emplace_back(id, why); }};
    std::vector<std::optional<kafka::DecodedEnding>> endings;
    const std::string avro = encode_result_avro(failure(), 7);
};

TEST(OwnSchema, MessagesWaitForItsFirstAnswerOnly) {
    FakeSchemas schemas;
    MessageCodec codec(ResultsFormat::kAuto, "results-value");
    codec.use(&schemas);
    const ExecutionResult result = failure();
    int looked = 0;
    schemas.publishing = true;
    EXPECT_FALSE(codec.readable("{}", [&] { ++looked; }));
    codec.refresh();
    EXPECT_EQ(looked, 0);
    schemas.publishing = false;
    schemas.own = 7;
    codec.refresh();
    EXPECT_EQ(looked, 1);
    EXPECT_TRUE(codec.readable("{}", [] {}));
    EXPECT_EQ(codec.encode(result).kind, kafka::ValueKind::kAvro);

    // It does not answer: results are JSON, and nothing waits any more.
    FakeSchemas away;
    MessageCodec another(ResultsFormat::kAuto, "results-value");
    another.use(&away);
    EXPECT_TRUE(another.readable("{}", [] {}));
    EXPECT_EQ(another.encode(result).kind, kafka::ValueKind::kJsonInsteadOfAvro);
    MessageCodec plain(ResultsFormat::kJson, "results-value");
    away.publishing = true;
    plain.use(&away);
    EXPECT_TRUE(plain.readable("{}", [] {}));
}

TEST_F(ForeignResults, JsonIsReadAtOnceAndGarbageIsNothing) {
    ask(write_result(failure()));
    ask("garbage");
    ask("{");
    ask("");
    ASSERT_EQ(endings.size(), 4U);
    ASSERT_TRUE(endings[0]);
    EXPECT_FALSE(endings[0]->completed);
    EXPECT_EQ(endings[0]->detail, "exit code 2");
    EXPECT_FALSE(endings[1] || endings[2] || endings[3]);
    EXPECT_TRUE(schemas.asked.empty());
}

TEST_F(ForeignResults, AvroWaitsForItsSchemaWhichIsAskedForOnce) {
    ask(avro);
    ask(avro);
    EXPECT_TRUE(endings.empty());
    ASSERT_EQ(schemas.asked.size(), 1U);
    EXPECT_EQ(schemas.asked[0].first, 7U);
    schemas.answer(SchemaState::kFound);
    ask(avro);
    ASSERT_EQ(endings.size(), 3U);
    for (const auto& ending : endings) {
        ASSERT_TRUE(ending);
        EXPECT_EQ(ending->detail, "exit code 2");
    }
    EXPECT_TRUE(schemas.asked.empty());
}

TEST_F(ForeignResults, ASchemaAtHandIsNotAskedFor) {
    schemas.known[7] = std::make_shared<const std::string>(result_schema_text());
    ask(avro);
    ASSERT_EQ(endings.size(), 1U);
    EXPECT_TRUE(endings[0]);
}

TEST_F(ForeignResults, ARegistryThatIsAwayIsAskedAgain) {
    ask(avro);
    schemas.answer(SchemaState::kUnreachable);
    EXPECT_TRUE(endings.empty());
    for (int i = 0; i < 5; ++i)
        codec.refresh();
    ASSERT_EQ(schemas.asked.size(), 1U);
    schemas.answer(SchemaState::kFound);
    ASSERT_EQ(endings.size(), 1U);
    EXPECT_TRUE(endings[0]);
}

TEST_F(ForeignResults, WhatNobodyKnowsIsNoEnding) {
    ask(avro);
    schemas.answer(SchemaState::kNotFound);
    ask(avro);
    ASSERT_EQ(endings.size(), 2U);
    EXPECT_FALSE(endings[0] || endings[1]);
    ASSERT_EQ(unusable.size(), 1U) << "said once";
    EXPECT_EQ(unusable[0].first, 7U);
}

TEST_F(ForeignResults, ASchemaThatIsNoResultsIsToldOfOnce) {
    schemas.known[7] = std::make_shared<const std::string>(R"({"type":"record","name":"Other","fields":[]})");
    ask(avro);
    ask(avro);
    ASSERT_EQ(endings.size(), 2U);
    EXPECT_FALSE(endings[0] || endings[1]);
    ASSERT_EQ(unusable.size(), 1U);
    EXPECT_FALSE(unusable[0].second.empty());
}

TEST_F(ForeignResults, NotMoreThanAThousandWait) {
    for (int i = 0; i < 1001; ++i)
        ask(avro);
    ASSERT_EQ(endings.size(), 1U);
    EXPECT_FALSE(endings[0]);
    schemas.answer(SchemaState::kFound);
    EXPECT_EQ(endings.size(), 1001U);
}

TEST_F(ForeignResults, WithoutARegistryAvroIsNoEnding) {
    codec.use(nullptr);
    ask(avro);
    ASSERT_EQ(endings.size(), 1U);
    EXPECT_FALSE(endings[0]);
}

}  // namespace
}  // namespace wa::app
