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

/* What to expect of codewords: eight fit a group; four do, and mostly eight; four do. */
enum { SHORT, MIDDLE, LONG };

/* Levels that are looked up before any of them is written: the processor works at many blocks of
   64 at once while it looks up, and the writing, which is serial, does not wait for it. */
enum { BATCH = 512 };

/* Groups of codewords to be written: numbers of 1..GROUP_BITS bits, and how many those are. */
typedef struct {
    uint64_t value[BATCH], length[BATCH];
} Queue512;

AVX512_ENCODE INLINE void write_queue(Writer *to, const Queue512 *queue, size_t count, int pairs) {
    Writer w = *to;
    const uint64_t *v = queue->value, *n = queue->length;
    size_t i = 0;
    for (; i + 2 <= count; i += 2) {
        if (pairs && LIKELY(n[i] + n[i + 1] <= GROUP_BITS)) {
            put_number(&w, v[i] << n[i + 1] | v[i + 1], n[i] + n[i + 1]);
        } else {
            put_number(&w, v[i], n[i]);
            put_number(&w, v[i + 1], n[i + 1]);
        }
    }
    if (i < count) put_number(&w, v[i], n[i]);
    *to = w;
}

AVX512_ENCODE static NOINLINE void write_all(Writer *to, const Queue512 *queue, size_t count) {
    write_queue(to, queue, count, 0);
}

AVX512_ENCODE static NOINLINE void write_pairs(Writer *to, const Queue512 *queue, size_t count) {
    write_queue(to, queue, count, 1);
}

AVX512_ENCODE INLINE size_t queue_words(Queue512 *queue, size_t at, Words words) {
    _mm512_storeu_si512(queue->value + at, words.value);
    _mm512_storeu_si512(queue->length + at, words.length);
    return at + 8;
}

/* Queue levels one by one. */
AVX512_ENCODE static NOINLINE size_t queue_ones(Queue512 *queue, size_t at, const Coder *coder,
                                                const void *levels, int wide, size_t first,
                                                size_t end) {
    for (size_t i = first; i < end; i++, at++) {
        Entry entry = coder->table[level_at(levels, wide, i)];
        queue->length[at] = entry & ENTRY_LENGTH;
        queue->value[at] = entry >> (64 - (entry & ENTRY_LENGTH));
    }
    return at;
}

/* Codewords of 64 levels: the bytes of their numbers, and their lengths. */
typedef struct {
    __m512i low, high, length;
} Found;

/* Queue them, eight together; returns `at` if that exceeds a lane. */
AVX512_ENCODE INLINE size_t queue_eights(Queue512 *queue, size_t at, Found x, int has_high) {
    const __m512i byte = _mm512_set1_epi16(0xFF);
    __m512i even = _mm512_and_si512(x.low, byte), odd = _mm512_srli_epi16(x.low, 8);
    Words words;
    if (has_high) {
        even = _mm512_or_si512(even, _mm512_slli_epi16(x.high, 8));
        odd = _mm512_or_si512(odd, _mm512_andnot_si512(byte, x.high));
    }
    words = join16(even, odd, x.length);
    if (UNLIKELY(_mm512_cmpgt_epi16_mask(words.length, _mm512_set1_epi16(16)))) return at;
    words = join64(join32(words));
    if (UNLIKELY(any_above64(words.length, GROUP_BITS))) return at;
    return queue_words(queue, at, words);
}

/* Queue them, four together; returns `at` if that exceeds a group. */
AVX512_ENCODE INLINE size_t queue_fours(Queue512 *queue, size_t at, Found x, int has_high) {
    Words halves[2];
    for (int i = 0; i < 2; i++) {
        __m256i n = i ? _mm512_extracti64x4_epi64(x.length, 1) : _mm512_castsi512_si256(x.length);
        __m256i v = i ? _mm512_extracti64x4_epi64(x.low, 1) : _mm512_castsi512_si256(x.low);
        __m256i u = i ? _mm512_extracti64x4_epi64(x.high, 1) : _mm512_castsi512_si256(x.high);
        Words words = {_mm512_cvtepu8_epi16(v), _mm512_cvtepu8_epi16(n)};
        if (has_high)
            words.value =
                _mm512_or_si512(words.value, _mm512_slli_epi16(_mm512_cvtepu8_epi16(u), 8));
        halves[i] = join64(join32(words));
    }
    if (UNLIKELY(any_above64(_mm512_max_epi64(halves[0].length, halves[1].length), GROUP_BITS)))
        return at;
    return queue_words(queue, queue_words(queue, at, halves[0]), halves[1]);
}

AVX512_ENCODE INLINE void put_many(Writer *to, const Coder *coder, const void *levels, int wide,
                                   size_t count, int few, int has_high, int expected) {
    const Bytes lengths = load_bytes(coder->lengths), low = load_bytes(coder->low);
    const Bytes high = load_bytes(coder->high);
    Queue512 queue;
    size_t i = 0;
    while (i < count) {
        size_t end = count - i > BATCH ? i + BATCH : count, queued = 0;
        for (; i + 64 <= end; i += 64) {
            size_t before = queued;
            __m512i x;
            Found found;
            if (wide) {
                const int16_t *p = (const int16_t *)levels + i;
                x = _mm512_inserti64x4(
                    _mm512_castsi256_si512(_mm512_cvtepi16_epi8(_mm512_loadu_si512(p))),
                    _mm512_cvtepi16_epi8(_mm512_loadu_si512(p + 32)), 1);
            } else {
                x = _mm512_loadu_si512((const int8_t *)levels + i);
            }
            found.length = look_up(&lengths, x, few);
            found.low = look_up(&low, x, few);
            found.high = has_high ? look_up(&high, x, few) : x;
            if (expected == SHORT) queued = queue_eights(&queue, queued, found, has_high);
            if (queued == before) queued = queue_fours(&queue, queued, found, has_high);
            if (queued == before)
                queued = queue_ones(&queue, queued, coder, levels, wide, i, i + 64);
        }
        queued = queue_ones(&queue, queued, coder, levels, wide, i, end);
        i = end;
        (expected == LONG ? write_all : write_pairs)(to, &queue, queued);
    }
}

#define MANY(name, wide, few, has_high, expected)                                             \
    AVX512_ENCODE static NOINLINE void name(Writer *to, const Coder *coder, const void *levels, \
                                            size_t count) {                                   \
        put_many(to, coder, levels, wide, count, few, has_high, expected);                    \
    }
#define MANY_OF_WIDTH(name, wide)        \
    MANY(name##_few, wide, 1, 0, SHORT)  \
    MANY(name##_short, wide, 0, 1, SHORT) \
    MANY(name##_middle, wide, 0, 1, MIDDLE) \
    MANY(name##_long, wide, 0, 0, LONG) \
    MANY(name##_long_high, wide, 0, 1, LONG)
MANY_OF_WIDTH(narrow, 0)
MANY_OF_WIDTH(wide, 1)

typedef void Write(Writer *, const Coder *, const void *, size_t);

void put_levels_avx512(Writer *to, const Coder *coder, const void *levels, int wide, size_t count,
                       uint32_t reach, size_t words) {
    size_t bits = 32 * words;
    Write *write;
    if (bits < 3 * count && reach < 64 && !coder->has_high)
        write = wide ? wide_few : narrow_few;
    else if (bits < 3 * count)
        write = wide ? wide_short : narrow_short;
    else if (bits < 5 * count)
        write = wide ? wide_middle : narrow_middle;
    else if (!coder->has_high)
        write = wide ? wide_long : narrow_long;
    else
        write = wide ? wide_long_high : narrow_long_high;
    write(to, coder, levels, count);
}
#else
typedef int nothing; /* a translation unit must not be empty */
#endif
