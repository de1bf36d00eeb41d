#include "cli/api_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/exit_codes.h"
#include "cli/testing/stub_server.h"

namespace wa::cli {
namespace {

using namespace std::chrono_literals;
using testing::fixed;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::StubRequest;
using testing::StubServer;

ApiClient client(const StubServer& server, ApiOptions options = {}) {
    return {Server{server.url(), {}, "s3cret", server.url(), "--server"}, std::move(options)};
}

// Answers with these bytes, whatever is asked.
StubServer::Handler raw(std::string bytes) {
    return [bytes = std::move(bytes)](const StubRequest&, int connection) { StubServer::write(connection, bytes); };
}

TEST(ApiClient, SendsAndReads) {
    StubServer server(fixed({{"GET /a?b=c", {200, "{\"x\":1}"}}, {"POST /p", {201, "{}"}}, {"DELETE /d", {204, ""}}}));
    ApiClient api = client(server);
    const auto answer = api.get("/a?b=c");
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "{\"x\":1}");
    EXPECT_EQ(answer->content_type, "application/json");
    EXPECT_TRUE(api.post("/p", "hello", "application/yaml").has_value());
    EXPECT_TRUE(api.remove("/d").has_value());
    const auto requests = server.requests();
    ASSERT_EQ(requests.size(), 3U);
    EXPECT_EQ(requests[1].body, "hello");
    EXPECT_THAT(requests[1].head, HasSubstr("Content-Type: application/yaml"));
    EXPECT_THAT(requests[0].head, HasSubstr("Authorization: Bearer s3cret"));
    EXPECT_EQ(requests[2].method, "DELETE");
}

TEST(ApiClient, LargeBodiesArrive) {
    StubServer server(fixed({{"POST /p", {201, std::string(3'000'000, 'x')}}}));
    ApiClient api = client(server);
    const auto answer = api.post("/p", std::string(5'000'000, 'y'));
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(answer->body.size(), 3'000'000U);
    EXPECT_EQ(server.requests().front().body.size(), 5'000'000U);
}

TEST(ApiClient, RefusalsAreTyped) {
    struct Case {
        int status;
        ErrorCode code;
        int exit;
    };
    for (const Case one :
         {Case{400, ErrorCode::kMalformed, 1}, Case{401, ErrorCode::kNotAllowed, 4},
          Case{403, ErrorCode::kNotAllowed, 4}, Case{404, ErrorCode::kNotFound, 5}, Case{409, ErrorCode::kConflict, 1},
          Case{413, ErrorCode::kLimitExceeded, 1}, Case{415, ErrorCode::kUnsupported, 1},
          Case{422, ErrorCode::kInvalidArgument, 1}, Case{503, ErrorCode::kUnavailable, 1},
          Case{504, ErrorCode::kTimeout, 6}, Case{507, ErrorCode::kDiskFull, 1}, Case{500, ErrorCode::kInternal, 1},
          Case{302, ErrorCode::kInternal, 1}}) {
        StubServer server(fixed({{"GET /", {one.status, R"({"detail":"because"})"}}}));
        const auto answer = client(server).get("/");
        ASSERT_FALSE(answer.has_value()) << one.status;
        EXPECT_EQ(answer.error().code, one.code) << one.status;
        EXPECT_EQ(answer.error().message, "because");
        EXPECT_EQ(exit_code(answer.error()), one.exit) << one.status;
    }
}

TEST(ApiClient, ProblemsListTheirFields) {
    StubServer server(fixed({{"POST /", {422, R"({"title":"T","detail":"the plan is not valid","fix":"do this",
        "errors":[{"field":"tickets.a.type","message":"unknown"},{"message":"cycle"},7]})"}}}));
    const auto answer = client(server).post("/", "{}");
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().message, "the plan is not valid\n  tickets.a.type: unknown\n  cycle");
    EXPECT_EQ(answer.error().fix, "do this");
}

TEST(ApiClient, NobodyThere) {
    std::string url;
    {
        url = StubServer(fixed({})).url();
    }
    ApiClient api({url, {}, {}, url, {}}, {});
    const auto answer = api.get("/");
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(exit_code(answer.error()), 7);
    EXPECT_THAT(answer.error().message, HasSubstr("cannot reach a worker at " + url));
    EXPECT_THAT(answer.error().fix, HasSubstr("worker-agents dev"));
    EXPECT_EQ(exit_code(api.stream("/").error()), 7);
    ApiClient no_host({"http://no-such-host.invalid", {}, {}, "x", {}}, {});
    EXPECT_EQ(exit_code(no_host.get("/").error()), 7);
}

TEST(ApiClient, ASocketThatIsGoneIsNamedAndSaysHowToStart) {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("wa-socket-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const std::string path = (folder / "api.sock").string();
    const auto error = [](const std::string& socket) {
        GlobalOptions global;
        global.server = "unix://" + socket;
        const auto answer = ApiClient(*find_server(global, {}), {}).get("/health");
        EXPECT_FALSE(answer.has_value());
        EXPECT_EQ(exit_code(answer.error()), 7);
        EXPECT_THAT(answer.error().message, HasSubstr(socket));
        EXPECT_THAT(answer.error().message, Not(HasSubstr("localhost")));
        EXPECT_THAT(answer.error().message, Not(HasSubstr("port")));
        return answer.error();
    };
    EXPECT_THAT(error(path).message, HasSubstr("there is no such socket"));
    EXPECT_THAT(error(path).fix, HasSubstr("worker-agents dev --state-dir " + folder.string()));
    // A file that nobody listens on, and one that is not in a state folder.
    std::ofstream(path) << "";
    EXPECT_THAT(error(path).message, HasSubstr("nobody answers on this socket"));
    EXPECT_THAT(error((folder / "other").string()).fix, HasSubstr("worker-agents dev"));
    std::filesystem::remove_all(folder);
}

TEST(ApiClient, SilenceEndsAtTheTimeout) {
    StubServer server([](const StubRequest&, int connection) {
        pollfd gone{connection, POLLIN, 0};
        ::poll(&gone, 1, 5000);
    });
    ApiOptions options;
    options.request_time = 150ms;
    const auto started = std::chrono::steady_clock::now();
    const auto answer = client(server, options).get("/");
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(exit_code(answer.error()), 6);
    EXPECT_LT(std::chrono::steady_clock::now() - started, 3s);
    EXPECT_EQ(exit_code(client(server, options).stream("/").error()), 6);
}

TEST(ApiClient, GarbageIsAnErrorNeverACrash) {
    const std::vector<std::string> answers{
        "",
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        "HTTP/9.9 banana\r\n\r\n",
        std::string("HTTP/1.1 200 OK\r\nX: \0\xff\r\nContent-Length: -5\r\n\r\n", 46),
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    };
    for (const std::string& bytes : answers) {
        StubServer server(raw(bytes));
        ApiOptions options;
        options.request_time = 2s;
        const auto answer = client(server, options).get("/");
        if (!answer) EXPECT_FALSE(answer.error().message.empty()) << bytes;
    }
    // A refusal that is not JSON still says what it was.
    StubServer html(raw(StubServer::answer(502, "<html>\x1b[2J</html>", "text/html")));
    EXPECT_EQ(client(html).get("/").error().message, "the server answered 502");
    StubServer deep(raw(StubServer::answer(500, std::string(50'000, '['))));
    EXPECT_EQ(client(deep).get("/").error().message, "the server answered 500");
}

TEST(ApiClient, AnswersHaveALargestSize) {
    StubServer server(fixed({{"GET /", {200, std::string(100'000, 'x')}}}));
    ApiOptions options;
    options.max_body = 50'000;
    const auto answer = client(server, options).get("/");
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().code, ErrorCode::kLimitExceeded);
}

TEST(ApiClient, RedirectsAreNotFollowed) {
    StubServer server(raw("HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/steal\r\nContent-Length: 0\r\n\r\n"));
    EXPECT_FALSE(client(server).get("/").has_value());
    EXPECT_EQ(server.requests().size(), 1U);
}

TEST(ApiClient, StreamsComeBitByBit) {
    StubServer server([](const StubRequest& request, int connection) {
        if (request.target == "/refused") {
            StubServer::write(connection, StubServer::answer(404, R"({"detail":"no stream"})"));
            return;
        }
        StubServer::write(connection,
                          "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        StubServer::write(connection, "5\r\nhello\r\n");
        ::usleep(100'000);
        StubServer::write(connection, "6\r\n world\r\n0\r\n\r\n");
    });
    ApiClient api = client(server);
    EXPECT_EQ(api.stream("/refused").error().message, "no stream");
    auto stream = api.stream("/s", "41");
    ASSERT_TRUE(stream.has_value()) << stream.error().message;
    EXPECT_THAT(server.requests().back().head, HasSubstr("Last-Event-ID: 41"));
    std::string all;
    bool ended = false;
    for (int i = 0; i < 100 && !ended; ++i) {
        const auto piece = (*stream)->read(1s);
        ASSERT_TRUE(piece.has_value()) << piece.error().message;
        all += piece->bytes;
        ended = piece->ended;
    }
    EXPECT_TRUE(ended);
    EXPECT_EQ(all, "hello world");
}

TEST(ApiClient, AStreamThatBreaksSaysSo) {
    StubServer server(raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    ApiClient api = client(server);
    auto stream = api.stream("/");
    ASSERT_TRUE(stream.has_value());
    Result<ApiStream::Piece> piece = ApiStream::Piece{};
    for (int i = 0; i < 10 && piece && !piece->ended; ++i)
        piece = (*stream)->read(1s);
    ASSERT_FALSE(piece.has_value());
    EXPECT_EQ(exit_code(piece.error()), 7);
}

TEST(ApiClient, CtrlCEndsAWait) {
    InterruptWatch interrupts;  // before any thread: they inherit that the signals are blocked
    StubServer server([](const StubRequest&, int connection) {
        pollfd gone{connection, POLLIN, 0};
        ::poll(&gone, 1, 5000);
    });
    ApiOptions options;
    options.interrupt = &interrupts;
    ApiClient api = client(server, options);
    std::thread presser([] {
        ::usleep(100'000);
        ::kill(::getpid(), SIGINT);
    });
    const auto answer = api.get("/");
    presser.join();
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(exit_code(answer.error()), 130);
}

TEST(ApiClient, Encodes) {
    EXPECT_EQ(encoded("a b/c?d=e&f#g%\xff@~"), "a%20b%2Fc%3Fd%3De%26f%23g%25%FF@~");
    EXPECT_EQ(encoded("../../etc"), "..%2F..%2Fetc");
}

class Endpoint : public ::testing::Test {
protected:
    Endpoint() : folder_(std::filesystem::temp_directory_path() / ("wa-cli-" + std::to_string(::getpid()))) {
        std::filesystem::remove_all(folder_);
        std::filesystem::create_directories(folder_ / "state" / "worker-agents");
        environment_["XDG_STATE_HOME"] = (folder_ / "state").string();
    }
    ~Endpoint() override { std::filesystem::remove_all(folder_); }
    std::string state() { return (folder_ / "state" / "worker-agents").string(); }
    void write(const std::string& name, const std::string& text) { std::ofstream(state() + "/" + name) << text; }

    std::filesystem::path folder_;
    config::Environment environment_;
};

TEST_F(Endpoint, FallsBackToTheDefaultAddress) {
    const auto server = find_server({}, environment_);
    ASSERT_TRUE(server.has_value());
    EXPECT_EQ(server->base_url, "http://127.0.0.1:8080");
    EXPECT_EQ(server->token, "");
    EXPECT_TRUE(find_server({}, {}).has_value());
}

TEST_F(Endpoint, SocketBeforeEndpoints) {
    write("endpoints", R"({"http":"http://127.0.0.1:4711","pid":1})");
    write("token", "tok123\n");
    auto server = find_server({}, environment_);
    EXPECT_EQ(server->base_url, "http://127.0.0.1:4711");
    EXPECT_EQ(server->token, "tok123");
    {
        StubServer listening(fixed({{"GET /health", {200, "{}"}}}), state() + "/api.sock");
        server = find_server({}, environment_);
        EXPECT_EQ(server->socket_path, state() + "/api.sock");
        EXPECT_EQ(server->token, "");
        EXPECT_TRUE(ApiClient(*server, {}).get("/health").has_value());
    }
    // The socket of a worker that was killed stays behind; nobody listens on it.
    EXPECT_EQ(find_server({}, environment_)->base_url, "http://127.0.0.1:4711");
    write("endpoints", "garbage");
    EXPECT_EQ(find_server({}, environment_)->base_url, "http://127.0.0.1:8080");
}

TEST_F(Endpoint, ANamedFolderWithoutAWorkerIsAnError) {
    GlobalOptions global;
    global.state_dir = (folder_ / "other").string();
    const auto server = find_server(global, environment_);
    ASSERT_FALSE(server.has_value());
    EXPECT_EQ(exit_code(server.error()), 7);
    EXPECT_THAT(server.error().fix, HasSubstr("dev --state-dir"));
}

TEST_F(Endpoint, TheTokenStaysOnThisMachine) {
    write("token", "tok123\n");
    GlobalOptions global;
    global.server = "http://127.0.0.1:9999/";
    EXPECT_EQ(find_server(global, environment_)->token, "tok123");
    EXPECT_EQ(find_server(global, environment_)->base_url, "http://127.0.0.1:9999");
    for (const char* foreign : {"https://worker.example", "http://10.0.0.1:8080", "http://127.0.0.1.evil.example",
                                "http://127.evil.example"}) {
        global.server = foreign;
        EXPECT_EQ(find_server(global, environment_)->token, "") << foreign;
    }
    global.token_file = state() + "/token";
    EXPECT_EQ(find_server(global, environment_)->token, "tok123");
    global.token_file = state() + "/none";
    EXPECT_FALSE(find_server(global, environment_).has_value());
    write("two", "a b\n");
    global.token_file = state() + "/two";
    EXPECT_EQ(exit_code(find_server(global, environment_).error()), 4);
}

TEST_F(Endpoint, AddressesInSeveralForms) {
    GlobalOptions global;
    global.server = "unix:///run/x.sock";
    EXPECT_EQ(find_server(global, environment_)->socket_path, "/run/x.sock");
    global.server = "/run/x.sock";
    EXPECT_EQ(find_server(global, environment_)->socket_path, "/run/x.sock");
    global.server = "worker:8080";
    EXPECT_EQ(find_server(global, environment_)->base_url, "http://worker:8080");
    for (const char* bad : {"ftp://x", "http://", "http://a b", "::::"}) {
        global.server = bad;
        const auto server = find_server(global, environment_);
        ASSERT_FALSE(server.has_value()) << bad;
        EXPECT_EQ(exit_code(server.error()), 2);
    }
}

}  // namespace
}  // namespace wa::cli
