"""The design on a board: the core behind a serial port, as docs/link.md says."""

from typing import Any

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Module,
    Mux,
    ResetInserter,
    Signal,
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from egress.board.protocol import BAUD, MAX_DATA, Begin, Kind, State
from egress_hw.board.flash import FlashReader
from egress_hw.board.frames import FrameDecoder, FrameEncoder
from egress_hw.board.ports import in_from, out_from
from egress_hw.board.read_back import ReadBack
from egress_hw.board.reporter import Reporter
from egress_hw.board.requests import RequestReader
from egress_hw.board.responses import About, Responder, Response
from egress_hw.board.store import Store
from egress_hw.board.uart import Receiver, Transmitter, divisor_of
from egress_hw.core import Core, Idle
from egress_hw.signatures import Output, beat_layout

HOLD_WORDS = MAX_DATA // 4
"""With less room than that, the core is held no longer."""


class BoardDesign(wiring.Component):
    """Decoder core that a host talks to over a serial port (docs/link.md).

    Parameters
    ----------
    lanes, output, max_level_bits, buffer, bus, contexts
        As of `egress_hw.core.Core`.
    clock_hz : float
        Of the domain ``sync``.
    baud : int
        Of the serial port.
    store_bytes : int
        Room for the stream: a power of two, 1024 or more.
    flash : bool
        Whether there is a flash at the pins. Without, they rest.
    name : str
        Of the board, at most 24 ASCII characters.

    Members
    -------
    rx : In(1), tx : Out(1)
        Serial port.
    flash_cs_n, flash_clk, flash_copi : Out(1), flash_cipo : In(1)
        SPI flash.
    active : Out(1)
        Words or weights are inside: for a LED.
    error : Out(1)
        The core has met an error: for a LED.
    """

    rx: Signal
    tx: Signal
    flash_cs_n: Signal
    flash_clk: Signal
    flash_copi: Signal
    flash_cipo: Signal
    active: Signal
    error: Signal

    def __init__(
        self,
        *,
        lanes: int = 1,
        output: Output = "bfloat16",
        max_level_bits: int = 8,
        buffer: str | int = "small",
        bus: int = 32,
        contexts: int = 4,
        clock_hz: float = 12e6,
        baud: int = BAUD,
        store_bytes: int = 2048,
        flash: bool = False,
        name: str = "simulated",
    ) -> None:
        if store_bytes < 1024 or store_bytes & (store_bytes - 1):
            raise ValueError(
                f"store_bytes must be a power of two, 1024 or more, not {store_bytes!r}"
            )
        self.core = Core(
            # The store and the reports need the block RAM that a small core would take.
            lanes,
            output,
            max_level_bits,
            buffer,
            bus,
            contexts,
            small=False,
        )
        self.divisor = divisor_of(clock_hz, baud)
        self.about = About(
            lanes=lanes,
            output=output,
            level_bits=max_level_bits,
            buffer=self.core.buffer,
            contexts=contexts,
            bus=bus,
            clock_hz=clock_hz,
            store_bytes=store_bytes,
            flash=flash,
            name=name,
        )
        super().__init__(
            {
                "rx": in_from(1, 1),
                "tx": out_from(1, 1),
                "flash_cs_n": out_from(1, 1),
                "flash_clk": Out(1),
                "flash_copi": Out(1),
                "flash_cipo": In(1),
                "active": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        about, core = self.about, self.core
        # What BEGIN resets is in a domain of its own, a cycle later, and after a reset of all.
        begin = Signal()
        of_session: Any = ClockDomain("session", local=True)
        m.domains += of_session
        m.d.comb += of_session.clk.eq(ClockSignal())
        renews = Signal(init=1)
        m.d.sync += renews.eq(begin)
        m.d.comb += of_session.rst.eq(renews)
        anew = DomainRenamer("session")
        beat = beat_layout(core.lanes, core.output, core.max_level_bits)
        self.reader = RequestReader()
        self.responder = Responder(len(about.pack()))
        self.store = Store(about.store_bytes // 4, about.bus)
        self.reporter = Reporter(beat, core.lanes, about.pack())
        self.read_back = ReadBack(beat, core.lanes)
        m.submodules.reader, m.submodules.responder = self.reader, self.responder
        m.submodules.core = anew(core)
        m.submodules.store = anew(self.store)
        m.submodules.reporter = anew(self.reporter)
        m.submodules.read_back = anew(self.read_back)

        session, flags, held = Signal(16), Signal(8), Signal()
        self._serial(m)
        accepted = self._accept(m, begin)
        asks: Any = self.reader.begin
        with m.If(begin):
            m.d.sync += [session.eq(asks.session), flags.eq(asks.flags)]
        with m.If(renews):
            m.d.sync += held.eq((flags & Begin.HOLD).any())
        with m.Elif(accepted[Kind.GO] | (self.store.room < HOLD_WORDS)):
            m.d.sync += held.eq(0)
        m.d.comb += self.responder.session.eq(session)

        taken, ended = self._fill(m, accepted, begin, renews, flags)
        self._empty(m, accepted, held, ended, (flags & Begin.READ_BACK).any())

        status: Any = self.responder.status
        busy = ~self.store.empty | core.busy | core.o.valid | self.reporter.busy
        if about.flash:
            busy = busy | ((flags & Begin.FLASH).any() & ~ended)
        m.d.comb += [
            status.next.eq(Cat(Const(0, 2), taken)),
            status.room.eq(Cat(Const(0, 2), self.store.room)),
            status.reports.eq(self.reporter.made),
            status.readable.eq(self.read_back.kept),
            status.state.eq(
                Mux(held, State.HELD, 0)
                | Mux(core.error, State.ERROR, 0)
                | Mux(busy, State.BUSY, 0)
            ),
            status.reason.eq(core.reason),
            status.segment.eq(core.error_segment),
            self.active.eq(busy),
            self.error.eq(core.error),
        ]
        return m

    def _serial(self, m: Module) -> None:
        """Connect the serial port to requests and responses."""
        m.submodules.receiver = receiver = Receiver(self.divisor)
        m.submodules.decoder = decoder = FrameDecoder()
        m.submodules.encoder = encoder = FrameEncoder()
        m.submodules.transmitter = transmitter = Transmitter(self.divisor)
        wiring.connect(m, self.responder.o, encoder.i)
        wiring.connect(m, encoder.o, transmitter.i)
        self.idle = encoder.idle & ~self.responder.busy
        m.d.comb += [
            receiver.rx.eq(self.rx),
            decoder.byte.eq(receiver.byte),
            decoder.valid.eq(receiver.valid),
            decoder.broken.eq(receiver.broken),
            self.reader.byte.eq(decoder.o),
            self.reader.take.eq(decoder.take),
            self.reader.end.eq(decoder.end),
            self.reader.good.eq(decoder.good),
            self.tx.eq(transmitter.tx),
        ]

    def _accept(self, m: Module, begin: Signal) -> dict[Kind, Signal]:
        """Take a request if no other one is being answered; return a strobe for each kind."""
        reader, responder = self.reader, self.responder
        accepted = {kind: Signal(name=f"accepts_{kind.name.lower()}") for kind in Kind}
        asks: Any = reader.begin
        refused = asks.session == 0
        if not self.about.flash:
            refused = refused | (asks.flags & Begin.FLASH).any()
        takes = Signal()
        m.d.comb += takes.eq(reader.request & self.idle & ~((reader.kind == Kind.BEGIN) & refused))
        for kind, strobe in accepted.items():
            m.d.comb += strobe.eq(takes & (reader.kind == kind))
        m.d.comb += [
            begin.eq(accepted[Kind.BEGIN]),
            responder.start.eq(takes),
            responder.kind.eq(reader.kind),
            responder.tag.eq(reader.tag),
            responder.number.eq(reader.number),
            reader.deaf.eq(responder.deaf),
            responder.response.eq(Response.STATUS),
        ]
        for kind, response in (
            (Kind.HELLO, Response.HELLO),
            (Kind.REPORT, Response.REPORT),
            (Kind.READ, Response.READ),
        ):
            chosen = accepted[kind]
            if kind == Kind.REPORT:
                chosen = chosen & self.reporter.known
            with m.If(chosen):
                m.d.comb += responder.response.eq(response)
        return accepted

    def _fill(
        self,
        m: Module,
        accepted: dict[Kind, Signal],
        begin: Signal,
        renews: Signal,
        flags: Signal,
    ) -> tuple[Value, Value]:
        """Fill the store; return the number of words taken, and whether those are all."""
        reader, store = self.reader, self.store
        asks: Any = reader.begin
        taken, length = Signal(30), Signal(30)
        carries = accepted[Kind.DATA]
        # All that a frame's words depend on is known long before its end.
        fits, ended = Signal(), Signal()
        m.d.sync += [
            fits.eq(~store.lacks & (reader.number == Cat(Const(0, 2), taken)) & ~ended),
            ended.eq(taken == length),
        ]
        words: Any = reader.words
        puts: Any = reader.put & ~ended
        gives: Any = Const(0)
        word: Any = reader.word
        if self.about.flash:
            # A cycle after all is reset, as it is itself.
            starts = Signal()
            m.d.sync += starts.eq(renews)
            flash = FlashReader(self.about.clock_hz)
            m.submodules.flash = DomainRenamer("session")(ResetInserter(ended)(flash))
            from_flash = (flags & Begin.FLASH).any()
            gives = from_flash & ~ended & flash.o.valid & (store.room != 0)
            m.d.comb += [
                flash.start.eq(from_flash & starts),
                flash.address.eq(asks.address),
                flash.o.ready.eq(gives),
                self.flash_cs_n.eq(flash.cs_n),
                self.flash_clk.eq(flash.clk),
                self.flash_copi.eq(flash.copi),
                flash.cipo.eq(self.flash_cipo),
            ]
            words = Mux(from_flash, 1, words)
            word = Mux(from_flash, flash.o.payload, word)
            puts = Mux(from_flash, gives, puts)
            carries = carries & ~from_flash
        else:
            m.d.comb += self.flash_cs_n.eq(1)
        with m.If(begin):
            m.d.sync += [taken.eq(0), length.eq(asks.length[2:])]
        with m.Elif(store.commit):
            m.d.sync += taken.eq(taken + words)
        m.d.comb += [
            store.word.eq(word),
            store.put.eq(puts),
            store.commit.eq((carries & fits) | gives),
            store.revert.eq(reader.end),
            # Behind the words was the CRC.
            store.retract.eq(carries),
            store.ended.eq(ended),
        ]
        return taken, ended

    def _empty(
        self,
        m: Module,
        accepted: dict[Kind, Signal],
        held: Signal,
        ended: Value,
        keeps: Value,
    ) -> None:
        """Give the core the store's words, and its beats to the reporter and to read-back."""
        core, store, reporter, read_back = self.core, self.store, self.reporter, self.read_back
        take = Signal()
        lacks = (core.idle == Idle.NO_RECORD) | (core.idle == Idle.NO_INPUT)
        m.d.comb += [
            core.i.payload.eq(store.o.payload),
            core.i.valid.eq(store.o.valid & ~held),
            store.o.ready.eq(core.i.ready & ~held),
            core.o.ready.eq(reporter.ready & (read_back.done | ~keeps)),
            take.eq(core.o.valid & core.o.ready),
            reporter.beat.eq(core.o.payload),
            reporter.valid.eq(core.o.valid),
            reporter.take.eq(take),
            reporter.starves.eq(lacks & ~store.o.valid & ~ended),
            reporter.counting.eq(~held),
            reporter.asked.eq(accepted[Kind.REPORT]),
            reporter.number.eq(self.reader.number),
            reporter.index.eq(self.responder.word_index),
            reporter.fixes.eq(self.responder.fixes),
            self.responder.word.eq(reporter.word),
            read_back.beat.eq(core.o.payload),
            read_back.valid.eq(core.o.valid & keeps),
            read_back.take.eq(take),
            read_back.asked.eq(accepted[Kind.READ]),
            read_back.position.eq(self.reader.number),
            read_back.index.eq(self.responder.byte_index),
            self.responder.byte.eq(read_back.byte),
        ]
        m.d.comb += self.responder.count.eq(
            Mux(
                read_back.known,
                Mux(read_back.count > MAX_DATA, MAX_DATA, read_back.count),
                0,
            )
        )
