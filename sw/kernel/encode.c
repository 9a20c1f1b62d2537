/* Levels to segments, by tables of codewords by level.

   A segment is written into scratch memory that holds the worst that its levels can become, and
   copied where it belongs once its length is known to be what the job says. */
#include "encode.h"

#include <stdlib.h>

#include "encode_parts.h"

enum { WINDOW_BITS = 32, MAX_SYMBOL = 65535, MAX_COUNT = 65535, MAX_WORDS = 2048 };

/* Codeword of a symbol; none if it, with `following` bits after it, breaks the window rule. */
static Entry codeword(Family code, uint32_t symbol, uint32_t following) {
    uint32_t zeros = 0, size = code.first_size, length;
    if (symbol > MAX_SYMBOL) return 0;
    if (symbol >= size) {
        uint32_t m = code.half ? 3 : 1;
        symbol -= size;
        size = m << code.order;
        if (symbol < code.head * size) {
            zeros = 1 + (symbol >> code.order) / m;
            symbol -= (zeros - 1) * size;
        } else {
            /* Classes of growth 1, 2, 3, ... hold 2, 4, 8, ... times `size`. */
            int growth;
            symbol -= code.head * size;
            growth = 1 + top_bit((symbol >> (code.order + 1)) / m + 1);
            zeros = code.head + (uint32_t)growth;
            symbol -= ((1u << growth) - 2) * size;
            size <<= growth;
        }
    }
    if (zeros < 2) zeros ^= code.swap;
    /* With the one in front of it, the suffix is a number from the class's size on. */
    symbol += size;
    length = zeros + 1 + (uint32_t)top_bit(symbol);
    if (length + following > WINDOW_BITS) return 0;
    return (Entry)symbol << (64 - length) | length;
}

/* Symbol of a run that ends in a magnitude above one (big) or not; above MAX_SYMBOL: none. */
static uint32_t run_symbol(const Coder *coder, uint32_t run, int big) {
    uint32_t over;
    if (big && coder->mode == JOINT)
        return coder->stride ? coder->threshold + run * coder->stride + coder->stride - 1
                             : MAX_SYMBOL + 1;
    if (!coder->stride || run < coder->threshold) return run;
    over = run - coder->threshold;
    return coder->threshold + over + over / (coder->stride - 1);
}

static Entry run_entry(const Coder *coder, uint32_t run, int big) {
    return codeword(coder->code, run_symbol(coder, run, big), 1);
}

/* Entry of a level; in the run modes level 0 has none. */
static Entry level_entry(const Coder *coder, int32_t level) {
    uint32_t symbol = symbol_of_level(level);
    if (coder->mode == PLAIN) return codeword(coder->code, symbol, 0);
    if (coder->mode == RAW)
        return symbol >> coder->width ? 0 : (Entry)symbol << (64 - coder->width) | coder->width;
    if (symbol == 0) return 0;
    if (symbol < coder->base) return (Entry)(level < 0) << 63 | 1; /* a sign */
    if (coder->mode == JOINT && !coder->stride) return 0;
    return codeword(coder->magnitude, symbol - coder->base, 0);
}

static int has_runs(const Coder *coder) { return coder->mode == ZERO_RUN || coder->mode == JOINT; }

static void coder_set(Coder *coder, int32_t level) {
    Entry entry = level_entry(coder, level);
    uint32_t length = entry & ENTRY_LENGTH;
    uint8_t at = (uint8_t)level;
    coder->table[level] = entry;
    if (level < -127 || level > 127 || !length || length > 16) return;
    entry >>= 64 - length;
    coder->lengths[at] = (uint8_t)length;
    coder->low[at] = (uint8_t)entry;
    coder->high[at] = (uint8_t)(entry >> 8);
    coder->has_high |= entry > 255;
}

static void runs_build(Coder *coder) {
    int all_short = 1;
    for (uint32_t i = 0; i < 2 * TABLE_RUNS; i++) {
        Entry entry = run_entry(coder, i / 2, i % 2);
        uint32_t length = entry & ENTRY_LENGTH;
        coder->runs[i] = entry;
        if (length > coder->run_bits) coder->run_bits = length;
        if (i >= sizeof coder->run_lengths) continue;
        if (length) entry >>= 64 - length;
        /* Without a stride, no level needs the odd ones. */
        if (i % 2 == 0 || coder->mode == ZERO_RUN || coder->stride)
            all_short &= length && entry < 1 << 16;
        coder->run_lengths[i] = (uint8_t)length;
        coder->run_low[i] = (uint8_t)entry;
        coder->run_high[i] = (uint8_t)(entry >> 8);
        if (all_short && i % 2) coder->short_runs = i / 2 + 1;
    }
}

static int64_t coder_build(Coder *coder, uint32_t word, int level_bits) {
    size_t levels = (size_t)1 << level_bits;
    uint32_t f = word >> 2 & 15, shape = word & 3;
    coder->mode = (int)(word >> 30);
    coder->code.order = word >> 26 & 15;
    coder->code.half = word >> 25 & 1;
    coder->code.head = word >> 21 & 15;
    coder->code.first_size = (word >> 16 & 1 ? 3u : 1u) << (word >> 17 & 15);
    coder->code.swap = word >> 15 & 1;
    coder->magnitude.order = word >> 11 & 15;
    coder->magnitude.half = word >> 10 & 1;
    coder->magnitude.head = word >> 6 & 15;
    coder->magnitude.first_size = (coder->magnitude.half ? 3u : 1u) << coder->magnitude.order;
    coder->width = coder->code.order + 1;
    coder->threshold = f < 8 ? f : (4 + f % 4) << (f / 4 - 1);
    coder->stride = coder->mode == JOINT && shape < 3 ? 2u << shape : 0;
    coder->base = coder->mode == JOINT ? 3 : 1;
    if (coder->mode == RAW && coder->width > (uint32_t)level_bits) return BAD_CALL;
    coder->memory = malloc(levels * sizeof *coder->memory);
    if (!coder->memory) return NO_MEMORY;
    coder->table = coder->memory + levels / 2;
    coder_set(coder, 0);
    if (has_runs(coder)) runs_build(coder);
    return ENCODED;
}

/* Make the tables for magnitudes up to `reach`. */
static void coder_extend(Coder *coder, uint32_t reach) {
    while (coder->reach < reach) {
        int32_t level = (int32_t)++coder->reach;
        coder_set(coder, level);
        coder_set(coder, -level);
    }
}

/* Bits of the longest entry of magnitudes up to `reach`; 0 if one of them has none. */
static uint32_t longest_of(const Coder *coder, uint32_t reach) {
    uint32_t last = level_entry(coder, -(int32_t)reach) & ENTRY_LENGTH, class0;
    if (has_runs(coder)) return reach ? last : 1;
    /* Codewords grow with the symbol, but from class 0 to others. */
    if (coder->mode == RAW || 2 * reach < coder->code.first_size) return last;
    class0 = codeword(coder->code, coder->code.first_size - 1, 0) & ENTRY_LENGTH;
    return last && last < class0 ? class0 : last;
}

int put_run(Writer *to, const Coder *coder, size_t run, int big, int level) {
    Entry entry;
    for (; run >= RUN_LIMIT; run -= RUN_LIMIT) {
        entry = run_entry(coder, RUN_LIMIT, 0);
        if (!entry) return 0;
        put(to, entry, entry + 1);
    }
    if (!run && !level) return 1;
    entry = run_entry(coder, (uint32_t)run, big);
    if (!entry) return 0;
    put(to, entry, entry + !level);
    return 1;
}

#define LEVEL int8_t
#define NAME(x) x##_narrow
#define TARGET
#include "encode_loops.h"
#define LEVEL int16_t
#define NAME(x) x##_wide
#define TARGET
#include "encode_loops.h"

#if EGRESS_X86
#define WITH_AVX2 __attribute__((target("avx2,bmi,bmi2")))
#define LEVEL int8_t
#define NAME(x) x##_narrow_avx2
#define TARGET WITH_AVX2
#include "encode_loops.h"
#define LEVEL int16_t
#define NAME(x) x##_wide_avx2
#define TARGET WITH_AVX2
#include "encode_loops.h"
#endif

/* What writes the levels of a segment, by kernel and width. */
typedef struct {
    uint32_t (*ones)(const void *, size_t);
    void (*levels)(Writer *, const Entry *, const void *, size_t, uint32_t);
    int (*runs)(Writer *, const Coder *, const void *, size_t, uint32_t);
    int avx512, compress;
} Loops;

static Loops loops_for(int kernel, int wide) {
    Loops loops = {ones_narrow, put_levels_narrow, put_runs_narrow, 0, 0};
    if (wide) loops = (Loops){ones_wide, put_levels_wide, put_runs_wide, 0, 0};
#if EGRESS_X86
    if (kernel >= AVX2 && has_avx2()) {
        loops = (Loops){ones_narrow_avx2, put_levels_narrow_avx2, put_runs_narrow_avx2, 0, 0};
        if (wide) loops = (Loops){ones_wide_avx2, put_levels_wide_avx2, put_runs_wide_avx2, 0, 0};
    }
    loops.avx512 = kernel >= AVX512 && has_avx512();
    loops.compress = loops.avx512 && has_compress();
#else
    (void)kernel;
#endif
    return loops;
}

/* Whether every level has an entry. */
static int all_coded(const Coder *coder, const void *levels, int wide, size_t count) {
    uint32_t most = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t symbol = symbol_of_level(level_at(levels, wide, i));
        if (symbol > most) most = symbol;
    }
    return !most || level_entry(coder, level_of_symbol(most));
}

/* Write a payload at `at`, of about `expected` words; returns its length in bits, 0 if it cannot
   be written. */
static size_t put_payload(Coder *coder, Loops loops, const void *levels, int wide, size_t count,
                          uint8_t *at, size_t expected) {
    Writer w = {0, 0, at};
    uint32_t reach = loops.ones(levels, count), longest;
    if (reach > (wide ? 32767u : 127u)) return 0;
    reach = reach ? (2u << top_bit(reach)) - 1 : 0;
    longest = longest_of(coder, reach);
    if (!longest) { /* the reach is but a bound */
        if (!all_coded(coder, levels, wide, count)) return 0;
        longest = coder->mode == RAW ? coder->width : WINDOW_BITS;
    }
    coder_extend(coder, reach);
    (void)expected;
#if EGRESS_X86
    if (loops.avx512 && reach < 128 && longest <= 16) {
        if (!has_runs(coder))
            put_levels_avx512(&w, coder, levels, wide, count, reach, expected);
        else if (!(loops.compress && 2 * 32 * expected > count
                       ? put_runs_avx512(&w, coder, levels, wide, count)
                       : loops.runs(&w, coder, levels, count, longest)))
            return 0;
    } else
#endif
    if (!has_runs(coder))
        loops.levels(&w, coder->table, levels, count, longest);
    else if (!loops.runs(&w, coder, levels, count, longest))
        return 0;
    store_be64(w.at, w.acc);
    return 8 * (size_t)(w.at - at) + (size_t)w.bits;
}

static int64_t put_segments(const EncodeJob *job, Coder *coders, uint8_t *scratch) {
    const uint8_t *levels = job->levels;
    int wide = job->level_bits == 16;
    Loops loops = loops_for(job->kernel, wide);
    uint8_t *out = job->out;
    size_t left = job->weights, room = job->room;
    for (size_t i = 0; i < job->segments; i++) {
        size_t words, bits, size, count = (size_t)job->counts[i];
        uint64_t number = job->first + i;
        Coder *coder;
        uint16_t crc;
        if (job->counts[i] < 1 || job->counts[i] > MAX_COUNT || count > left ||
            job->choice[i] < 0 || (uint64_t)job->choice[i] >= job->settings_count)
            return BAD_CALL;
        coder = coders + job->choice[i];
        if (job->words[i] < 1 || job->words[i] > MAX_WORDS) return (int64_t)number;
        words = (size_t)job->words[i];
        bits = put_payload(coder, loops, levels, wide, count, scratch + 4, words);
        if (!bits || (bits + 31) / 32 != words) return (int64_t)number;
        size = 4 * words + 4;
        if (size > room) return BAD_CALL;
        scratch[0] = (uint8_t)((size_t)job->choice[i] << 6 | words >> 8);
        scratch[1] = (uint8_t)words;
        scratch[2] = (uint8_t)(number >> 8);
        scratch[3] = (uint8_t)number;
        crc = crc16(scratch, size, 0xFFFF);
        scratch[2] = (uint8_t)(crc >> 8);
        scratch[3] = (uint8_t)crc;
        memcpy(out, scratch, size);
        out += size;
        room -= size;
        levels += count << wide;
        left -= count;
    }
    return left || room ? BAD_CALL : ENCODED;
}

int64_t encode_segments(const EncodeJob *job) {
    Coder *coders;
    uint8_t *scratch;
    size_t largest = 0;
    int64_t status = ENCODED;
    if ((job->level_bits != 8 && job->level_bits != 16) || job->settings_count < 1 ||
        job->settings_count > MAX_SETTINGS)
        return BAD_CALL;
    for (size_t i = 0; i < job->segments; i++)
        if (job->counts[i] > (int64_t)largest && job->counts[i] <= MAX_COUNT)
            largest = (size_t)job->counts[i];
    /* A level becomes at most 32 bits of a run and 32 of its own; a store goes 8 bytes on. */
    scratch = malloc(8 * largest + 32);
    coders = calloc(job->settings_count, sizeof *coders);
    if (!scratch || !coders) status = NO_MEMORY;
    for (size_t i = 0; status == ENCODED && i < job->settings_count; i++)
        status = coder_build(coders + i, job->settings[i], job->level_bits);
    if (status == ENCODED) status = put_segments(job, coders, scratch);
    for (size_t i = 0; coders && i < job->settings_count; i++) free(coders[i].memory);
    free(coders);
    free(scratch);
    return status;
}
