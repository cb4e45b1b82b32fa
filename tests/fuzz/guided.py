"""Coverage-guided fuzzing of one kind, by atheris: python tests/fuzz/guided.py bags.

Further arguments are libFuzzer's: -runs=100000, -max_total_time=600, a folder for the corpus.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=['tosa_ros']):
    from fuzz.targets import KINDS


def main() -> None:
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as folder:
        atheris.Setup(sys.argv, KINDS[name](Path(folder)))
        atheris.Fuzz()


if __name__ == '__main__':
    main()
