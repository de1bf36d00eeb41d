#include "core/plan/cycles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <numeric>

namespace wa {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Graph = std::vector<std::vector<std::uint32_t>>;

TEST(FindCycles, NoneInAnAcyclicGraph) {
    EXPECT_THAT(find_cycles({}, 10), IsEmpty());
    EXPECT_THAT(find_cycles({{}, {0}, {0, 1}, {1, 2}}, 10), IsEmpty());
}

TEST(FindCycles, GivesThePathFromTheSmallestIndex) {
    EXPECT_THAT(find_cycles({{1}, {0}}, 10), ElementsAre(ElementsAre(0, 1)));
    EXPECT_THAT(find_cycles({{}, {3}, {1}, {2}}, 10), ElementsAre(ElementsAre(1, 3, 2)));
    EXPECT_THAT(find_cycles({{0}}, 10), ElementsAre(ElementsAre(0)));
}

TEST(FindCycles, SeparateCyclesAreAllFoundUpToTheLimit) {
    const Graph graph{{1}, {0}, {3}, {2}, {5}, {4}};
    EXPECT_EQ(find_cycles(graph, 10).size(), 3U);
    EXPECT_EQ(find_cycles(graph, 2).size(), 2U);
}

TEST(FindCycles, DepthIsNoProblem) {
    Graph chain(100'000);
    for (std::uint32_t i = 0; i + 1 < chain.size(); ++i)
        chain[i] = {i + 1};
    EXPECT_THAT(find_cycles(chain, 10), IsEmpty());
    chain.back() = {0};
    const auto cycles = find_cycles(chain, 10);
    ASSERT_EQ(cycles.size(), 1U);
    EXPECT_EQ(cycles[0].size(), chain.size());
}

// Kahn's algorithm as the reference: what cannot be taken off is on or behind a cycle.
bool has_cycle(const Graph& graph) {
    std::vector<std::size_t> open(graph.size());
    std::vector<std::vector<std::uint32_t>> waiters(graph.size());
    std::vector<std::uint32_t> ready;
    for (std::uint32_t i = 0; i < graph.size(); ++i) {
        open[i] = graph[i].size();
        for (const auto target : graph[i])
            waiters[target].push_back(i);
        if (open[i] == 0) ready.push_back(i);
    }
    std::size_t done = 0;
    while (!ready.empty()) {
        const auto node = ready.back();
        ready.pop_back();
        ++done;
        for (const auto waiter : waiters[node]) {
            if (--open[waiter] == 0) ready.push_back(waiter);
        }
    }
    return done < graph.size();
}

TEST(FindCycles, AgreesWithAReference) {
    const bool held = rc::check("cycles are cycles, and one is found when there is one", [] {
        const auto size = *rc::gen::inRange<std::uint32_t>(1, 12);
        Graph graph(size);
        const auto edges = *rc::gen::inRange<std::uint32_t>(0, 25);
        for (std::uint32_t i = 0; i < edges; ++i) {
            graph[*rc::gen::inRange<std::uint32_t>(0, size)].push_back(*rc::gen::inRange<std::uint32_t>(0, size));
        }
        const auto cycles = find_cycles(graph, 100);
        RC_ASSERT(cycles.empty() != has_cycle(graph));
        std::vector<int> seen(size, 0);
        for (const auto& cycle : cycles) {
            for (std::size_t i = 0; i < cycle.size(); ++i) {
                const auto& needs = graph[cycle[i]];
                RC_ASSERT(std::ranges::find(needs, cycle[(i + 1) % cycle.size()]) != needs.end());
                RC_ASSERT(++seen[cycle[i]] == 1);
            }
            RC_ASSERT(cycle.front() == *std::ranges::min_element(cycle));
        }
    });
    EXPECT_TRUE(held);
}

}  // namespace
}  // namespace wa
