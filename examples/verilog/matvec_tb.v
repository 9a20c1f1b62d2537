// Testbench of matvec: matrix.hex times input.hex must be product.hex.
`timescale 1ns/1ps

module matvec_tb;
  parameter WORDS = 79, ROWS = 32, COLUMNS = 24, LANES = 4;

  reg clk = 1'b0, rst = 1'b1;
  always #5 clk = ~clk;

  reg [63:0] words [0:WORDS-1];
  reg [7:0] numbers [0:COLUMNS-1];
  reg [31:0] product [0:ROWS-1];

  reg [63:0] s_axis_tdata = 64'd0;
  reg s_axis_tvalid = 1'b0, x_write = 1'b0;
  reg [7:0] x_address = 8'd0, x_data = 8'd0;
  wire s_axis_tready, y_valid, error;
  wire [32*LANES-1:0] y_data;

  matvec #(.COLUMNS(COLUMNS), .LANES(LANES)) dut (
    .clk(clk), .rst(rst),
    .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
    .x_write(x_write), .x_address(x_address), .x_data(x_data),
    .y_valid(y_valid), .y_data(y_data), .error(error)
  );

  integer taken = 0, row = 0, lane, mismatches = 0, cycles = 0, loaded = 0;
  wire [31:0] next = taken + {31'd0, s_axis_tvalid & s_axis_tready};

  initial begin
    $readmemh("matrix.hex", words);
    $readmemh("input.hex", numbers);
    $readmemh("product.hex", product);
    repeat (4) @(negedge clk);
    rst = 1'b0;
  end

  always @(posedge clk) if (!rst) begin
    cycles <= cycles + 1;
    x_write <= loaded < COLUMNS;
    x_address <= loaded[7:0];
    x_data <= numbers[loaded < COLUMNS ? loaded : 0];
    loaded <= loaded + 1;
    if (loaded > COLUMNS && (!s_axis_tvalid || s_axis_tready)) begin
      s_axis_tvalid <= next < WORDS;
      s_axis_tdata <= words[next < WORDS ? next : 0];
    end
    taken <= next;

    if (y_valid) begin
      for (lane = 0; lane < LANES; lane = lane + 1)
        if (y_data[32*lane +: 32] !== product[row + lane]) begin
          $display("row %0d is %h, not %h", row + lane, y_data[32*lane +: 32], product[row + lane]);
          mismatches = mismatches + 1;
        end
      row <= row + LANES;
    end
    if (row == ROWS || cycles == 5000) begin
      if (row == ROWS && mismatches == 0 && !error) $display("PASS");
      else $display("FAIL: %0d rows, %0d differ, error %b", row, mismatches, error);
      $finish;
    end
  end
endmodule
