"""Neural-network weights from training to silicon: exp-Golomb streams of quantized weights."""
