#!/usr/bin/env python3
"""Rules on the source tree that no compiler checks: who may include whom, which calls are banned, how files look.

Every rule has a test of its own with a bad sample, so that a rule that stopped working is noticed.
"""

import pathlib
import re
import subprocess
import unittest

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent

# Which folders of src/ a folder may include, besides itself. Dependencies point inward; only app/ knows everything.
MAY_INCLUDE = {
    "base": set(),
    "core": {"base"},
    "plan_file": {"base", "core"},
    "config": {"base", "core"},
    "net": {"base", "core"},
    "ports": {"base", "core"},
    "flow": {"base", "core", "ports"},
    "process": {"base", "core", "ports"},
    "executors": {"base", "core", "ports"},
    "runtimes": {"base", "core", "plan_file", "ports", "process", "http_client"},
    "observability": {"base", "core", "ports"},
    "adapters/embedded_store": {"base", "core", "ports"},
    "adapters/task_logs": {"base", "core", "ports"},
    "http_client": {"base", "core"},
    "grpc_client": {"base", "core"},
    "adapters/kafka": {"base", "core", "ports"},
    "adapters/redis": {"base", "core", "ports"},
    "adapters/schema_registry": {"base", "core", "ports", "http_client"},
    "adapters/ticket_service": {"base", "core", "ports", "http_client"},
    "adapters/service_registry": {"base", "core", "ports", "grpc_client"},
    "adapters/tracing": {"base", "core", "ports", "grpc_client", "http_client"},
    "admin": {"base", "core", "plan_file", "ports", "config", "net", "observability", "process", "runtimes",
              "adapters/embedded_store", "adapters/task_logs"},
    "cli": {"base", "core", "plan_file", "config"},
}
FREE_FOLDERS = {"app"}  # and main.cpp

# Headers of libraries, and the only folders that may include them.
LIBRARIES = {
    r"boost/beast": {"net"},
    r"CLI/": {"cli"},
    r"curl/": {"cli", "http_client"},
    r"librdkafka/": {"adapters/kafka"},
    r"grpc|google/protobuf": {"grpc_client", "adapters/service_registry", "adapters/tracing"},
    r"hiredis/": {"adapters/redis"},
    r"spdlog/|fmt/": {"observability"},
    r"prometheus/": {"observability"},
    r"sqlite3\.h": {"adapters/embedded_store"},
    r"yaml-cpp/": {"plan_file", "config"},
    r"boost/asio": {"net", "process", "runtimes", "http_client", "grpc_client", "adapters/kafka", "adapters/redis",
                   "adapters/schema_registry", "adapters/ticket_service", "adapters/service_registry",
                   "adapters/tracing", "app"},
    r"openssl/": {"admin", "runtimes"},
    r"tl/expected": {"base"},
    r"pugixml\.hpp": {"core/report"},
}
# The decisions and what they are asked through: values in, values out, nothing of the world.
PURE = {"base", "core", "ports", "flow", "executors"}
WORLDLY = re.compile(
    r"<(?:sys/|netinet/|arpa/|unistd\.h|fcntl\.h|poll\.h|signal\.h|spawn\.h|fstream|filesystem|thread|mutex|"
    r"condition_variable|future|csignal|boost/asio|sqlite3)")
# Files of a pure folder that are an edge of the world on purpose.
WORLDLY_EXCEPTIONS = {"src/base/random.cpp", "src/base/check.cpp"}


class Ban:
    def __init__(self, name, pattern, why, allowed=(), in_tests=False):
        self.name, self.pattern, self.why = name, re.compile(pattern), why
        self.allowed, self.in_tests = allowed, in_tests  # in_tests: tests may do it


BANS = [
    Ban("clock", r"(?:system_clock|steady_clock|high_resolution_clock)::now\b|(?:std::|::)time\(|"
        r"\b(?:gettimeofday|clock_gettime)\(",
        "time is injected (base/clock.h)", in_tests=True, allowed=(
            "src/base/clock.cpp", "bench/",
            "spawn-helper/",                   # a process of its own, with nobody to inject anything
            "src/cli/api_client.cpp",          # a client's own patience, on no loop
            "src/process/spawner.cpp",         # boot time, which the helper counts in too
            "src/runtimes/tree_removal.cpp",   # bounds a removal on a thread of its own
        )),
    Ban("chance", r"\b(?:rand|srand|random_shuffle|drand48)\(|std::(?:random_device|mt19937)",
        "chance is injected (base/random.h)", in_tests=True, allowed=("src/base/random.cpp",)),
    Ban("getenv", r"\b(?:secure_)?getenv\(", "settings are read in one place", in_tests=True,
        allowed=("src/config/environment.cpp",)),
    Ban("sleep", r"\b(?:sleep_for|sleep_until|usleep|nanosleep)\(|::sleep\(", "nothing blocks; wait on a timer",
        in_tests=True, allowed=("spawn-helper/",)),
    Ban("fork", r"\bv?fork\(\)", "the worker never forks: the spawn helper does", in_tests=True,
        allowed=("spawn-helper/",)),
    Ban("using-std", r"using namespace std\s*;", "say which names are meant"),
    Ban("todo", r"\b(?:TODO|FIXME|XXX)\b", "finish it, or open an issue", allowed=("tests/tidy/",)),
    Ban("detached", r"asio::detached\b|\.detach\(\)", "everything started is owned and ended", in_tests=True, allowed=(
        # Calls of the Kafka client that may never come back. Counted; the process ends at once when one has not.
        "src/adapters/kafka/retirement.cpp", "src/adapters/kafka/sink_thread.cpp")),
    Ban("machine-path", r"/home/\w\w+/|/Users/\w+/|/root/\w+|/tmp/build-|/work/(?:main|shared)",
        "a path of somebody's machine", allowed=("tests/tidy/",)),
]
WORD_BANS = ("todo", "machine-path")  # looked for in comments, strings and texts too
MAX_LINES = 1000
LONG_FILES = {"tests/simulation/world.cpp": 1300}  # the fake world is one thing; splitting it would hide that
MAX_COLUMNS = 160  # clang-format holds code to 120; tables and texts may be a little longer
WIDE_FILES = {"src/config/table.cpp"}  # one setting a line
TABS_ALLOWED = {"Makefile"}

CODE = (".h", ".cpp", ".c")
TEXT = CODE + (".S", ".py", ".md", ".yaml", ".yml", ".json", ".cmake", ".txt", ".sh", "")


def listed_files():
    """Files that are in git or would be: ignored ones are nobody's business."""
    # The checkout may belong to somebody else than the one who runs this.
    command = ["git", "-c", f"safe.directory={SOURCE}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=SOURCE, capture_output=True, check=True).stdout.decode()
    return sorted(name for name in listing.split("\0") if name and (SOURCE / name).is_file())


def folder_of(path):
    """The unit of src/ that a path or an include belongs to; None outside."""
    parts = path.split("/")
    if len(parts) < 2:
        return None
    return "/".join(parts[:2]) if parts[0] == "adapters" and len(parts) > 2 else parts[0]


def is_test(name):
    return (name.startswith("tests/") or "/testing/" in name or "_test_support." in name
            or re.search(r"_(?:test|fuzz)\.cpp$", name) is not None)


def without_comments(text):
    """Comments and the insides of string literals blanked, lines kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"', re.S)

    def blank(match):
        kept = '""' if match.group(0)[0] in '"R' else ""
        return kept + "\n" * match.group(0).count("\n")

    return pattern.sub(blank, text)


def include_problems(name, text):
    if not name.startswith("src/") or name.count("/") < 2 or not name.endswith(CODE):
        return []
    inside = name[len("src/"):]
    folder = folder_of(inside)
    if folder in FREE_FOLDERS:
        return []
    if folder not in MAY_INCLUDE:
        return [f"{name}: folder '{folder}' has no line in MAY_INCLUDE (tests/tidy/tidy.py)"]
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)', line)
        if not match:
            continue
        quote, target = match.groups()
        where = f"{name}:{number}"
        if quote == '"':
            other = folder_of(target)
            known = other in MAY_INCLUDE or other in FREE_FOLDERS
            if known and other != folder and other not in MAY_INCLUDE[folder]:
                found.append(f"{where}: {folder} may not include {other}")
            continue
        if is_test(name):
            continue
        for pattern, owners in LIBRARIES.items():
            if re.match(pattern, target) and not any(inside.startswith(owner + "/") for owner in owners):
                found.append(f"{where}: <{target}> belongs to {', '.join(sorted(owners))}")
        if folder in PURE and name not in WORLDLY_EXCEPTIONS and WORLDLY.match("<" + target):
            found.append(f"{where}: {folder} is pure and may not include <{target}>")
    return found


def banned_calls(name, text):
    is_code = name.endswith(CODE)
    code = without_comments(text) if is_code else ""
    found = []
    for ban in BANS:
        if not is_code and ban.name not in WORD_BANS:
            continue
        if ban.in_tests and is_test(name) or any(name.startswith(prefix) for prefix in ban.allowed):
            continue
        body = text if ban.name in WORD_BANS else code
        for number, line in enumerate(body.splitlines(), 1):
            if ban.pattern.search(line) and f"tidy: {ban.name}" not in text.splitlines()[number - 1]:
                found.append(f"{name}:{number}: {ban.name}: {ban.why}")
    return found


def look_problems(name, text):
    found = []
    if name.startswith(("tests/corpus/", "tests/config/")):
        return found  # data, kept as it came
    if text and not text.endswith("\n"):
        found.append(f"{name}: does not end with a newline")
    if text.endswith("\n\n"):
        found.append(f"{name}: ends with an empty line")
    if "\r" in text:
        found.append(f"{name}: carriage returns")
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            found.append(f"{name}:{number}: blanks at the end of the line")
        if "\t" in line and name not in TABS_ALLOWED:
            found.append(f"{name}:{number}: a tab")
        if name.endswith(CODE) and len(line) > MAX_COLUMNS and name not in WIDE_FILES:
            found.append(f"{name}:{number}: {len(line)} columns")
    if name.endswith(CODE) and len(lines) > LONG_FILES.get(name, MAX_LINES):
        found.append(f"{name}: {len(lines)} lines; split it")
    if name.endswith(".h") and not name.startswith("examples/") and "#pragma once" not in lines:
        found.append(f"{name}: no #pragma once")
    return found


QUOTE = re.compile(r"^```\w+ (\S+/\S+)\n(.*?)^```$", re.M | re.S)


def quote_problems(name, text, files):
    """A block of a page that names a file ("```cpp src/a.cpp") is in that file, line by line."""
    found = []
    for source, block in QUOTE.findall(text):
        if block not in files.get(source, ""):
            found.append(f"{name}: not in {source} as quoted: {block.splitlines()[0].strip()}")
    return found


def cycle_in(graph):
    """A cycle of the folders, as a list, or None."""
    state = {}

    def visit(node, path):
        state[node] = "open"
        for other in sorted(graph.get(node, ())):
            if state.get(other) == "open":
                return [*path, node, other]
            if other not in state:
                cycle = visit(other, [*path, node])
                if cycle:
                    return cycle
        state[node] = "done"
        return None

    for start in sorted(graph):
        if start not in state:
            cycle = visit(start, [])
            if cycle:
                return cycle
    return None


class TheTree(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = {}
        for name in listed_files():
            path = SOURCE / name
            if path.suffix not in TEXT:
                continue
            try:
                cls.files[name] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                if not name.startswith("tests/corpus/"):
                    raise

    def check(self, rule):
        found = [problem for name, text in self.files.items() for problem in rule(name, text)]
        self.assertEqual(found, [], "\n" + "\n".join(found[:100]))

    def test_finds_the_sources(self):
        self.assertIn("src/core/ticket/ticket.h", self.files)
        self.assertGreater(sum(name.startswith("src/") for name in self.files), 100)

    def test_settings_that_count_as_built_are_read(self):
        """`config show` calls a setting built by its part; then something must read it."""
        table = self.files["src/config/table.cpp"]
        built = {part: word == "true" for part, word in re.findall(r'\{Part::(\w+), "[^"]*", (true|false)\}', table)}
        self.assertGreater(sum(built.values()), 5)
        settings = re.findall(r'\{\.name = "(\w+)", \.type = \w+, \.part = Part::(\w+)', table)
        self.assertGreater(len(settings), 100)
        code = "\n".join(text for name, text in self.files.items()
                         if name.startswith("src/") and name != "src/config/table.cpp" and not is_test(name))
        unread = [name for name, part in settings if built[part] and f'"{name}"' not in code]
        self.assertEqual(unread, [])

    def test_includes_point_inward(self):
        self.check(include_problems)

    def test_banned_calls(self):
        self.check(banned_calls)

    def test_looks(self):
        self.check(look_problems)

    def test_folders_without_cycles(self):
        self.assertIsNone(cycle_in(MAY_INCLUDE))

    def test_documents_link_to_files_that_exist(self):
        missing = []
        for name, text in self.files.items():
            if not name.endswith(".md"):
                continue
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
                if "://" in target or target.startswith("mailto:"):
                    continue
                if not (SOURCE / name).parent.joinpath(target).exists():
                    missing.append(f"{name}: {target}")
        self.assertEqual(missing, [])

    def test_documents_quote_files_as_they_are(self):
        pages = {name: text for name, text in self.files.items() if name.endswith(".md")}
        self.assertGreater(sum(len(QUOTE.findall(text)) for text in pages.values()), 5)
        found = [problem for name, text in pages.items() for problem in quote_problems(name, text, self.files)]
        self.assertEqual(found, [])

    def test_the_state_table_is_in_the_architecture(self):
        """ARCHITECTURE.md shows core/ticket/ticket_state.h row by row."""
        header = self.files["src/core/ticket/ticket_state.h"]
        rows = re.findall(r"Transition\{State::k(\w+),\s*Event::k(\w+),\s*State::k(\w+)\}", header)
        self.assertGreater(len(rows), 20)

        def words(name):
            return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()

        wanted = {(words(a), words(b), words(c)) for a, b, c in rows}
        table = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", self.files["ARCHITECTURE.md"], re.M)
        self.assertEqual(set(table), wanted)


class TheRules(unittest.TestCase):
    """A bad sample for each rule."""

    def bad(self, rule, name, text, part):
        self.assertTrue(any(part in problem for problem in rule(name, text)), f"not noticed: {name}: {text!r}")

    def good(self, rule, name, text):
        self.assertEqual(rule(name, text), [])

    def test_include_outward(self):
        self.bad(include_problems, "src/core/x.h", '#include "flow/engine.h"\n', "core may not include flow")
        self.bad(include_problems, "src/flow/x.h", '#include "app/main.h"\n', "flow may not include app")
        self.bad(include_problems, "src/flow/x.h", '#include "adapters/task_logs/log_reader.h"\n', "may not include")
        self.bad(include_problems, "src/adapters/task_logs/x.h", '#include "adapters/embedded_store/store.h"\n', "may not")
        self.bad(include_problems, "src/brand_new/x.h", "", "has no line")
        self.good(include_problems, "src/flow/x.h", '#include "core/ticket/ticket.h"\n#include "flow/engine.h"\n')
        self.good(include_problems, "src/app/x.h", '#include "flow/engine.h"\n')

    def test_libraries_have_one_home(self):
        for header, home in (("boost/beast.hpp", "net"), ("CLI/CLI.hpp", "cli"), ("curl/curl.h", "cli"),
                             ("spdlog/spdlog.h", "observability"), ("sqlite3.h", "adapters/embedded_store"),
                             ("yaml-cpp/yaml.h", "plan_file"), ("boost/asio/post.hpp", "net"),
                             ("pugixml.hpp", "core/report")):
            self.bad(include_problems, "src/admin/x.cpp", f"#include <{header}>\n", "belongs to")
            self.good(include_problems, f"src/{home}/x.cpp", f"#include <{header}>\n")

    def test_the_core_is_pure(self):
        for header in ("fstream", "thread", "sys/socket.h", "unistd.h", "filesystem"):
            self.bad(include_problems, "src/core/x.cpp", f"#include <{header}>\n", "is pure")
            self.bad(include_problems, "src/flow/x.cpp", f"#include <{header}>\n", "is pure")
        self.good(include_problems, "src/core/x_test.cpp", "#include <fstream>\n")
        self.good(include_problems, "src/process/x.cpp", "#include <unistd.h>\n")

    def test_bans(self):
        samples = {
            "clock": "auto t = std::chrono::steady_clock::now();", "chance": "int x = rand();",
            "getenv": 'std::getenv("X");', "sleep": "std::this_thread::sleep_for(1s);", "fork": "if (::fork() == 0)",
            "using-std": "using namespace std;", "todo": "// TO" + "DO: later", "detached": "worker.detach();",
            "machine-path": '"/home/' + 'jane/x"',
        }
        self.assertEqual(set(samples), {ban.name for ban in BANS})
        for ban, line in samples.items():
            self.bad(banned_calls, "src/flow/x.cpp", f"int a;\n{line}\n", f"x.cpp:2: {ban}:")
        self.good(banned_calls, "src/flow/x.cpp", "// calls fork() and rand()\nusing namespace std::chrono_literals;\n")
        self.good(banned_calls, "src/flow/x.cpp", 'log("sleep_for(1)");\nlifetime(3); strand(x); operand(y);\n')
        self.good(banned_calls, "src/base/clock.cpp", samples["clock"] + "\n")
        self.good(banned_calls, "src/flow/x_test.cpp", samples["sleep"] + "\n")
        self.bad(banned_calls, "src/flow/x_test.cpp", samples["todo"] + "\n", "todo")

    def test_looks(self):
        self.bad(look_problems, "src/a/x.h", "int a;\n", "#pragma once")
        self.bad(look_problems, "src/a/x.cpp", "int a;", "newline")
        self.bad(look_problems, "src/a/x.cpp", "int a;\n\n", "empty line")
        self.bad(look_problems, "src/a/x.cpp", "int a; \n", "blanks")
        self.bad(look_problems, "src/a/x.cpp", "\tint a;\n", "a tab")
        self.bad(look_problems, "src/a/x.cpp", "int a;\r\n", "carriage")
        self.bad(look_problems, "src/a/x.cpp", "int a;\n" * (MAX_LINES + 1), "split it")
        self.bad(look_problems, "src/a/x.cpp", "x" * (MAX_COLUMNS + 1) + "\n", "columns")
        self.good(look_problems, "src/a/x.h", "#pragma once\nint a;\n")
        self.good(look_problems, "Makefile", "all:\n\techo\n")

    def test_quotes(self):
        files = {"src/a.cpp": "int a;\nint b;\nint c;\n"}
        page = "text\n```cpp src/a.cpp\n%s```\nmore\n"
        self.assertEqual(quote_problems("x.md", page % "int b;\nint c;\n", files), [])
        self.assertEqual(len(quote_problems("x.md", page % "int a;\nint c;\n", files)), 1)
        self.assertEqual(len(quote_problems("x.md", page % "int a;\n", {})), 1)
        self.assertEqual(quote_problems("x.md", "```cpp\nint z;\n```\n", files), [])

    def test_cycles(self):
        self.assertEqual(cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}), ["a", "b", "c", "a"])
        self.assertIsNone(cycle_in({"a": {"b", "c"}, "b": {"c"}}))


if __name__ == "__main__":
    unittest.main()
