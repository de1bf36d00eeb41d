"""Goal: the checker finds every kind of broken history, and nothing in a good one."""

import base64
import dataclasses
import unittest

import checker
from checker import COMPLETED, DEAD, FAILED, Ending, History, Planned, Row
from harness import Record


def history():
    """a <- b <- c on one partition, d failed and e waiting for d on another, an unreadable record, a commit marker between
    every two records."""
    planned = {p.ticket_id: p for p in (Planned("a", (), COMPLETED, 1000), Planned("b", ("a",)), Planned("c", ("a", "b")),
                                        Planned("d", (), FAILED), Planned("e", ("d",), FAILED))}
    rows = [Row(0, 0, "a"), Row(0, 2, "b"), Row(0, 4, "c"), Row(1, 0, "d"), Row(1, 2, "e"), Row(1, 4, "")]
    endings = [Ending("a", COMPLETED, (0, 0), 1100, 1200), Ending("b", COMPLETED, (0, 2), 1200, 1300),
               Ending("c", COMPLETED, (0, 4), 1350, 1400), Ending("d", FAILED, (1, 0), 1100, 1150, "execution_failed"),
               Ending("e", FAILED, (1, 2), 0, 1160, "dependency_failed"), Ending("unknown", DEAD, (1, 4))]
    return History(planned, rows, endings, {0: (6, ""), 1: (6, "")}, {0: 6, 1: 6}, {(1, 4)})


def metadata(form, *numbers, flags=0):
    data = bytes([flags, *numbers])
    return "1" + form + base64.urlsafe_b64encode(data).decode().rstrip("=")


class Checker(unittest.TestCase):
    def violations(self, change=None, **more):
        made = history()
        if change:
            change(made)
        return checker.check(made, **more)

    def assert_says(self, pattern, change, **more):
        said = self.violations(change, **more)
        self.assertTrue(any(pattern in sentence for sentence in said), said)

    def replace_ending(self, made, ticket_id, **fields):
        made.endings = [dataclasses.replace(e, **fields) if e.ticket_id == ticket_id else e for e in made.endings]

    def test_a_good_history(self):
        self.assertEqual(self.violations(), [])

    def test_lost(self):
        self.assert_says("ticket b is lost", lambda h: h.endings.pop(1))

    def test_not_lost_yet(self):
        def middle(made):
            made.endings = made.endings[:1]
            made.committed = {0: (2, "")}
        self.assertEqual(self.violations(middle, ended=False), [])

    def test_two_results(self):
        self.assert_says("a has 2 outcomes for 1 record", lambda h: h.endings.append(Ending("a", FAILED, None)))
        self.assert_says("the record at (0, 0) has 2", lambda h: h.endings.append(Ending("a", COMPLETED, (0, 0), 1, 2)))

    def test_a_result_and_a_dead_letter(self):
        self.assert_says("a has 2 outcomes", lambda h: h.endings.append(Ending("a", DEAD, (0, 0))))

    def test_a_repeated_record_may_run_again_after_a_failure_only(self):
        def again(made, status):
            made.rows.append(Row(1, 6, "d" if status == FAILED else "a"))
            made.endings.append(Ending("d" if status == FAILED else "a", COMPLETED, (1, 6), 2000, 2100))
            made.committed[1] = (8, "")
            made.ends[1] = 8
        self.assertEqual(self.violations(lambda h: (again(h, FAILED), h.planned.update(d=Planned("d")),
                                                    h.planned.update(e=Planned("e", ("d",))))), [])
        self.assert_says("a completed more than once", lambda h: again(h, COMPLETED))

    def test_a_repeat_of_a_completed_one_needs_no_second_result(self):
        def repeat(made):
            made.rows.append(Row(1, 6, "a"))
            made.committed[1], made.ends[1] = (8, ""), 8
        self.assertEqual(self.violations(repeat), [])

    def test_unknown_tickets(self):
        self.assert_says("nobody asked for", lambda h: h.endings.append(Ending("x", COMPLETED, (0, 9), 1, 2)))
        self.assert_says("was not written by anybody", lambda h: h.rows.append(Row(0, 5, "x")))
        self.assert_says("history is incomplete", lambda h: h.rows.pop(0))

    def test_compensation_tickets_may_appear_and_must_end(self):
        def compensate(made):
            made.rows.append(Row(0, 5, "k", "COMPENSATE"))
        self.assert_says("ticket k is lost", compensate)

        def both(made):
            compensate(made)
            made.endings.append(Ending("k", COMPLETED, (0, 5), 1, 2))
        self.assertEqual(self.violations(both), [])

    def test_started_too_early(self):
        self.assert_says("b started 1 ms before a", lambda h: self.replace_ending(h, "b", started_at=1199))

    def test_started_although_a_dependency_failed(self):
        self.assert_says("e started although d never completed", lambda h: self.replace_ending(h, "e", started_at=1155))

    def test_a_completed_one_says_when_it_started(self):
        self.assert_says("does not say when", lambda h: self.replace_ending(h, "a", started_at=0))

    def test_a_wrong_ending(self):
        self.assert_says("a should have ended COMPLETED", lambda h: self.replace_ending(h, "a", status=FAILED))

    def test_an_unreadable_record_without_a_dead_letter(self):
        self.assert_says("unreadable record at (1, 4)", lambda h: h.endings.pop())

    def test_commit_above_an_unfinished_ticket(self):
        def middle(made):
            made.endings = [e for e in made.endings if e.ticket_id != "c"]
            made.committed[0] = (5, "")
        self.assert_says("c at (0, 4) counts as done", middle, ended=False)

    def test_finished_set_with_an_unfinished_ticket(self):
        def middle(made, text):
            made.endings = [e for e in made.endings if e.ticket_id not in ("a", "b")]
            made.committed[0] = (0, text)
        self.assert_says("b at (0, 2) counts as done", lambda h: middle(h, metadata("r", 1, 2, 1, 0)), ended=False)
        self.assert_says("b at (0, 2) counts as done", lambda h: middle(h, metadata("b", 1, 0b10100, 0)), ended=False)

        def good(made):
            middle(made, metadata("r", 1, 4, 1, 0))
            made.endings = [e for e in made.endings if e.ticket_id != "c"] + [Ending("c", FAILED, (0, 4))]
        self.assertEqual(self.violations(good, ended=False), [])

    def test_not_committed_at_the_end(self):
        self.assert_says("c at (0, 4) is not committed", lambda h: h.committed.update({0: (4, "")}))
        self.assert_says("a at (0, 0) is not committed", lambda h: h.committed.pop(0))

    def test_commit_beyond_the_end(self):
        self.assert_says("it ends at 6", lambda h: h.committed.update({0: (7, "")}))

    def test_unreadable_metadata(self):
        for text in ("2rAAAA", "1r", "1bAP8", "nonsense", "1rAA+A", metadata("r", 0, 0, 7)):
            self.assert_says("cannot be read", lambda h, text=text: h.committed.update({0: (6, text)}))

    def test_requeued_copies(self):
        def copied(made):
            made.rows += [Row(0, 6, "c", copy_of=(0, 4)), Row(0, 8, "c", copy_of=(0, 4))]
            made.endings = [e for e in made.endings if e.ticket_id != "c"]
            made.endings.append(Ending("c", COMPLETED, (0, 8), 1350, 1400))
            made.committed[0], made.ends[0] = (9, ""), 9
        self.assertEqual(self.violations(copied), [])

        def without_its_last(made):
            copied(made)
            made.endings.pop()
        self.assert_says("c at (0, 8) counts as done", without_its_last, ended=False)
        self.assert_says("where nothing stands", lambda h: h.rows.append(Row(0, 6, "c", copy_of=(0, 3))))

    def test_the_finished_set_of_the_metadata(self):
        self.assertEqual(checker.finished_in_metadata(10, ""), set())
        self.assertEqual(checker.finished_in_metadata(10, "@uXr5/Q+wSv6a1jZQ0zJ0wA"), set())
        self.assertEqual(checker.finished_in_metadata(10, metadata("r", 1, 1, 1, 0) + "@uXr5/Q+wSv6a1jZQ0zJ0wA"), {11})
        self.assertEqual(checker.finished_in_metadata(10, metadata("r", 2, 1, 2, 3, 1, 0)), {11, 12, 16})
        self.assertEqual(checker.finished_in_metadata(10, metadata("b", 1, 0b01000110, 0)), {11, 12, 16})
        self.assertEqual(checker.finished_in_metadata(10, metadata("r", 1, 0x80, 0x01, 2, 0, flags=1)), {138, 139})
        self.assertEqual(checker.finished_in_metadata(10, metadata("r", 1, 1, 1, 2, 0, 3, 5, 1)), {11})

    def test_statuses_of_the_ticket_service(self):
        good = {"a": COMPLETED, "b": COMPLETED, "c": COMPLETED, "d": FAILED, "e": FAILED}
        self.assertEqual(list(checker.check_statuses(history(), good)), [])
        self.assertIn("ticket a ended COMPLETED, but the ticket service has RUNNING",
                      list(checker.check_statuses(history(), dict(good, a="RUNNING"))))

    def ledger(self, *lines, **more):
        return list(checker.check_ledger(history(), lines, **more))

    def test_ledger(self):
        good = ("start a", "end a", "start d", "start b", "end b", "start c", "end c")
        self.assertEqual(self.ledger(*good, calm=True), [])
        self.assertIn("c is COMPLETED, but its task never came to its end", self.ledger(*good[:-1]))
        self.assertIn("b was started before a had ended (ledger, line 2)", self.ledger("start a", "start b", *good))
        self.assertEqual(self.ledger("start a", *good), [])
        self.assertIn("a was started 2 times, though nothing disturbed it", self.ledger("start a", *good, calm=True))
        self.assertIn("line 1 of the ledger is none of ours: 'start x'", self.ledger("start x", *good))

    def test_figures(self):
        said = checker.figures(history(), ("start a", "start a", "end a"))
        self.assertEqual((said["outcomes"], said["started_again"]), ({COMPLETED: 3, FAILED: 2}, 1))
        self.assertEqual(said["seconds_to_end"]["max"], 0.2)

    def test_reading_records(self):
        headers = [("X-Worker-Source-Partition", b"3"), ("x-worker-source-offset", b"17")]
        record = Record("r", 0, 5, 0, b"k", b"{}", headers)
        result = {"ticket_id": "a", "status": COMPLETED, "started_at": 5, "completed_at": 6, "result": {"metadata": {}}}
        self.assertEqual(checker.ending_of_result(record, result), Ending("a", COMPLETED, (3, 17), 5, 6, "", "r/0/5"))
        avro = {"ticket_id": "a", "status": FAILED, "result": {"metadata": {"completed_at": "6", "outcome": "timeout"}}}
        self.assertEqual(checker.ending_of_result(record, avro), Ending("a", FAILED, (3, 17), 0, 6, "timeout", "r/0/5"))
        letter = record._replace(headers=[], value=b'{"ticket_id":"unknown","dlq_metadata":{"source_partition":1,"source_offset":2,"reason":"decode_error"}}')
        self.assertEqual(checker.ending_of_dead_letter(letter), Ending("unknown", DEAD, (1, 2), outcome="decode_error", place="r/0/5"))
        row = checker.row_of(record._replace(value=b"\xff"), lambda value: value["x"])
        self.assertEqual(row, Row(0, 5, "", ""))


if __name__ == "__main__":
    unittest.main()
