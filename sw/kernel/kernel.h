/* What the parts of the compiled kernel share. Words in capitals are those of FORMAT.md. */
#ifndef EGRESS_KERNEL_H
#define EGRESS_KERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define EGRESS_X86 1
#else
#define EGRESS_X86 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define LIKELY(x) (x)
#define UNLIKELY(x) (x)
#define INLINE static __forceinline
#define NOINLINE __declspec(noinline)
#define PREFETCH(p) ((void)0)
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#include <stdlib.h>
/* Places of the highest and the lowest one of x, which is not 0. */
INLINE int top_bit(uint64_t x) {
    unsigned long at;
    _BitScanReverse64(&at, x);
    return (int)at;
}
INLINE int lowest_one(uint64_t x) {
    unsigned long at;
    _BitScanForward64(&at, x);
    return (int)at;
}
#define SWAP32(x) _byteswap_ulong(x)
#define SWAP64(x) _byteswap_uint64(x)
#define LITTLE_ENDIAN_HOST 1
#else
INLINE int top_bit(uint64_t x) { return 63 ^ __builtin_clzll(x); }
INLINE int lowest_one(uint64_t x) { return __builtin_ctzll(x); }
#define SWAP32(x) __builtin_bswap32(x)
#define SWAP64(x) __builtin_bswap64(x)
#define LITTLE_ENDIAN_HOST (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#endif

INLINE uint32_t load_be32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, 4);
    return LITTLE_ENDIAN_HOST ? SWAP32(x) : x;
}

/* A product level x step, which is exact, rounded to nearest, ties to even: it is normal or 0. */
INLINE uint16_t bfloat16_of(float product) {
    uint32_t bits;
    memcpy(&bits, &product, 4);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

INLINE uint64_t load_be64(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return LITTLE_ENDIAN_HOST ? SWAP64(x) : x;
}

enum { MAX_SETTINGS = 4, RUN_LIMIT = 4096 };
enum { PLAIN = 0, ZERO_RUN = 1, JOINT = 2, RAW = 3 };

/* Which code decodes; the numbers are those of egress.kernels. */
enum { PORTABLE = 0, AVX2 = 1, AVX512 = 2 };

#if EGRESS_X86
/* ---- cpu.c ---- */
int has_avx2(void);
int has_avx512(void);
#endif

/* ---- crc.c ---- */

/* Fill the tables; called once, before anything else. */
void crc_setup(void);
/* CRC-16/IBM-3740 of n bytes, going on from value. */
uint16_t crc16(const uint8_t *p, size_t n, uint16_t value);
/* Whether the segment of this number, at p, of so many payload words, has the CRC it says. */
int crc_holds(const uint8_t *p, uint32_t words, uint64_t number);

/* ---- walk.c ---- */

/* Find the segments of a record of `size` bytes, the first at byte `at`: fill `start` (segments + 1 entries) with the byte
   of each header and the record's end, checking all of framing, and the CRCs too if `check`.
   Returns the number of the first segment that must be refused, `segments` if words follow the
   last, or DECODED. */
int64_t walk(const uint8_t *record, size_t size, uint64_t at, uint64_t segments, uint32_t buffer_words,
             uint32_t settings, int check, uint64_t *start);

/* ---- tables.c ---- */

enum { LOOK_BITS = 12, LOOK_SIZE = 1 << LOOK_BITS };
/* Bits of a look-up that finds few levels: a larger table where its entries are small. */
enum { FEW_BITS_8 = 13, FEW_BITS_16 = 12 };
/* Longest runs that look-ups find: of runs that are short for the most part, and of others. */
enum { SHORT_SKIP = 16, LONG_SKIP = 255 };

/* One code, by the place of the first one in a window of 64 bits (63 less its leading zeros) and the
   bit after it, which a half class's length depends on: index = 2 * place + bit. */
typedef struct {
    uint8_t length[128]; /* bits of the codeword */
    int32_t add[128];    /* symbol = the first one and what follows it in the codeword + add */
    int longest;         /* no length is above it; what is not a codeword gets it, and an add that
                            puts it above any largest symbol */
    int half;            /* whether the bit makes a difference */
} Code;

/* A setting, ready to decode. Never changed once made. */
typedef struct {
    uint32_t word; /* as the record holds it */
    int mode, level_bits;
    uint32_t max_symbol, max_magnitude;
    uint32_t threshold, shape; /* t and the stride's shape */
    int width;                 /* raw */
    Code first, magnitude;
    int16_t level_of[256]; /* level of a symbol below 256 */
    /* By the next LOOK_BITS bits: whole codewords (plain), whole events (run modes: a run with
       what follows it). `levels` is what to store: 8 int8 or 4 int16, zeros at the end.
       `steps`: [3:0] bits taken, [15:8] zeros to leave out before the store, [7:4] levels to go on by
       from there. 0: what comes first is longer than the look-up, or not allowed. */
    uint64_t levels[LOOK_SIZE];
    uint16_t steps[LOOK_SIZE];
    union {
        /* Plain, raw: the same for no more than three levels, in one table: at many bits a weight
           a look-up holds no more. The levels, first one lowest, and above them [5:0] bits taken,
           [7:6] levels. */
        uint32_t few_8[1 << FEW_BITS_8];
        uint64_t few_16[1 << FEW_BITS_16];
        /* Run modes: `steps` in another form, for skips up to SHORT_SKIP and up to LONG_SKIP: [5:0]
           bits taken, [15:8] zeros before the store, [31:16] levels, those zeros included. */
        uint32_t runs[2][LOOK_SIZE];
    };
} Setting;

void setting_build(Setting *setting, uint32_t word, int level_bits);

/* Index of the codeword at the top of a window. */
INLINE int code_index(uint64_t window) {
    int place = top_bit(window | 1);
    return 2 * place + (int)(window << 1 >> place & 1);
}

/* Symbol at the top of a window, and its length; above any max_symbol: none. */
INLINE uint32_t symbol_at(const Code *code, uint64_t window, int *length) {
    int index = code_index(window);
    *length = code->length[index];
    return (uint32_t)(window >> (64 - *length)) + (uint32_t)code->add[index];
}

/* Run and `big` of a slot. */
INLINE uint32_t unslot(const Setting *setting, uint32_t slot, int *big) {
    uint32_t t = setting->threshold, y, s;
    *big = 0;
    if (slot < t || setting->shape == 3) return slot;
    y = slot - t;
    s = 2u << setting->shape;
    if ((y & (s - 1)) == s - 1) {
        *big = 1;
        return y >> (setting->shape + 1);
    }
    return t + y - (y >> (setting->shape + 1));
}

INLINE int32_t level_of_symbol(uint32_t symbol) {
    int32_t half = (int32_t)((symbol + 1) >> 1);
    return symbol & 1 ? half : -half;
}

/* ---- decode.c ---- */

/* What becomes of levels. */
enum { AS_LEVELS = 0, AS_FLOAT32 = 1, AS_BFLOAT16 = 2 };

/* One call: decode the segments first..last-1 of a record. */
typedef struct {
    const uint8_t *record;
    size_t size;           /* bytes of it that may be read */
    const uint64_t *start; /* byte of the header of each, and of the end of the last */
    uint64_t first, last;
    const Setting *settings[MAX_SETTINGS];
    int settings_count;
    int level_bits;
    uint64_t weights;
    uint32_t segment_weights; /* W */
    uint32_t interleave;      /* G */
    void *out;
    uint64_t origin; /* weight that out[0] is */
    uint64_t room;   /* elements of out */
    int kind;
    float step;
    int check; /* whether to check each segment's CRC */
    int kernel;
} Job;

enum { DECODED = -1, NO_MEMORY = -2, BAD_CALL = -3 };
/* First segment that must be refused, or DECODED, or why nothing was done. */
int64_t decode_job(const Job *job);

/* A segment under way. Positions are bits from the record's first. */
typedef struct {
    uint64_t at;            /* next bit */
    uint64_t start, end;    /* of the payload */
    uint64_t safe;          /* 48 bytes can be read from any position up to here */
    const uint8_t *payload; /* byte of `start` */
    uint8_t *out;           /* where the next level goes */
    uint8_t *begin, *out_end; /* of the segment's levels */
    uint64_t number;        /* of the segment */
    int suspect;            /* a quick loop found something wrong */
    uint8_t *scratch;       /* own space for a segment, or NULL */
} Lane;

/* Segments of one setting, dealt to lanes in order. */
typedef struct {
    const Job *job;
    const Setting *setting;
    uint32_t index;   /* of the setting in the record */
    uint64_t next;    /* segment to look at next */
    uint64_t bad;     /* lowest number that must be refused, or UINT64_MAX */
    int rate;         /* bits a weight, times eight */
    int zeroed;       /* whether a segment's levels are made zeros beforehand */
    Lane *pending;    /* segments that were begun, to be taken before others */
    int pending_count;
    /* Puts a decoded segment's levels from the lane's scratch to their places from `first` on. */
    void (*hand_on)(const Job *job, const Lane *lane, size_t first);
} Queue;

/* From so many bits a weight on, times eight: runs are short for the most part; a look-up seldom
   holds more than three codewords; it often holds none; sixteen segments at once beat look-ups, and
   then, do not find eight codewords in a window. Measured. */
enum { SHORT_RATE = 10, FEW_RATE = 33, COUNT_RATE = 72, AVX512_RATE = 20, AVX512_HIGH_RATE = 44 };

/* Next segment of the queue into the lane; 0 if there is none. */
int lane_next(Queue *queue, Lane *lane);
/* Decode what is left of the lane's segment, check its end, hand on its levels. */
void lane_finish(Queue *queue, Lane *lane);

/* One event of a run mode; 0 if there is none or it is not allowed. */
int lane_event(Queue *queue, Lane *lane);

enum { AVX512_LANES = 32 };
#if EGRESS_X86
/* ---- decode_x86.c ---- */
/* As the portable ones, compiled for newer processors. */
void decode_x86_8(Queue *queue, Lane *lanes);
void decode_x86_16(Queue *queue, Lane *lanes);
void hand_on_x86_8(const Job *job, const Lane *lane, size_t first);
void hand_on_x86_16(const Job *job, const Lane *lane, size_t first);

/* ---- decode_avx512.c ---- */
/* Whether avx512_rounds can decode a setting. */
INLINE int avx512_decodes(const Setting *setting) {
    return setting->mode == PLAIN && setting->level_bits == 8 && setting->first.longest <= 31;
}
/* Take AVX512_LANES lanes on by up to `rounds` times 8 levels; 0 if a codeword that is not allowed stopped
   it. It may read up to 40 bytes from each lane's `safe`. At a high rate a window is read for four
   codewords, else for eight; `high_rate` is set where too many have to be read again. */
int avx512_rounds(const Setting *setting, Lane *lanes, int64_t rounds, int *high_rate);
#endif
/* Four, and those of AVX-512. */
enum { MAX_LANES = 4 + AVX512_LANES };

#endif
