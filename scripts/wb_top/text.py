"""Names and numbers as text."""


def printable(text, limit: int = 100) -> str:
    r"""The text, or the bytes of a name, with what acts on a terminal as \xHH, as redis-cli shows it."""
    if isinstance(text, bytes):
        text = text[: 4 * limit].replace(b"\\", b"\\\\").decode(errors="surrogateescape")
    return "".join(char if char.isprintable() else escaped(char) for char in text[:limit]) or '""'


def escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors="surrogateescape"))


def scaled(value: float, *units) -> str:
    """With the first of the units (factor, name) that the value reaches; one decimal below 100."""
    factor, name = next((unit for unit in units if value >= unit[0]), units[-1])
    value /= factor
    return f"{value:.{1 if value < 99.95 and value % 1 else 0}f}{name}"


def duration(ms: float) -> str:
    return scaled(max(ms, 0), (864e5, " d"), (36e5, " h"), (6e4, " min"), (1e3, " s"), (1, " ms"))


def size(value: float) -> str:
    return scaled(value, (1e12, " TB"), (1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (1, " B"))


def number(value) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value < 1e7 else scaled(value, (1e12, "T"), (1e9, "G"), (1e6, "M"))
