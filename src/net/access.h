// Who may ask what: the token, and the Host and Origin checks that keep foreign web pages out (DNS rebinding,
// cross-site requests). Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wa::net {

struct Authority {
    std::string host;  // lower case, without brackets and without a trailing dot
    std::string port;  // digits, empty when not given
    bool valid = false;
};
// "host", "host:port", "[::1]:port". Anything else is not valid.
[[nodiscard]] Authority parse_authority(std::string_view text);

// The names and addresses under which this server is known.
class OwnNames {
public:
    // `names`: configured host, own host name, and whatever the operator adds. Loopback names are always own. Addresses
    // like 0.0.0.0 stand for "any" and are not taken as names.
    explicit OwnNames(const std::vector<std::string>& names = {});
    // `connected_to`: the address at which this connection came in, which is by that alone an own one.
    [[nodiscard]] bool is_own(const Authority& authority, std::string_view connected_to) const;

private:
    std::vector<std::string> names_;
};

// An Origin is own when it is an http(s) origin on an own name, at the port that Host names or that we listen on.
[[nodiscard]] bool origin_is_own(std::string_view origin, const Authority& host, std::string_view connected_to,
                                 std::string_view listen_port, const OwnNames& names);

// In time that depends only on the length of `given`.
[[nodiscard]] bool equal_constant_time(std::string_view given, std::string_view expected);
// The token of "Bearer <token>", scheme in any case; empty when there is none.
[[nodiscard]] std::string_view bearer_token(std::string_view authorization);

}  // namespace wa::net
