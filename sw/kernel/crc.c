/* CRC-16/IBM-3740: polynomial 0x1021, first bit first, initial value 0xFFFF. */
#include "kernel.h"

#if EGRESS_X86
#include <immintrin.h>
static int has_clmul, has_vclmul;
#endif

/* slices[i][b]: the remainder of byte b followed by i bytes of zeros. */
static uint16_t slices[16][256];

void crc_setup(void) {
    for (int b = 0; b < 256; b++) {
        uint32_t r = (uint32_t)b << 8;
        for (int i = 0; i < 8; i++) r = r & 0x8000 ? (r << 1) ^ 0x1021 : r << 1;
        slices[0][b] = (uint16_t)r;
    }
    for (int i = 1; i < 16; i++)
        for (int b = 0; b < 256; b++) {
            uint16_t r = slices[i - 1][b];
            slices[i][b] = (uint16_t)(r << 8) ^ slices[0][r >> 8];
        }
#if EGRESS_X86
    __builtin_cpu_init();
    has_clmul = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("ssse3");
    has_vclmul = has_clmul && __builtin_cpu_supports("vpclmulqdq") &&
                 __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
#endif
}

static uint16_t by_slices(const uint8_t *p, size_t n, uint16_t value) {
    for (; n >= 16; n -= 16, p += 16) {
        uint16_t r = slices[15][p[0] ^ value >> 8] ^ slices[14][p[1] ^ (value & 0xFF)];
        for (int i = 2; i < 16; i++) r ^= slices[15 - i][p[i]];
        value = r;
    }
    for (; n; n--, p++) value = (uint16_t)(value << 8) ^ slices[0][(value >> 8) ^ *p];
    return value;
}

#if EGRESS_X86
/* The sum as a polynomial: 16 bytes are one number of 128 bits. Moving it on by n bits is
   multiplying it by x^n; its halves are multiplied by x^n mod P and x^(n+64) mod P, which have 16
   bits, so that nothing exceeds 128 bits: BY_n. The remainder of the last 128 bits is by_slices'. */
#define BY(n_64, n) _mm_set_epi64x(n_64, n)
#define BY_2048 BY(0xf17e, 0xfd50)
#define BY_512 BY(0x8832, 0x13fc)
#define BY_128 BY(0x650b, 0xaefc)
#define SWAP _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define FIRST(value) _mm_set_epi64x((int64_t)((uint64_t)(value) << 48), 0)
#define LOAD(i) _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)p + (i)), SWAP)
#define FOLD(x, by, y)                                             \
    _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, by, 0x11), \
                                _mm_clmulepi64_si128(x, by, 0x00)), y)

/* Go on from four numbers to be followed by n bytes. */
__attribute__((target("pclmul,ssse3"))) static uint16_t by_clmul_from(const __m128i *from,
                                                                      const uint8_t *p, size_t n) {
    __m128i a = from[0], b = from[1], c = from[2], d = from[3];
    uint8_t rest[16];
    for (; n >= 64; p += 64, n -= 64) {
        a = FOLD(a, BY_512, LOAD(0));
        b = FOLD(b, BY_512, LOAD(1));
        c = FOLD(c, BY_512, LOAD(2));
        d = FOLD(d, BY_512, LOAD(3));
    }
    a = FOLD(a, BY_128, b);
    a = FOLD(a, BY_128, c);
    a = FOLD(a, BY_128, d);
    for (; n >= 16; p += 16, n -= 16) a = FOLD(a, BY_128, LOAD(0));
    _mm_storeu_si128((__m128i *)rest, _mm_shuffle_epi8(a, SWAP));
    return by_slices(p, n, by_slices(rest, 16, 0));
}

__attribute__((target("pclmul,ssse3"))) static uint16_t by_clmul(const uint8_t *p, size_t n,
                                                                 uint16_t value) {
    __m128i from[4];
    for (int i = 0; i < 4; i++) from[i] = LOAD(i);
    from[0] = _mm_xor_si128(from[0], FIRST(value));
    return by_clmul_from(from, p + 64, n - 64);
}
#undef LOAD
#undef FOLD

#define WIDE(x) _mm512_broadcast_i32x4(x)
#define LOAD(i) _mm512_shuffle_epi8(_mm512_loadu_si512(p + 64 * (i)), WIDE(SWAP))
#define FOLD(x, by, y)                                                                \
    _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, WIDE(by), 0x11),            \
                              _mm512_clmulepi64_epi128(x, WIDE(by), 0x00), y, 0x96)
/* The same four numbers at once, four times. */
__attribute__((target("vpclmulqdq,avx512f,avx512bw,pclmul,ssse3"))) static uint16_t by_vclmul(
    const uint8_t *p, size_t n, uint16_t value) {
    __m512i a = _mm512_xor_si512(LOAD(0), _mm512_zextsi128_si512(FIRST(value)));
    __m512i b = LOAD(1), c = LOAD(2), d = LOAD(3);
    __m128i from[4];
    for (p += 256, n -= 256; n >= 256; p += 256, n -= 256) {
        a = FOLD(a, BY_2048, LOAD(0));
        b = FOLD(b, BY_2048, LOAD(1));
        c = FOLD(c, BY_2048, LOAD(2));
        d = FOLD(d, BY_2048, LOAD(3));
    }
    a = FOLD(a, BY_512, b);
    a = FOLD(a, BY_512, c);
    a = FOLD(a, BY_512, d);
    _mm512_storeu_si512(from, a);
    return by_clmul_from(from, p, n);
}
#undef LOAD
#undef FOLD
#endif

uint16_t crc16(const uint8_t *p, size_t n, uint16_t value) {
#if EGRESS_X86
    if (has_vclmul && n >= 256) return by_vclmul(p, n, value);
    if (has_clmul && n >= 64) return by_clmul(p, n, value);
#endif
    return by_slices(p, n, value);
}

int crc_holds(const uint8_t *p, uint32_t words, uint64_t number) {
    uint8_t head[4] = {p[0], p[1], (uint8_t)(number >> 8), (uint8_t)number};
    uint16_t crc = crc16(p + 4, 4 * (size_t)words, by_slices(head, 4, 0xFFFF));
    return crc == (p[2] << 8 | p[3]);
}
