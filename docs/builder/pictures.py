"""Draw the terminal pictures of this documentation: `make pictures`.

Each picture is a session that is run here, at a terminal of 80 columns, in an empty folder. What it
prints becomes an SVG in `docs/pictures/`, with its colours. The SVG names no font of another site.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.terminal import Shown, run_at_terminal

PICTURES = Path(__file__).parents[1] / "pictures"
COLUMNS = 80
SESSIONS = {
    "terminal": (
        "lakebed put user/42/tea 'Ada drinks her oolong without milk.' --ttl 30d",
        """lakebed put user/42/home '{"city": "Zürich", "floor": 3}'""",
        "lakebed search 'what tea does she drink?'",
        "lakebed snapshot create monday",
        """lakebed put user/42/home '{"city": "Oslo", "floor": 3}'""",
        "lakebed diff monday",
    ),
    "sql": (
        "lakebed import memories.csv --key key",
        "lakebed ls note/ --long --limit 3",
        """lakebed sql "
  SELECT value->>'kind' AS kind, count(*) AS memories, max(value->>'day') AS last
  FROM documents GROUP BY ALL ORDER BY memories DESC, kind" """.rstrip(),
    ),
}
KINDS = ("fact", "message", "message", "plan")
MEMORIES = "key,kind,day,text\n" + "".join(
    f"note/{n:03},{KINDS[n % 4]},2026-11-{n % 28 + 1:02},text {n}\n" for n in range(1, 121)
)

THEME = TerminalTheme(
    (250, 250, 250),
    (36, 41, 47),
    [
        (36, 41, 47), (185, 28, 28), (21, 128, 61), (161, 98, 7),
        (37, 99, 235), (126, 34, 206), (14, 116, 144), (107, 114, 128),
    ],
)  # fmt: skip
# What rich calls the colours of pyte that differ.
COLOURS = {"brown": "yellow", "brightblack": "white"} | {
    name: name for name in ("black", "red", "green", "blue", "magenta", "cyan", "white")
}
# Rich's own, without the fonts that it fetches and the buttons of a window.
SVG = """<svg class="rich-terminal" viewBox="0 0 1024 {height}" \
xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>{lines}</defs>
<rect fill="#fafafa" stroke="#d0d7de" stroke-width="2" width="100%" height="100%" rx="10"/>
<g transform="translate(24, 22)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def styled(shown: Shown) -> Text:
    """The lines of a terminal, with colours and weights."""
    lines = []
    for number, line in enumerate(shown.lines):
        text = Text()
        cells = shown.screen.buffer[number]
        for column in range(len(line)):
            cell = cells[column]
            colour = None if cell.fg == "default" else COLOURS.get(cell.fg, f"#{cell.fg}")
            text.append(
                cell.data, Style(color=colour, bold=cell.bold, dim=cell.fg == "brightblack")
            )
        lines.append(text)
    return Text("\n").join(lines)


def record(commands: tuple[str, ...]) -> Text:
    """A session as it looks: each command after its prompt, and what it shows."""
    parts = []
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "memories.csv").write_text(MEMORIES)
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": scratch,
        }
        for command in commands:
            shown = run_at_terminal(command, Path(scratch), environment, columns=COLUMNS)
            assert shown.status == 0, f"{command}\n{shown.text}"
            prompt = Text.assemble(("$ ", "bold magenta"), (command, "bold"), "\n")
            parts.append(prompt + styled(shown) if shown.lines else prompt)
    return Text("\n\n").join(parts)


def draw(name: str) -> str:
    """The SVG of a session."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(record(SESSIONS[name]), highlight=False)
        return console.export_svg(theme=THEME, code_format=SVG, unique_id=name)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or SESSIONS:
        (PICTURES / f"{name}.svg").write_text(draw(name), "utf-8")
