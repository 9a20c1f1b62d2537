/* From segment header to segment header (FORMAT.md, sections 6 and 7). */
#include "kernel.h"

int64_t walk(const uint8_t *record, size_t size, uint64_t at, uint64_t segments, uint32_t buffer_words,
             uint32_t settings, int check, uint64_t *start) {
    for (uint64_t number = 0; number < segments; number++) {
        const uint8_t *head = record + at;
        uint32_t upper, words;
        start[number] = at;
        if (size - at < 8) return (int64_t)number;
        upper = (uint32_t)head[0] << 8 | head[1];
        words = upper & 0xFFF;
        if (upper >> 12 & 3 || upper >> 14 >= settings || !words || words > buffer_words ||
            4 * (uint64_t)words > size - at - 4)
            return (int64_t)number;
        if (check && !crc_holds(head, words, number)) return (int64_t)number;
        at += 4 + 4 * (uint64_t)words;
    }
    start[segments] = at;
    return at == size ? DECODED : (int64_t)segments;
}
