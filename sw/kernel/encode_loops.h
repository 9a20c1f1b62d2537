/* The inner loops, for levels of one width: LEVEL is int8_t or int16_t, NAME(x) names a function,
   TARGET is empty or an attribute. Codewords are put together in groups that do not depend on what
   was written before them: so the processor works at several groups at once. */

/* All ones of the levels' magnitudes: a bound, exact to a power of two. */
TARGET static NOINLINE uint32_t NAME(ones)(const void *levels, size_t count) {
    const LEVEL *p = levels;
    LEVEL ones = 0;
    for (size_t i = 0; i < count; i++) {
        LEVEL sign = (LEVEL)(p[i] < 0 ? -1 : 0);
        ones |= (LEVEL)((p[i] ^ sign) - sign);
    }
    return sizeof(LEVEL) == 1 ? (uint8_t)ones : (uint16_t)ones;
}

/* Write levels, `many` of them a group. */
TARGET INLINE void NAME(put_groups)(Writer *to, const Entry *table, const LEVEL *levels,
                                    size_t count, size_t many) {
    Writer w = *to;
    const LEVEL *end = levels + count;
    for (; (size_t)(end - levels) >= many; levels += many) {
        Entry group = 0;
        uint64_t bits = 0;
#if defined(__GNUC__)
#pragma GCC unroll 8
#endif
        for (size_t i = 0; i < many; i++) add(&group, &bits, table[levels[i]]);
        put(&w, group, bits);
    }
    for (; levels < end; levels++) put(&w, table[*levels], table[*levels]);
    *to = w;
}

/* Functions of their own: each gets all registers. */
#define GROUPS(many)                                                                             \
    TARGET static NOINLINE void NAME(put_##many)(Writer * to, const Entry *table,                \
                                                 const LEVEL *levels, size_t count) {            \
        NAME(put_groups)(to, table, levels, count, many);                                        \
    }
GROUPS(1)
GROUPS(2)
GROUPS(3)
GROUPS(4)
GROUPS(5)
GROUPS(6)
GROUPS(7)
#undef GROUPS

TARGET static void NAME(put_levels)(Writer *to, const Entry *table, const void *levels,
                                    size_t count, uint32_t longest) {
    static void (*const by[])(Writer *, const Entry *, const LEVEL *, size_t) = {
        NULL,        NAME(put_1), NAME(put_2), NAME(put_3),
        NAME(put_4), NAME(put_5), NAME(put_6), NAME(put_7)};
    uint32_t many = GROUP_BITS / longest;
    by[many < 7 ? many : 7](to, table, levels, count);
}

/* Write levels in a run mode; 0 if it cannot be. */
TARGET INLINE int NAME(put_events)(Writer *to, const Coder *coder, const void *levels,
                                   size_t count, int one_group) {
    const int wide = sizeof(LEVEL) == 2;
    const Entry *table = coder->table, *runs = coder->runs;
    size_t next = 0; /* the level after the last that was written */
    Writer w = *to;
    for (size_t block = 0; block < count; block += 64) {
        for (uint64_t mask = above(levels, wide, block, count, 0); mask; mask &= mask - 1) {
            size_t at = block + (size_t)low_bit(mask), run = at - next;
            int32_t level = ((const LEVEL *)levels)[at];
            size_t big = (uint32_t)(level + 1) > 2;
            Entry entry = run < TABLE_RUNS ? runs[2 * run + big] : 0, value = table[level];
            next = at + 1;
            if (UNLIKELY(!entry)) {
                Writer copy = w; /* so that `w` itself need not be in memory */
                if (!put_run(&copy, coder, run, (int)big, 1)) return 0;
                w = copy;
                put(&w, value, value);
            } else if (one_group) {
                uint64_t bits = 0;
                Entry group = 0;
                add(&group, &bits, entry);
                add(&group, &bits, value);
                put(&w, group, bits);
            } else {
                put(&w, entry, entry);
                put(&w, value, value);
            }
        }
    }
    *to = w;
    return put_run(to, coder, count - next, 0, 0);
}

TARGET static NOINLINE int NAME(put_short_events)(Writer *to, const Coder *coder,
                                                  const void *levels, size_t count) {
    return NAME(put_events)(to, coder, levels, count, 1);
}

TARGET static NOINLINE int NAME(put_long_events)(Writer *to, const Coder *coder,
                                                 const void *levels, size_t count) {
    return NAME(put_events)(to, coder, levels, count, 0);
}

TARGET static int NAME(put_runs)(Writer *to, const Coder *coder, const void *levels, size_t count,
                                 uint32_t longest) {
    if (coder->run_bits + longest <= GROUP_BITS)
        return NAME(put_short_events)(to, coder, levels, count);
    return NAME(put_long_events)(to, coder, levels, count);
}

#undef LEVEL
#undef NAME
#undef TARGET
