#!/usr/bin/env python3
"""The reference pages in docs/ say what the program says."""

import os
import pathlib
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent


class ReferencePages(unittest.TestCase):
    def test_are_up_to_date(self):
        answer = subprocess.run([sys.executable, "-B", str(SOURCE / "scripts" / "make-reference"), os.environ["WA_BINARY"], "--check"],
                                capture_output=True, text=True)
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)


if __name__ == "__main__":
    unittest.main()
