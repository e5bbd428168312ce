"""A report as one HTML page that needs nothing else: no script, no picture beside it, no network. Light and dark as the reader has it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from stfed.report.blocks import Block, Chart, Fact, Facts, Pictures, Report, Section, Table, Text, Warn
from stfed.report.charts import draw
from stfed.report.pictures import STYLE as PICTURES_STYLE
from stfed.report.pictures import pictures_html

_STYLE = """
:root { color-scheme: light dark;
  --ink: #1d2733; --soft: #5b6b7b; --line: #d8dee5; --card: #f5f7f9; --page: #ffffff; --mark: #2f6f9f; --bad: #a8322c; --alarm: #fbeceb; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e3e8ee; --soft: #9aa5b1; --line: #34404d; --card: #1f2731; --page: #161c23; --mark: #79b4dd; --bad: #f0a19b; --alarm: #3a2022; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem 5rem; font: 1rem/1.55 system-ui, sans-serif;
  color: var(--ink); background: var(--page); }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
nav { font-size: .9rem; margin: 1.5rem 0 0; } nav a { color: var(--mark); margin-right: 1rem; white-space: nowrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .75rem; }
.card { background: var(--card); border-radius: .6rem; padding: .8rem 1rem; overflow-wrap: anywhere; }
.card b { display: block; font-size: 1.1rem; } .card span, .card small { color: var(--soft); font-size: .85rem; display: block; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) minmax(0, 1fr); gap: .5rem 1.25rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; } dd small { display: block; color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; margin: .75rem 0; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; } th { vertical-align: bottom; }
th.n { text-align: right; } td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.w { white-space: nowrap; } td.t { min-width: 13rem; }
td.h { font: .75rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; min-width: 14rem; }
.warn { border: 2px solid var(--bad); background: var(--alarm); color: var(--bad); border-radius: .6rem; padding: .8rem 1rem;
  font-weight: 600; print-color-adjust: exact; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem 1.5rem; margin: 1rem 0; }
figure { margin: 0; max-width: 36rem; } figcaption { color: var(--soft); font-size: .9rem; }
svg { width: 100%; height: auto; }
@media print { html { font-size: 12px; } body { max-width: none; padding: 0; } nav { display: none; }
  h2 { break-after: avoid; margin-top: 1.5rem; } .charts { grid-template-columns: 1fr 1fr; } thead, p:has(+ .wide) { break-after: avoid; }
  figure, .card, .warn, tr, dd { break-inside: avoid; } dt { break-after: avoid; } td.t { min-width: 0; } }
"""
_HASH_LETTERS, _WRAPPED_LETTERS = 40, 30


_INLINE = """<style>
.stfed { font: 14px/1.5 system-ui, sans-serif; } .stfed h2 { font-size: 1.1rem; margin: 1.2rem 0 .3rem; }
.stfed .cards { display: flex; flex-wrap: wrap; gap: .6rem; }
.stfed .card { background: rgba(128, 128, 128, .12); border-radius: .5rem; padding: .5rem .8rem; } .stfed .card b { display: block; }
.stfed .card span, .stfed .card small, .stfed dt, .stfed dd small { opacity: .7; font-size: .85rem; display: block; }
.stfed dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem 1rem; } .stfed dd { margin: 0; }
.stfed .warn { border: 2px solid #c25b5b; border-radius: .5rem; padding: .5rem .8rem; font-weight: 600; }
.stfed figure { margin: .5rem 0; } .stfed svg { max-width: 40rem; height: auto; } .stfed td.n { text-align: right; }
</style>"""


def to_inline_html(report: Report) -> str:
    """The same as a piece of another page: what a notebook shows.

    Raises:
        LocalError: Matplotlib is not installed.
    """
    body = "".join(f"<h2>{escape(section.title)}</h2>{_blocks(section.blocks)}" for section in report.sections)
    cards, style = "".join(map(_card, report.summary)), f"{_INLINE}<style>{PICTURES_STYLE}</style>"
    return f'{style}<div class="stfed"><div class="cards">{cards}</div>{body}</div>'


def to_html(report: Report) -> str:
    """The page.

    Raises:
        LocalError: Matplotlib is not installed.
    """
    places = [(f"s{number}", section) for number, section in enumerate(report.sections, 1)]
    contents = " ".join(f'<a href="#{place}">{escape(section.title)}</a>' for place, section in places)
    body = "".join(_section(place, section) for place, section in places)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(report.title)}</title><style>{_STYLE}{PICTURES_STYLE}</style></head>\n<body><h1>{escape(report.title)}</h1>"
        f'<div class="cards">{"".join(map(_card, report.summary))}</div><nav>{contents}</nav>\n{body}</body></html>\n'
    )


def _card(fact: Fact) -> str:
    meaning = f"<small>{escape(fact.meaning)}</small>" if fact.meaning else ""
    return f'<div class="card"><span>{escape(fact.name)}</span><b>{escape(fact.value)}</b>{meaning}</div>'


def _section(place: str, section: Section) -> str:
    return f'<section id="{place}"><h2>{escape(section.title)}</h2>{_blocks(section.blocks)}</section>\n'


def _blocks(blocks: Sequence[Block]) -> str:
    """Charts that follow each other stand side by side where there is room."""
    parts = []
    for charts, some in groupby(blocks, lambda block: isinstance(block, Chart)):
        text = "".join(map(_block, some))
        parts.append(f'<div class="charts">{text}</div>' if charts else text)
    return "".join(parts)


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Warn(text):
            return f'<p class="warn" role="alert">{escape(text)}</p>'
        case Facts(facts):
            return f"<dl>{''.join(map(_fact, facts))}</dl>"
        case Table(header, rows):
            numeric = block.numeric()
            head = "".join(map(_head, header, numeric))
            body = "".join(f"<tr>{''.join(map(_cell, row, numeric))}</tr>" for row in rows)
            return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        case Pictures():
            return pictures_html(block)
        case Chart(title):
            return f"<figure><figcaption>{escape(title)}</figcaption>{_svg(block)}</figure>"


def _fact(fact: Fact) -> str:
    return f"<dt>{escape(fact.name)}</dt><dd>{escape(fact.value)}<small>{escape(fact.meaning)}</small></dd>"


def _head(name: str, numeric: bool) -> str:
    return f'<th class="n">{escape(name)}</th>' if numeric else f"<th>{escape(name)}</th>"


def _cell(text: str, numeric: bool) -> str:
    if numeric:
        return f'<td class="n">{escape(text)}</td>'
    if " " in text:
        return f'<td class="t">{escape(text)}</td>' if len(text) > _WRAPPED_LETTERS else f"<td>{escape(text)}</td>"
    return f'<td class="{"h" if len(text) > _HASH_LETTERS else "w"}">{escape(text)}</td>'


def _svg(chart: Chart) -> str:
    """The drawing alone, without the XML in front of it."""
    text = draw(chart, "svg").decode()
    return text[text.index("<svg") :]
