/* The inner loops, for levels of one width: LEVEL is int8_t or int16_t, FEW is uint32_t or
   uint64_t, NAME(x) names a function, TARGET is empty or an attribute.

   Four lanes are worked at in turn, step by step: what a step waits for is then on its way for
   three others. A bound is found first for how many rounds no lane can leave its room, so that the
   rounds need no checks. What they find wrong, or cannot do, is left to lane_finish. */

enum {
    NAME(PER_STORE) = 8 / sizeof(LEVEL),
    /* Levels that a round of runs() reaches at most. */
    NAME(SHORT_RUNS) = 4 * (SHORT_SKIP + NAME(PER_STORE)),
    NAME(LONG_RUNS) = 4 * (LONG_SKIP + NAME(PER_STORE))
};
typedef FEW NAME(few_entry);

/* Store the levels of an entry and, behind them, what they are followed by. */
TARGET INLINE void NAME(put_few)(LEVEL *out, NAME(few_entry) few) {
    if (LITTLE_ENDIAN_HOST) {
        memcpy(out, &few, 4 * sizeof(LEVEL));
    } else {
        for (size_t i = 0; i < 3; i++) out[i] = (LEVEL)(few >> 8 * sizeof(LEVEL) * i);
    }
}

#ifndef LANES
/* Bits that four look-ups and a codeword take at most. */
enum { ROUND_BITS = 84 };
#define LANES(x) x(0) x(1) x(2) x(3)
#define OPEN(l)                      \
    uint64_t at##l = lanes[l].at, w##l; \
    LEVEL *out##l = (LEVEL *)lanes[l].out;
#define CLOSE(l)        \
    lanes[l].at = at##l; \
    lanes[l].out = (uint8_t *)out##l;
#define FETCH(l) w##l = load_be64(record + (at##l >> 3)) << (at##l & 7); /* 57 bits or more */
/* The lowest one of w marks how far it has been shifted: 57 bits are not in need of the last one. */
#define MARK(l) FETCH(l) w##l |= 1;
#define TAKEN(l) at##l += (uint64_t)lowest_one(w##l);
/* A codeword that no look-up holds stops those that follow. */
#define LONG(l)                                                           \
    if (UNLIKELY(!step##l)) {                                             \
        int length;                                                       \
        uint32_t symbol;                                                  \
        FETCH(l)                                                          \
        symbol = symbol_at(&setting->first, w##l, &length);               \
        lanes[l].suspect |= symbol > setting->max_symbol;                 \
        *out##l++ = (LEVEL)level_of_symbol(symbol);                       \
        at##l += (uint64_t)length;                                        \
    }
#endif

/* Rounds for which a lane has room, if each takes so many bits and levels at most. */
TARGET INLINE int64_t NAME(room)(const Lane *lane, int64_t bits, int64_t levels) {
    int64_t a = (int64_t)(lane->safe - lane->at) / bits + 1;
    int64_t b = (lane->out_end - lane->out) / ((int64_t)sizeof(LEVEL) * levels);
    if (lane->at > lane->safe || lane->suspect) return 0;
    return a < b ? a : b;
}

/* The same for every lane. */
TARGET INLINE int64_t NAME(rounds)(const Lane *lanes, int64_t bits, int64_t levels) {
    int64_t rounds = INT64_MAX;
    for (int l = 0; l < 4; l++) {
        int64_t room = NAME(room)(&lanes[l], bits, levels);
        if (room < rounds) rounds = room;
    }
    return rounds;
}

/* Plain mode and raw fields by look-up: four look-ups a round. */
TARGET INLINE void NAME(look)(const Setting *setting, const uint8_t *record, Lane *lanes,
                              int64_t rounds) {
    LANES(OPEN)
    uint32_t step0, step1, step2, step3;
#define STEP(l)                                                     \
    memcpy(out##l, &setting->levels[w##l >> (64 - LOOK_BITS)], 8);  \
    step##l = setting->steps[w##l >> (64 - LOOK_BITS)];             \
    w##l <<= step##l & 15;                                          \
    at##l += step##l & 15;                                          \
    out##l += step##l >> 4;
    for (; rounds > 0; rounds--) {
        LANES(FETCH)
        LANES(STEP)
        LANES(STEP)
        LANES(STEP)
        LANES(STEP)
        LANES(LONG)
    }
#undef STEP
    LANES(CLOSE)
}

/* The same with up to three levels a look-up. What is stored behind them is not a level: the room
   of a round has a place for it. */
TARGET INLINE void NAME(few)(const Setting *setting, const uint8_t *record, Lane *lanes,
                             int64_t rounds) {
    LANES(OPEN)
    NAME(few_entry) step0, step1, step2, step3;
#define STEP(l)                                                  \
    step##l = setting->FEW_TABLE[w##l >> (64 - FEW_TABLE_BITS)]; \
    NAME(put_few)(out##l, step##l);                              \
    step##l >>= 24 * sizeof(LEVEL);                              \
    w##l <<= step##l & 63;                                       \
    out##l += step##l >> 6;
    for (; rounds > 0; rounds--) {
        LANES(MARK)
        LANES(STEP)
        LANES(STEP)
        LANES(STEP)
        LANES(STEP)
        LANES(TAKEN)
        LANES(LONG)
    }
#undef STEP
    LANES(CLOSE)
}

/* Plain mode by counting zeros: `count` codewords a round, which one window must hold. */
TARGET INLINE void NAME(count)(const Setting *setting, const uint8_t *record, Lane *lanes,
                               int64_t rounds, int count, int half) {
    uint32_t most = setting->max_symbol, bad = 0;
    LANES(OPEN)
#define STEP(l)                                                                   \
    {                                                                             \
        int index = half ? code_index(w##l) : 2 * top_bit(w##l | 1);              \
        uint32_t length = setting->first.length[index];                           \
        uint32_t symbol = (uint32_t)(w##l >> (-length & 63)) +                    \
                          (uint32_t)setting->first.add[index];                    \
        bad |= most - symbol;                                                     \
        out##l[i] = (LEVEL)level_of_symbol(symbol);                               \
        at##l += length;                                                          \
        w##l <<= length;                                                          \
    }
#define NEXT(l) out##l += count;
    for (; rounds > 0; rounds--) {
        LANES(FETCH)
        for (int i = 0; i < count; i++) {
            LANES(STEP)
        }
        LANES(NEXT)
    }
#undef STEP
#undef NEXT
    LANES(CLOSE)
    if (bad >> 31)
        for (int l = 0; l < 4; l++) lanes[l].suspect = 1;
}

/* Raw fields of up to 14 bits: four a round. They need no turns: where they lie is known. */
TARGET INLINE void NAME(raw)(const Setting *setting, const uint8_t *record, Lane *lanes,
                             int64_t rounds) {
    uint32_t most = setting->max_symbol, bad = 0;
    int width = setting->width;
    LANES(OPEN)
#define STEP(l)                                                                        \
    FETCH(l)                                                                           \
    for (int i = 0; i < 4; i++) {                                                      \
        uint32_t symbol = (uint32_t)(w##l >> (64 - width));                            \
        bad |= most - symbol;                                                          \
        *out##l++ = sizeof(LEVEL) == 1 ? (LEVEL)setting->level_of[symbol & 0xFF]       \
                                       : (LEVEL)level_of_symbol(symbol);               \
        w##l <<= width;                                                                \
    }                                                                                  \
    at##l += 4 * (uint64_t)width;
    for (; rounds > 0; rounds--) {
        LANES(STEP)
    }
#undef STEP
    LANES(CLOSE)
    if (bad >> 31)
        for (int l = 0; l < 4; l++) lanes[l].suspect = 1;
}

/* Run modes: four look-ups of events a round. What no look-up serves, lane_event does; it may go
   far, and there are fewer rounds then. Runs are written where they are short (a store or two of
   constant length for each look-up); else the segments' levels are zeros beforehand. */
TARGET INLINE void NAME(runs)(Queue *queue, Lane *lanes, int64_t rounds, int zeroed) {
    const Setting *setting = queue->setting;
    const uint8_t *record = queue->job->record;
    const int64_t levels = zeroed ? NAME(LONG_RUNS) : NAME(SHORT_RUNS);
    LANES(OPEN)
    uint32_t step0, step1, step2, step3;
#define STEP(l)                                                                                  \
    step##l = setting->runs[zeroed][w##l >> (64 - LOOK_BITS)];                                   \
    if (!zeroed) memset(out##l, 0, SHORT_SKIP * sizeof(LEVEL));                                  \
    memcpy(out##l + (step##l >> 8 & 255), &setting->levels[w##l >> (64 - LOOK_BITS)], 8);        \
    w##l <<= step##l & 63;                                                                       \
    out##l += step##l >> 16;
#define MEND(l)                                                                                  \
    if (UNLIKELY(!step##l)) {                                                                    \
        int64_t left = 0;                                                                        \
        lanes[l].at = at##l;                                                                     \
        lanes[l].out = (uint8_t *)out##l;                                                        \
        if (lane_event(queue, &lanes[l])) left = NAME(room)(&lanes[l], ROUND_BITS, levels);      \
        if (left < rounds) rounds = left;                                                        \
        at##l = lanes[l].at;                                                                     \
        out##l = (LEVEL *)lanes[l].out;                                                          \
    }
    while (rounds-- > 0) {
        LANES(MARK)
        LANES(STEP)
        LANES(STEP)
        LANES(STEP)
        LANES(STEP)
        LANES(TAKEN)
        LANES(MEND)
    }
#undef STEP
#undef MEND
    LANES(CLOSE)
}

/* All segments of the queue. */
TARGET LINKAGE void NAME(decode)(Queue *queue, Lane *lanes) {
    const Setting *setting = queue->setting;
    const uint8_t *record = queue->job->record;
    int active = 0, kind;
    /* What a round takes of each lane, and what a lane must have for one to be worth while. */
    int64_t bits = ROUND_BITS, levels = 4 * NAME(PER_STORE) + 1, rounds;
    enum { LOOK, FEW_LOOK, RUNS, NONE, FIELDS, COUNT1, COUNT2 };
    if (setting->mode == ZERO_RUN || setting->mode == JOINT) {
        kind = RUNS;
        levels = queue->zeroed ? NAME(LONG_RUNS) : NAME(SHORT_RUNS);
    } else if (setting->mode == RAW && setting->width > 3) {
        /* Bytes are lane_finish's; fields of 15 or 16 bits are not worth a loop. */
        kind = setting->width == 8 || setting->width > 14 ? NONE : FIELDS;
        bits = 56;
        levels = 4;
    } else if (setting->mode == RAW || queue->rate < FEW_RATE) {
        kind = LOOK;
    } else if (queue->rate < COUNT_RATE) {
        kind = FEW_LOOK;
        levels = 4 * 3 + 1;
    } else {
        kind = setting->first.longest <= 28 ? COUNT2 : COUNT1;
        levels = kind == COUNT2 ? 2 : 1;
        bits = 57;
    }
    while (active < 4 && lane_next(queue, &lanes[active])) active++;
    while (active == 4) {
        rounds = kind == NONE ? 0 : NAME(rounds)(lanes, bits, levels);
        if (rounds > 0) {
            if (kind == LOOK) NAME(look)(setting, record, lanes, rounds);
            if (kind == RUNS && queue->zeroed) NAME(runs)(queue, lanes, rounds, 1);
            if (kind == RUNS && !queue->zeroed) NAME(runs)(queue, lanes, rounds, 0);
            if (kind == FIELDS) NAME(raw)(setting, record, lanes, rounds);
            if (kind == FEW_LOOK) NAME(few)(setting, record, lanes, rounds);
            if (kind == COUNT2) NAME(count)(setting, record, lanes, rounds, 2, 1);
            if (kind == COUNT1) NAME(count)(setting, record, lanes, rounds, 1, 1);
            continue;
        }
        for (int l = 0; l < active; l++) {
            ptrdiff_t left = (lanes[l].out_end - lanes[l].out) / (ptrdiff_t)sizeof(LEVEL);
            if (kind != NONE && lanes[l].at <= lanes[l].safe && !lanes[l].suspect && left >= levels)
                continue;
            lane_finish(queue, &lanes[l]);
            if (!lane_next(queue, &lanes[l])) {
                Lane spare = lanes[l];
                lanes[l--] = lanes[--active];
                lanes[active] = spare; /* its scratch */
            }
        }
    }
    for (int l = 0; l < active; l++) lane_finish(queue, &lanes[l]);
}

#ifndef HAND_ON
#define HAND_ON(OUT, CONVERT)                                          \
    do {                                                               \
        OUT *restrict out = (OUT *)job->out + first;                   \
        if (G == 1)                                                    \
            for (size_t i = 0; i < n; i++) out[i] = CONVERT(in[i]);    \
        else                                                           \
            for (size_t i = 0; i < n; i++) out[i * G] = CONVERT(in[i]); \
    } while (0)
#define SAME(x) (x)
#define TO_FLOAT32(x) ((float)(x) * step)
#define TO_BFLOAT16(x) bfloat16_of((float)(x) * step)
#endif

/* Levels from a lane's scratch to their places, as what is wanted. */
TARGET LINKAGE void NAME(hand_on)(const Job *job, const Lane *lane, size_t first) {
    const LEVEL *restrict in = (const LEVEL *)lane->begin;
    size_t n = (size_t)(lane->out_end - lane->begin) / sizeof(LEVEL), G = job->interleave;
    float step = job->step;
    if (job->kind == AS_LEVELS) HAND_ON(LEVEL, SAME);
    if (job->kind == AS_FLOAT32) HAND_ON(float, TO_FLOAT32);
    if (job->kind == AS_BFLOAT16) HAND_ON(uint16_t, TO_BFLOAT16);
}
