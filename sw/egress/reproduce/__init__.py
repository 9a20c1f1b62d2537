"""The paper's experiments at several scales: train, compress really, judge what is decoded."""
