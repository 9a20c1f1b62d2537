/* Reading levels, eight or sixteen bits wide: shared by the encoder and the statistics. */
#ifndef EGRESS_LEVELS_H
#define EGRESS_LEVELS_H

#include "kernel.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define EGRESS_SSE2 1
#else
#define EGRESS_SSE2 0
#endif

INLINE int32_t level_at(const void *levels, int wide, size_t index) {
    return wide ? ((const int16_t *)levels)[index] : ((const int8_t *)levels)[index];
}

/* Symbol of a level (FORMAT.md, section 3). */
INLINE uint32_t symbol_of_level(int32_t level) {
    return (uint32_t)(-2 * level) ^ (uint32_t)-(level > 0); /* no branch */
}

/* Place of the lowest one of x, which is not 0. */
INLINE int low_bit(uint64_t x) {
#if defined(__GNUC__)
    return __builtin_ctzll(x);
#else
    return top_bit(x & (0 - x));
#endif
}

/* A bit for each of 64 levels from `index` on, the first lowest: is its magnitude above `than`,
   which is 0 or 1? */
INLINE uint64_t above64(const void *levels, int wide, size_t index, int than) {
    uint64_t within = 0;
#if EGRESS_SSE2
    const __m128i none = _mm_setzero_si128();
    for (int i = 0; i < 4; i++) {
        __m128i equal;
        if (wide) {
            const __m128i *p = (const __m128i *)((const int16_t *)levels + index) + 2 * i;
            __m128i a = _mm_loadu_si128(p), b = _mm_loadu_si128(p + 1);
            if (than) { /* -1, 0, 1 become 0, 1, 2, and those become 0 */
                a = _mm_subs_epu16(_mm_add_epi16(a, _mm_set1_epi16(1)), _mm_set1_epi16(2));
                b = _mm_subs_epu16(_mm_add_epi16(b, _mm_set1_epi16(1)), _mm_set1_epi16(2));
            }
            equal = _mm_packs_epi16(_mm_cmpeq_epi16(a, none), _mm_cmpeq_epi16(b, none));
        } else {
            const __m128i *p = (const __m128i *)((const int8_t *)levels + index) + i;
            __m128i a = _mm_loadu_si128(p);
            if (than) a = _mm_subs_epu8(_mm_add_epi8(a, _mm_set1_epi8(1)), _mm_set1_epi8(2));
            equal = _mm_cmpeq_epi8(a, none);
        }
        within |= (uint64_t)(uint32_t)_mm_movemask_epi8(equal) << 16 * i;
    }
#else
    for (int i = 0; i < 64; i++) {
        int32_t level = level_at(levels, wide, index + (size_t)i);
        within |= (uint64_t)(level >= -than && level <= than) << i;
    }
#endif
    return ~within;
}

/* The same of the levels from `index` to before `count`, at most 64; other bits are 0. */
INLINE uint64_t above(const void *levels, int wide, size_t index, size_t count, int than) {
    uint64_t bits = 0;
    if (LIKELY(count - index >= 64)) return above64(levels, wide, index, than);
    for (size_t i = index; i < count; i++) {
        int32_t level = level_at(levels, wide, i);
        bits |= (uint64_t)(level < -than || level > than) << (i - index);
    }
    return bits;
}

#endif
