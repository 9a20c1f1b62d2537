// What yosys's models of ECP5 cells leave out: its cells_sim.v has these as black boxes only.
//
// Written after Lattice's FPGA-TN-02204 (memory) and FPGA-TN-02205 (DSP) and after how yosys maps
// to them (techlibs/lattice/brams_16kd.txt, brams_map_16kd.v, dsp_map_18x18.v). Modelled is what
// yosys uses; anything else does not build. The other cells are yosys's own.
`include "common_sim.vh"
`include "ccu2c_sim.vh"

// Block RAM of 18 kbit: 2048 bytes of 9 bits. A port of 36 bits takes the data pins of both: port A
// writes, port B reads, as yosys does what Lattice calls PDPW16KD.
//
// A byte that one port reads in the cycle in which the other writes it is not defined by Lattice,
// nor is it by yosys's description, which adds logic where a design asks for more. Here it comes
// out inverted, which is wrong whatever was expected.
module DP16KD(
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
  DIA4, DIA3, DIA2, DIA1, DIA0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
  DOA4, DOA3, DOA2, DOA1, DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
  DIB4, DIB3, DIB2, DIB1, DIB0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
  DOB4, DOB3, DOB2, DOB1, DOB0
);
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
  parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB";
  parameter GSR = "ENABLED";
  parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0;
  parameter [319:0] INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0;
  parameter [319:0] INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0;
  parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0;
  parameter [319:0] INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0;
  parameter [319:0] INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0;
  parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0;
  parameter [319:0] INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0;
  parameter [319:0] INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0;
  parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0;
  parameter [319:0] INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0;
  parameter [319:0] INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0;
  parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0;
  parameter [319:0] INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0;
  parameter [319:0] INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0;
  parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
  localparam [64*320-1:0] INIT = {
    INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39,
    INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32,
    INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B,
    INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
    INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D,
    INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
    INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F,
    INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
    INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
    INITVAL_00
  };

  generate
    if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB" || CSDECODE_A != "0b000" || CSDECODE_B != "0b000")
      DP16KD_with_this_parameter_is_not_modelled unknown();
  endgenerate

  reg [8:0] bytes [0:2047];
  integer at;
  initial
    for (at = 0; at < 2048; at = at + 1) bytes[at] = INIT[at / 2 * 20 + at % 2 * 9 +: 9];

  wire [17:0] di_a = {
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
    DIA3, DIA2, DIA1, DIA0
  };
  wire [13:0] ad_a = {
    ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
  };
  wire on_a = CEA && {CSA2, CSA1, CSA0} == 0;
  wire [17:0] di_b = {
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0
  };
  wire [13:0] ad_b = {
    ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
  };
  wire on_b = CEB && {CSB2, CSB1, CSB0} == 0;

  wire [35:0] got_a, got_b;
  wire [3:0] writes_a, writes_b, reads_a, reads_b;
  wire [10:0] first_a, first_b;
  wire [35:0] data_a, data_b;

  DP16KD_access #(.WIDTH(DATA_WIDTH_A)) access_a(
    .ad(ad_a), .di({di_b, di_a}), .on(on_a), .we(WEA), .first(first_a), .writes(writes_a),
    .reads(reads_a), .data(data_a), .old(old_a)
  );
  DP16KD_access #(.WIDTH(DATA_WIDTH_B)) access_b(
    .ad(ad_b), .di({18'b0, di_b}), .on(on_b), .we(WEB), .first(first_b), .writes(writes_b),
    .reads(reads_b), .data(data_b), .old(old_b)
  );

  wire [35:0] old_a = {
    bytes[first_a + 3], bytes[first_a + 2], bytes[first_a + 1], bytes[first_a]
  };
  wire [35:0] old_b = {
    bytes[first_b + 3], bytes[first_b + 2], bytes[first_b + 1], bytes[first_b]
  };
  always @(posedge CLKA)
    for (at = 0; at < 4; at = at + 1)
      if (writes_a[at]) bytes[first_a + at] <= data_a[9 * at +: 9];
  integer at_b;
  always @(posedge CLKB)
    for (at_b = 0; at_b < 4; at_b = at_b + 1)
      if (writes_b[at_b]) bytes[first_b + at_b] <= data_b[9 * at_b +: 9];

  DP16KD_output #(
    .WIDTH(DATA_WIDTH_A), .WRITEMODE(WRITEMODE_A), .REGMODE(REGMODE_A), .RESETMODE(RESETMODE)
  ) output_a(
    .clk(CLKA), .rst(RSTA), .on(on_a), .oce(OCEA), .we(WEA), .ad(ad_a), .first(first_a),
    .old(old_a), .data(data_a), .writes(writes_a), .others_first(first_b), .others(writes_b),
    .q(got_a)
  );
  DP16KD_output #(
    .WIDTH(DATA_WIDTH_B), .WRITEMODE(WRITEMODE_B), .REGMODE(REGMODE_B), .RESETMODE(RESETMODE)
  ) output_b(
    .clk(CLKB), .rst(RSTB), .on(on_b), .oce(OCEB), .we(WEB), .ad(ad_b), .first(first_b),
    .old(old_b), .data(data_b), .writes(writes_b), .others_first(first_a), .others(writes_a),
    .q(got_b)
  );
  assign {
    DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
    DOA3, DOA2, DOA1, DOA0
  } = DATA_WIDTH_B == 36 ? got_b[17:0] : got_a[17:0];
  assign {
    DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
    DOB3, DOB2, DOB1, DOB0
  } = DATA_WIDTH_B == 36 ? got_b[35:18] : got_b[17:0];
endmodule

// Which of four bytes from `first` a port writes, and what is in them then.
module DP16KD_access(
  input [13:0] ad, input [35:0] di, input on, input we, input [35:0] old,
  output [10:0] first, output [3:0] writes, output [3:0] reads, output [35:0] data
);
  parameter WIDTH = 18;
  wire [2:0] low = ad[2:0] & ~(WIDTH - 1);
  wire [7:0] mask = ((1 << WIDTH) - 1) << low;
  assign first = WIDTH == 36 ? {ad[13:5], 2'b0} : WIDTH == 18 ? {ad[13:4], 1'b0} : ad[13:3];
  assign writes = !(on && we) ? 0 : WIDTH == 36 ? ad[3:0] : WIDTH == 18 ? {2'b0, ad[1:0]} : 1;
  assign data = WIDTH >= 9 ? di : {28'b0, old[7:0] & ~mask | di[7:0] << low & mask};
endmodule

module DP16KD_output(
  input clk, rst, on, oce, we, input [13:0] ad, input [10:0] first, others_first,
  input [35:0] old, data, input [3:0] writes, others, output [35:0] q
);
  parameter WIDTH = 18, WRITEMODE = "NORMAL", REGMODE = "NOREG", RESETMODE = "SYNC";
  reg [35:0] read, latch = 0, register = 0;
  integer at, other;
  always @(*) begin
    read = old;
    for (at = 0; at < 4; at = at + 1) begin
      if (WRITEMODE == "WRITETHROUGH" && writes[at]) read[9 * at +: 9] = data[9 * at +: 9];
      for (other = 0; other < 4; other = other + 1)
        if (others[other] && others_first + other == first + at)
          read[9 * at +: 9] = ~old[9 * at +: 9];
    end
    if (WIDTH < 9) read = read[7:0] >> (ad[2:0] & ~(WIDTH - 1)) & ((1 << WIDTH) - 1);
  end
  wire loads = on && !(WRITEMODE == "NORMAL" && we);
  generate
    if (RESETMODE == "SYNC") begin
      always @(posedge clk)
        if (rst) {register, latch} <= 0;
        else begin
          if (loads) latch <= read;
          if (oce) register <= latch;
        end
    end else begin
      always @(posedge clk, posedge rst)
        if (rst) {register, latch} <= 0;
        else begin
          if (loads) latch <= read;
          if (oce) register <= latch;
        end
    end
  endgenerate
  assign q = REGMODE == "OUTREG" ? register : latch;
endmodule

// Multiplier, with or without registers of clock 0 before and behind it.
module MULT18X18D(
  input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
  input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
  input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
  input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
  input CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1, RST0,
  input SRIA17, SRIA16, SRIA15, SRIA14, SRIA13, SRIA12, SRIA11, SRIA10, SRIA9, SRIA8, SRIA7,
  SRIA6, SRIA5, SRIA4, SRIA3, SRIA2, SRIA1, SRIA0,
  input SRIB17, SRIB16, SRIB15, SRIB14, SRIB13, SRIB12, SRIB11, SRIB10, SRIB9, SRIB8, SRIB7,
  SRIB6, SRIB5, SRIB4, SRIB3, SRIB2, SRIB1, SRIB0,
  output SROA17, SROA16, SROA15, SROA14, SROA13, SROA12, SROA11, SROA10, SROA9, SROA8, SROA7,
  SROA6, SROA5, SROA4, SROA3, SROA2, SROA1, SROA0,
  output SROB17, SROB16, SROB15, SROB14, SROB13, SROB12, SROB11, SROB10, SROB9, SROB8, SROB7,
  SROB6, SROB5, SROB4, SROB3, SROB2, SROB1, SROB0,
  output ROA17, ROA16, ROA15, ROA14, ROA13, ROA12, ROA11, ROA10, ROA9, ROA8, ROA7, ROA6, ROA5,
  ROA4, ROA3, ROA2, ROA1, ROA0,
  output ROB17, ROB16, ROB15, ROB14, ROB13, ROB12, ROB11, ROB10, ROB9, ROB8, ROB7, ROB6, ROB5,
  ROB4, ROB3, ROB2, ROB1, ROB0,
  output ROC17, ROC16, ROC15, ROC14, ROC13, ROC12, ROC11, ROC10, ROC9, ROC8, ROC7, ROC6, ROC5,
  ROC4, ROC3, ROC2, ROC1, ROC0,
  output SIGNEDP,
  output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
  P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
  parameter REG_INPUTA_CLK = "NONE";
  parameter REG_INPUTB_CLK = "NONE";
  parameter REG_INPUTC_CLK = "NONE";
  parameter REG_PIPELINE_CLK = "NONE";
  parameter REG_OUTPUT_CLK = "NONE";
  parameter REG_INPUTA_CE = "CE0", REG_INPUTB_CE = "CE0", REG_OUTPUT_CE = "CE0";
  parameter REG_INPUTA_RST = "RST0", REG_INPUTB_RST = "RST0", REG_OUTPUT_RST = "RST0";
  parameter RESETMODE = "SYNC", GSR = "ENABLED";
  localparam REGISTERED = REG_OUTPUT_CLK != "NONE";
  generate
    if (
      REG_PIPELINE_CLK != "NONE" || REG_INPUTA_CLK != REG_OUTPUT_CLK ||
      REG_INPUTB_CLK != REG_OUTPUT_CLK ||
      REGISTERED && (REG_OUTPUT_CLK != "CLK0" || RESETMODE != "SYNC") ||
      REG_INPUTA_CE != "CE0" || REG_INPUTB_CE != "CE0" || REG_OUTPUT_CE != "CE0" ||
      REG_INPUTA_RST != "RST0" || REG_INPUTB_RST != "RST0" || REG_OUTPUT_RST != "RST0"
    )
      MULT18X18D_with_these_registers_is_not_modelled unknown();
  endgenerate
  wire [17:0] a = {
    A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0
  };
  wire [17:0] b = {
    B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0
  };
  reg [17:0] held_a = 0, held_b = 0;
  reg [35:0] held_product = 0;
  wire [17:0] left = REGISTERED ? held_a : a, right = REGISTERED ? held_b : b;
  wire signed [36:0] product =
    $signed({SIGNEDA && left[17], left}) * $signed({SIGNEDB && right[17], right});
  always @(posedge CLK0)
    if (RST0) {held_a, held_b, held_product} <= 0;
    else if (CE0) {held_a, held_b, held_product} <= {a, b, product[35:0]};
  assign {
    P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
    P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
  } = REGISTERED ? held_product : product[35:0];
endmodule
