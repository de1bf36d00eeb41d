// The pure or nearly pure pieces of the local runtime: allow-list, environment, masking.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "runtimes/command_policy.h"
#include "runtimes/secret_mask.h"
#include "runtimes/task_environment.h"

namespace wa {
namespace {

namespace fs = std::filesystem;

TEST(CommandPolicy, ANameIsLookedForInTheFixedPathOnly) {
    const CommandPolicy policy({"sh", "nothing-of-the-kind"}, "/nowhere:relative::/bin:/usr/bin");
    EXPECT_EQ(policy.resolve({"sh"}).value().path, "/bin/sh");
    EXPECT_EQ(policy.path(), "/nowhere:/bin:/usr/bin");
    const Error missing = policy.resolve({"nothing-of-the-kind"}).error();
    EXPECT_EQ(missing.code, ErrorCode::kExecutionFailed);
    EXPECT_EQ(missing.fault, Fault::kTask);
    EXPECT_EQ(missing.retry, Retry::kNever);
}

TEST(CommandPolicy, NothingPassesByItsLooks) {
    const CommandPolicy policy({"sh", "/opt/tool", "sub/entry"}, "/bin");
    for (const std::string& name :
         {std::string("bash"), std::string("/bin/sh"), std::string("./sh"), std::string("../bin/sh"),
          std::string("bin/sh"), std::string("/evil/sh"), std::string("sh "), std::string(" sh"), std::string("SH"),
          std::string(""), std::string("sh\0x", 4), std::string("/opt/tool/"), std::string("/opt//tool"),
          std::string("/opt/./tool"), std::string("/opt/../opt/tool"), std::string("tool"), std::string("sub/entry"),
          std::string("s*"), std::string("sh\n")}) {
        const auto resolved = policy.resolve({name});
        ASSERT_FALSE(resolved) << name;
        EXPECT_EQ(resolved.error().code, ErrorCode::kNotAllowed) << name;
        EXPECT_EQ(resolved.error().retry, Retry::kNever);
    }
    EXPECT_EQ(policy.resolve({"/opt/tool"}).value().path, "/opt/tool");
}

TEST(CommandPolicy, AnEmptyListAllowsNothing) {
    const CommandPolicy policy({}, "/bin:/usr/bin");
    for (const char* name : {"sh", "bash", "echo", "/bin/sh", ""})
        EXPECT_FALSE(policy.resolve({name})) << name;
}

TEST(CommandPolicy, FoldersAndPlainFilesAreNoPrograms) {
    const std::string folder = "/tmp/wa-policy-" + std::to_string(::getpid());
    fs::create_directories(folder + "/one/tool");
    fs::create_directories(folder + "/two");
    fs::create_directories(folder + "/three");
    std::ofstream(folder + "/two/tool") << "not executable";
    ::chmod((folder + "/two/tool").c_str(), 0644);
    fs::copy_file("/bin/true", folder + "/three/tool");
    const CommandPolicy policy({"tool"}, folder + "/one:" + folder + "/two:" + folder + "/three");
    EXPECT_EQ(policy.resolve({"tool"}).value().path, folder + "/three/tool");
    fs::remove_all(folder);
}

TEST(TaskEnvironment, TheBaseIsFixedAndTheTicketAdds) {
    const StringMap variables{{"A", "1"}, {"LANG", "de_DE.UTF-8"}};
    ASSERT_TRUE(check_variables(variables, {"*"}, {}));
    const std::vector<std::string> expected{"A=1",     "HOME=/h",  "LANG=de_DE.UTF-8", "LC_ALL=C.UTF-8",
                                            "PATH=/p", "TMPDIR=/t"};
    EXPECT_EQ(make_environment({"/p", "/h", "/t"}, variables), expected);
}

TEST(TaskEnvironment, DangerousNamesAreRefused) {
    for (const char* name : {"LD_PRELOAD",
                             "LD_LIBRARY_PATH",
                             "LD_",
                             "DYLD_INSERT_LIBRARIES",
                             "PATH",
                             "HOME",
                             "IFS",
                             "BASH_ENV",
                             "ENV",
                             "SHELLOPTS",
                             "PYTHONPATH",
                             "PYTHONSTARTUP",
                             "PYTHONHOME",
                             "NODE_OPTIONS",
                             "PERL5OPT",
                             "RUBYOPT",
                             "GIT_SSH_COMMAND",
                             "KUBECONFIG",
                             "WORKER_AGENTS_STATE",
                             "WORKER_AGENTS_ATTEMPT",
                             "MY_OWN_TOKEN"}) {
        const auto checked = check_variables({{name, "secret-value"}}, {"*"}, {"MY_OWN_TOKEN"});
        ASSERT_FALSE(checked) << name;
        EXPECT_EQ(checked.error().code, ErrorCode::kNotAllowed);
        EXPECT_EQ(checked.error().fault, Fault::kInput);
        EXPECT_NE(checked.error().message.find(name), std::string::npos);
        EXPECT_EQ(checked.error().message.find("secret-value"), std::string::npos);
    }
    for (const std::string& name : {std::string(""), std::string("1A"), std::string("A-B"), std::string("A=B"),
                                    std::string("A B"), std::string("\xC3\x84"), std::string("A\0B", 3)}) {
        EXPECT_EQ(check_variables({{name, "x"}}, {"*"}, {}).error().code, ErrorCode::kInvalidArgument) << name;
    }
    EXPECT_FALSE(check_variables({{"A", std::string("x\0y", 3)}}, {"*"}, {}));
    EXPECT_FALSE(check_variables({{"A", std::string(kMaxVariableBytes + 1, 'x')}}, {"*"}, {}));
    EXPECT_TRUE(check_variables({{"A", std::string(kMaxVariableBytes, 'x')}, {"_b2", ""}}, {"*"}, {}));
}

TEST(SecretMask, MasksWholeValuesOnly) {
    const SecretMask mask({"hunter22", "hunter22-long", "short", ""});
    EXPECT_EQ(mask.apply("a hunter22 b hunter22-long c short hunter2"), "a *** b *** c short hunter2");
    EXPECT_EQ(mask.apply("hunter22hunter22"), "******");
    EXPECT_EQ(mask.apply(""), "");
    EXPECT_TRUE(SecretMask({"tiny"}).empty());
}

TEST(SecretMask, EverySplitGivesTheSame) {
    const SecretMask mask({"secret-one", "secret-one-more", "aaaaaab", "zz-zz-zz"});
    const std::string text =
        "x secret-one y secret-one-more aaaaaaaaab secret-on zz-zz-zz-zz secret-one-mor secret-onesecret-one";
    const std::string expected = mask.apply(text);
    EXPECT_EQ(expected.find("secret-one"), std::string::npos);
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
        MaskingStream stream(mask);
        std::string out;
        for (std::size_t at = 0; at < text.size(); at += piece)
            out += stream.feed(std::string_view(text).substr(at, piece));
        out += stream.finish();
        EXPECT_EQ(out, expected) << piece;
    }
    std::mt19937 random(5);
    for (int round = 0; round < 500; ++round) {
        MaskingStream stream(mask);
        std::string out;
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t piece = 1 + random() % 12;
            out += stream.feed(std::string_view(text).substr(at, piece));
            at += piece;
        }
        EXPECT_EQ(out + stream.finish(), expected);
    }
}

TEST(SecretMask, EncodedFormsAreMaskedWhereverTheyBegin) {
    const std::string secret = "s3cr3t/value+that is?long";
    const SecretMask mask({secret});
    // What `printf %s "$before$secret$after" | base64` prints, for each place in a group of three.
    for (const char* encoded : {"czNjcjN0L3ZhbHVlK3RoYXQgaXM/bG9uZw==", "YXMzY3IzdC92YWx1ZSt0aGF0IGlzP2xvbmc=",
                                "YWJzM2NyM3QvdmFsdWUrdGhhdCBpcz9sb25nYw==", "czNjcjN0L3ZhbHVlK3RoYXQgaXM_bG9uZw"}) {
        const std::string shown = mask.apply(std::string("x=") + encoded);
        EXPECT_NE(shown.find("***"), std::string::npos) << encoded;
        EXPECT_LE(shown.size(), 14U) << shown;  // at most the letters that it shares with its neighbours
    }
    EXPECT_EQ(mask.apply("?q=s3cr3t%2Fvalue%2Bthat%20is%3Flong&b"), "?q=***&b");
    EXPECT_EQ(mask.apply("?q=s3cr3t%2fvalue%2bthat%20is%3flong&b"), "?q=***&b");
}

TEST(CommandPolicy, FurtherWordsArePatternsForTheArguments) {
    const CommandPolicy policy({"sh -c 'make *' $", "cat /srv/*", "true $"}, "/bin:/usr/bin");
    EXPECT_TRUE(policy.resolve({"sh", "-c", "make all"}));
    EXPECT_FALSE(policy.resolve({"sh", "-c", "make all", "more"}));
    EXPECT_FALSE(policy.resolve({"sh", "-c", "rm -rf /"}));
    EXPECT_FALSE(policy.resolve({"sh"}));
    EXPECT_TRUE(policy.resolve({"cat", "/srv/a", "/etc/passwd"}));
    EXPECT_FALSE(policy.resolve({"cat", "/etc/passwd"}));
    EXPECT_TRUE(policy.resolve({"true"}));
    EXPECT_FALSE(policy.resolve({"true", "x"}));
    EXPECT_NE(policy.resolve({"true", "x"}).error().message.find("other arguments"), std::string::npos);
}

TEST(TaskEnvironment, OnlyWhatTheListNames) {
    EXPECT_TRUE(check_variables({{"CI_JOB", "1"}}, {"CI_*", "TERM"}, {}));
    EXPECT_EQ(check_variables({{"OTHER", "1"}}, {"CI_*", "TERM"}, {}).error().code, ErrorCode::kNotAllowed);
    EXPECT_FALSE(check_variables({{"CI_JOB", "1"}}, {}, {}));
}

TEST(SecretMask, OverlapsAreOneAndNothingCostsMoreThanItsLength) {
    const SecretMask mask({"abcdef", "cdefgh", "ghijkl"});
    EXPECT_EQ(mask.apply("abcdefgh"), "***");
    EXPECT_EQ(mask.apply("abcdefghijkl"), "***");
    EXPECT_EQ(mask.apply("abcdefabcdef"), "******");
    EXPECT_EQ(mask.apply("abcdeabcdef-cdefg"), "abcde***-cdefg");
    // Would take minutes if each place were compared with each secret.
    std::vector<std::string> alike;
    for (char last = 'b'; last < 'j'; ++last)
        alike.push_back(std::string(4000, 'a') + last);
    const SecretMask hard(alike);
    const std::string text(4'000'000, 'a');
    EXPECT_EQ(hard.apply(text), text);
    EXPECT_EQ(hard.apply(text + 'c'), std::string(4'000'000 - 4000, 'a') + "***");
}

}  // namespace
}  // namespace wa
