"""Tests for `test_runner` to run, one of which fails."""

import os

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def drives_the_model(dut):
    dut.s_axis_tdata.value = 5
    await Timer(1, "ns")
    assert int(dut.m_axis_tkeep.value) == 15


@cocotb.test()
async def reads_its_parameter(dut):
    assert os.environ["EGRESS_TEST_PARAMETER"] == "of the test"


@cocotb.test()
async def always_fails(dut):
    assert int(dut.m_axis_tkeep.value) == 3, "tkeep is wrong"
