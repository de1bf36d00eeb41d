#include "admin/ticket_token.h"

#include <gtest/gtest.h>

namespace wa::admin {
namespace {

TEST(TicketToken, IsStableForTheSameInput) {
    Ticket ticket;
    ticket.ticket_id = "t-1";
    ticket.security_level = SecurityLevel::kRestricted;
    const std::string token = make_ticket_token(ticket, "key", "jti", 1000);
    EXPECT_EQ(token, make_ticket_token(ticket, "key", "jti", 1000));
    EXPECT_NE(token, make_ticket_token(ticket, "other", "jti", 1000));
    EXPECT_EQ(token.substr(0, token.find('.')), "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9");
    EXPECT_EQ(token.find_first_of("+/="), std::string::npos);
    EXPECT_EQ(token_scopes(ticket),
              (std::vector<std::string>{"ticket:read", "ticket:update", "task:execute", "security:elevated"}));
}

TEST(Sha256, KnownAnswer) {
    EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace wa::admin
