"""The figures as text, for a terminal."""

from __future__ import annotations

from typing import Iterator, Sequence

from .figures import ORDER, FactoryFigures, Figures, Saved, Totals, share, spent
from .rows import Leak, Received

#: How many cascades and tests are shown; a report's file has them all.
MOST = 10

#: How many rows a failing test names.
_MOST_RECEIVED = 30

#: A name is not cut shorter than this, however narrow the terminal.
_SHORTEST = 16


def report_lines(figures: Figures, width: int) -> Iterator[str]:
    """Yield the lines of the whole report, at most ``width`` characters where that is possible."""
    calls = figures.all_calls()
    yield headline(figures.totals(calls))
    if not calls:
        return
    factories = figures.factories(calls)
    yield ""
    yield from factory_lines(figures, factories, width)
    cascades = figures.cascades(calls)
    if cascades:
        yield ""
        rows = [
            [
                f"{figures.name(each['factory'])} -> {figures.name(each['pulled'])}",
                f"{each['calls']:,}",
                f"{each['created']:,}",
                f"{each['seconds']:.2f}",
                f"{each['share']:.1%}",
            ]
            for each in cascades[:MOST]
        ]
        yield from _table(["cascade", "calls", "created", "seconds", "of run"], rows, width)
        yield from _more(len(cascades), "cascades")
    yield ""
    rows = [
        [
            test["id"],
            f"{spent(test['calls']):.3f}",
            f"{share(spent(test['calls']), test['seconds']):.0%}",
        ]
        for test in figures.slowest(MOST)
    ]
    yield from _table(["slowest test by its factories", "seconds", "of test"], rows, width)


def headline(totals: Totals) -> str:
    """Return the whole run in one line."""
    return (
        f"{totals['factory_seconds']:.2f} s in factories, {totals['share']:.0%} of the tests' "
        f"{totals['seconds']:.2f} s: {totals['calls']:,} calls, {totals['created']:,} created, "
        f"{totals['reused']:,} reused, {totals['statements']:,} statements"
        f"{_saved(totals['saved'])}"
    )


def factory_lines(
    figures: Figures, factories: Sequence[FactoryFigures], width: int
) -> Iterator[str]:
    """Yield two tables with a line for each factory: where its objects come from, and the cost."""
    names = [figures.name(each["id"]) + ("" if each["decorated"] else " *") for each in factories]
    sources = [name for name in ORDER if any(name in each["sources"] for each in factories)]
    rows = [
        [
            name,
            f"{each['calls']:,}",
            f"{each['top_level']:,}",
            f"{each['nested']:,}",
            f"{each['created']:,}",
            f"{each['reused']:,}",
            *(f"{each['sources'].get(source, 0):,}" for source in sources),
        ]
        for name, each in zip(names, factories)
    ]
    header = ["factory", "calls", "direct", "nested", "created", "reused", *sources]
    yield from _table(header, rows, width)
    yield ""
    rows = [
        [
            name,
            f"{each['seconds']:.2f}",
            f"{each['own_seconds']:.2f}",
            f"{each['statements']:,}",
            f"{each['own_statements']:,}",
            f"{each['saved']['rows']:,}",
            f"{each['saved']['statements']:,}",
        ]
        for name, each in zip(names, factories)
    ]
    header = ["factory", "seconds", "own", "stmts", "own", "saved rows", "saved stmts"]
    yield from _table(header, rows, width)
    lazy = [each for each in factories if each["created"] and not each["statements"]]
    if lazy:
        yield ""
        yield "lazy, so that what a later flush sends is in no figure: " + _names(figures, lazy)
    never = [each for each in factories if each["decorated"] and not each["reused"]]
    if never:
        yield ""
        yield "decorated, and never reused: " + _names(figures, never)
    plain = [each for each in factories if each["would_reuse"] is not None]
    if plain:
        yield ""
        yield from _would_reuse_lines(figures, plain, width)


def _names(figures: Figures, factories: Sequence[FactoryFigures]) -> str:
    return ", ".join(f"{figures.name(each['id'])} ({each['calls']:,} calls)" for each in factories)


def _would_reuse_lines(
    figures: Figures, plain: Sequence[FactoryFigures], width: int
) -> Iterator[str]:
    rows = []
    for each in plain:
        would_reuse = each["would_reuse"]
        assert would_reuse is not None
        rows.append(
            [
                figures.name(each["id"]) + " *",
                f"{each['created']:,}",
                f"{would_reuse['repeated']:,}",
                f"{would_reuse['defaults']:,}",
                f"{would_reuse['rows']:,}",
            ]
        )
    rows.sort(key=lambda row: -int(row[-1].replace(",", "")))
    header = ["* not decorated", "created", "repeated", "defaults", "rows to save, at most"]
    yield from _table(header, rows, width)


def received_lines(received: Sequence[Received], test: str, name: Figures) -> Iterator[str]:
    """Yield a line for each row that a test was given in place of a new one, up to some."""
    for each in received[:_MOST_RECEIVED]:
        sources = ", ".join(
            source if count == 1 else f"{count} x {source}"
            for source, count in each["sources"].items()
        )
        maker = each["made_by"]
        if maker is None:
            made = "made by no test that is known"
        else:
            made = "made by this test" if maker == test else f"made by {maker}"
        yield f"{name.name(each['factory'])}: {each['row']} ({sources}), {made}"
    if len(received) > _MOST_RECEIVED:
        yield f"(and {len(received) - _MOST_RECEIVED:,} more)"


def leak_lines(figures: Figures, leaks: Sequence[Leak]) -> Iterator[str]:
    """Yield what there is to say of each change that another test met."""
    for leak in leaks:
        changer = leak["changed_by"] or f"a statement after {leak['since']}"
        yield f"{leak['received_by']} received {leak['row']} from {figures.name(leak['factory'])}:"
        yield f"    {changer} changed {leak['attribute']} from {leak['old']} to {leak['new']}"


def _saved(saved: Saved) -> str:
    rows, statements = saved["rows"], saved["statements"]
    if not rows:
        return ""
    if statements < 0:
        return f"; reuse saved about {rows:,} rows, for {-statements:,} statements more"
    return f"; reuse saved about {rows:,} rows and {statements:,} statements"


def _more(count: int, what: str) -> Iterator[str]:
    if count > MOST:
        yield f"({count - MOST:,} more {what} in a report's file)"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield a table's lines: its first column to the left, and cut where the rest needs room."""
    columns = list(zip(header, *rows))
    widths = [max(map(len, column)) for column in columns]
    room = width - sum(widths[1:]) - 2 * (len(widths) - 1)
    widths[0] = min(widths[0], max(room, _SHORTEST))
    for row in (header, *rows):
        first = _cut(row[0], widths[0]).ljust(widths[0])
        rest = (cell.rjust(wide) for cell, wide in zip(row[1:], widths[1:]))
        yield "  ".join((first, *rest)).rstrip()


def _cut(text: str, width: int) -> str:
    """Return the text, its middle left out where it is too long: both ends of a test's id tell."""
    if len(text) <= width:
        return text
    tail = (width - 3) * 2 // 3
    return f"{text[: width - 3 - tail]}...{text[-tail:]}"
