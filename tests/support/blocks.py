"""The blocks that the program prints."""

import re

_HEADER = re.compile(r"─── (.+?) ─+$")


def parse_blocks(text: str) -> list[tuple[str, str]]:
    """Titles and bodies of the blocks that ``text`` has whole: an empty line ends a block."""
    blocks = []
    title = ""
    body: list[str] = []
    for line in text.splitlines():
        if found := _HEADER.match(line):
            title, body = found[1], []
        elif title and line:
            body.append(line)
        elif title:
            blocks.append((title, "\n".join(body)))
            title = ""
    return blocks
