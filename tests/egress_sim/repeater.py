"""A stand-in for the core: same ports, one lane, and every word of the stream is a weight."""

REPEATER = """\
module repeater(
  input clk, input rst,
  input [31:0] s_axis_tdata, input s_axis_tvalid, output s_axis_tready,
  output reg [31:0] m_axis_tdata, output [3:0] m_axis_tkeep, output [0:0] m_axis_tuser,
  output reg m_axis_tvalid, input m_axis_tready, output m_axis_tlast,
  output error, output [3:0] reason, output [31:0] error_segment, output busy, output [2:0] idle
);
  initial begin m_axis_tvalid = 0; m_axis_tdata = 0; end
  assign s_axis_tready = !m_axis_tvalid || m_axis_tready;
  assign m_axis_tkeep = 4'b1111;
  assign m_axis_tuser = m_axis_tdata[0];
  assign m_axis_tlast = m_axis_tdata[1];
  assign error = 1, reason = 7, error_segment = 32'h12345678;
  assign busy = m_axis_tvalid;
  assign idle = m_axis_tvalid ? 0 : 2;
  always @(posedge clk)
    if (rst) m_axis_tvalid <= 0;
    else if (s_axis_tready) begin
      m_axis_tvalid <= s_axis_tvalid;
      m_axis_tdata <= s_axis_tdata;
    end
endmodule
"""
