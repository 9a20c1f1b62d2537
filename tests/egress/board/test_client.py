import threading
import time
from dataclasses import replace

import pytest

from egress.board.client import Client
from egress.board.connection import Connection, find_port
from egress.board.errors import (
    PortAbsentError,
    PortBusyError,
    PortGoneError,
    ProtocolError,
    SessionLostError,
    SilentBoardError,
    WrongBoardError,
)
from egress.board.port import SerialPort
from egress.board.protocol import Begin

from .conftest import IMPATIENT, QUICK
from .device import Cable, Device, hello


def test_a_board_tells_what_it_is(connection):
    assert connection.board == hello()


def test_a_port_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PortAbsentError, match=r"nothing: there is no such port; is the board"):
        Connection(str(tmp_path / "nothing"), QUICK)


def test_a_file_is_no_port(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PortAbsentError, match="file cannot be opened as a serial port"):
        Connection(str(tmp_path / "file"), QUICK)


def test_a_port_that_is_open_elsewhere_is_busy(cable, connection):
    with pytest.raises(PortBusyError, match="board is in use by another program"):
        Connection(str(cable.path), QUICK)


def test_a_board_that_does_not_answer_is_silent(cable):
    cable.silent = True
    with pytest.raises(SilentBoardError, match="3 HELLO requests without a response; is the des"):
        Connection(str(cable.path), IMPATIENT)


def test_something_else_on_the_port_is_told_apart_from_silence(cable):
    cable.device.byte = lambda value: b"login: \x7e"
    with pytest.raises(SilentBoardError, match=r"but \d+ sequences that are none"):
        Connection(str(cable.path), IMPATIENT)


def test_an_echo_is_no_board(cable):
    cable.device.byte = lambda value: bytes([value])
    with pytest.raises(SilentBoardError):
        Connection(str(cable.path), IMPATIENT)


def test_a_board_of_another_version_is_wrong(cable, monkeypatch):
    monkeypatch.setattr(type(cable.device.about), "pack", lambda self: b"\x09")
    with pytest.raises(WrongBoardError, match="speaks version 9"):
        Connection(str(cable.path), QUICK)


def test_a_port_is_free_again_after_a_failed_connection(cable):
    cable.silent = True
    with pytest.raises(SilentBoardError):
        Connection(str(cable.path), IMPATIENT)
    cable.silent = False
    Connection(str(cable.path), QUICK).close()


def test_a_reset_is_noticed_with_the_next_response(cable, connection):
    connection.client.begin(7, Begin(0), 4)
    connection.client.poll()
    cable.device.reset()
    with pytest.raises(SessionLostError, match="was reset or lost its power"):
        connection.client.poll()


def test_another_host_is_noticed(cable, connection):
    connection.client.begin(7, Begin(0), 4)
    cable.device.session = 8
    with pytest.raises(SessionLostError, match="another program uses the board"):
        connection.client.poll()


def test_a_vanished_port_is_told(cable, connection):
    cable.unplug(0.3)
    with pytest.raises(PortGoneError, match="vanished"):
        connection.client.poll()


def test_a_board_is_found_again_after_its_port_vanished(cable):
    told = []
    with Connection(str(cable.path), QUICK, told.append) as connection:
        connection.client.begin(7, Begin(0), 4)
        cable.unplug(0.2)
        connection.reopen()
        assert connection.client.poll().next == 0
    assert [text.partition(": ")[2] for text in told] == [
        "the board is gone, waiting 60 s for it", "the board is there again",
    ]  # fmt: skip


def test_a_port_is_opened_at_the_rate_of_the_line(cable):
    port = SerialPort(str(cable.path), replace(QUICK, baud=9600))
    assert port._serial.baudrate == 9600
    port.close()


def test_a_board_that_does_not_come_back_is_told(cable, connection):
    cable.unplug(2)
    connection.timing = QUICK.__class__(answer_s=0.05, tries=2, return_s=0.2, poll_s=0.005)
    with pytest.raises(PortGoneError, match=r"did not come back within 0.2 s: .*no such port"):
        connection.reopen()


def test_another_board_in_its_place_is_refused(cable, connection):
    cable.unplug(0.1)
    cable.device = Device(hello(lanes=8))
    with pytest.raises(WrongBoardError, match=r"another board is on .*: model, 8 lanes at"):
        connection.reopen()


def test_a_malformed_response_is_refused(cable, connection):
    cable.device._status = lambda: bytes(10)
    with pytest.raises(ProtocolError, match="a status of 10 bytes, not 20"):
        connection.client.poll()


def test_every_request_survives_a_line_that_loses_and_damages_bytes(cable, connection):
    cable.lose = cable.flip = 0.002
    for _ in range(300):
        assert connection.client.hello() == hello()
    assert connection.repeated > 0


class Listed:
    def __init__(self, path):
        self.device, self.vid, self.pid = str(path), 0x403, 0x6010
        self.serial_number, self.location, self.description = None, "1-1:1.0", "UART"


def list_ports(monkeypatch, *paths):
    monkeypatch.setattr(
        "egress.board.port.list_ports.comports", lambda: [Listed(path) for path in paths]
    )


def test_the_only_board_is_found_among_other_ports(cable, tmp_path, monkeypatch):
    with Cable(tmp_path / "other", Device(hello())) as other:
        other.silent = True
        list_ports(monkeypatch, other.path, cable.path)
        assert find_port(QUICK) == str(cable.path)


def test_two_boards_have_to_be_told_apart(cable, tmp_path, monkeypatch):
    with Cable(tmp_path / "other", Device(hello(board="second"))) as other:
        list_ports(monkeypatch, other.path, cable.path)
        with pytest.raises(PortAbsentError, match=r"there are 2 boards.*model.*second"):
            find_port(QUICK)


def test_without_a_board_every_port_is_explained(cable, connection, tmp_path, monkeypatch):
    with Cable(tmp_path / "other", Device(hello())) as other:
        other.silent = True
        list_ports(monkeypatch, other.path, cable.path)
        with pytest.raises(PortAbsentError, match=r"board is in use.*UART\) does not answer"):
            find_port(QUICK)
    list_ports(monkeypatch)
    with pytest.raises(PortAbsentError, match="there is no USB serial port"):
        find_port(QUICK)


def test_a_response_that_comes_late_is_the_answer_to_the_repeated_request(cable, connection):
    answer = cable.device.byte

    def slowly(value):
        response = answer(value)
        time.sleep(0.12 if response else 0)
        return response

    cable.device.byte = slowly
    assert connection.client.hello() == hello()
    assert connection.client.poll().next == 0


def test_clients_of_two_threads_cannot_share_a_port(cable, connection):
    errors = []

    def other():
        try:
            SerialPort(str(cable.path))
        except PortBusyError as error:
            errors.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert isinstance(connection.client, Client)
