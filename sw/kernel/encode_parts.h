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
    uint32_t run_bits; /* longest of `runs` */
    Entry runs[2 * TABLE_RUNS]; /* of run r before a magnitude above one (b): runs[2 * r + b] */
} Coder;

/* Bits on their way: from the top of `acc` down. The six lowest bits of `acc` are no bits. */
typedef struct {
    uint64_t acc;
    uint64_t bits; /* in `acc`; only the six lowest count, entries are added as they are */
    uint8_t *at;
} Writer;

/* Codewords fit `acc` up to here ... */
enum { ROOM_BITS = 58 };
/* ... and after a flush fewer bits than a byte are left in it. */
enum { LEFT_BITS = 7 };

INLINE void store_be64(uint8_t *p, uint64_t x) {
    if (LITTLE_ENDIAN_HOST) x = SWAP64(x);
    memcpy(p, &x, 8);
}

INLINE void put(Writer *to, Entry entry) {
    to->acc |= entry >> (to->bits & 63);
    to->bits += entry;
}

INLINE void flush(Writer *to) {
    uint64_t acc = to->acc & ~(uint64_t)63, whole = to->bits & 56;
    store_be64(to->at, acc);
    to->at += whole >> 3;
    to->acc = acc << whole;
    to->bits &= 7;
}

/* Write a run of any length, with the bit 0 that follows it if no level does; 0 if it cannot be. */
int put_run(Writer *to, const Coder *coder, size_t run, int big, int level);

#endif
