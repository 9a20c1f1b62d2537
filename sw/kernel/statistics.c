/* Counts of symbols and of runs of zeros in segments.

   Short runs are counted for 64 levels at a time, on masks of one bit a level: a level that ends a
   run of r zeros is a one of the mask of non-zero levels, with r zeros and a one below it. */
#include "statistics.h"

#include "levels.h"

/* Runs below are counted on masks. */
enum { MASK_RUNS = 8 };

INLINE int32_t ones_of(uint64_t x, int popcount) {
#if defined(__GNUC__)
    if (popcount) return __builtin_popcountll(x);
#else
    (void)popcount;
#endif
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
    return (int32_t)(x * 0x0101010101010101u >> 56);
}

/* Count a segment's runs; returns the zeros after its last non-zero level. */
INLINE int64_t count_runs(const void *levels, int wide, size_t count, int popcount, int32_t *runs,
                          size_t *listed) {
    size_t next = 0; /* the level after the last that is not zero */
    uint64_t before = (uint64_t)1 << 63; /* a segment begins as if after such a level */
    for (size_t block = 0; block < count; block += 64) {
        uint64_t mask = above(levels, wide, block, count, 0);
        uint64_t big = above(levels, wide, block, count, 1), left = mask;
        for (int run = 0; left && run < MASK_RUNS; run++) {
            uint64_t ended = left & (mask << (run + 1) | before >> (63 - run));
            int32_t bigs = ones_of(ended & big, popcount);
            runs[RUNS + run] += bigs;
            runs[run] += ones_of(ended, popcount) - bigs;
            left &= ~ended;
        }
        for (; left; left &= left - 1) {
            int at = low_bit(left);
            uint64_t earlier = mask & (((uint64_t)1 << at) - 1);
            size_t begin = earlier ? block + (size_t)top_bit(earlier) + 1 : next;
            size_t run = block + (size_t)at - begin;
            if (run < RUNS)
                runs[(big >> at & 1) * RUNS + run]++;
            else
                ++*listed;
        }
        if (mask) next = block + (size_t)top_bit(mask) + 1;
        before = mask;
    }
    return (int64_t)(count - next);
}

/* Four tables in turn: equal levels in a row do not wait for each other. */
static void count_narrow(const int8_t *levels, size_t count, size_t table, int32_t *symbols,
                         size_t *listed) {
    uint32_t parts[4][256] = {{0}};
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint64_t x;
        memcpy(&x, levels + i, 8);
        parts[0][x & 255]++;
        parts[1][x >> 8 & 255]++;
        parts[2][x >> 16 & 255]++;
        parts[3][x >> 24 & 255]++;
        parts[0][x >> 32 & 255]++;
        parts[1][x >> 40 & 255]++;
        parts[2][x >> 48 & 255]++;
        parts[3][x >> 56]++;
    }
    for (; i < count; i++) parts[0][(uint8_t)levels[i]]++;
    for (int32_t level = -128; level < 128; level++) {
        uint8_t at = (uint8_t)level;
        uint32_t sum = parts[0][at] + parts[1][at] + parts[2][at] + parts[3][at];
        uint32_t symbol = symbol_of_level(level);
        if (symbol < table)
            symbols[symbol] = (int32_t)sum;
        else
            *listed += sum;
    }
}

static void count_wide(const int16_t *levels, size_t count, size_t table, int32_t *symbols,
                       size_t *listed) {
    /* All symbols from `table` on share its place. */
    uint32_t parts[4][MAX_TABLE + 64];
    size_t i = 0;
    for (int part = 0; part < 4; part++) memset(parts[part], 0, (table + 1) * sizeof parts[0][0]);
    for (; i + 4 <= count; i += 4)
        for (size_t part = 0; part < 4; part++) {
            uint32_t symbol = symbol_of_level(levels[i + part]);
            parts[part][symbol < table ? symbol : table]++;
        }
    for (; i < count; i++) {
        uint32_t symbol = symbol_of_level(levels[i]);
        parts[0][symbol < table ? symbol : table]++;
    }
    for (i = 0; i < table; i++)
        symbols[i] = (int32_t)(parts[0][i] + parts[1][i] + parts[2][i] + parts[3][i]);
    *listed += parts[0][table] + parts[1][table] + parts[2][table] + parts[3][table];
}

INLINE Tails count_all(const StatisticsJob *job, int32_t *symbols, int32_t *runs, int64_t *closing,
                       int popcount) {
    const uint8_t *levels = job->levels;
    int wide = job->level_bits == 16;
    Tails tails = {0, 0};
    for (size_t i = 0; i < job->segments; i++) {
        size_t count = (size_t)job->counts[i];
        if (wide) {
            count_wide((const int16_t *)levels, count, job->table, symbols, &tails.symbols);
            closing[i] = count_runs(levels, 1, count, popcount, runs, &tails.runs);
        } else {
            count_narrow((const int8_t *)levels, count, job->table, symbols, &tails.symbols);
            closing[i] = count_runs(levels, 0, count, popcount, runs, &tails.runs);
        }
        levels += count << wide;
        symbols += job->table;
        runs += 2 * RUNS;
    }
    return tails;
}

#if EGRESS_X86
__attribute__((target("avx2,popcnt,bmi,bmi2,lzcnt"))) static Tails count_avx2(
    const StatisticsJob *job, int32_t *symbols, int32_t *runs, int64_t *closing) {
    return count_all(job, symbols, runs, closing, 1);
}
#endif

int statistics_fit(const StatisticsJob *job) {
    size_t left = job->weights;
    if ((job->level_bits != 8 && job->level_bits != 16) || job->table < 1 ||
        job->table > MAX_TABLE)
        return 0;
    for (size_t i = 0; i < job->segments; i++) {
        if (job->counts[i] < 1 || (uint64_t)job->counts[i] > left) return 0;
        left -= (size_t)job->counts[i];
    }
    return !left;
}

Tails statistics_count(const StatisticsJob *job, int32_t *symbols, int32_t *runs,
                       int64_t *closing) {
#if EGRESS_X86
    if (has_avx2()) return count_avx2(job, symbols, runs, closing);
#endif
    return count_all(job, symbols, runs, closing, 0);
}

void statistics_list(const StatisticsJob *job, Tails room, int32_t *symbols, int32_t *runs) {
    const uint8_t *levels = job->levels;
    int wide = job->level_bits == 16;
    for (size_t i = 0; i < job->segments; i++) {
        size_t count = (size_t)job->counts[i], next = 0;
        for (size_t at = 0; room.symbols && at < count; at++) {
            uint32_t symbol = symbol_of_level(level_at(levels, wide, at));
            if (symbol < job->table) continue;
            *symbols++ = (int32_t)(job->first + i);
            *symbols++ = (int32_t)symbol;
            if (!--room.symbols) break;
        }
        for (size_t block = 0; room.runs && block < count; block += 64) {
            uint64_t mask = above(levels, wide, block, count, 0);
            size_t at;
            if (!mask) continue;
            /* All other runs that end here are shorter than 64. */
            at = block + (size_t)low_bit(mask);
            if (at - next >= RUNS) {
                *runs++ = (int32_t)(job->first + i);
                *runs++ = (int32_t)(at - next);
                *runs++ = symbol_of_level(level_at(levels, wide, at)) > 2;
                room.runs--;
            }
            next = block + (size_t)top_bit(mask) + 1;
        }
        levels += count << wide;
    }
}
