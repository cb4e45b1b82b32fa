"""The report as one HTML page, with its pictures in it and without a script."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from tosa_ros.errors import printable
from tosa_ros.evaluation.report.sections import Section, Shown
from tosa_ros.evaluation.report.tables import LONGEST_CELL

# The policy is a second wall behind the escaping: nothing is loaded, and no script runs.
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto;
        padding: 0 1rem; overflow-wrap: anywhere }}
h2 {{ font-size: 1.15rem; margin-top: 2.2rem }}
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }}
th, td {{ border-bottom: 1px solid #ccc; padding: .25rem .7rem; text-align: right;
          overflow-wrap: break-word; max-width: 26rem }}
th:first-child, td:first-child {{ text-align: left }}
figure {{ margin: 1.2rem 0; padding-top: .6rem; border-top: 1px solid #ccc }}
figcaption ul {{ margin: .2rem 0 .6rem }}
img {{ max-width: 100%; height: auto }}
@media (max-width: 40rem) {{
  body {{ font-size: 14px; margin: 1rem auto }}
  th, td {{ padding: .2rem .4rem }}
  figure img {{ max-width: none }}
}}
</style></head><body>
{body}
</body></html>
"""


def html_page(title: str, parts: Sequence[Section], picture: bytes | None) -> str:
    """The whole page. picture: the plot, a PNG."""
    body = [f'<h1>{_text(title)}</h1>']
    if picture is not None:
        body.append(_image(picture, 'png', 'score against tokens'))
    for heading, part in parts:
        body.append(f'<h2>{_text(heading)}</h2>')
        if isinstance(part, tuple):
            head, rows = part
            body.append('<div class="wide"><table>' + _row(head, 'th'))
            body += [_row(row, 'td') for row in rows]
            body.append('</table></div>')
        else:
            lines = [one for one in part if isinstance(one, str)]
            body += [_list(lines)] if lines else []
            body += [_figure(one) for one in part if isinstance(one, Shown)]
    return _PAGE.format(title=_text(title), body='\n'.join(body))


def _text(text: str) -> str:
    return html.escape(printable(text, LONGEST_CELL))


def _list(lines: Sequence[str]) -> str:
    return '<ul>' + ''.join(f'<li>{_text(line)}</li>' for line in lines) + '</ul>'


def _figure(shown: Shown) -> str:
    first, *rest = shown.lines
    image = _image(shown.picture, 'jpeg', 'the frames and their tokens') if shown.picture else ''
    caption = f'<figcaption><b>{_text(first)}</b>{_list(rest)}</figcaption>'
    return f'<figure>{caption}<div class="wide">{image}</div></figure>'


def _image(data: bytes, kind: str, alternative: str) -> str:
    source = f'data:image/{kind};base64,{base64.b64encode(data).decode()}'
    return f'<img alt="{_text(alternative)}" src="{source}">'


def _row(cells: Sequence[str], tag: str) -> str:
    return '<tr>' + ''.join(f'<{tag}>{_text(cell)}</{tag}>' for cell in cells) + '</tr>'
