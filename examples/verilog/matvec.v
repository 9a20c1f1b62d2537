// A matrix of int8 weights times a vector: egress_core in front of a column of multipliers.
//
// Each row of the matrix is a segment (compressed with as many weights a segment as there are
// columns), so a beat holds a column's weights of LANES rows: every lane multiplies its weight by
// the same number and adds to its own row. CONTEXTS groups of rows go on at a time, in turn.
// ROWS must be a multiple of LANES * CONTEXTS.
`timescale 1ns/1ps

module matvec #(
  parameter LANES = 4,
  parameter CONTEXTS = 4,
  parameter BUS = 64,
  parameter COLUMNS = 24
) (
  input clk,
  input rst,
  // The compressed matrix.
  input [BUS-1:0] s_axis_tdata,
  input s_axis_tvalid,
  output s_axis_tready,
  // The vector, written before the matrix comes.
  input x_write,
  input [7:0] x_address,
  input signed [7:0] x_data,
  // LANES rows of the product at a time, the first in bits 31..0; in the order of rows.
  output reg y_valid,
  output reg [32*LANES-1:0] y_data,
  // An error means that the product is not to be used.
  output error
);
  wire [8*LANES-1:0] weights;
  wire valid;

  egress_core core (
    .clk(clk), .rst(rst),
    .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
    .m_axis_tdata(weights), .m_axis_tkeep(), .m_axis_tuser(), .m_axis_tlast(),
    .m_axis_tvalid(valid), .m_axis_tready(1'b1),
    .error(error), .reason(), .error_segment(), .busy(), .idle()
  );

  reg signed [7:0] x [0:255];
  always @(posedge clk) if (x_write) x[x_address] <= x_data;

  // Which beat of a round this is: contexts count fastest.
  reg [7:0] column, context_number;
  wire first = column == 0, last = column == COLUMNS - 1;
  always @(posedge clk) begin
    if (rst) begin
      column <= 0;
      context_number <= 0;
    end else if (valid) begin
      if (context_number == CONTEXTS - 1) begin
        context_number <= 0;
        column <= last ? 8'd0 : column + 8'd1;
      end else context_number <= context_number + 8'd1;
    end
    y_valid <= valid & last & ~rst;
  end

  genvar lane;
  generate for (lane = 0; lane < LANES; lane = lane + 1) begin : mac
    reg signed [31:0] sums [0:CONTEXTS-1];
    wire signed [7:0] weight = weights[8*lane +: 8];
    wire signed [15:0] product = weight * x[column];
    wire signed [31:0] so_far = first ? 32'sd0 : sums[context_number];
    wire signed [31:0] sum = so_far + product;
    always @(posedge clk) if (valid) begin
      sums[context_number] <= sum;
      y_data[32*lane +: 32] <= sum;
    end
  end endgenerate
endmodule
