/* What the encoder's loops share: codewords, tables of them, and where they are written. */
#ifndef EGRESS_ENCODE_PARTS_H
#define EGRESS_ENCODE_PARTS_H

#include "levels.h"

/* A codeword: its bits from the top bit down, its length in the six lowest. 0: there is none. */
typedef uint64_t Entry;

enum { ENTRY_LENGTH = 63 };

/* One code, to encode. */
typedef struct {
    uint32_t order, half, head, swap;
    uint32_t first_size; /* symbols of class 0 */
} Family;

/* Runs below are in a table; longer ones are rare. */
enum { TABLE_RUNS = 256 };

/* A setting, ready to encode. */
typedef struct {
    int mode;
    Family code, magnitude;
    uint32_t width; /* raw */
    uint32_t threshold, stride; /* stride 0: none */
    uint32_t base;  /* symbol of the smallest level that has a magnitude codeword */
    uint32_t reach; /* the table is made for levels -reach..reach */
    Entry *table;   /* entry of level l is table[l]: of the level, or what follows its run */
    Entry *memory;
    /* Of levels -128..127, for codewords of up to 16 bits: by the level's byte, the codeword's
       length, its low byte and its high byte as a number; and whether a high byte is not 0. */
    uint8_t lengths[256], low[256], high[256];
    int has_high;
    uint32_t run_bits; /* longest of `runs` */
    /* The same three tables for the first entries of `runs`, and how many runs from 0 on all are
       there: codewords of up to 16 bits behind their leading zeros. */
    uint8_t run_lengths[128], run_low[128], run_high[128];
    uint32_t short_runs;
    Entry runs[2 * TABLE_RUNS]; /* of run r before a magnitude above one (b): runs[2 * r + b] */
} Coder;

/* Where codewords go. Fewer bits than a byte wait in `acc`, from the top. */
typedef struct {
    uint64_t acc, bits;
    uint8_t *at;
} Writer;

/* Bits that codewords can be put together to: the six lowest of 64 are not theirs, and the writer
   may have seven. */
enum { GROUP_BITS = 56 };

INLINE void store_be64(uint8_t *p, uint64_t x) {
    if (LITTLE_ENDIAN_HOST) x = SWAP64(x);
    memcpy(p, &x, 8);
}

/* Add a codeword to a group. Of `bits` only the six lowest count: lengths are added as they are. */
INLINE void add(Entry *group, uint64_t *bits, Entry entry) {
    *group |= entry >> (*bits & 63);
    *bits += entry;
}

/* Write a group. */
INLINE void put(Writer *to, Entry group, uint64_t bits) {
    uint64_t acc = to->acc | (group & ~(uint64_t)63) >> to->bits;
    uint64_t all = to->bits + (bits & 63);
    store_be64(to->at, acc);
    to->at += all >> 3;
    to->acc = acc << (all & 56);
    to->bits = all & 7;
}

/* Write a run of any length, with the bit 0 that follows it if no level does; 0 if it cannot be. */
int put_run(Writer *to, const Coder *coder, size_t run, int big, int level);

#if EGRESS_X86
/* Write levels of magnitude up to `reach`, 127 at most, whose codewords have up to 16 bits;
   `words`, how many it is about, matters for nothing but speed. */
void put_levels_avx512(Writer *to, const Coder *coder, const void *levels, int wide, size_t count,
                       uint32_t reach, size_t words);
/* The same in a run mode; 0 if it cannot be. Only where has_compress(). */
int put_runs_avx512(Writer *to, const Coder *coder, const void *levels, int wide, size_t count);
int has_compress(void);
#endif

#endif
