// Any bytes as a kubeconfig, a token or an address: never a crash; what comes out can be put into a request.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http_client/url.h"
#include "runtimes/kubernetes_config.h"

namespace {

using namespace wa;

void check_login(const kubernetes::Login& login) {
    WA_CHECK(http::parse_url(login.server + "/version").has_value(), "a server is an address");
    WA_CHECK(login.tls == login.server.starts_with("https://"), "TLS is what the address says");
    WA_CHECK(!login.server.ends_with('/'), "paths come behind it");
    WA_CHECK(login.verify || (login.ca_pem.empty() && login.ca_file.empty()), "not checked, and so no authority");
    WA_CHECK(std::ranges::all_of(login.token, [](char c) { return c > ' ' && c <= '~'; }), "can stand in a header");
    WA_CHECK(login.user.empty() || !login.has_token(), "one way to log in");
    const bool certificate = !login.cert_pem.empty() || !login.cert_file.empty();
    const bool key = !login.key_pem.empty() || !login.key_file.empty();
    WA_CHECK(certificate == key, "a certificate has a key");
    for (const std::string* pem : {&login.ca_pem, &login.cert_pem, &login.key_pem})
        WA_CHECK(pem->empty() || pem->find("-----BEGIN ") != std::string::npos, "inline data is PEM");
    for (const std::string* file : {&login.ca_file, &login.cert_file, &login.key_file, &login.token_file})
        WA_CHECK(file->empty() || (file->starts_with('/') && file->find('\0') == std::string::npos), "a whole path");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const char* context : {"", "a"}) {
        const auto login = kubernetes::read_kubeconfig(text, context, "/etc/wa");
        if (login) {
            check_login(*login);
        } else {
            WA_CHECK(login.error().message.size() < 2000, "an error quotes nothing long");
        }
    }
    if (const auto token = kubernetes::read_token(text))
        WA_CHECK(std::ranges::all_of(*token, [](char c) { return c > ' ' && c <= '~'; }), "a token of a file");
    bool tls = false;
    if (const auto server = kubernetes::read_server(text, tls))
        WA_CHECK(http::parse_url(*server + "/").has_value(), "an address of the environment");
    return 0;
}
