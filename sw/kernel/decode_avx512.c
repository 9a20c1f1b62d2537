/* Plain mode for levels of 8 bits, 32 segments at once: one in each 32-bit part of two vectors. (One
   vector would do; two let the processor work at one while it waits for the other.)

   A part holds 64 bits of its segment in two halves, `high` and `low`; of them 57 or more count. A
   round reads them anew and decodes eight codewords, or four twice. Where some segment's codewords
   are longer than what was read, which is rare, the round is done again in careful steps. Symbols
   are packed as they come, and become levels eight by eight. */
#include "kernel.h"

#if EGRESS_X86
#include <immintrin.h>

#define TARGET                                                                              \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512cd,avx512vbmi,avx512vbmi2," \
                          "avx2,bmi,bmi2,lzcnt")))

/* TOO_LONG is above WINDOW, and four times it is no more than can be read from a lane's `safe`. */
enum { PARTS = 16, MANY = 32, WINDOW = 57, TOO_LONG = 64 };

typedef struct {
    __m512i length;      /* by leading zeros, and 32 more if the bit after the first one is set */
    __m512i add0, add1;  /* by leading zeros, below 16 and from 16 on */
} Tables;

typedef struct {
    __m512i base0, base1; /* first byte of each payload, lanes 0..7 and 8..15 */
    __m512i at;           /* bit in the payload */
    __m512i high, low;
    __m512i used;         /* bits decoded since they were read */
    __m512i largest;      /* symbol so far */
} State;

TARGET static Tables tables_of(const Code *code) {
    uint8_t length[64];
    int32_t add[32];
    Tables tables;
    for (int z = 0; z < 32; z++) {
        for (int next = 0; next < 2; next++) {
            int index = 2 * (63 - z) + next;
            int none = code->add[index] >= 1 << 28;
            /* Without half classes the bit is not looked at, and 32 stands for 32 zeros. */
            length[z + 32 * next] = none || (next && !code->half) ? TOO_LONG : code->length[index];
            if (!next || !none) add[z] = code->add[index];
        }
    }
    tables.length = _mm512_loadu_si512(length);
    tables.add0 = _mm512_loadu_si512(add);
    tables.add1 = _mm512_loadu_si512(add + 16);
    return tables;
}

/* The eight bytes at each of eight addresses: quicker than a gather. */
TARGET INLINE __m512i eight_of(__m512i addresses) {
    const uint8_t *p[8];
    long long x[8];
    _mm512_storeu_si512(p, addresses);
    for (int i = 0; i < 8; i++) memcpy(x + i, p[i], 8);
    return _mm512_set_epi64(x[7], x[6], x[5], x[4], x[3], x[2], x[1], x[0]);
}

TARGET INLINE void fetch(State *state) {
    const __m512i swap = _mm512_broadcast_i32x4(
        _mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    __m512i byte, shift, w0, w1, high, low;
    state->at = _mm512_add_epi32(state->at, state->used);
    state->used = _mm512_setzero_si512();
    byte = _mm512_srli_epi32(state->at, 3);
    shift = _mm512_and_si512(state->at, _mm512_set1_epi32(7));
    w0 = eight_of(
        _mm512_add_epi64(state->base0, _mm512_cvtepu32_epi64(_mm512_castsi512_si256(byte))));
    w1 = eight_of(
        _mm512_add_epi64(state->base1, _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(byte, 1))));
    w0 = _mm512_shuffle_epi8(w0, swap);
    w1 = _mm512_shuffle_epi8(w1, swap);
    high = _mm512_permutex2var_epi32(w0, odd, w1);
    low = _mm512_permutex2var_epi32(w0, even, w1);
    state->high = _mm512_shldv_epi32(high, low, shift);
    state->low = _mm512_sllv_epi32(low, shift);
}

/* One codeword of each; its symbol becomes the highest byte of `packed`. */
TARGET INLINE __m512i step(State *state, const Tables *tables, __m512i packed, int half) {
    __m512i zeros, index, length, symbol;
    if (half) {
        zeros = _mm512_lzcnt_epi32(_mm512_or_si512(state->high, _mm512_set1_epi32(1)));
        /* Bit 30 of what begins with the first one, as bit 5. */
        index = _mm512_srli_epi32(_mm512_sllv_epi32(state->high, zeros), 25);
        index = _mm512_ternarylogic_epi32(index, _mm512_set1_epi32(32), zeros, 0xEA); /* a&b | c */
    } else {
        zeros = _mm512_lzcnt_epi32(state->high);
        index = zeros; /* 32 zeros are TOO_LONG too */
    }
    length = _mm512_maskz_permutexvar_epi8(0x1111111111111111, index, tables->length);
    symbol = _mm512_shldv_epi32(_mm512_setzero_si512(), state->high, length);
    symbol = _mm512_add_epi32(symbol, _mm512_permutex2var_epi32(tables->add0, zeros, tables->add1));
    state->largest = _mm512_max_epu32(state->largest, symbol);
    state->used = _mm512_add_epi32(state->used, length);
    state->high = _mm512_shldv_epi32(state->high, state->low, length);
    state->low = _mm512_sllv_epi32(state->low, length);
    return _mm512_shrdi_epi32(packed, symbol, 8);
}

/* Symbols, bytes, to levels: half of symbol + 1, negative if it was even. */
TARGET INLINE __m512i levels_of(__m512i symbols) {
    const __m512i zero = _mm512_setzero_si512();
    __mmask64 odd = _mm512_test_epi8_mask(symbols, _mm512_set1_epi8(1));
    __m512i half = _mm512_avg_epu8(symbols, zero);
    return _mm512_mask_sub_epi8(half, _knot_mask64(odd), zero, half);
}

TARGET INLINE int overran(const State *state) {
    return _mm512_cmpgt_epu32_mask(state->used, _mm512_set1_epi32(WINDOW)) != 0;
}

TARGET INLINE void go_back(State *state, __m512i at, __m512i largest) {
    state->at = at;
    state->used = _mm512_setzero_si512();
    state->largest = largest;
}

/* Eight codewords, `each` of them of one window. 0 if one of them is not allowed. */
TARGET INLINE int careful(State *state, const Tables *tables, __m512i *packed, int half, int each) {
    for (int i = 0; i < 8; i++) {
        if (i % each == 0) fetch(state);
        packed[i / 4] = step(state, tables, packed[i / 4], half);
        if (overran(state)) return 0;
    }
    return 1;
}

TARGET INLINE State begin(const Lane *lanes, __m512i *bound) {
    State state;
    uint64_t base[PARTS];
    uint32_t at[PARTS], safe[PARTS];
    for (int l = 0; l < PARTS; l++) {
        base[l] = (uint64_t)(uintptr_t)lanes[l].payload;
        at[l] = (uint32_t)(lanes[l].at - lanes[l].start);
        safe[l] = (uint32_t)(lanes[l].safe - lanes[l].start);
    }
    state.base0 = _mm512_loadu_si512(base);
    state.base1 = _mm512_loadu_si512(base + 8);
    state.at = _mm512_loadu_si512(at);
    state.used = state.largest = _mm512_setzero_si512();
    *bound = _mm512_loadu_si512(safe);
    return state;
}

TARGET INLINE void end(const Setting *setting, const State *state, uint8_t *const *out,
                       size_t offset, Lane *lanes) {
    uint32_t at[PARTS], largest[PARTS];
    _mm512_storeu_si512(at, _mm512_add_epi32(state->at, state->used));
    _mm512_storeu_si512(largest, state->largest);
    for (int l = 0; l < PARTS; l++) {
        lanes[l].at = lanes[l].start + at[l];
        lanes[l].out = out[l] + offset;
        lanes[l].suspect |= largest[l] > setting->max_symbol;
    }
}

/* Eight levels of each lane to where they go. */
TARGET INLINE void put(const __m512i *packed, uint8_t *const *out, size_t offset, uint8_t *levels) {
    _mm512_store_si512(levels, levels_of(_mm512_unpacklo_epi32(packed[0], packed[1])));
    _mm512_store_si512(levels + 64, levels_of(_mm512_unpackhi_epi32(packed[0], packed[1])));
    /* Lanes 0, 1, 4, 5, 8, 9, 12, 13 are in the first vector, the others in the second. */
    for (int l = 0; l < PARTS; l++)
        memcpy(out[l] + offset, levels + (l & 2 ? 64 : 0) + 16 * (l / 4) + 8 * (l & 1), 8);
}

/* As many rounds as all lanes have room for; 0 if a codeword stopped them. */
TARGET INLINE int rounds_of(const Setting *setting, Lane *lanes, int64_t rounds, int high_rate,
                            int half, int64_t *repeated) {
    Tables tables = tables_of(&setting->first);
    int each = setting->first.longest <= 28 ? 2 : 1;
    __m512i bound0, bound1;
    State state0 = begin(lanes, &bound0), state1 = begin(lanes + PARTS, &bound1);
    uint8_t *out[MANY];
    _Alignas(64) uint8_t levels[256];
    size_t offset = 0;
    int whole = 1;
    for (int l = 0; l < MANY; l++) out[l] = lanes[l].out;
    for (; rounds > 0; rounds--) {
        __m512i packed0[2], packed1[2], at0, at1, largest0 = state0.largest, largest1 = state1.largest;
        packed0[0] = packed0[1] = packed1[0] = packed1[1] = _mm512_setzero_si512();
        fetch(&state0);
        fetch(&state1);
        if (_mm512_cmpgt_epu32_mask(state0.at, bound0) | _mm512_cmpgt_epu32_mask(state1.at, bound1))
            break;
        at0 = state0.at;
        at1 = state1.at;
        for (int i = 0; i < 4; i++) {
            packed0[0] = step(&state0, &tables, packed0[0], half);
            packed1[0] = step(&state1, &tables, packed1[0], half);
        }
        if (high_rate) {
            whole = !overran(&state0) && !overran(&state1);
            fetch(&state0);
            fetch(&state1);
        }
        for (int i = 0; i < 4; i++) {
            packed0[1] = step(&state0, &tables, packed0[1], half);
            packed1[1] = step(&state1, &tables, packed1[1], half);
        }
        whole &= !overran(&state0) && !overran(&state1);
        if (UNLIKELY(!whole)) {
            ++*repeated;
            go_back(&state0, at0, largest0);
            go_back(&state1, at1, largest1);
            whole = careful(&state0, &tables, packed0, half, each) &&
                    careful(&state1, &tables, packed1, half, each);
            if (!whole) {
                go_back(&state0, at0, largest0);
                go_back(&state1, at1, largest1);
                break;
            }
        }
        put(packed0, out, offset, levels);
        put(packed1, out + PARTS, offset, levels + 128);
        offset += 8;
    }
    end(setting, &state0, out, offset, lanes);
    end(setting, &state1, out + PARTS, offset, lanes + PARTS);
    return whole;
}

TARGET int avx512_rounds(const Setting *setting, Lane *lanes, int64_t rounds, int *high_rate) {
    int64_t repeated = 0;
    int whole;
    if (setting->first.half)
        whole = *high_rate ? rounds_of(setting, lanes, rounds, 1, 1, &repeated)
                           : rounds_of(setting, lanes, rounds, 0, 1, &repeated);
    else
        whole = *high_rate ? rounds_of(setting, lanes, rounds, 1, 0, &repeated)
                           : rounds_of(setting, lanes, rounds, 0, 0, &repeated);
    *high_rate |= repeated > 4 + rounds / 16;
    return whole;
}
#endif
