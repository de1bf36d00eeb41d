// For tests only: a Docker engine on a Unix socket of the test's own loop. It keeps containers as a real one does, as
// far as the worker asks; each call can be made to misbehave instead.
#pragma once

#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "core/codec/text.h"
#include "http_client/testing/raw_server.h"

namespace wa::docker::testing {

namespace json = boost::json;
using http::testing::Reaction;
using http::testing::Seen;

inline std::string frame(int stream, std::string_view payload) {
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(stream);
    for (std::size_t at = 0; at < 4; ++at)
        bytes[4 + at] = static_cast<char>((payload.size() >> (8U * (3 - at))) & 0xFFU);
    return bytes + std::string(payload);
}

class FakeEngine {
public:
    struct Container {
        std::string id;
        std::string name;
        json::object labels;
        std::string status = "created";
        int exit_code = 0;
        bool out_of_memory = false;
        int starts = 0;
        int looks = 0;
        json::object body;
        std::string started_at = iso_timestamp(SystemClock().wall_now());
    };

    explicit FakeEngine(boost::asio::io_context& loop)
        : path("/tmp/wa-fake-docker-" + std::to_string(::getpid()) + ".sock"), loop_(loop) {
        listen();
    }
    ~FakeEngine() { ::unlink(path.c_str()); }
    FakeEngine(const FakeEngine&) = delete;
    FakeEngine& operator=(const FakeEngine&) = delete;

    void listen() {
        ::unlink(path.c_str());
        server.emplace(loop_, boost::asio::local::stream_protocol::endpoint(path),
                       [this](const Seen& seen) { return answer(seen); });
    }
    void go_away() {
        server.reset();
        ::unlink(path.c_str());
    }

    // The call as the metrics name it.
    static std::string call_of(const Seen& seen) {
        const std::string target = seen.target.substr(0, seen.target.find('?'));
        const auto ends = [&](std::string_view end) { return target.ends_with(end); };
        if (target == "/_ping") return "ping";
        if (target == "/version") return "version";
        if (ends("/events")) return "events";
        if (ends("/images/create")) return "pull";
        if (ends("/containers/json")) return "list";
        if (ends("/containers/create")) return "create";
        for (const char* verb : {"start", "stop", "kill", "wait", "logs", "rename"}) {
            if (ends(std::string("/") + verb)) return verb;
        }
        if (seen.method == "DELETE") return "remove";
        return ends("/json") ? "inspect" : "unknown";
    }

    Container* find(std::string_view key) {
        for (auto& [id, container] : containers) {
            if (id == key || container.name == key) return &container;
        }
        return nullptr;
    }
    Container& add(std::string name, json::object labels, std::string status) {
        std::string id(64, '0');
        const std::string number = std::to_string(++made);
        id.replace(64 - number.size(), number.size(), number);
        Container& container = containers[id];
        container.id = id;
        container.name = std::move(name);
        container.labels = std::move(labels);
        container.status = std::move(status);
        return container;
    }
    void end(Container& container, int code) {
        container.status = "exited";
        container.exit_code = code;
    }

    Reaction answer(const Seen& seen) {
        const std::string call = call_of(seen);
        ++calls[call];
        if (const auto strange = misbehave.find(call); strange != misbehave.end()) {
            auto& [left, reaction] = strange->second;
            const Reaction now = reaction;
            if (left == 1) {
                misbehave.erase(strange);
            } else if (left > 1) {
                --left;
            }
            return now;
        }
        return behave(call, seen);
    }

    std::string path;
    std::optional<http::testing::RawUnixServer> server;
    std::map<std::string, Container> containers;
    std::map<std::string, int> calls;
    // By call: how often still (0 = for ever), and what is answered instead.
    std::map<std::string, std::pair<int, Reaction>> misbehave;
    bool has_image = true;
    std::string pull_answer = "{\"status\":\"Pulling\"}\r\n{\"status\":\"Done\"}\r\n";
    std::string output = frame(1, "out\n") + frame(2, "err\n");
    int exit_code = 0;
    bool out_of_memory = false;
    bool runs_on = false;  // until it is stopped
    std::string kill_event;
    std::string last_auth;
    int made = 0;

private:
    Reaction refuse(int status, std::string_view words) {
        return http::testing::reply(status, json::serialize(json::object{{"message", words}}));
    }
    static std::string decoded(std::string_view text) {
        std::string out;
        for (std::size_t at = 0; at < text.size(); ++at) {
            if (text[at] == '%') {
                out += static_cast<char>(std::stoi(std::string(text.substr(at + 1, 2)), nullptr, 16));
                at += 2;
            } else {
                out += text[at];
            }
        }
        return out;
    }
    static std::string parameter(const Seen& seen, const std::string& name) {
        const std::size_t at = seen.target.find(name + "=");
        if (at == std::string::npos) return {};
        const std::size_t from = at + name.size() + 1;
        return decoded(seen.target.substr(from, seen.target.find('&', from) - from));
    }
    static std::string key_of(const Seen& seen) {
        const std::size_t from = seen.target.find("/containers/") + 12;
        return seen.target.substr(from, seen.target.find_first_of("/?", from) - from);
    }
    bool fits(const Container& container, const Seen& seen) {
        const json::value filters = json::parse(parameter(seen, "filters"));
        for (const json::value& wanted : filters.at("label").as_array()) {
            const std::string text(wanted.as_string());
            const std::size_t equals = text.find('=');
            const auto* label = container.labels.if_contains(text.substr(0, equals));
            if (label == nullptr || label->as_string() != text.substr(equals + 1)) return false;
        }
        return true;
    }
    Reaction list(const Seen& seen) {
        json::array all;
        for (const auto& [id, container] : containers) {
            if (!fits(container, seen)) continue;
            all.push_back(json::object{{"Id", id},
                                       {"Names", json::array{"/" + container.name}},
                                       {"Labels", container.labels},
                                       {"State", container.status},
                                       {"Created", 1}});
        }
        return http::testing::reply(200, json::serialize(all));
    }
    Reaction create(const Seen& seen) {
        if (!has_image) return refuse(404, "No such image: x");
        const std::string name = parameter(seen, "name");
        if (find(name) != nullptr) return refuse(409, "the name is in use");
        const json::value body = json::parse(seen.body);
        Container& container = add(name, body.at("Labels").as_object(), "created");
        container.body = body.as_object();
        return http::testing::reply(201,
                                    json::serialize(json::object{{"Id", container.id}, {"Warnings", json::array{}}}));
    }
    Reaction inspect(const Container& container) {
        const bool started = container.starts > 0 || container.status != "created";
        json::object state{{"Status", container.status},
                           {"Running", container.status == "running"},
                           {"ExitCode", container.exit_code},
                           {"OOMKilled", container.out_of_memory},
                           {"Error", ""},
                           {"StartedAt", started ? container.started_at : "0001-01-01T00:00:00Z"}};
        json::object body{{"Id", container.id},
                          {"Name", "/" + container.name},
                          {"Image", "sha256:1"},
                          {"State", std::move(state)},
                          {"Config", json::object{{"Labels", container.labels}}}};
        return http::testing::reply(200, json::serialize(body));
    }
    Reaction behave(const std::string& call, const Seen& seen) {
        if (call == "ping") return http::testing::reply(200, "OK");
        if (call == "version")
            return http::testing::reply(
                200, R"({"Version":"27.0","ApiVersion":"1.46","MinAPIVersion":"1.24","Os":"linux","Arch":"amd64"})");
        if (call == "pull") {
            const auto auth = seen.headers.find("x-registry-auth");
            last_auth = auth == seen.headers.end() ? "" : auth->second;
            has_image = pull_answer.find("\"error\"") == std::string::npos;
            return http::testing::reply(200, pull_answer);
        }
        if (call == "events") return http::testing::reply(200, kill_event);
        if (call == "list") return list(seen);
        if (call == "create") return create(seen);
        Container* container = find(key_of(seen));
        if (container == nullptr) return refuse(404, "No such container");
        // Also without a wait it ends, some time.
        if (call == "inspect" && !runs_on && container->status == "running") {
            constexpr int kLooks = 2;
            if (container->looks == kLooks) end(*container, exit_code);
            ++container->looks;
        }
        if (call == "inspect") return inspect(*container);
        if (call == "start") {
            if (container->status == "running") return http::testing::reply(304, "");
            ++container->starts;
            container->status = "running";
            return http::testing::reply(204, "");
        }
        if (call == "wait") {
            if (runs_on && container->status == "running")
                return {.bytes = "HTTP/1.1 200 OK\r\n", .then = Reaction::Then::kHold};
            if (container->status == "running") {
                end(*container, exit_code);
                container->out_of_memory = out_of_memory;
            }
            return http::testing::reply(200, json::serialize(json::object{{"StatusCode", container->exit_code}}));
        }
        if (call == "logs") {
            if (container->status != "running") return http::testing::reply(200, output);
            return {.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(output) +
                             (runs_on ? "" : "0\r\n\r\n"),
                    .then = runs_on ? Reaction::Then::kHold : Reaction::Then::kKeep};
        }
        if (call == "stop" || call == "kill") {
            if (container->status != "running") return refuse(call == "stop" ? 304 : 409, "is not running");
            end(*container, call == "stop" ? 143 : 137);
            return http::testing::reply(204, "");
        }
        if (call == "rename") {
            container->name = parameter(seen, "name");
            return http::testing::reply(204, "");
        }
        if (call == "remove") {
            containers.erase(container->id);
            return http::testing::reply(204, "");
        }
        return refuse(404, "page not found");
    }
    static std::string chunk(const std::string& bytes) {
        if (bytes.empty()) return {};
        static constexpr std::string_view kHex = "0123456789abcdef";
        std::string size;
        for (std::size_t left = bytes.size(); left > 0; left /= 16)
            size.insert(size.begin(), kHex[left % 16]);
        return size + "\r\n" + bytes + "\r\n";
    }

    boost::asio::io_context& loop_;
};

}  // namespace wa::docker::testing
