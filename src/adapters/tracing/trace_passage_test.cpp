#include "adapters/tracing/trace_passage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace wa {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr std::string_view kCame = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TicketView view(std::string_view id, std::string_view traceparent = kCame, std::string_view state = "") {
    TicketView ticket;
    ticket.ticket_id = id;
    ticket.trace.traceparent = traceparent;
    ticket.trace.tracestate = state;
    return ticket;
}

CarriedHeaders carried_by(TracePassage& passage, const CallPurpose& purpose) {
    CarriedHeaders carry;
    EXPECT_EQ(passage.begin(purpose, {}, carry), nullptr);
    return carry;
}

TEST(TracePassage, PassesOnWhatCame) {
    TracePassage passage;
    passage.ticket_consumed(view("t", kCame, "a=1"));
    EXPECT_THAT(carried_by(passage, {"x", "t"}),
                ElementsAre(Pair("traceparent", std::string(kCame)), Pair("tracestate", "a=1")));
    const auto noted = passage.context_of("t");
    passage.ticket_settled(view("t"), {});
    EXPECT_THAT(carried_by(passage, {"x", "t"}), IsEmpty());
    EXPECT_THAT(carried_by(passage, {"x", "t", noted}),
                ElementsAre(Pair("traceparent", std::string(kCame)), Pair("tracestate", "a=1")))
        << "of a status that is sent later";
}

TEST(TracePassage, MakesNothingUp) {
    TracePassage passage;
    passage.ticket_consumed(view("t", "nonsense"));
    EXPECT_FALSE(passage.context_of("t"));
    EXPECT_EQ(passage.kept(), 0U);
    EXPECT_THAT(carried_by(passage, {"x", "t"}), IsEmpty());
    EXPECT_THAT(carried_by(passage, {"x"}), IsEmpty());
    passage.ticket_settled(view("t"), {});
}

TEST(TracePassage, KeepsATicketUntilItsLastRecordIsGone) {
    TracePassage passage;
    passage.ticket_consumed(view("t"));
    passage.ticket_consumed(view("t", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    passage.ticket_moved(view("t"), State::kReceived, Event::kDuplicateInHand, State::kHeld, "");
    passage.ticket_moved(view("t"), State::kHeld, Event::kHandBack, State::kHandedBack, "");
    ASSERT_TRUE(passage.context_of("t"));
    EXPECT_EQ(traceparent(*passage.context_of("t")), kCame) << "of the first one";
    passage.ticket_settled(view("t"), {});
    EXPECT_EQ(passage.kept(), 0U);
}

TEST(TracePassage, IsBounded) {
    TracePassage passage(2);
    for (const char* id : {"a", "b", "c"})
        passage.ticket_consumed(view(id));
    EXPECT_EQ(passage.kept(), 2U);
    EXPECT_FALSE(passage.context_of("c"));
    passage.ticket_settled(view("a"), {});
    passage.ticket_settled(view("c"), {});
    EXPECT_EQ(passage.kept(), 1U);
}

}  // namespace
}  // namespace wa
