#include "net/router.h"

#include <gtest/gtest.h>

namespace wa::net {
namespace {

Router sample() {
    Router router;
    for (const auto& [method, pattern] :
         std::vector<std::pair<std::string, std::string>>{{"GET", "/api/v1/tickets"},
                                                          {"POST", "/api/v1/tickets"},
                                                          {"GET", "/api/v1/tickets/{id}"},
                                                          {"POST", "/api/v1/tickets/compensation"},
                                                          {"GET", "/"},
                                                          {"PATCH", "/api/v1/tickets/{id}/status"}}) {
        router.add({.method = method, .pattern = pattern, .handle = [](Request, Responder) {}});
    }
    return router;
}

TEST(Router, PrefersLiteralPieces) {
    const Router router = sample();
    EXPECT_EQ(router.match("POST", {"api", "v1", "tickets", "compensation"}).route->pattern,
              "/api/v1/tickets/compensation");
    const auto match = router.match("GET", {"api", "v1", "tickets", "42"});
    ASSERT_NE(match.route, nullptr);
    EXPECT_EQ(match.params, (NameValues{{"id", "42"}}));
    EXPECT_EQ(router.match("GET", {}).route->pattern, "/");
}

TEST(Router, SaysWhatAnAddressTakes) {
    const Router router = sample();
    EXPECT_EQ(router.match("DELETE", {"api", "v1", "tickets"}).allow, "GET, HEAD, POST");
    EXPECT_EQ(router.match("DELETE", {"nothing"}).allow, "");
    EXPECT_NE(router.match("HEAD", {"api", "v1", "tickets"}).route, nullptr);
    EXPECT_EQ(router.match("GET", {"api", "v1", "tickets", "compensation"}).route, nullptr);
}

class Recorder final : public Exchange {
public:
    explicit Recorder(std::vector<int>& statuses) : statuses_(statuses) {}
    void send(Response response) override { statuses_.push_back(response.status); }
    std::shared_ptr<Stream> stream(Response) override { return nullptr; }
    std::shared_ptr<Loop> loop() override { return nullptr; }

private:
    std::vector<int>& statuses_;
};

TEST(Responder, AnswersExactlyOnce) {
    std::vector<int> statuses;
    {
        Responder responder(std::make_shared<Recorder>(statuses));
        responder.send({.status = 201});
        responder.send({.status = 202});
    }
    EXPECT_EQ(statuses, (std::vector<int>{201}));
}

TEST(Responder, DroppedWithoutAnAnswerSaysSo) {
    std::vector<int> statuses;
    {
        Responder first(std::make_shared<Recorder>(statuses));
        Responder second = std::move(first);
    }
    EXPECT_EQ(statuses, (std::vector<int>{500}));
}

TEST(Problem, IsJsonWhateverTheText) {
    const Response response = problem(422, "a\"b\n\xff", {{"sla.timeout_ms", "must be > 0"}});
    EXPECT_EQ(response.content_type, "application/problem+json");
    EXPECT_EQ(response.body,
              "{\"type\":\"about:blank\",\"title\":\"Unprocessable "
              "Content\",\"status\":422,\"detail\":\"a\\\"b\\n\xEF\xBF\xBD\","
              "\"errors\":[{\"field\":\"sla.timeout_ms\",\"message\":\"must be > 0\"}]}");
}

}  // namespace
}  // namespace wa::net
