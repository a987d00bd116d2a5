"""View: from the history to a screen. Nothing here asks the server or the clock."""

import math
import textwrap

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .history import History, Track
from .sample import FULL_SECONDS, MANY
from .text import duration, number, printable, size

BLOCKS = "▁▂▃▄▅▆▇"  # without the full block, which would touch the row above
ORDERS = {
    "d": ("dirty", lambda track: track.fields["dirty_keys"]),
    "o": ("oldest", lambda track: track.fields["oldest_dirty_ms"]),
    "l": ("lag", lambda track: track.fields["lag_p99_us"]),
    "w": ("writes", lambda track: track.writes() or 0),
    "x": ("dead letters", lambda track: track.fields["dead_letters"]),
    "n": ("name", lambda track: 0),
}
# Heading, narrowest width, and rank: on a narrow screen the columns with the highest ranks are left
# out; the prefix stays and is cut. A width of None is that of the cells.
LIVE = {
    "prefix": (12, 0), "db": (3, 9), "namespace": (12, 10), "dirty": (7, 1), "dirty, 1 min": (12, 5),
    "oldest": (7, 6), "lag p99": (7, 7), "captured/s": (10, 11), "writes/s": (8, 2), "writes, 1 min": (13, 8),
    "dead": (5, 3), "state": (8, 4),
}  # fmt: skip
ONCE = dict.fromkeys(["db", "prefix", "namespace", "dirty", "oldest", "lag p99", "captured", "written", "deleted",
                      "dead", "state"], (None, 0))  # fmt: skip
LEFT = ("prefix", "namespace", "dirty, 1 min", "writes, 1 min", "state")


def spark(values: list, style: str) -> Text:
    """The lowest block is 0 alone; a space is a time without a sample."""
    top = max((value for value in values if value), default=0)
    steps = len(BLOCKS) - 1
    levels = [min(math.ceil(value * steps / top), steps) if value else 0 for value in values if value is not None]
    return Text(" " * (len(values) - len(levels)) + "".join(BLOCKS[level] for level in levels), style)


def state(fields: dict) -> Text:
    if fields["paused"]:
        return Text("paused", "yellow")
    if fields.get("resting"):
        return Text("refused", "red")
    if fields["blocked_keys"]:
        return Text("blocked", "yellow")
    if fields["sync_pending"]:
        return Text(f"sync {fields['sync_percent']}%", "cyan")
    if fields["rescans_pending"]:
        return Text("rescan", "yellow")
    return Text("error", "red") if fields["last_error"] else Text("ok", "green")


def cell(name: str, key: tuple, track: Track, now: float, width: int) -> Text:
    fields = track.fields
    if name == "state":
        return state(fields)
    if name == "dirty, 1 min":
        return spark(track.series(1, width, now), "cyan")
    if name == "writes, 1 min":
        return spark(track.series(2, width, now), "magenta")
    dead = fields["dead_letters"]
    return Text({
        "prefix": lambda: printable(key[1]),
        "db": lambda: str(key[0]),
        "namespace": lambda: printable(fields["namespace"]),
        "dirty": lambda: number(fields["dirty_keys"]),
        "oldest": lambda: duration(fields["oldest_dirty_ms"]),
        "lag p99": lambda: duration(fields["lag_p99_us"] / 1e3),
        "captured/s": lambda: number(track.rates.get("captured")),
        "writes/s": lambda: number(track.writes()),
        "captured": lambda: number(fields["captured_total"]),
        "written": lambda: number(fields["written_total"]),
        "deleted": lambda: number(fields["deleted_total"]),
        "dead": lambda: number(dead),
    }[name](), "bold red" if name == "dead" and dead else "")  # fmt: skip


def widths(columns: dict, keys: list, tracks: dict, width: int) -> dict:
    """The columns that fit, each with its width. What is left over goes to names, then to sparklines."""
    found, left = {}, width
    for name, (least, _) in sorted(columns.items(), key=lambda column: column[1][1]):
        if name == "prefix" and least:
            least = min(least, width)
        elif least and least >= left:
            continue
        found[name], left = least, left - (least or 0) - 1
    names = {
        "prefix": (cell_len(printable(key[1])) for key in keys),
        "namespace": (cell_len(printable(tracks[key].fields["namespace"])) for key in keys),
    }
    for name, lengths in names.items():
        if found.get(name):
            more = max(0, min(left // 2, max(lengths, default=0) - found[name]))
            found[name], left = found[name] + more, left - more
    sparks = [name for name in found if name.endswith("1 min")]
    for name in sparks if found["prefix"] else []:
        found[name] += min(left // len(sparks), 20)
    return {name: found[name] for name in columns if name in found}


def table(history: History, keys: list, columns: dict, width: int) -> Table:
    chosen = widths(columns, keys, history.tracks, width)
    grid = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for name, cells in chosen.items():
        side = "left" if name in LEFT else "right"
        grid.add_column(name, width=cells, no_wrap=True, overflow="ellipsis", justify=side)
    for key in keys:
        grid.add_row(*(cell(name, key, history.tracks[key], history.sample.at, chosen[name]) for name in chosen))
    return grid


def flow(items: list, width: int) -> list:
    """Lines of whole items, three spaces between two of them."""
    lines = [Text()]
    for item in (item if isinstance(item, Text) else Text(item) for item in items):
        if lines[-1] and lines[-1].cell_len + 3 + item.cell_len > width:
            lines.append(Text())
        lines[-1].append("   " if lines[-1] else "").append_text(item)
    return lines


def link(now: dict, now_ms: float) -> Text:
    if now["link"] == "idle":
        return Text(f"link idle: {'a replica writes nothing' if now['role'] == 'replica' else 'no registration'}")
    style = "green" if now["link"] == "up" else "bold red"
    return Text(f"link {now['link']} for {duration(now_ms - now['link_since_unix_ms'])}", style)


def heading(history: History, address: str, width: int) -> list:
    sample, totals = history.sample, history.totals
    now, rates = totals.fields, totals.rates
    info = sample.info
    server = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info.get('redis_version', '')}"
    dead = Text(f"dead letters {number(now['dead_letters'])}", "bold red" if now["dead_letters"] else "")
    versions = [server.strip(), f"writebehind {now['version']}"]
    paused = [Text("PAUSED", "yellow")] * bool(now["paused"])
    first = [Text(printable(address), "bold"), now["role"], link(now, sample.now_ms()), *paused]
    # On a narrow screen the versions are what can be cut off.
    wide = width >= 100
    lines = flow([*first, *versions] if wide else first, width)
    last = [] if wide else versions
    lines += flow([
        f"dirty {number(now['dirty_keys'])}", f"in flight {number(now['in_flight_keys'])}",
        f"blocked {number(now['blocked_keys'])}", dead, f"oldest {duration(now['oldest_dirty_ms'])}",
        f"lag p50 {duration(now['lag_p50_us'] / 1e3)}, p99 {duration(now['lag_p99_us'] / 1e3)}",
        f"memory {size(now['memory_bytes'])}",
    ], width)  # fmt: skip
    if rates:
        part = 100 * rates["coalesced"] / rates["captured"] if rates["captured"] else 0
        last[:0] = [
            f"captured {number(rates['captured'])}/s", f"coalesced {part:.0f} %",
            f"written {number(rates['written'])}/s", f"deleted {number(rates['deleted'])}/s",
            f"batches {number(rates['batches'])}/s", f"{size(rates['bytes'])}/s",
        ]  # fmt: skip
    return lines + (flow(last, width) if last else [])


def notes(history: History, keys: list, trouble: str, width: int) -> list:
    """What is wrong, wrapped: first what makes the figures old."""
    now = history.totals.fields
    found = [(trouble, "bold red"), (now["link_error"], "red")]
    found += [(f"prefix '{printable(key[1])}': {history.tracks[key].fields['last_error']}", "red")
              for key in keys if history.tracks[key].fields["last_error"]]
    last = now["last_error"]
    if last and not any(text.endswith(last) for text, _ in found if text):
        found.append((last, "red"))
    found += [(text, "red") for text in history.sample.problems] + [(now["warning"], "yellow")]
    return [Text(line, style) for text, style in found if text
            for line in textwrap.wrap(printable(text, 2000), width, subsequent_indent="  ")]


def cut(lines: list, limit: int) -> list:
    return lines if len(lines) <= limit else [*lines[: limit - 1], Text("…")]


def ranked(history: History, order: str) -> list:
    value = ORDERS[order][1]
    return sorted(history.tracks, key=lambda key: (-value(history.tracks[key]), key))


def page(history: History, address: str, order: str, trouble: str, width: int, height: int):
    """A screen of the live view, and the prefixes on it."""
    every = ranked(history, order)
    gap = [""] * (height >= 16)
    top = cut(heading(history, address, width), max(2, height * 2 // 5)) + gap
    bottom = cut(notes(history, every[:height], trouble, width), max(1, height // 4))
    # The table's header, the line "more" and the keys.
    room = max(1, height - len(top) - len(bottom) - 3)
    shown = every[:room]
    more = f"+{len(every) - len(shown)} more" if len(every) > len(shown) else ""
    if more and len(every) > MANY:
        more += f", read every {FULL_SECONDS} s"
    orders = (Text(f"{key} {name}", "reverse" if key == order else "") for key, (name, _) in ORDERS.items())
    keys = flow([Text("q quit   sort by"), *orders], width)[:1]
    lines = [*top, table(history, shown, LIVE, width), Text(more, "dim"), *bottom, *keys]
    return Group(*(fitted(line, width) for line in lines)), shown


def fitted(line, width: int):
    if isinstance(line, Text):
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return line


def snapshot(history: History, address: str, width: int) -> Group:
    """Everything, with totals in place of rates."""
    every = ranked(history, "d")
    return Group(*heading(history, address, width), "", table(history, every, ONCE, width),
                 *notes(history, every, "", width))
