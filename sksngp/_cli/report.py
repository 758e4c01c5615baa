"""Report of the command line: lines on the terminal and an HTML page."""

from __future__ import annotations

import base64
import html
import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }}
div.scroll {{ overflow-x: auto }}
table {{ border-collapse: collapse; margin: 1em 0 }}
caption {{ text-align: left; font-weight: bold; white-space: nowrap }}
th, td {{ border-bottom: 1px solid #ccc; padding: 0.2em 0.8em; text-align: left }}
img {{ max-width: 100% }}
figure {{ margin: 1em 0 }}
p {{ margin: 0.3em 0 }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


class Report:
    """Report of lines, which are printed immediately, and of tables and figures.

    Parameters
    ----------
    title : str
        Title of the page.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def section(self, title: str) -> None:
        """Start a section of the page."""
        self._parts.append(f"<h2>{html.escape(title)}</h2>")

    def say(self, line: str) -> None:
        """Print a line and add it to the page."""
        print(line, flush=True)
        self._parts.append(f"<p>{html.escape(line.strip())}</p>")

    def progress(self, line: str) -> None:
        """Print a line on standard error only."""
        print(line, file=sys.stderr, flush=True)

    def table(self, frame: pd.DataFrame, caption: str) -> None:
        """Add a table to the page."""
        import pandas as pd

        with pd.option_context("display.max_colwidth", None):
            text = frame.to_html(index=False, border=0, na_rep="", escape=True)
        head, _, rest = text.partition(">")
        caption = f"<caption>{html.escape(caption)}</caption>"
        self._parts.append(f'<div class="scroll">{head}>{caption}{rest}</div>')

    def picture(self, figure: Figure, caption: str) -> None:
        """Embed a figure in the page."""
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=100)
        data = base64.b64encode(stream.getvalue()).decode()
        text = html.escape(caption)
        self._parts.append(
            f'<figure><img alt="{text}" src="data:image/png;base64,{data}">'
            f"<figcaption>{text}</figcaption></figure>"
        )

    def page(self) -> str:
        """Return the page as self-contained HTML."""
        return _PAGE.format(title=html.escape(self.title), body="\n".join(self._parts))
