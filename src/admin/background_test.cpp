// Goal: no job outlives the owner of the thread, whoever holds the other end.
#include "admin/background.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>

namespace wa::admin {
namespace {

TEST(Background, TheOwnerWaitsForTheJobUnderWayAndDropsTheOthers) {
    auto jobs = std::make_shared<BackgroundJobs>();
    auto thread = std::make_unique<BackgroundThread>(jobs);
    std::promise<void> begun;
    std::atomic<bool> done = false;
    std::atomic<bool> second = false;
    const auto held = std::make_shared<int>(1);
    ASSERT_TRUE(jobs->run([&begun, &done, jobs, held] {
        begun.set_value();
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        done = true;
    }));
    ASSERT_TRUE(jobs->run([&second, jobs, held] { second = true; }));
    begun.get_future().wait();
    thread.reset();
    EXPECT_TRUE(done);
    EXPECT_FALSE(second);
    EXPECT_EQ(held.use_count(), 1);  // nothing of a job is left
    EXPECT_EQ(jobs.use_count(), 1);
    EXPECT_FALSE(jobs->run([] {}));
}

TEST(Background, WhatWaitsIsBounded) {
    const auto jobs = std::make_shared<BackgroundJobs>();
    BackgroundThread thread(jobs);
    std::promise<void> go;
    const std::shared_future<void> gone = go.get_future().share();
    int taken = 0;
    while (taken < 1000 && jobs->run([gone] { gone.wait(); }))
        ++taken;
    EXPECT_GE(taken, 32);
    EXPECT_LE(taken, 33);
    go.set_value();
}

}  // namespace
}  // namespace wa::admin
