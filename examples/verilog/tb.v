// Testbench of egress_core: gives it the words of stream.hex, compares its beats with beats.hex,
// four times without a reset, with pauses at neither, either and both of its ports.
//
// Both files are those of a core of 4 lanes, 4 contexts, a bus of 64 bits and levels of 8 bits.
`timescale 1ns/1ps

module tb;
  parameter WORDS = 88;   // lines of stream.hex
  parameter BEATS = 270;  // lines of beats.hex
  parameter PATIENCE = 2000;  // cycles without a beat after which the core hangs

  reg clk = 1'b0, rst = 1'b1;
  always #5 clk = ~clk;

  reg [63:0] words [0:WORDS-1];
  reg [40:0] beats [0:BEATS-1];  // last, user, keep, data

  reg [63:0] s_axis_tdata = 64'd0;
  reg s_axis_tvalid = 1'b0;
  wire s_axis_tready;
  wire [31:0] m_axis_tdata;
  wire [3:0] m_axis_tkeep, m_axis_tuser;
  wire m_axis_tlast, m_axis_tvalid;
  reg m_axis_tready = 1'b0;
  wire error, busy;
  wire [3:0] reason;
  wire [31:0] error_segment;
  wire [2:0] idle;

  egress_core dut (
    .clk(clk), .rst(rst),
    .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
    .m_axis_tdata(m_axis_tdata), .m_axis_tkeep(m_axis_tkeep), .m_axis_tuser(m_axis_tuser),
    .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
    .error(error), .reason(reason), .error_segment(error_segment), .busy(busy), .idle(idle)
  );

  integer taken = 0, given = 0, mismatches = 0, cycles = 0, waited = 0;
  reg [1:0] pauses = 2'd0;  // bit 0: at the input, bit 1: at the output
  reg [15:0] random = 16'hace1;

  wire takes = s_axis_tvalid & s_axis_tready;
  wire gives = m_axis_tvalid & m_axis_tready;
  wire [40:0] beat = {m_axis_tlast, m_axis_tuser, m_axis_tkeep, m_axis_tdata};
  // The word that is next, once this one is taken.
  wire [31:0] next = taken + {31'd0, takes};

  initial begin
    $readmemh("stream.hex", words);
    $readmemh("beats.hex", beats);
    repeat (4) @(negedge clk);
    rst = 1'b0;
  end

  always @(posedge clk) if (!rst) begin
    random <= {random[14:0], random[15] ^ random[13] ^ random[12] ^ random[10]};
    cycles <= cycles + 1;

    // A word that is offered stays until it is taken.
    if (!s_axis_tvalid || s_axis_tready) begin
      s_axis_tvalid <= next < WORDS && !(pauses[0] && random[1:0] != 2'd0);
      s_axis_tdata <= words[next < WORDS ? next : 0];
    end
    taken <= next;
    m_axis_tready <= !(pauses[1] && random[5:4] != 2'd0);

    waited <= (takes || gives) ? 0 : waited + 1;
    if (waited == PATIENCE) begin
      $display("FAIL: nothing happens after beat %0d", given);
      $finish;
    end

    if (gives) begin
      if (beat !== beats[given]) begin
        mismatches <= mismatches + 1;
        $display("beat %0d is %h, not %h", given, beat, beats[given]);
      end
      given <= given + 1;
      if (given == BEATS - 1) begin
        $display("pauses %b: %0d beats in %0d cycles", pauses, BEATS, cycles);
        given <= 0;
        taken <= 0;
        cycles <= 0;
        pauses <= pauses + 2'd1;
        if (pauses == 2'd3) begin
          if (mismatches == 0 && beat === beats[given] && !error) $display("PASS");
          else $display("FAIL: %0d beats differ, error %b", mismatches, error);
          $finish;
        end
      end
    end
  end
endmodule
