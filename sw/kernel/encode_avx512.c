/* Plain and raw segments with AVX-512: 64 levels at a time, codewords put together in the lanes of
   vectors, two by two. Codewords are numbers here, and their leading zeros follow from lengths. */
#include "encode_parts.h"

#if EGRESS_X86
#include <immintrin.h>

#define AVX512_ENCODE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,bmi,bmi2")))

/* Tables of 256 bytes, by level. */
typedef struct {
    __m512i low[4];
} Bytes;

AVX512_ENCODE INLINE Bytes load_bytes(const uint8_t *table) {
    Bytes bytes;
    for (int i = 0; i < 4; i++) bytes.low[i] = _mm512_loadu_si512(table + 64 * i);
    return bytes;
}

/* Bytes of 64 levels; `few`: they are within -64..63. */
AVX512_ENCODE INLINE __m512i look_up(const Bytes *bytes, __m512i levels, int few) {
    __m512i positive, negative;
    if (few) return _mm512_permutex2var_epi8(bytes->low[0], levels, bytes->low[3]);
    positive = _mm512_permutex2var_epi8(bytes->low[0], levels, bytes->low[1]);
    negative = _mm512_permutex2var_epi8(bytes->low[2], levels, bytes->low[3]);
    return _mm512_mask_mov_epi8(positive, _mm512_movepi8_mask(levels), negative);
}

/* Codewords and their lengths, in lanes. */
typedef struct {
    __m512i value, length;
} Words;

/* From lanes of `bits` to lanes of twice as many. */
AVX512_ENCODE INLINE Words join16(__m512i even, __m512i odd, __m512i length) {
    const __m512i low = _mm512_set1_epi16(0xFF);
    __m512i after = _mm512_srli_epi16(length, 8);
    Words words = {_mm512_or_si512(_mm512_sllv_epi16(even, after), odd),
                   _mm512_add_epi16(_mm512_and_si512(length, low), after)};
    return words;
}

AVX512_ENCODE INLINE Words join32(Words x) {
    const __m512i low = _mm512_set1_epi32(0xFFFF);
    __m512i after = _mm512_srli_epi32(x.length, 16);
    Words words = {
        _mm512_or_si512(_mm512_sllv_epi32(_mm512_and_si512(x.value, low), after),
                        _mm512_srli_epi32(x.value, 16)),
        _mm512_add_epi32(_mm512_and_si512(x.length, low), after)};
    return words;
}

AVX512_ENCODE INLINE Words join64(Words x) {
    const __m512i low = _mm512_set1_epi64(0xFFFFFFFF);
    __m512i after = _mm512_srli_epi64(x.length, 32);
    Words words = {
        _mm512_or_si512(_mm512_sllv_epi64(_mm512_and_si512(x.value, low), after),
                        _mm512_srli_epi64(x.value, 32)),
        _mm512_add_epi64(_mm512_and_si512(x.length, low), after)};
    return words;
}

/* Write a number of 1..GROUP_BITS bits. */
AVX512_ENCODE INLINE void put_number(Writer *to, uint64_t value, uint64_t bits) {
    uint64_t all = to->bits + bits;
    uint64_t acc = to->acc | value << (64 - all);
    store_be64(to->at, acc);
    to->at += all >> 3;
    to->acc = acc << (all & 56);
    to->bits = all & 7;
}

AVX512_ENCODE INLINE int any_above64(__m512i length, int most) {
    return _mm512_cmpgt_epi64_mask(length, _mm512_set1_epi64(most)) != 0;
}

AVX512_ENCODE INLINE void put_lanes(Writer *to, Words words) {
    uint64_t value[8], length[8];
    _mm512_storeu_si512(value, words.value);
    _mm512_storeu_si512(length, words.length);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) put_number(to, value[i], length[i]);
}

/* Write 64 levels; 0 if codewords of several exceed what is put together. */
AVX512_ENCODE INLINE int put_64(Writer *to, __m512i levels, const Bytes *lengths, const Bytes *low,
                                const Bytes *high, int few, int has_high) {
    const __m512i byte = _mm512_set1_epi16(0xFF);
    __m512i length = look_up(lengths, levels, few), value = look_up(low, levels, few), upper;
    __m512i even = _mm512_and_si512(value, byte), odd = _mm512_srli_epi16(value, 8);
    Words words;
    upper = value;
    if (has_high) {
        upper = look_up(high, levels, few);
        even = _mm512_or_si512(even, _mm512_slli_epi16(upper, 8));
        odd = _mm512_or_si512(odd, _mm512_andnot_si512(byte, upper));
    }
    words = join16(even, odd, length);
    if (LIKELY(!_mm512_cmpgt_epi16_mask(words.length, _mm512_set1_epi16(16)))) {
        Words four = join32(words), eight = join64(four);
        if (LIKELY(!any_above64(eight.length, GROUP_BITS))) {
            uint64_t v[8], n[8];
            _mm512_storeu_si512(v, eight.value);
            _mm512_storeu_si512(n, eight.length);
#pragma GCC unroll 4
            for (int i = 0; i < 8; i += 2) {
                if (n[i] + n[i + 1] <= GROUP_BITS) {
                    put_number(to, v[i] << n[i + 1] | v[i + 1], n[i] + n[i + 1]);
                } else {
                    put_number(to, v[i], n[i]);
                    put_number(to, v[i + 1], n[i + 1]);
                }
            }
        } else {
            uint32_t v[16], n[16];
            _mm512_storeu_si512(v, four.value);
            _mm512_storeu_si512(n, four.length);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) put_number(to, v[i], n[i]);
        }
        return 1;
    }
    /* Four codewords a lane. */
    Words halves[2];
    for (int i = 0; i < 2; i++) {
        __m256i n = i ? _mm512_extracti64x4_epi64(length, 1) : _mm512_castsi512_si256(length);
        __m256i v = i ? _mm512_extracti64x4_epi64(value, 1) : _mm512_castsi512_si256(value);
        __m256i u = i ? _mm512_extracti64x4_epi64(upper, 1) : _mm512_castsi512_si256(upper);
        Words x = {_mm512_cvtepu8_epi16(v), _mm512_cvtepu8_epi16(n)};
        if (has_high)
            x.value = _mm512_or_si512(x.value, _mm512_slli_epi16(_mm512_cvtepu8_epi16(u), 8));
        halves[i] = join64(join32(x));
    }
    if (any_above64(_mm512_max_epi64(halves[0].length, halves[1].length), GROUP_BITS)) return 0;
    put_lanes(to, halves[0]);
    put_lanes(to, halves[1]);
    return 1;
}

AVX512_ENCODE INLINE void put_many(Writer *to, const Coder *coder, const void *levels, int wide,
                                   size_t count, int few, int has_high) {
    const Bytes lengths = load_bytes(coder->lengths), low = load_bytes(coder->low);
    const Bytes high = load_bytes(coder->high);
    Writer w = *to;
    size_t i = 0;
    for (; i + 64 <= count; i += 64) {
        __m512i x;
        if (wide) {
            const int16_t *p = (const int16_t *)levels + i;
            x = _mm512_inserti64x4(
                _mm512_castsi256_si512(_mm512_cvtepi16_epi8(_mm512_loadu_si512(p))),
                _mm512_cvtepi16_epi8(_mm512_loadu_si512(p + 32)), 1);
        } else {
            x = _mm512_loadu_si512((const int8_t *)levels + i);
        }
        if (UNLIKELY(!put_64(&w, x, &lengths, &low, &high, few, has_high)))
            for (size_t j = i; j < i + 64; j++) {
                Entry entry = coder->table[level_at(levels, wide, j)];
                put(&w, entry, entry);
            }
    }
    for (; i < count; i++) {
        Entry entry = coder->table[level_at(levels, wide, i)];
        put(&w, entry, entry);
    }
    *to = w;
}

#define MANY(name, wide, few, has_high)                                                       \
    AVX512_ENCODE static NOINLINE void name(Writer *to, const Coder *coder, const void *levels, \
                                            size_t count) {                                   \
        put_many(to, coder, levels, wide, count, few, has_high);                              \
    }
MANY(narrow_few, 0, 1, 0)
MANY(narrow_few_high, 0, 1, 1)
MANY(narrow_all, 0, 0, 0)
MANY(narrow_all_high, 0, 0, 1)
MANY(wide_few, 1, 1, 0)
MANY(wide_few_high, 1, 1, 1)
MANY(wide_all, 1, 0, 0)
MANY(wide_all_high, 1, 0, 1)

void put_levels_avx512(Writer *to, const Coder *coder, const void *levels, int wide, size_t count,
                       uint32_t reach) {
    static void (*const by[2][2][2])(Writer *, const Coder *, const void *, size_t) = {
        {{narrow_all, narrow_all_high}, {narrow_few, narrow_few_high}},
        {{wide_all, wide_all_high}, {wide_few, wide_few_high}}};
    by[wide][reach < 64][coder->has_high](to, coder, levels, count);
}
#else
typedef int nothing; /* a translation unit must not be empty */
#endif
