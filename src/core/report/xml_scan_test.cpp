#include "core/report/xml_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/report/xml_tree.h"

namespace wa {
namespace {

using testing::HasSubstr;

Result<XmlCounts> scanned(std::string text) {
    return scan_xml(text, {});
}

TEST(XmlScan, CountsWhatTheTreeWillHold) {
    const auto counts = scanned(
        "<?xml version='1.0'?><!-- <a> --><!DOCTYPE a [<!ELEMENT a (b)> <!-- ]> --> <?p ]> ?>]>\n"
        "<a x='<b>' y=\"'\">\n <b/>text<![CDATA[<c></a>]]><!-- <d> --><?pi <e> ?><b z = 'é'>more</b></a>\n");
    ASSERT_TRUE(counts) << counts.error().describe();
    EXPECT_EQ(counts->elements, 3U);
    EXPECT_EQ(counts->attributes, 3U);
    EXPECT_EQ(counts->texts, 3U);
    EXPECT_EQ(counts->depth, 2U);
}

TEST(XmlScan, TheDoctypeIsBlanked) {
    std::string text = "<!DOCTYPE a [<!ENTITY b 'c'>]>\n<a>&b;</a>";
    const std::size_t size = text.size();
    ASSERT_TRUE(scan_xml(text, {}));
    EXPECT_EQ(text.size(), size);
    EXPECT_THAT(text, testing::Not(HasSubstr("ENTITY")));
    EXPECT_THAT(text, testing::EndsWith("\n<a>&b;</a>"));
}

TEST(XmlScan, WhatIsNotWellFormedIsRefused) {
    for (const char* text : {"",
                             "text",
                             "<",
                             "<a",
                             "<a ",
                             "<a/",
                             "<a>",
                             "<a></b>",
                             "</a>",
                             "<a/><b/>",
                             "<a/>x",
                             "x<a/>",
                             "< a/>",
                             "<1/>",
                             "<a b/>",
                             "<a b=/>",
                             "<a b=c/>",
                             "<a b='c/>",
                             "<a b='1'c='2'/>",
                             "<a b='1' 2='2'/>",
                             "<a / b='1'>",
                             "<a$/>",
                             "<a><![CDATA[</a>",
                             "<a><!-- </a>",
                             "<a><? </a>",
                             "<a><!ELEMENT a></a>",
                             "<a><!DOCTYPE a></a>",
                             "<!DOCTYPE a><!DOCTYPE a><a/>",
                             "<!DOCTYPE a [<a/>",
                             "<!DOCTYPE a '><a/>",
                             "<![CDATA[x]]><a/>",
                             "<a></a",
                             "<a></ a>",
                             "<a></a b>",
                             "<a><b></a></b>"}) {
        const auto counts = scanned(text);
        ASSERT_FALSE(counts) << text;
        EXPECT_EQ(counts.error().code, ErrorCode::kMalformed) << text;
        EXPECT_THAT(counts.error().message, HasSubstr("in line 1 (byte ")) << text;
    }
}

TEST(XmlScan, WhatIsLooseButHarmlessIsTaken) {
    for (const char* text : {" \n<a/>", "<a></a >", "<a\n b = 'c'\t/>", "<a b='<'>]]></a>", "<a>&unknown; & more</a>",
                             "<\xC3\xA9/>", "<a b='\xFF'>\xFF</a>", "<!DOCTYPE a><a/>", "<a/><!-- end --><?pi?>\n"}) {
        EXPECT_TRUE(scanned(text)) << text;
    }
}

TEST(XmlScan, TheTreeHasNoMoreThanWasCounted) {
    const std::string text =
        "<testsuite a='1'><x>t<y b='&lt;'/>u</x><![CDATA[v]]><z> </z><!-- c --><testcase/></testsuite>";
    const auto counts = scanned(text);
    const auto tree = XmlTree::parse(text, ReportFormat::kJunit, {});
    ASSERT_TRUE(counts && tree);
    std::size_t nodes = 0;
    for (pugi::xml_node node = tree->root(); node;) {
        ++nodes;
        pugi::xml_node next = node.first_child();
        for (; !next && node; node = node.parent())
            next = node.next_sibling();
        node = next;
    }
    EXPECT_LE(nodes, counts->elements + counts->texts);
    EXPECT_GE(nodes, counts->elements);
}

TEST(XmlRoot, IsFoundWithoutReadingOn) {
    const auto root = xml_root("<?xml?><!-- c --><n:a b='c'><!-- d --><n:e/>garbage <<<");
    ASSERT_TRUE(root);
    EXPECT_EQ(root->name, "a");
    EXPECT_THAT(root->attributes, testing::ElementsAre("b"));
    EXPECT_EQ(root->first_child, "e");
    EXPECT_EQ(xml_root("<a/>")->first_child, "");
    EXPECT_EQ(xml_root("<a></a>")->first_child, "");
    EXPECT_EQ(xml_root("<a>garbage <<<")->first_child, "");
    EXPECT_FALSE(xml_root("<!-- -->"));
}

}  // namespace
}  // namespace wa
