"""The README's picture of a report: `picture.py RUN/report.html docs/report.png`.

The page as it is, less what would make the picture long: verdict in words, where in time the gain
was earned, calibration. No bar of a market is on it.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from chrome import browser

WIDTH = 1280  # pixels
SHORTER = """
nav, details, fieldset, section:not(#verdict, #gain, #calibration),
#verdict > h2, #verdict > h2 ~ *, [id^=reliability], figure:has([id^=reliability]),
#gain figure:nth-of-type(n + 3), #calibration figure ~ :not(figure) { display: none !important }
section { margin-bottom: 0 !important; padding-bottom: 0 !important }
"""


def draw(page: Path, picture: Path) -> None:
    """Write the picture, a PNG, over what is there."""
    with TemporaryDirectory() as profile, browser(Path(profile)) as tab:
        tab.open(page.resolve().as_uri(), width=WIDTH)
        tab.wait("document.documentElement.dataset.ready === 'yes'")
        tab.run(
            f"document.head.appendChild(document.createElement('style')).textContent = {SHORTER!r}"
        )
        tab.picture(picture)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
