// Calls of a Kubernetes API server about the Jobs of one namespace (contract/executors.md 6.3), over
// http::ServiceCaller: what may be asked twice is asked again, Retry-After is obeyed, a token that was replaced is read
// again.
//
// Threading: the loop's; answers never come from inside a call. Errors tell a refusal (status: the server answered, in
// its own words, with Status.reason) from silence (status 0: nobody knows what happened).
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "http_client/service_caller.h"
#include "runtimes/kubernetes_answers.h"

namespace wa::kubernetes {

class Access;

struct ApiError {
    int status = 0;      // of HTTP; 0 = there was no answer
    std::string reason;  // Status.reason
    Error error;

    [[nodiscard]] bool silent() const { return status == 0; }
    [[nodiscard]] bool is(int code) const { return status == code; }
    // Asking again may help: silence, or a failure of the server itself.
    [[nodiscard]] bool passing() const { return status == 0 || status == 429 || status >= 500; }
};
template <class T>
using Reply = tl::expected<T, ApiError>;
template <class T>
using Done = std::function<void(Reply<T>)>;
using Nothing = std::monostate;

// How calls are repeated, and how many there are at a time.
[[nodiscard]] http::ServicePolicy usual_policy();

struct ApiOptions {
    std::string name_space;
    Duration call_timeout = std::chrono::seconds(30);
    Duration watch_time = std::chrono::seconds(60);    // one watch; then it is resumed
    Duration watch_margin = std::chrono::seconds(10);  // beyond that; then its connection is taken for dead
    http::ServicePolicy policy = usual_policy();
    http::ServiceListener* listener = nullptr;  // may be null
    // What was called ("create_job") and how it ended: success, refused, error, unreachable. May be empty.
    std::function<void(std::string_view call, std::string_view status)> on_call;
};

enum class Kind : std::uint8_t { kJobs, kPods };

// One thing that an account may do in a namespace.
struct Right {
    std::string_view verb;
    std::string_view group;     // "" = core
    std::string_view resource;  // "pods/log"
};

class Api {
public:
    // All must outlive this object. `access` is given later; without it every call fails.
    Api(boost::asio::io_context& loop, const Clock& clock, Random& random, http::Client& client, ApiOptions options);
    void use(Access* access) { access_ = access; }

    using Handle = http::ServiceHandle;
    Handle version(Duration limit, Done<std::string> done);
    Handle may(const Right& right, Duration limit, Done<bool> done);

    // A page of what has these labels ("a=b,c=d"); `next` as the page before says.
    Handle list(Kind kind, const std::string& selector, const std::string& next, Done<Page> done);
    // What changes from `version` on, as lines; ends by itself after options.watch_time.
    Handle watch(Kind kind, const std::string& selector, const std::string& version, http::StreamReader reader,
                 Done<Nothing> done);

    Handle get_job(std::string_view name, std::string_view ticket_id, Done<JobState> done);
    // May be asked twice: the name decides.
    Handle create_job(std::string body, std::string_view ticket_id, Done<JobState> done);
    Handle label_job(std::string_view name, const StringMap& labels, std::string_view ticket_id, Done<Nothing> done);
    // With all its pods: `foreground` keeps the Job until they are gone. Only the Job with this uid; another one, or
    // none, is success.
    Handle delete_job(std::string_view name, std::string_view uid, bool foreground, std::string_view ticket_id,
                      Done<Nothing> done);
    // All pods of a Job.
    Handle pods_of(std::string_view job_name, std::string_view ticket_id, Done<std::vector<PodState>> done);
    // SIGTERM, and SIGKILL after `grace` (whole seconds, at least 1). Gone is success.
    Handle delete_pod(std::string_view name, std::string_view uid, Duration grace, std::string_view ticket_id,
                      Done<Nothing> done);
    // The container's output from its beginning; with `follow` until it ends.
    Handle logs(std::string_view pod, bool follow, std::string_view ticket_id, http::StreamReader reader,
                Done<Nothing> done);
    // What controllers said about a Job.
    Handle events_of(std::string_view uid, std::string_view ticket_id, Done<std::vector<std::string>> done);

    [[nodiscard]] const ApiOptions& options() const { return options_; }

private:
    [[nodiscard]] http::ServiceCall request(std::string_view call, std::string method, std::string path,
                                            std::string_view ticket_id) const;
    template <class T, class Parse>
    Handle send(std::string_view call, http::ServiceCall request, Done<T> done, Parse parse);
    [[nodiscard]] ApiError silence(std::string_view call, Error error) const;
    [[nodiscard]] ApiError refusal(std::string_view call, int status, std::string_view body) const;
    [[nodiscard]] std::string jobs_path() const;
    [[nodiscard]] std::string pods_path() const;
    void count(std::string_view call, std::string_view status) const;

    const Clock& clock_;
    ApiOptions options_;
    Access* access_ = nullptr;
    http::ServiceCaller caller_;
};

[[nodiscard]] std::string selector_text(const StringMap& labels);

}  // namespace wa::kubernetes
