// Calls of the Docker Engine API (contract/executors.md 6.4), over a Unix socket or TCP, with or without TLS.
//
// The version is negotiated: the engine's newest, at most kNewestKnown; an engine that speaks nothing of what is known
// here is refused. Threading: the loop's; answers come as those of http::Client do. An Engine API over plain TCP has no
// protection at all: that is the operator's choice, and `doctor` says so.
//
// Errors tell a refusal (status: the engine answered) from silence (status 0: nobody knows what happened). Their texts
// are the engine's own words.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "http_client/http_client.h"
#include "runtimes/docker_answers.h"
#include "runtimes/image_name.h"

namespace wa::docker {

inline constexpr ApiVersion kNewestKnown{1, 51};
inline constexpr ApiVersion kOldestKnown{1, 40};

struct Endpoint {
    std::string unix_socket;  // path; empty = TCP
    std::string base_url;     // "http://docker", "https://host:2376"
    std::string shown;        // for people
    bool tls = false;
};
// "unix:///path", "tcp://host:port", "http://…", "https://…". `tls`: what tcp:// means; other schemes say it
// themselves.
[[nodiscard]] Result<Endpoint> parse_endpoint(std::string_view url, bool tls);

struct ApiError {
    int status = 0;  // of HTTP; 0 = there was no answer
    Error error;

    // The other side may or may not have done it.
    [[nodiscard]] bool silent() const { return status == 0; }
    [[nodiscard]] bool is(int code) const { return status == code; }
    // Asking again may help: silence, or a failure of the engine itself.
    [[nodiscard]] bool passing() const { return status == 0 || status >= 500; }
};
template <class T>
using Reply = tl::expected<T, ApiError>;
template <class T>
using Done = std::function<void(Reply<T>)>;

struct ApiOptions {
    Endpoint endpoint;
    http::TlsOptions tls;
    Duration call_timeout = std::chrono::seconds(30);  // of calls that answer at once
    Duration connect_timeout = std::chrono::seconds(5);
    // What was called ("create"), how it ended (success, refused, error, unreachable), and after how long. May be
    // empty.
    std::function<void(std::string_view call, std::string_view status, Duration took)> on_call;
};

class Api {
public:
    // The client and the clock must outlive this object; calls need not be over when it is destroyed.
    Api(http::Client& client, const Clock& clock, ApiOptions options);

    // Whether the engine is there (GET /_ping), without any version. Fast.
    http::Call ping(Duration limit, Done<std::monostate> done);
    // Asks for the version and negotiates: what follows speaks it.
    http::Call version(Duration limit, Done<EngineVersion> done);

    // Containers that have all of these labels, ended ones too.
    http::Call list(const StringMap& labels, Done<std::vector<ContainerSummary>> done);
    http::Call create(std::string_view name, std::string body, std::string_view ticket_id, Done<CreatedContainer> done);
    // Success, too, when it runs already.
    http::Call start(std::string_view id, std::string_view ticket_id, Done<std::monostate> done);
    // SIGTERM now, SIGKILL after `grace` (whole seconds). Answers when it has ended; one that had ended before is a
    // refusal with status 304.
    http::Call stop(std::string_view id, Duration grace, std::string_view ticket_id, Done<std::monostate> done);
    http::Call kill(std::string_view id, std::string_view ticket_id, Done<std::monostate> done);
    // By id or name.
    http::Call inspect(std::string_view id, std::string_view ticket_id, Done<ContainerDetail> done);
    // Answers when the container has ended, however long that takes.
    http::Call wait(std::string_view id, std::string_view ticket_id, Done<WaitAnswer> done);
    // Kills it first if it runs; gone already is success.
    http::Call remove(std::string_view id, Done<std::monostate> done);
    http::Call rename(std::string_view id, std::string_view name, Done<std::monostate> done);
    // The stream of what it prints from its beginning; with `follow` until it ends.
    http::Call logs(std::string_view id, bool follow, std::string_view ticket_id, http::StreamReader reader,
                    Done<std::monostate> done);
    // Whether the engine has sent this container a signal until `now`, as far as it remembers.
    http::Call was_killed(std::string_view id, EpochMillis now, std::string_view ticket_id, Done<bool> done);
    // `auth`: the value of X-Registry-Auth, or empty. Answers after the last byte of the progress.
    http::Call pull(const ImageName& image, std::string auth, Duration limit, std::string_view ticket_id,
                    Done<std::monostate> done);

    [[nodiscard]] const Endpoint& endpoint() const { return options_.endpoint; }

private:
    struct Plan;
    [[nodiscard]] http::Request request(std::string_view call, std::string method, std::string path,
                                        std::string_view ticket_id) const;
    template <class T, class Parse>
    [[nodiscard]] http::Completion judged(std::string_view call, Done<T> done, Parse parse) const;
    struct Asked {
        std::string_view call;  // a literal
        MonoTime began;
    };
    void tell(const Asked& asked, std::string_view status) const;
    [[nodiscard]] ApiError silence(const Asked& asked, Error error) const;
    [[nodiscard]] ApiError refusal(const Asked& asked, int status, std::string_view body) const;
    http::Call simple(std::string_view call, std::string method, std::string path, std::string_view ticket_id,
                      std::vector<int> good, Duration limit, Done<std::monostate> done);

    http::Client& client_;
    const Clock& clock_;
    ApiOptions options_;
    std::string prefix_;  // "/v1.41"; empty until version() has answered
};

// For the query of a URL.
[[nodiscard]] std::string percent_encoded(std::string_view text);

}  // namespace wa::docker
