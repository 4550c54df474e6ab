"""How the cell of a grid is shown as text, the same in every renderer."""

from tlspcap import words
from tlspcap.report.model import Cell, Kind


def show(value: Cell, kind: Kind) -> str:
    """Say one cell of a grid."""
    if value is None:
        return words.UNKNOWN
    if isinstance(value, tuple):
        pairs = {Kind.INTERVAL: words.interval, Kind.POINTS: words.points}
        return pairs[kind](*value) if kind in pairs else f"{value[0]:,.0f} of {value[1]:,.0f}"
    if isinstance(value, str):
        return value
    if kind is Kind.RATIO:
        return words.percent(value)
    if kind is Kind.CHANCE:
        return words.chance(value, name=False)
    return words.milliseconds(value) if kind is Kind.MS else f"{value:,}"
