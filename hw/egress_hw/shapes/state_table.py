"""A code as a machine of states: what two bits do in each place of its tree."""

from dataclasses import dataclass

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from egress.setting import WINDOW_BITS, Mode, Setting, max_level, symbol_to_level

STEP_BITS = 2
LEVEL_BITS = 8
STATE_BITS = 9
ADDRESS_BITS = STEP_BITS + STATE_BITS

LOST = -(1 << (LEVEL_BITS - 1))
"""Stands for a lost weight: it is no level (FORMAT.md, section 3)."""

# The tree of a code has less than 5/8 of all states. Of the others, the two upper bits of a state
# alone make it a lost one, and the three upper bits one that is the root as well. So to go to one
# of them from any state is to set bits.
ROOT = 0
OWN_STATES = 0b101 << (STATE_BITS - 3)
GONE = 0b110 << (STATE_BITS - 3)
AGAIN = 0b111 << (STATE_BITS - 3)


@dataclass(frozen=True, slots=True)
class Step:
    """What a step does.

    Members
    -------
    state : int
        The next one: a node of the tree, 0 its root; from 384 on all is lost; from 448 on it is
        the root, and two codewords ended, of which the second had one bit.
    done : bool
        A codeword ended, whose level is ``level``.
    level : int
    """

    state: int
    done: bool = False
    level: int = 0


def step_layout() -> data.StructLayout:
    """Layout of a `Step`."""
    return data.StructLayout(
        {"state": unsigned(STATE_BITS), "level": signed(LEVEL_BITS), "done": unsigned(1)}
    )


def codewords(setting: Setting) -> dict[int, str]:
    """Codewords of all levels of 8 bits that a setting has one for, by level.

    Raises
    ------
    ValueError
        If the setting is one of runs, or raw with two codewords of one bit.
    """
    if setting.mode is Mode.RAW and setting.order:
        width = setting.order + 1
        found = {symbol: f"{symbol:0{width}b}" for symbol in range(1 << min(width, LEVEL_BITS))}
    elif setting.mode is Mode.PLAIN:
        code = setting.code
        found = {symbol: code.codeword(symbol) for symbol in range(1 << LEVEL_BITS)}
    else:
        raise ValueError(f"setting must be plain, or raw of 2 bits or more, not {setting}")
    largest = 2 * max_level(LEVEL_BITS)
    return {
        symbol_to_level(symbol): word
        for symbol, word in found.items()
        if symbol <= largest and len(word) <= WINDOW_BITS
    }


def short_level(setting: Setting) -> int:
    """Level of the codeword of one bit; 0 if there is none."""
    return next((level for level, word in codewords(setting).items() if len(word) == 1), 0)


def state_table(setting: Setting) -> list[Step]:
    """List the steps of every state on every two bits: the content of a lane's memory of states.

    Parameters
    ----------
    setting : Setting
        Plain, or raw of 2 bits or more. Of levels that it has no codeword for, those that come in
        the bits are lost.

    Returns
    -------
    steps : list of Step
        2048; bits 10 to 9 of an index are the bits, the earlier one above, the others the state.

    Raises
    ------
    ValueError
        If the setting is of another mode.
    """
    levels = {word: level for level, word in codewords(setting).items()}
    nodes = {word[:length]: 0 for word in levels for length in range(len(word))}
    nodes = {node: number for number, node in enumerate(sorted(nodes, key=len))}

    def step(node: str, bits: str) -> Step:
        given: list[int] = []
        for bit in bits:
            node += bit
            if node in levels:
                given.append(levels[node])
                node = ""
            elif node not in nodes:
                return Step(GONE, bool(given), given[0] if given else 0)
        state = AGAIN if len(given) == 2 else nodes[node]
        return Step(state, bool(given), given[0] if given else 0)

    table = []
    for value in range(1 << STEP_BITS):
        bits = f"{value:0{STEP_BITS}b}"
        own = [step(node, bits) for node in nodes]
        own += [Step(GONE)] * (GONE - len(own))
        own += [Step(GONE, done=True, level=LOST)] * (AGAIN - GONE)
        table += own + [own[ROOT]] * ((1 << STATE_BITS) - AGAIN)
    return table
