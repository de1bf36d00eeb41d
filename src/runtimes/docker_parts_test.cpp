// The pure pieces of the Docker runtime: frames, progress, names, logins, answers, tasks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include "runtimes/docker_answers.h"
#include "runtimes/docker_api.h"
#include "runtimes/docker_frames.h"
#include "runtimes/docker_progress.h"
#include "runtimes/docker_task.h"
#include "runtimes/image_name.h"
#include "runtimes/registry_auth.h"
#include "runtimes/testing/docker_engine.h"

namespace wa::docker {
namespace {

namespace json = boost::json;
using testing::frame;
using ::testing::HasSubstr;

std::string read_frames(std::string_view bytes, std::size_t piece, LogFrames& frames) {
    std::string taken;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        const auto good = frames.feed(bytes.substr(at, piece), [&](TaskLogStream stream, std::string_view payload) {
            for (const char c : payload)
                taken += std::string(1, "?oew"[static_cast<std::size_t>(stream)]) + c;
        });
        if (!good) return taken + "!";
    }
    return taken;
}

TEST(LogFrames, PiecesOfAnySize) {
    const std::string bytes = frame(1, "ab") + frame(2, "") + frame(2, "c") + frame(3, "d") + frame(0, "e");
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
        LogFrames frames;
        EXPECT_EQ(read_frames(bytes, piece, frames), "oaobecwdoe");
        EXPECT_TRUE(frames.complete());
    }
}

TEST(LogFrames, WhatIsCutOffOrNoFrame) {
    LogFrames cut;
    EXPECT_EQ(read_frames(frame(1, "abc").substr(0, 10), 3, cut), "oaob");
    EXPECT_FALSE(cut.complete());
    LogFrames header;
    EXPECT_EQ(read_frames("\x01", 1, header), "");
    EXPECT_FALSE(header.complete());
    for (const std::string& bad :
         {std::string("plain text"), std::string("\x04\0\0\0\0\0\0\1x", 9), std::string("\x01\1\0\0\0\0\0\1x", 9)}) {
        LogFrames frames;
        EXPECT_EQ(read_frames(bad, 1, frames), "!");
        EXPECT_EQ(read_frames(frame(1, "a"), 9, frames), "!");  // and stays so
    }
}

TEST(PullProgress, AnErrorIsFoundWhereverItStands) {
    PullProgress progress;
    ASSERT_TRUE(progress.feed("{\"status\":\"Pulling fs layer\",\"id\":\"1\"}\r\n{\"errorDet"));
    EXPECT_FALSE(progress.failure());
    ASSERT_TRUE(progress.feed("ail\":{\"code\":401,\"message\":\"unauthorized\"},\"error\":\"unauthorized: login\"}"));
    ASSERT_TRUE(progress.finish());
    EXPECT_EQ(progress.failure(), "unauthorized: login");
    EXPECT_EQ(progress.failure_status(), 401);
    EXPECT_EQ(progress.status(), "Pulling fs layer");
}

TEST(PullProgress, IsBoundedAndStrict) {
    PullProgress endless;
    bool good = true;
    for (int at = 0; at < 100 && good; ++at)
        good = endless.feed(std::string(1000, 'x')).has_value();
    EXPECT_FALSE(good);
    PullProgress garbage;
    EXPECT_FALSE(garbage.feed("not json\n"));
    PullProgress list;
    EXPECT_FALSE(list.feed("[1]\n"));
}

TEST(ImageName, PartsOfAName) {
    const auto plain = parse_image_name("busybox").value();
    EXPECT_EQ(plain.registry, "docker.io");
    EXPECT_EQ(plain.version(), "latest");
    const auto full = parse_image_name("localhost:5000/a/b_c:v1.2").value();
    EXPECT_EQ(full.registry, "localhost:5000");
    EXPECT_EQ(full.repository, "localhost:5000/a/b_c");
    EXPECT_EQ(full.tag, "v1.2");
    const std::string digest = "sha256:" + std::string(64, 'a');
    const auto pinned = parse_image_name("registry.example.com/x@" + digest).value();
    EXPECT_EQ(pinned.version(), digest);
    EXPECT_EQ(pinned.repository, "registry.example.com/x");
    for (const char* bad : {"", "UPPER", "a b", "a//b", "/a", "a/", "a:", "a:-x", "a@sha256:1", "a?x=1", "a\n",
                            "http://a/b", "-a", "a:b/c:d:e"})
        EXPECT_FALSE(parse_image_name(bad)) << bad;
}

TEST(RegistryAuth, LoginsByRegistry) {
    const auto auth = RegistryAuth::parse(
        R"({"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNz"},)"
        R"("r.example.com:5000":{"username":"u","password":"p\u00e9"},"t":{"identitytoken":"tok"}}})");
    ASSERT_TRUE(auth);
    EXPECT_EQ(auth->header_for("docker.io"),
              "eyJ1c2VybmFtZSI6InVzZXIiLCJwYXNzd29yZCI6InBhc3MiLCJzZXJ2ZXJhZGRyZXNzIjoiaHR0cHM6Ly9pbmRleC5kb2NrZXIuaW8v"
              "djEvIn0=");
    EXPECT_FALSE(auth->header_for("r.example.com:5000").empty());
    EXPECT_TRUE(auth->header_for("elsewhere").empty());
    EXPECT_TRUE(RegistryAuth::parse("")->header_for("docker.io").empty());
    for (const char* bad :
         {"secret", "[]", "{}", R"({"auths":{"x":{"auth":"???"}}})", R"({"auths":{"x":{"auth":"bm9jb2xvbg=="}}})"}) {
        const auto refused = RegistryAuth::parse(bad);
        ASSERT_FALSE(refused) << bad;
        EXPECT_THAT(refused.error().message, ::testing::Not(HasSubstr("secret")));
    }
}

TEST(DockerAnswers, WhatIsNoneIsRefused) {
    EXPECT_FALSE(parse_version("{}"));
    EXPECT_FALSE(parse_created(R"({"Id":"../../etc"})"));
    EXPECT_FALSE(parse_inspect(R"({"Id":")" + std::string(64, 'a') + R"(","State":{"Status":"odd","ExitCode":0}})"));
    EXPECT_FALSE(parse_list("{}"));
    EXPECT_FALSE(parse_wait(R"({"StatusCode":"0"})"));
    EXPECT_EQ(parse_wait(R"({"StatusCode":0,"Error":{"Message":"m"}})")->error, "m");
    EXPECT_EQ(refusal_text(R"({"message":"No such\nimage"})"), "No such image");
    EXPECT_EQ(refusal_text(""), "no reason given");
    EXPECT_EQ(refusal_text("plain"), "plain");
    // As Docker 20.10 hands them on.
    EXPECT_EQ(registry_refusal(R"(Head "http://h/v2/t/manifests/7": no basic auth credentials)"),
              ErrorCode::kNotAllowed);
    EXPECT_EQ(registry_refusal("unauthorized: authentication required"), ErrorCode::kNotAllowed);
    EXPECT_EQ(registry_refusal("pull access denied for x, repository does not exist or may require 'docker login': "
                               "denied: requested access to the resource is denied"),
              ErrorCode::kNotAllowed);
    EXPECT_EQ(registry_refusal("manifest for h/t:8 not found: manifest unknown: manifest unknown"),
              ErrorCode::kNotFound);
    EXPECT_FALSE(registry_refusal("toomanyrequests: You have reached your pull rate limit"));
    EXPECT_FALSE(registry_refusal("dial tcp 127.0.0.1:1: connect: connection refused"));
    EXPECT_LT(*parse_api_version("1.9"), *parse_api_version("1.41"));
    for (const char* bad : {"", "1", "1.", ".1", "1.x", "-1.2", "1.12345678901234567890"})
        EXPECT_FALSE(parse_api_version(bad)) << bad;
}

TEST(DockerEndpoint, Addresses) {
    EXPECT_EQ(parse_endpoint("unix:///var/run/docker.sock", false)->unix_socket, "/var/run/docker.sock");
    EXPECT_EQ(parse_endpoint("tcp://host:2375", false)->base_url, "http://host:2375");
    EXPECT_EQ(parse_endpoint("tcp://host:2376", true)->base_url, "https://host:2376");
    EXPECT_EQ(parse_endpoint("https://host:2376/", false)->base_url, "https://host:2376");
    for (const char* bad : {"", "unix://relative", "ssh://host", "tcp://", "tcp://host/path", "tcp://user@host"})
        EXPECT_FALSE(parse_endpoint(bad, false)) << bad;
    EXPECT_EQ(percent_encoded("a/b c=\"x\""), "a%2Fb%20c%3D%22x%22");
}

class TaskTest : public ::testing::Test {
protected:
    Result<Task> parse(json::object more) {
        ticket.parameters = {{"command", "sh -c 'echo hi'"}, {"image", "busybox:1"}};
        for (auto& [key, value] : more)
            ticket.parameters[key] = value;
        return parse_task(ticket, rules);
    }
    TaskRules rules;
    Ticket ticket;
};

TEST_F(TaskTest, EverySpellingOfLimits) {
    for (const char* text : {"512m", "512Mi", "512MiB", "512M", "536870912", "0.5g", "0.5Gi", "524288k"})
        EXPECT_EQ(parse({{"memory_limit", text}})->memory, 536'870'912U) << text;
    EXPECT_EQ(parse({{"memory_limit", "512MB"}})->memory, 512'000'000U);
    EXPECT_EQ(parse({{"memory_limit", 536870912}})->memory, 536'870'912U);
    for (const json::value& value : {json::value("1000m"), json::value("1"), json::value(1), json::value(1.0)})
        EXPECT_EQ(parse({{"cpu_limit", value}})->cpu_millis, 1000U);
    EXPECT_EQ(parse({{"cpu_limit", 0.25}})->cpu_millis, 250U);
    EXPECT_EQ(parse({})->memory, rules.memory);
    EXPECT_FALSE(parse({{"cpu_limit", "many"}}));
    EXPECT_FALSE(parse({{"memory_limit", "-1"}}));
}

TEST_F(TaskTest, CommandsAreWordsAndNeverLeftOut) {
    EXPECT_EQ(parse({})->words, (std::vector<std::string>{"sh", "-c", "echo hi"}));
    EXPECT_EQ(parse({{"command", json::array{"a b"}}, {"args", json::array{"c"}}})->words,
              (std::vector<std::string>{"a b", "c"}));
    EXPECT_EQ(parse({{"command", "echo $X | cat"}, {"shell", true}})->words,
              (std::vector<std::string>{"sh", "-c", "echo $X | cat", "sh"}));
    EXPECT_FALSE(parse({{"command", ""}}));
}

TEST_F(TaskTest, WhatATicketMayNotHave) {
    for (const char* key : {"mounts", "volumes", "binds", "privileged", "devices", "cap_add"}) {
        const auto refused = parse({{key, "x"}});
        ASSERT_FALSE(refused) << key;
        EXPECT_EQ(refused.error().code, ErrorCode::kNotAllowed);
    }
    EXPECT_TRUE(parse({{"privileged", false}}));
    for (const char* user : {"0", "0:0", "000", "root", "1000:staff", "-1", "1000:", "99999999999"})
        EXPECT_FALSE(parse({{"user", user}})) << user;
    EXPECT_EQ(parse({{"user", "1001:0"}})->user, "1001:0");
    EXPECT_FALSE(parse({{"network_mode", "host"}}));
    EXPECT_FALSE(parse({{"network_mode", "container:other"}}));
    EXPECT_FALSE(parse({{"stdin", "x"}}));
    EXPECT_FALSE(parse({{"working_dir", "relative"}}));
    EXPECT_FALSE(parse({{"image", "not an image"}}));
    rules.allow_root = true;
    rules.allow_host_network = true;
    EXPECT_EQ(parse({{"user", "root"}})->user, "root");
    EXPECT_EQ(parse({{"network_mode", "host"}})->network, "host");
    rules.allowed_images = {"registry.example.com/*"};
    EXPECT_EQ(parse({}).error().code, ErrorCode::kNotAllowed);
    EXPECT_TRUE(parse({{"image", "registry.example.com/tool:1"}}));
}

TEST_F(TaskTest, TheContainerThatIsMade) {
    const Task task =
        *parse({{"env_vars", json::object{{"A", "b"}, {"API_TOKEN", "hidden-value"}}}, {"working_dir", "/w"}});
    EXPECT_EQ(task.secrets, (std::vector<std::string>{"hidden-value"}));
    const json::object body = json::parse(create_body(task, rules, {{"l", "v"}})).as_object();
    const json::object& host = body.at("HostConfig").as_object();
    EXPECT_EQ(host.at("Memory"), host.at("MemorySwap"));
    EXPECT_EQ(host.at("NanoCpus").to_number<std::int64_t>(), 1'000'000'000);
    EXPECT_EQ(host.at("CapDrop"), json::value(json::array{"ALL"}));
    EXPECT_EQ(host.at("SecurityOpt"), json::value(json::array{"no-new-privileges"}));
    EXPECT_EQ(host.at("ReadonlyRootfs"), json::value(true));
    EXPECT_EQ(host.at("AutoRemove"), json::value(false));
    EXPECT_FALSE(host.contains("Binds"));
    EXPECT_EQ(body.at("User").as_string(), "1000:1000");
    EXPECT_EQ(body.at("WorkingDir").as_string(), "/w");
    EXPECT_EQ(body.at("Labels").as_object().at("l").as_string(), "v");
    EXPECT_EQ(body.at("Env"), json::value(json::array{"HOME=/tmp", "A=b", "API_TOKEN=hidden-value"}));
}

}  // namespace
}  // namespace wa::docker
