/* The inner loops, for levels of one width: LEVEL is int8_t or int16_t, NAME(x) names a function,
   TARGET is empty or an attribute. A round takes a lane some codewords on; it returns 0, having
   done nothing, where the lane has no room for it. Between rounds of one lane come those of the
   others, which do not depend on it: so the processor works at several at once. */

enum { NAME(PER_STORE) = 8 / sizeof(LEVEL) };

TARGET INLINE uint64_t NAME(window)(const uint8_t *record, uint64_t at) {
    return load_be64(record + (at >> 3)) << (at & 7); /* 57 bits or more */
}

/* Plain mode and raw fields by look-up: four look-ups a round. */
TARGET INLINE int NAME(round_look)(const Setting *setting, const uint8_t *record, Lane *lane) {
    uint64_t at = lane->at, w;
    LEVEL *out = (LEVEL *)lane->out;
    uint32_t step = 0;
    if (UNLIKELY(at > lane->safe || lane->out_end - lane->out < 32)) return 0;
    w = NAME(window)(record, at);
    for (int i = 0; i < 4; i++) {
        uint32_t look = (uint32_t)(w >> (64 - LOOK_BITS));
        step = setting->steps[look];
        memcpy(out, &setting->levels[look], 8);
        out += step >> 20;
        at += step & 0xFF;
        w <<= step & 63;
    }
    if (UNLIKELY(!step)) { /* a long codeword stops all look-ups that follow */
        int length;
        uint32_t symbol = symbol_at(&setting->first, NAME(window)(record, at), &length);
        if (symbol > setting->max_symbol) {
            lane->bad = 1;
            return 0;
        }
        *out++ = (LEVEL)level_of_symbol(symbol);
        at += (uint64_t)length;
    }
    lane->at = at;
    lane->out = (uint8_t *)out;
    return 1;
}

/* Plain mode by counting zeros: `count` codewords a round, which one window must hold. */
TARGET INLINE int NAME(round_count)(const Setting *setting, const uint8_t *record, Lane *lane,
                                    int count, int half) {
    uint64_t at = lane->at, w;
    LEVEL *out = (LEVEL *)lane->out;
    uint32_t bad = 0;
    if (UNLIKELY(at > lane->safe || lane->out_end - lane->out < 8)) return 0;
    w = NAME(window)(record, at);
    for (int i = 0; i < count; i++) {
        int index = half ? code_index(w) : 2 * top_bit(w | 1);
        int length = setting->first.length[index];
        uint32_t symbol = (uint32_t)(w >> (64 - length)) + (uint32_t)setting->first.add[index];
        bad |= setting->max_symbol - symbol;
        out[i] = sizeof(LEVEL) == 1 ? (LEVEL)setting->level_of[symbol & 0xFF]
                                    : (LEVEL)level_of_symbol(symbol);
        at += (uint64_t)length;
        w <<= length;
    }
    lane->bad |= bad >> 31;
    lane->at = at;
    lane->out = (uint8_t *)(out + count);
    return 1;
}

/* Run modes: four events' look-ups a round. The segment's levels are zeros beforehand. */
TARGET INLINE int NAME(round_runs)(const Setting *setting, const Job *job, Lane *lane) {
    uint64_t at = lane->at, w;
    LEVEL *out = (LEVEL *)lane->out, *end = (LEVEL *)lane->out_end;
    if (UNLIKELY(at > lane->safe)) return 0;
    w = NAME(window)(job->record, at);
    for (int i = 0; i < 4; i++) {
        uint32_t look = (uint32_t)(w >> (64 - LOOK_BITS));
        uint32_t step = setting->steps[look];
        ptrdiff_t skip = (ptrdiff_t)(step >> 8 & 0xFFF);
        if (UNLIKELY(!step || end - out < skip + NAME(PER_STORE))) {
            lane->at = at;
            lane->out = (uint8_t *)out;
            return lane_event(setting, job, lane);
        }
        memcpy(out + skip, &setting->levels[look], 8);
        out += skip + (step >> 20);
        at += step & 0xFF;
        w <<= step & 63;
    }
    lane->at = at;
    lane->out = (uint8_t *)out;
    return 1;
}

/* Raw fields of up to 14 bits: four a round. */
TARGET INLINE int NAME(round_raw)(const Setting *setting, const uint8_t *record, Lane *lane) {
    uint64_t w;
    LEVEL *out = (LEVEL *)lane->out;
    int width = setting->width;
    uint32_t bad = 0;
    if (UNLIKELY(lane->at > lane->safe || lane->out_end - lane->out < 8)) return 0;
    w = NAME(window)(record, lane->at);
    for (int i = 0; i < 4; i++) {
        uint32_t symbol = (uint32_t)(w << (i * width) >> (64 - width));
        bad |= setting->max_symbol - symbol;
        out[i] = sizeof(LEVEL) == 1 ? (LEVEL)setting->level_of[symbol & 0xFF]
                                    : (LEVEL)level_of_symbol(symbol);
    }
    lane->bad |= bad >> 31;
    lane->at += 4 * (uint64_t)width;
    lane->out = (uint8_t *)(out + 4);
    return 1;
}

#define DRIVE(round)                                            \
    do {                                                        \
        while (active)                                          \
            for (int l = 0; l < active; l++) {                  \
                if (LIKELY(round)) continue;                    \
                lane_finish(queue, &lanes[l]);                  \
                if (!lane_next(queue, &lanes[l])) {             \
                    Lane spare = lanes[l];                      \
                    lanes[l] = lanes[--active];                 \
                    lanes[active] = spare;                      \
                    l--;                                        \
                }                                               \
            }                                                   \
    } while (0)

TARGET static void NAME(decode)(Queue *queue, Lane *lanes, int many, int rate_high) {
    const Setting *setting = queue->setting;
    const uint8_t *record = queue->job->record;
    int active = 0;
    while (active < many && lane_next(queue, &lanes[active])) active++;
    if (setting->mode == ZERO_RUN || setting->mode == JOINT) {
        DRIVE(NAME(round_runs)(setting, queue->job, &lanes[l]));
    } else if (setting->mode == RAW && setting->width > 14) {
        DRIVE(0); /* few, and bound to memory: lane_finish does it all */
    } else if (setting->mode == RAW && setting->width > 4) {
        DRIVE(NAME(round_raw)(setting, record, &lanes[l]));
    } else if (!rate_high || setting->mode == RAW) {
        DRIVE(NAME(round_look)(setting, record, &lanes[l]));
    } else {
        int count = setting->first.longest <= 14 ? 4 : 57 / setting->first.longest;
        if (setting->first.half) {
            if (count >= 3) DRIVE(NAME(round_count)(setting, record, &lanes[l], 3, 1));
            if (count == 2) DRIVE(NAME(round_count)(setting, record, &lanes[l], 2, 1));
            if (count == 1) DRIVE(NAME(round_count)(setting, record, &lanes[l], 1, 1));
        } else {
            if (count >= 4) DRIVE(NAME(round_count)(setting, record, &lanes[l], 4, 0));
            if (count == 3) DRIVE(NAME(round_count)(setting, record, &lanes[l], 3, 0));
            if (count == 2) DRIVE(NAME(round_count)(setting, record, &lanes[l], 2, 0));
            if (count == 1) DRIVE(NAME(round_count)(setting, record, &lanes[l], 1, 0));
        }
    }
}

#undef DRIVE
