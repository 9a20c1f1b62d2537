/* Segments with AVX-512: 64 levels at a time are looked up in registers, and their codewords put
   together in the lanes of vectors, two by two. Codewords are numbers here: their leading zeros
   follow from their lengths. In the run modes, the levels that are not zero are moved together
   first, and each becomes two codewords, its run's and its own. */
#include "encode_parts.h"

#if EGRESS_X86
#include <immintrin.h>

#define FEATURES "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,bmi,bmi2,popcnt"
#define AVX512_ENCODE __attribute__((target(FEATURES)))

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
} Groups;

AVX512_ENCODE INLINE void write_queue(Writer *to, const Groups *queue, size_t count, int pairs) {
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

AVX512_ENCODE static NOINLINE void write_all(Writer *to, const Groups *queue, size_t count) {
    write_queue(to, queue, count, 0);
}

AVX512_ENCODE static NOINLINE void write_pairs(Writer *to, const Groups *queue, size_t count) {
    write_queue(to, queue, count, 1);
}

AVX512_ENCODE INLINE size_t queue_words(Groups *queue, size_t at, Words words) {
    _mm512_storeu_si512(queue->value + at, words.value);
    _mm512_storeu_si512(queue->length + at, words.length);
    return at + 8;
}

/* Queue levels one by one. */
AVX512_ENCODE static NOINLINE size_t queue_ones(Groups *queue, size_t at, const Coder *coder,
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
AVX512_ENCODE INLINE size_t queue_eights(Groups *queue, size_t at, Found x, int has_high) {
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
AVX512_ENCODE INLINE size_t queue_fours(Groups *queue, size_t at, Found x, int has_high) {
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
    Groups queue;
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

#define MANY(name, wide, few, has_high, expected)                                          \
    AVX512_ENCODE static NOINLINE void name(Writer *to, const Coder *coder,                \
                                            const void *levels, size_t count) {            \
        put_many(to, coder, levels, wide, count, few, has_high, expected);                 \
    }
#define MANY_OF_WIDTH(name, wide)           \
    MANY(name##_few, wide, 1, 0, SHORT)     \
    MANY(name##_short, wide, 0, 1, SHORT)   \
    MANY(name##_middle, wide, 0, 1, MIDDLE) \
    MANY(name##_long, wide, 0, 0, LONG)     \
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

/* ---- run modes ---- */

#define VBMI2_ENCODE __attribute__((target(FEATURES ",avx512vbmi2")))

int has_compress(void) { return __builtin_cpu_supports("avx512vbmi2"); }

/* Runs and the levels that end them, in order. */
typedef struct {
    uint8_t run[BATCH], level[BATCH]; /* run: twice its zeros, plus 1 before a magnitude above 1 */
    size_t count;
} Events;

/* Queue events one by one. */
VBMI2_ENCODE static NOINLINE size_t queue_events(Groups *queue, size_t at, const Coder *coder,
                                                 const Events *events, size_t first, size_t end) {
    for (size_t i = first; i < end; i++, at++) {
        Entry run = coder->runs[events->run[i]], level = coder->table[(int8_t)events->level[i]];
        uint64_t bits = 0;
        Entry group = 0;
        add(&group, &bits, run);
        add(&group, &bits, level);
        queue->length[at] = bits & 63;
        queue->value[at] = group >> (64 - (bits & 63));
    }
    return at;
}

/* Bytes of 32 runs and of 32 levels, in turn. */
VBMI2_ENCODE INLINE __m512i in_turn(__m512i run, __m512i level, int half) {
    __m256i r = half ? _mm512_extracti64x4_epi64(run, 1) : _mm512_castsi512_si256(run);
    __m256i l = half ? _mm512_extracti64x4_epi64(level, 1) : _mm512_castsi512_si256(level);
    return _mm512_or_si512(_mm512_cvtepu8_epi16(r),
                           _mm512_slli_epi16(_mm512_cvtepu8_epi16(l), 8));
}

VBMI2_ENCODE static NOINLINE void write_events(Writer *to, const Coder *coder, Events *events) {
    const Bytes lengths = load_bytes(coder->lengths), low = load_bytes(coder->low);
    const Bytes high = load_bytes(coder->high);
    const uint8_t *tables[3] = {coder->run_lengths, coder->run_low, coder->run_high};
    __m512i of_run[3][2];
    Groups queue;
    size_t queued = 0, count = events->count;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++) of_run[i][j] = _mm512_loadu_si512(tables[i] + 64 * j);
    for (size_t i = 0; i < count; i += 64) {
        size_t here = count - i < 64 ? count - i : 64;
        __mmask64 some = ~(uint64_t)0 >> (64 - here);
        __m512i run = _mm512_loadu_si512(events->run + i);
        __m512i level = _mm512_loadu_si512(events->level + i);
        __m512i r[3], l[3];
        for (int j = 0; j < 3; j++)
            r[j] = _mm512_maskz_permutex2var_epi8(some, of_run[j][0], run, of_run[j][1]);
        l[0] = _mm512_maskz_mov_epi8(some, look_up(&lengths, level, 0));
        l[1] = _mm512_maskz_mov_epi8(some, look_up(&low, level, 0));
        l[2] = _mm512_maskz_mov_epi8(some, look_up(&high, level, 0));
        for (size_t half = 0; half < 2 && here > 32 * half; half++) {
            size_t most = here - 32 * half < 32 ? here - 32 * half : 32, before = queued;
            Found found = {in_turn(r[1], l[1], half == 1), in_turn(r[2], l[2], half == 1),
                           in_turn(r[0], l[0], half == 1)};
            /* The last vector may be in use in part only. */
            queued = queue_eights(&queue, queued, found, 1);
            if (queued != before) {
                queued = before + (most + 3) / 4;
                continue;
            }
            queued = queue_fours(&queue, queued, found, 1);
            if (queued != before)
                queued = before + (most + 1) / 2;
            else
                queued = queue_events(&queue, queued, coder, events, i + 32 * half,
                                      i + 32 * half + most);
        }
    }
    write_pairs(to, &queue, queued);
    events->count = 0;
}

/* Write a block's events one by one; 0 if one cannot be. */
VBMI2_ENCODE static NOINLINE int write_block(Writer *to, const Coder *coder, const void *levels,
                                             int wide, size_t block, uint64_t mask, size_t zeros) {
    for (int last = -1; mask; mask &= mask - 1) {
        int at = low_bit(mask);
        int32_t level = level_at(levels, wide, block + (size_t)at);
        zeros += (size_t)(at - last - 1);
        if (!put_run(to, coder, zeros, level < -1 || level > 1, 1)) return 0;
        put(to, coder->table[level], coder->table[level]);
        zeros = 0;
        last = at;
    }
    return 1;
}

VBMI2_ENCODE INLINE int put_vectors(Writer *to, const Coder *coder, const void *levels, int wide,
                                    size_t count) {
    const __m512i one = _mm512_set1_epi8(1), two = _mm512_set1_epi8(2);
    const __m512i limit = _mm512_set1_epi8((char)coder->short_runs);
    __m512i place, before;
    Events events;
    size_t zeros = 0; /* before the block */
    uint8_t bytes[64];
    for (int i = 0; i < 64; i++) bytes[i] = (uint8_t)i;
    place = _mm512_loadu_si512(bytes);
    before = _mm512_sub_epi8(place, one);
    events.count = 0;
    for (size_t block = 0; block < count; block += 64) {
        __mmask64 here = count - block < 64 ? ~(uint64_t)0 >> (64 - (count - block)) : ~(uint64_t)0;
        __m512i x, at, level, run;
        __mmask64 mask, used;
        size_t first;
        if (wide) {
            const int16_t *p = (const int16_t *)levels + block;
            __m512i a = _mm512_maskz_loadu_epi16((__mmask32)here, p);
            __m512i b = _mm512_maskz_loadu_epi16((__mmask32)(here >> 32), p + 32);
            x = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(a)),
                                   _mm512_cvtepi16_epi8(b), 1);
        } else {
            x = _mm512_maskz_loadu_epi8(here, (const int8_t *)levels + block);
        }
        mask = _mm512_test_epi8_mask(x, x);
        if (!mask) {
            zeros += 64;
            continue;
        }
        first = zeros + (size_t)low_bit(mask);
        used = ~(uint64_t)0 >> (64 - __builtin_popcountll(mask));
        at = _mm512_maskz_compress_epi8(mask, place);
        level = _mm512_maskz_compress_epi8(mask, x);
        /* What is before the first is as far from it as the run says. */
        run = _mm512_mask_blend_epi8(1, _mm512_permutexvar_epi8(before, at),
                                     _mm512_set1_epi8((char)(-1 - (int)(zeros & 127))));
        run = _mm512_sub_epi8(_mm512_sub_epi8(at, run), one);
        if (UNLIKELY(first >= coder->short_runs ||
                     _mm512_mask_cmpge_epu8_mask(used, run, limit))) {
            write_events(to, coder, &events);
            if (!write_block(to, coder, levels, wide, block, mask, zeros)) return 0;
        } else {
            run = _mm512_add_epi8(run, run);
            run = _mm512_mask_add_epi8(
                run, _mm512_cmpgt_epu8_mask(_mm512_add_epi8(level, one), two), run, one);
            _mm512_storeu_si512(events.run + events.count, run);
            _mm512_storeu_si512(events.level + events.count, level);
            events.count += (size_t)__builtin_popcountll(mask);
            if (events.count > BATCH - 64) write_events(to, coder, &events);
        }
        zeros = 63 - (size_t)top_bit(mask);
    }
    write_events(to, coder, &events);
    /* Of the last block, what is beyond the segment was counted too. */
    zeros -= (64 - count % 64) % 64;
    return put_run(to, coder, zeros, 0, 0);
}

VBMI2_ENCODE static NOINLINE int put_vectors_narrow(Writer *to, const Coder *coder,
                                                    const void *levels, size_t count) {
    return put_vectors(to, coder, levels, 0, count);
}

VBMI2_ENCODE static NOINLINE int put_vectors_wide(Writer *to, const Coder *coder,
                                                  const void *levels, size_t count) {
    return put_vectors(to, coder, levels, 1, count);
}

int put_runs_avx512(Writer *to, const Coder *coder, const void *levels, int wide, size_t count) {
    return (wide ? put_vectors_wide : put_vectors_narrow)(to, coder, levels, count);
}
#else
typedef int nothing; /* a translation unit must not be empty */
#endif
