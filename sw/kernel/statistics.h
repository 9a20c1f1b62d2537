/* Counts of symbols and of runs of zeros in segments, for the choice of settings. */
#ifndef EGRESS_STATISTICS_H
#define EGRESS_STATISTICS_H

#include "kernel.h"

/* Symbols from here on, and runs of so many zeros or more, are listed instead of counted. */
enum { MAX_TABLE = 1024, RUNS = 128 };

/* Some consecutive segments; the arrays are those of egress.statistics.Statistics. */
typedef struct {
    const void *levels; /* int8_t or int16_t, in the order of the segments */
    size_t weights;
    int level_bits;        /* 8 or 16: the type of `levels` */
    const int64_t *counts; /* levels of each segment */
    size_t segments;
    size_t first; /* number of the first segment */
    size_t table; /* symbols below it are counted; 1..MAX_TABLE */
} StatisticsJob;

/* Rows of lists. */
typedef struct {
    size_t symbols, runs;
} Tails;

/* Whether the segments are the levels. */
int statistics_fit(const StatisticsJob *job);
/* Count into arrays of zeros; returns how many rows are to be listed. */
Tails statistics_count(const StatisticsJob *job, int32_t *symbols, int32_t *runs,
                       int64_t *closing);
/* List, rows of 2 and of 3 numbers; rows that `room` does not hold are left out. */
void statistics_list(const StatisticsJob *job, Tails room, int32_t *symbols, int32_t *runs);

#endif
