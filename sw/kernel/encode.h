/* Levels to segments (FORMAT.md, sections 4 to 6). */
#ifndef EGRESS_ENCODE_H
#define EGRESS_ENCODE_H

#include "kernel.h"

/* Some consecutive segments of a record. Nothing outside `out` is written, whatever the rest. */
typedef struct {
    const void *levels; /* int8_t or int16_t, in the order of the segments */
    size_t weights;
    int level_bits;        /* 8 or 16: the type of `levels` */
    const int64_t *counts; /* levels of each segment */
    const int64_t *choice; /* which setting each segment uses */
    const int64_t *words;  /* payload words of each segment */
    size_t segments;
    uint64_t first; /* number of the first segment */
    const uint32_t *settings;
    size_t settings_count;
    uint8_t *out;
    size_t room; /* bytes of `out`: exactly those of the segments, headers included */
    int kernel;
} EncodeJob;

/* ENCODED; NO_MEMORY or BAD_CALL; or the number of the first segment that cannot be coded in its
   setting, or has another length than the job says. */
enum { ENCODED = -1 };

int64_t encode_segments(const EncodeJob *job);

#endif
