# SPDX-License-Identifier: Apache-2.0
"""The card that opens a report on a run or a search, for a terminal, a page or an issue; pure.

One card has one content. Names and messages in it may come from event files that anyone
may have written: each text is made one safe line here.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tb_nanwatch.wording.row_values import LEFT_OUT, NOTE
from tb_nanwatch.wording.text import clean

# Columns of a printed answer: 80, which every terminal has.
WIDTH: Final = 80
_INDENT: Final = " " * 9
_MAX_TEXT: Final = 2000

# Colours that are as good on white as on black, since no notebook tells which it has: the
# text's own, and a grey and a red that let the ground through.
STYLE: Final = """
.nanwatch-card { box-sizing: border-box; max-width: 100%; margin: 8px 0; padding: 8px 14px;
  border: 1px solid rgba(128, 128, 128, .35); border-left: 4px solid rgba(128, 128, 128, .6);
  font: 14px/1.5 system-ui, sans-serif; color: inherit; overflow-wrap: anywhere; }
.nanwatch-card.nanwatch-bad { border-left-color: #d6453d; }
.nanwatch-card * { box-sizing: border-box; }
.nanwatch-card p { margin: 2px 0 6px; padding: 0; font-weight: 650; max-width: none; }
.nanwatch-card dl { display: grid; grid-template-columns: max-content minmax(0, 1fr);
  gap: 3px 14px; margin: 0; padding: 0; }
.nanwatch-card dt { margin: 0; padding: 0; font-weight: 650; opacity: .75; }
.nanwatch-card dd { margin: 0; padding: 0; min-width: 0; }
.nanwatch-card pre { margin: 4px 0; padding: 8px 10px; max-width: 100%; overflow-x: auto;
  white-space: pre; overflow-wrap: normal; color: inherit; font-size: 13px;
  background: rgba(128, 128, 128, .12); border: 0; }
"""


@dataclass(frozen=True)
class Part:
    """One paragraph of a card; it is left out where it has no text.

    Attributes:
        title: "Why", "Fix", "Where"; "" goes on with the part before.
        text: sentences.
        code: Python that belongs to it, with its line breaks.
    """

    title: str
    text: str
    code: str = ""


@dataclass(frozen=True)
class Card:
    """The statements that open a report on a run or a search.

    Attributes:
        first: what happened, and to which: "logs diverged at epoch 1, batch 3."
        bad: whether anything went bad.
        parts: why, what to change, where.
        see: commands that show more, a line each.
    """

    first: str
    bad: bool
    parts: tuple[Part, ...] = ()
    see: tuple[str, ...] = ()


def printed(card: Card) -> list[str]:
    """Returns a card in lines of at most 80 columns where words allow it."""
    first = clean(f"NaN Watch: {card.first}", _MAX_TEXT)
    found = wrapped(first, "", "  ")
    titled = any(part.title for part in card.parts)
    for part in card.parts:
        if part.text:
            begin, indent = (f"  {part.title:<7}", _INDENT) if titled else ("  ", "  ")
            found += wrapped(clean(part.text, _MAX_TEXT), begin, indent)
        code = list(code_lines(part.code))
        # Code has breaks of its own.
        fits = max(map(len, code), default=0) + len(_INDENT) <= WIDTH
        indent = _INDENT if fits else _INDENT[:4]
        found += [f"{indent}{line}".rstrip() for line in code]
    for i, command in enumerate(card.see):
        found.append(f"  {'' if i else 'See':<7}{_command(command)}")
    return found


def markdown(cards: Iterable[Card]) -> str:
    """Returns cards as Markdown, for an issue, a chat or a page of a CI job.

    What a text holds of Markdown's own signs is shown as it is; between backquotes it is
    code, as in the printed card.
    """
    blocks = [_markdown(card) for card in cards]
    text = "\n\n".join(blocks)
    return f"{text}\n\n*{NOTE}*\n" if LEFT_OUT in text else f"{text}\n"


def _markdown(card: Card) -> str:
    mark = "❌" if card.bad else "✅"
    found = [f"**{mark} NaN Watch: {_escaped(clean(card.first, _MAX_TEXT))}**", ""]
    for part in card.parts:
        if part.text:
            title = f"**{part.title}** " if part.title else ""
            found.append(f"- {title}{_escaped(clean(part.text, _MAX_TEXT))}")
        code = list(code_lines(part.code))
        if code:
            fence = "`" * (max(2, *map(len, re.findall(r"`+", part.code) or [""])) + 1)
            found += [f"  {line}".rstrip() for line in (f"{fence}python", *code, fence)]
    return "\n".join(found).rstrip()


def _escaped(text: str) -> str:
    """Returns a text for Markdown: parts between backquotes as code, the rest escaped."""
    return "`".join(p if i % 2 else _plain(p) for i, p in enumerate(_pieces(text)))


def _pieces(text: str) -> list[str]:
    """Returns a text's parts in turn: words, code (between backquotes), words, ..."""
    pieces = text.split("`")
    # An odd number of backquotes cannot be paired.
    return pieces if len(pieces) % 2 else [text.replace("`", "'")]


def _plain(text: str) -> str:
    # Only characters that Markdown would interpret are escaped: "val_loss" stays as it is.
    shown = re.sub(r"([\\*<]|~(?=~)|&(?=\w)|\](?=\()|(?<!\w)_|_(?!\w))", r"\\\1", text)
    # "#3" is a trial and no issue, and nobody is to be called by "@name".
    return re.sub(r"#(\d+)", r"`#\1`", shown).replace("@", "@\u2060")


def in_html(cards: Sequence[Card]) -> str:
    """Returns cards as HTML elements, which take `STYLE`."""
    return "".join(map(_html, cards))


def fragment(cards: Sequence[Card]) -> str:
    """Returns cards as HTML that needs nothing else, for a notebook's cell."""
    shown = in_html(cards)
    note = f"<small>{html.escape(NOTE)}</small>" if LEFT_OUT in shown else ""
    return f"<div><style>{STYLE}</style>{shown}{note}</div>"


def words_in_html(text: str) -> str:
    """Returns sentences as HTML, with parts between backquotes as code."""
    return "".join(
        f"<code>{html.escape(piece)}</code>" if i % 2 else html.escape(piece)
        for i, piece in enumerate(_pieces(clean(text, _MAX_TEXT)))
    )


def _html(card: Card) -> str:
    rows = []
    for part in card.parts:
        code = "\n".join(map(html.escape, code_lines(part.code)))
        said = words_in_html(part.text)
        if said or code:
            code = f"<pre>{code}</pre>" if code else ""
            rows.append(f"<dt>{html.escape(part.title)}</dt><dd>{said}{code}</dd>")
    for i, command in enumerate(card.see):
        said = html.escape(_command(command))
        rows.append(f"<dt>{'' if i else 'See'}</dt><dd><code>{said}</code></dd>")
    bad = " nanwatch-bad" if card.bad else ""
    first = html.escape(clean(card.first, _MAX_TEXT))
    body = f"<dl>{''.join(rows)}</dl>" if rows else ""
    return f'<div class="nanwatch-card{bad}"><p>{"✕" if card.bad else "✓"} {first}</p>{body}</div>'


def _command(text: str) -> str:
    """Returns a command with its spaces kept, as the user has to type it."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def code_lines(code: str) -> Iterable[str]:
    """Yields the lines of code, each made safe, with their indents."""
    for line in code.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        yield " " * indent + clean(line, _MAX_TEXT)


def wrapped(text: str, first: str, indent: str) -> list[str]:
    """Returns a text in lines, the first and the others indented as given."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
