#include "admin/plan_view.h"

#include <gtest/gtest.h>

namespace wa::admin {
namespace {

TEST(PlanShape, LevelsAndHeaviestChain) {
    // 0 -> 1 -> 3, 0 -> 2 -> 3, and 4 alone
    const PlanShape shape = shape_of({{{}, 10}, {{0}, 5}, {{0}, 50}, {{1, 2}, 1}, {{}, 30}});
    EXPECT_EQ(shape.levels, (std::vector<std::uint32_t>{0, 1, 1, 2, 0}));
    EXPECT_EQ(shape.critical_path, (std::vector<std::size_t>{0, 2, 3}));
}

TEST(PlanShape, EmptyAndCyclic) {
    EXPECT_TRUE(shape_of({}).critical_path.empty());
    const PlanShape shape = shape_of({{{1}, 5}, {{0}, 5}, {{}, 1}});
    EXPECT_EQ(shape.critical_path, (std::vector<std::size_t>{2}));
}

TEST(PlanShape, LongChainsNeedNoStack) {
    std::vector<PlanShapeNode> nodes(100'000);
    for (std::size_t i = 1; i < nodes.size(); ++i)
        nodes[i].needs = {i - 1};
    const PlanShape shape = shape_of(nodes);
    EXPECT_EQ(shape.levels.back(), 99'999U);
    EXPECT_EQ(shape.critical_path.size(), 100'000U);
}

}  // namespace
}  // namespace wa::admin
