"""How long reports take to open in headless Chromium: python devtools/benchmarks/report_loading.py report.html ..."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.report.chromium import Browser  # noqa: E402

REPEATS = 5


def main(paths: list[str]) -> None:
    """One line for each report: seconds until it can be used, and its size."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        for path in map(Path, paths):
            seconds = sorted(browser.open(path) for _ in range(REPEATS))
            size, said = path.stat().st_size / 1e6, browser.complaints or "no complaints"
            print(f"{path.name}: {seconds[0]:.2f} to {seconds[-1]:.2f} s, {size:.1f} MB, {said}")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
