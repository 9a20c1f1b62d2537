/* From a setting's word to the tables that decode it (FORMAT.md, sections 4 and 5). */
#include "kernel.h"

enum { NOT_A_SYMBOL = 1 << 28 }; /* above any symbol, and no sum with it overflows */

/* A code's word: j, k, T and flags; `following` bits come after each codeword. */
typedef struct {
    int first, first_half, order, half, head, swap;
} Family;

static void code_build(Code *code, Family family, uint32_t max_symbol, int following) {
    code->longest = 1;
    code->half = family.half || family.first_half;
    memset(code->length, 0, sizeof code->length);
    for (int z = 0; z < 64; z++) {
        int c = family.swap && z < 2 ? z ^ 1 : z;
        int half = c ? family.half : family.first_half;
        int bits = c ? family.order + (c > family.head ? c - family.head : 0) : family.first;
        int64_t size0 = (int64_t)(family.first_half ? 3 : 1) << family.first;
        int64_t steps = c < family.head ? c - 2 : family.head - 2;
        int64_t add = c ? (half ? 3 : 1) * steps * (1 << family.order) + size0 : -size0;
        for (int next = 0; next < 2; next++) {
            int length = z + 1 + bits + (half ? 2 - next : 0);
            code->add[2 * (63 - z) + next] = NOT_A_SYMBOL;
            if (length + following > 32) continue;
            /* The least symbol of such codewords. */
            if (add + ((int64_t)(half ? 4 - next : 1) << bits) > max_symbol) continue;
            code->length[2 * (63 - z) + next] = (uint8_t)length;
            code->add[2 * (63 - z) + next] = (int32_t)add;
            if (length > code->longest) code->longest = length;
        }
    }
    for (int i = 0; i < 128; i++)
        if (!code->length[i]) code->length[i] = (uint8_t)code->longest;
}

/* What a look-up finds first. */
typedef struct {
    uint8_t bits; /* 0: nothing */
    uint8_t has_level;
    uint16_t run;
    int16_t level;
} Event;

/* The codeword of a window in which all but the first `bits` bits are zeros. */
static Event codeword_at(const Setting *setting, uint64_t window, int bits) {
    Event none = {0, 0, 0, 0}, event = {0, 1, 0, 0};
    int length = setting->width;
    uint32_t symbol = setting->mode == RAW ? (uint32_t)(window >> (64 - length))
                                           : symbol_at(&setting->first, window, &length);
    if (symbol > setting->max_symbol || length > bits) return none;
    event.bits = (uint8_t)length;
    event.level = (int16_t)level_of_symbol(symbol);
    return event;
}

/* The codeword, or run and what follows it, of a window in which all but the first LOOK_BITS bits
   are zeros. What it finds may end in those: the caller compares its length. */
static Event event_at(const Setting *setting, uint64_t window) {
    Event none = {0, 0, 0, 0}, event = {0, 1, 0, 0};
    int length, big = 1;
    uint32_t symbol, run;
    if (setting->mode == PLAIN || setting->mode == RAW)
        return codeword_at(setting, window, LOOK_BITS);
    symbol = symbol_at(&setting->first, window, &length);
    if (symbol > setting->max_symbol || length > LOOK_BITS) return none;
    event.bits = (uint8_t)length;
    window <<= length;
    run = setting->mode == JOINT ? unslot(setting, symbol, &big) : symbol;
    event.run = (uint16_t)run;
    if (run >= RUN_LIMIT) {
        if (run > RUN_LIMIT || (setting->mode == JOINT && big) || window >> 63)
            return none;
        event.bits++;
        event.has_level = 0;
        return event;
    }
    if (!big) {
        event.bits++;
        event.level = window >> 63 ? -1 : 1;
        return event;
    }
    symbol = symbol_at(&setting->magnitude, window, &length);
    if (symbol > setting->max_magnitude || event.bits + length > LOOK_BITS) return none;
    event.bits += (uint8_t)length;
    event.level = (int16_t)level_of_symbol(symbol + (setting->mode == JOINT ? 3 : 1));
    return event;
}

static void look_build(Setting *setting) {
    Event events[LOOK_SIZE];
    uint32_t most = setting->level_bits == 8 ? 8 : 4;
    for (uint32_t look = 0; look < LOOK_SIZE; look++)
        events[look] = event_at(setting, (uint64_t)look << (64 - LOOK_BITS));
    for (uint32_t look = 0; look < LOOK_SIZE; look++) {
        int8_t narrow[8] = {0};
        int16_t wide[4] = {0};
        uint32_t used = 0, skip = 0, count = 0;
        for (;;) {
            Event event = events[look << used & (LOOK_SIZE - 1)];
            if (!event.bits || used + event.bits > LOOK_BITS) break;
            if (!used) {
                if (event.run > LONG_SKIP) break;
                skip = event.run;
            } else if (count + event.run + event.has_level > most) {
                break;
            } else {
                count += event.run;
            }
            if (event.has_level) {
                if (count == most) break;
                narrow[most == 8 ? count : 0] = (int8_t)event.level;
                wide[most == 4 ? count : 0] = event.level;
                count++;
            }
            used += event.bits;
            if (used == LOOK_BITS) break;
        }
        memcpy(&setting->levels[look], most == 8 ? (void *)narrow : (void *)wide, 8);
        setting->steps[look] = (uint16_t)(used | count << 4 | skip << 8);
    }
}

static void few_build(Setting *setting) {
    int wide = setting->level_bits == 16, bits = wide ? FEW_BITS_16 : FEW_BITS_8;
    uint32_t width = (uint32_t)setting->level_bits;
    for (uint32_t look = 0; look < 1u << bits; look++) {
        uint64_t window = (uint64_t)look << (64 - bits), few = 0;
        uint32_t used = 0, count = 0;
        while (count < 3) {
            Event event = codeword_at(setting, window << used, bits - (int)used);
            if (!event.bits) break;
            few |= ((uint64_t)event.level & ((1u << width) - 1)) << width * count++;
            used += event.bits;
        }
        few |= (uint64_t)(used | count << 6) << 3 * width;
        if (wide)
            setting->few_16[look] = few;
        else
            setting->few_8[look] = (uint32_t)few;
    }
}

static void runs_build(Setting *setting) {
    for (uint32_t look = 0; look < LOOK_SIZE; look++) {
        uint32_t step = setting->steps[look], skip = step >> 8, count = step >> 4 & 15;
        uint32_t run = (step & 15) | skip << 8 | (skip + count) << 16;
        setting->runs[0][look] = skip <= SHORT_SKIP ? run : 0;
        setting->runs[1][look] = run;
    }
}

void setting_build(Setting *setting, uint32_t word, int level_bits) {
    uint32_t most = ((1u << (level_bits - 1)) - 1) * 2, f = word >> 2 & 15;
    int mode = (int)(word >> 30), runs = mode == ZERO_RUN || mode == JOINT;
    Family first = {.order = word >> 26 & 15, .half = word >> 25 & 1, .head = word >> 21 & 15,
                    .first = word >> 17 & 15, .first_half = word >> 16 & 1,
                    .swap = mode == PLAIN && (word >> 15 & 1)};
    Family second = {.order = word >> 11 & 15, .half = word >> 10 & 1, .head = word >> 6 & 15,
                     .first = word >> 11 & 15, .first_half = word >> 10 & 1, .swap = 0};
    memset(setting, 0, sizeof *setting);
    setting->word = word;
    setting->mode = mode;
    setting->level_bits = level_bits;
    setting->threshold = f < 8 ? f : (4 + f % 4) << (f / 4 - 1);
    setting->shape = word & 3;
    setting->width = (int)(word >> 26 & 15) + 1;
    /* Of a run or slot, the run is compared with its limit: its symbol need not be. */
    setting->max_symbol = runs ? 65535 : most;
    setting->max_magnitude = mode == JOINT ? most - 3 : most - 1;
    code_build(&setting->first, first, setting->max_symbol, runs);
    code_build(&setting->magnitude, second, setting->max_magnitude, 0);
    for (uint32_t s = 0; s < 256; s++) setting->level_of[s] = (int16_t)level_of_symbol(s);
    look_build(setting);
    if (runs)
        runs_build(setting);
    else
        few_build(setting);
}
