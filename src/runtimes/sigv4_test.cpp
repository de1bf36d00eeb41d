// Signatures, against botocore's (tests/sigv4/make_vectors.py) and against those that AWS has published.
#include "runtimes/sigv4.h"

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <fstream>
#include <iterator>

namespace wa::aws {
namespace {

namespace json = boost::json;

std::string value_of(const std::vector<http::Header>& headers, std::string_view name) {
    for (const http::Header& header : headers) {
        if (header.name == name) return header.value;
    }
    return {};
}

std::string text(const json::object& object, std::string_view key) {
    return std::string(object.at(key).as_string());
}

TEST(Signatures, AreThoseOfBotocore) {
    std::ifstream file(std::string(WA_SOURCE_DIR) + "/tests/sigv4/vectors.json");
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    const json::object document = json::parse(content).as_object();
    const json::array& vectors = document.at("vectors").as_array();
    ASSERT_GE(vectors.size(), 20U);
    for (const json::value& entry : vectors) {
        const json::object& vector = entry.as_object();
        http::Request request;
        request.method = text(vector, "method");
        request.url = text(vector, "url");
        request.body = text(vector, "body");
        for (const auto& [name, value] : vector.at("headers").as_object())
            request.headers.push_back({std::string(name), std::string(value.as_string())});
        const Credentials keys{text(document, "access_key"), text(document, "secret_key"), text(vector, "token")};
        const auto added = sign(request, keys, {text(vector, "region"), text(vector, "service")},
                                vector.at("at").to_number<std::int64_t>());
        ASSERT_TRUE(added) << added.error().describe();
        EXPECT_EQ(value_of(*added, "X-Amz-Date"), text(vector, "date")) << text(vector, "name");
        EXPECT_EQ(value_of(*added, "Authorization"), text(vector, "authorization")) << text(vector, "name");
        EXPECT_EQ(value_of(*added, "X-Amz-Security-Token"), text(vector, "token")) << text(vector, "name");
    }
}

// Of AWS's test suite for signature version 4: get-vanilla, get-vanilla-query-order-key-case, post-vanilla.
TEST(Signatures, AreThoseThatAwsPublished) {
    struct Case {
        const char* method;
        const char* url;
        const char* signature;
    };
    for (const Case& one : {Case{"GET", "https://example.amazonaws.com/",
                                 "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
                            Case{"GET", "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                                 "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
                            Case{"POST", "https://example.amazonaws.com/",
                                 "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"}}) {
        http::Request request;
        request.method = one.method;
        request.url = one.url;
        const Credentials keys{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""};
        const auto added = sign(request, keys, {"us-east-1", "service"}, 1'440'938'160'000);
        ASSERT_TRUE(added);
        EXPECT_EQ(value_of(*added, "Authorization"),
                  std::string("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                              "SignedHeaders=host;x-amz-date, Signature=") +
                      one.signature);
    }
}

TEST(Signatures, AUrlThatCannotBeReadIsAnError) {
    http::Request request;
    request.url = "ftp://example.org/";
    EXPECT_EQ(sign(request, {"a", "b", ""}, {"r", "s"}, 0).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace wa::aws
