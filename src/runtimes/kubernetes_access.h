// How the API server of a Kubernetes cluster is reached, and who calls: a kubeconfig file, or the account of the pod
// that this process runs in.
//
// Taken from a kubeconfig: server, certificate authority (file or inline), insecure-skip-tls-verify, client certificate
// and key (files or inline), token, tokenFile, username and password, the context's namespace. What is inline wins over
// its file; a tokenFile wins over a token, as in client-go. Refused, with the name of what was found: exec plug-ins and
// auth providers (nothing is executed to log in), impersonation, proxy-url and tls-server-name, a server that is not
// http or https, a token or password that would leave this machine over http. In a pod: KUBERNETES_SERVICE_HOST and
// _PORT, and the token, ca.crt and namespace files of the service account.
//
// Files change while this runs: a token file is looked at before each call, a kubeconfig is read again when it is
// another one than before (one that cannot be read, or says nothing usable, leaves the last good one in force). The
// context stays the one that was found by open(), whatever the file's current-context becomes: a worker's Jobs do not
// move to another cluster because somebody uses kubectl. Neither tokens nor keys are ever part of an error.
//
// Threading: the loop. Rules: contract/executors.md 6.3; client-go's kubeconfig format, v1.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http_client/http_client.h"

namespace wa::kubernetes {

struct AccessOptions {
    std::string kubeconfig{};  // path; empty = in-cluster
    std::string context{};     // of the kubeconfig; empty = its current-context
    // In-cluster. An empty host: this process is not in a pod.
    std::string service_host{};
    std::string service_port = "443";
    std::string account_folder = "/var/run/secrets/kubernetes.io/serviceaccount";
};

class Access {
public:
    // Errors: kInvalidArgument (not in a pod; a kubeconfig that cannot be used) or kUnavailable (a file cannot be read;
    // worth another try), with what to do about it. A token file that a kubeconfig names is not looked at here.
    [[nodiscard]] static Result<Access> open(AccessOptions options);
    Access(Access&&) noexcept;
    Access& operator=(Access&&) noexcept;
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;
    ~Access();

    // Turns a request whose URL is a path ("/version", "/apis/batch/v1/…?…") into one for this server: URL, TLS, and
    // an Authorization header when a token or a password is used (one that is there is replaced). For
    // ServiceCall::prepare. Errors: kUnavailable, retryable (a token file that could never be read, and no token).
    [[nodiscard]] Result<void> apply(http::Request& request);

    // As of the last apply(). For people: "https://10.0.0.1:6443".
    [[nodiscard]] const std::string& server() const;

private:
    struct State;
    explicit Access(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace wa::kubernetes
