// Guards the toolchain: fifteen everyday shapes of code around co_await. g++ 12 destroys temporaries twice in five of
// them and refuses a sixth (docs/decisions/0001-compiler.md). Every value that passes through is counted: whatever is
// built must be destroyed exactly once, and hold what was put into it.
#include <gtest/gtest.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
template <class T>
using Task = asio::awaitable<T>;

// Long enough to live on the heap: a second destruction is a double free, which every allocator check reports.
std::string text(int number) {
    return "a value too long for the small string buffer, number " + std::to_string(number);
}

class Counted {
public:
    explicit Counted(int number) : text_(text(number)), number_(number) { ++alive; }
    Counted(const Counted& other) : text_(other.text_), number_(other.number_) { ++alive; }
    Counted(Counted&& other) noexcept : text_(std::move(other.text_)), number_(other.number_) {
        other.number_ = -1;
        ++alive;
    }
    Counted& operator=(const Counted&) = default;
    Counted& operator=(Counted&&) noexcept = default;
    ~Counted() { --alive; }

    [[nodiscard]] bool holds(int number) const { return number_ == number && text_ == text(number); }

    static inline int alive = 0;  // the tests run on one thread

private:
    std::string text_;
    int number_;
};

struct Aggregate {
    Counted first;
    Counted second;
};

// Leaves the coroutine and comes back through the loop, so that temporaries really live across the suspension.
Task<void> turn() {
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
}

Task<Counted> make(int number) {
    co_await turn();
    co_return Counted(number);
}
Task<bool> both_hold(Aggregate value, int first, int second) {
    co_await turn();
    co_return value.first.holds(first) && value.second.holds(second);
}
Task<bool> both_hold_by_reference(const Aggregate& value, int first, int second) {
    co_await turn();
    co_return value.first.holds(first) && value.second.holds(second);
}
Task<int> thrower(bool raise) {
    co_await turn();
    if (raise) throw std::runtime_error("expected");
    co_return 1;
}
Task<bool> is_below(int value, int limit) {
    co_await turn();
    co_return value < limit;
}

Task<bool> aggregate_argument() {
    co_return co_await both_hold(Aggregate(Counted(1), Counted(2)), 1, 2);
}
Task<bool> braced_aggregate_argument() {
    co_return co_await both_hold(Aggregate{Counted(1), Counted(2)}, 1, 2);
}
Task<bool> designated_aggregate_argument() {
    co_return co_await both_hold(Aggregate{.first = Counted(1), .second = Counted(2)}, 1, 2);
}
Task<bool> await_inside_aggregate_argument() {
    co_return co_await both_hold(Aggregate{co_await make(1), co_await make(2)}, 1, 2);
}
Task<bool> aggregate_local_of_awaited_members() {
    const Aggregate value{co_await make(1), co_await make(2)};
    co_await turn();
    co_return value.first.holds(1) && value.second.holds(2);
}
Task<std::size_t> size_after_turn(std::vector<Counted> values) {
    co_await turn();
    co_return values.size();
}
Task<bool> initialiser_list() {
    co_return co_await size_after_turn({Counted(1), co_await make(2), Counted(3)}) == 3;
}
Task<bool> reference_to_aggregate_temporary() {
    co_return co_await both_hold_by_reference(Aggregate{Counted(1), Counted(2)}, 1, 2);
}
Task<bool> conditional_operator() {
    bool good = true;
    for (int i = 0; i < 2; ++i) {
        const Counted value = i == 0 ? co_await make(1) : Counted(2);
        good = good && value.holds(i + 1);
    }
    co_return good;
}
Task<bool> if_with_initialiser() {
    if (const Counted value = co_await make(1); value.holds(1)) {
        co_await turn();
        co_return value.holds(1);
    }
    co_return false;
}
Task<std::vector<Counted>> several() {
    co_await turn();
    std::vector<Counted> values;
    for (int i = 0; i < 3; ++i)
        values.emplace_back(i);
    co_return values;
}
Task<bool> range_for() {
    int number = 0;
    bool good = true;
    for (const Counted& value : co_await several()) {
        co_await turn();
        good = good && value.holds(number++);
    }
    co_return good&& number == 3;
}
Task<std::pair<Counted, Counted>> pair() {
    co_await turn();
    co_return std::pair<Counted, Counted>(1, 2);
}
Task<bool> structured_binding() {
    auto [first, second] = co_await pair();
    co_await turn();
    co_return first.holds(1) && second.holds(2);
}
Task<bool> exceptions() {
    const Counted before(1);
    try {
        const Counted inside(2);
        co_await both_hold(Aggregate{Counted(co_await thrower(false)), Counted(co_await thrower(true))}, 1, 1);
    } catch (const std::runtime_error& error) {
        co_return before.holds(1) && std::string(error.what()) == "expected";
    }
    co_return false;
}
Task<bool> lambda_parameter() {
    const auto holds = [](Counted value, int number) -> Task<bool> {
        co_await turn();
        co_return value.holds(number);
    };
    co_return co_await holds(Counted(1), 1) && co_await holds(co_await make(2), 2);
}
Task<bool> loop_condition() {
    int rounds = 0;
    while (co_await is_below(rounds, 100))
        ++rounds;
    co_return rounds == 100;
}
Task<int> immediately(int value) {
    co_return value;
}
Task<bool> hundred_thousand_awaits() {
    long sum = 0;
    for (int i = 0; i < 100'000; ++i)
        sum += co_await immediately(1);
    co_return sum == 100'000;
}

struct Pattern {
    const char* name;
    Task<bool> (*run)();
};
constexpr Pattern kPatterns[] = {
    {"AggregateArgument", aggregate_argument},
    {"BracedAggregateArgument", braced_aggregate_argument},
    {"DesignatedAggregateArgument", designated_aggregate_argument},
    {"AwaitInsideAggregateArgument", await_inside_aggregate_argument},
    {"AggregateLocalOfAwaitedMembers", aggregate_local_of_awaited_members},
    {"InitialiserList", initialiser_list},
    {"ReferenceToAggregateTemporary", reference_to_aggregate_temporary},
    {"ConditionalOperator", conditional_operator},
    {"IfWithInitialiser", if_with_initialiser},
    {"RangeFor", range_for},
    {"StructuredBinding", structured_binding},
    {"Exceptions", exceptions},
    {"LambdaParameter", lambda_parameter},
    {"LoopCondition", loop_condition},
    {"HundredThousandAwaits", hundred_thousand_awaits},
};

class CoroutinePattern : public testing::TestWithParam<Pattern> {};

TEST_P(CoroutinePattern, DestroysEverythingOnce) {
    Counted::alive = 0;
    std::optional<bool> good;
    {
        asio::io_context loop;
        asio::co_spawn(loop, GetParam().run(), [&](std::exception_ptr raised, bool result) {
            if (!raised) good = result;
        });
        loop.run();
    }
    ASSERT_TRUE(good.has_value()) << "did not end, or threw";
    EXPECT_TRUE(*good) << "a value was damaged";
    EXPECT_EQ(Counted::alive, 0) << "built and destroyed are not equally many";
}

INSTANTIATE_TEST_SUITE_P(All, CoroutinePattern, testing::ValuesIn(kPatterns),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
