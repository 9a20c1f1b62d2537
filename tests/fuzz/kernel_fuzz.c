/* Fuzzes the compiled kernel: bytes in, three kinds of trial, none of which may read or write out of
   bounds, do anything undefined, or differ from the plain decoder and encoder below.

     decode   payloads in any setting, by every kernel: the same levels, or the same refusal
     encode   levels in any setting: the bits that the plain encoder writes, and back to the levels
     walk     bytes as a record's segments, CRCs checked

   Built with libFuzzer, or with -DALONE to replay files and make its own inputs (see Makefile). */
#include <stdio.h>
#include <stdlib.h>

#include "encode.h"
#include "kernel.h"

#define CHECK(x)                                                            \
    do {                                                                    \
        if (!(x)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
            abort();                                                        \
        }                                                                   \
    } while (0)

enum { POOL = 512, MOST_SEGMENTS = 44 /* AVX-512 wants 32 of one setting */, MOST_WEIGHTS = 20000 };

/* ---- The format, as plain as its text ---- */

typedef struct {
    uint32_t order, head, first, half, first_half, swap;
} Plain;

typedef struct {
    int mode, level_bits;
    Plain code, magnitude;
    uint32_t threshold, stride; /* stride 0: none */
} Fields;

static uint64_t class_size(const Plain *c, uint32_t index) {
    if (index == 0) return (uint64_t)(c->first_half ? 3 : 1) << c->first;
    return (uint64_t)(c->half ? 3 : 1) << (c->order + (index > c->head ? index - c->head : 0));
}

static int bit_at(const uint8_t *bits, size_t count, size_t at) {
    return at < count ? bits[at / 8] >> (7 - at % 8) & 1 : 0;
}

/* Symbol at *at, which moves on; -1 if the codeword, with what follows it, must be refused. */
static int64_t read_codeword(const Plain *c, const uint8_t *bits, size_t count, size_t *at,
                             size_t following) {
    uint32_t zeros = 0, index;
    uint64_t size, value = 1, before = 0;
    size_t length;
    while (zeros < 32 && !bit_at(bits, count, *at + zeros)) zeros++;
    if (zeros == 32) return -1;
    index = zeros < 2 && c->swap ? 1 - zeros : zeros;
    size = class_size(c, index);
    length = zeros + 1;
    /* From the first one on, bits are taken until the number is the class's size or more. */
    while (value < size && length <= 32) value = 2 * value + (uint64_t)bit_at(bits, count, *at + length++);
    if (value < size || length + following > 32 || *at + length + following > count) return -1;
    for (uint32_t i = 0; i < index; i++) before += class_size(c, i);
    value += before - size;
    *at += length;
    return value > 65535 ? -1 : (int64_t)value;
}

static int32_t to_level(int64_t symbol) {
    return symbol % 2 ? (int32_t)((symbol + 1) / 2) : (int32_t)(-symbol / 2);
}

/* 1 if the payload decodes to exactly n levels. */
static int plain_decode(const Fields *f, const uint8_t *bits, size_t count, size_t n, int32_t *out) {
    int64_t largest = f->level_bits == 8 ? 254 : 65534, symbol;
    size_t at = 0, done = 0;
    while (done < n) {
        int big = 1;
        uint64_t run;
        if (f->mode == RAW) {
            symbol = 0;
            if (at + f->code.order + 1 > count) return 0;
            for (uint32_t i = 0; i <= f->code.order; i++) symbol = 2 * symbol + bit_at(bits, count, at++);
            if (symbol > largest) return 0;
            out[done++] = to_level(symbol);
            continue;
        }
        symbol = read_codeword(&f->code, bits, count, &at, f->mode != PLAIN);
        if (symbol < 0) return 0;
        if (f->mode == PLAIN) {
            if (symbol > largest) return 0;
            out[done++] = to_level(symbol);
            continue;
        }
        run = (uint64_t)symbol;
        if (f->mode == JOINT) {
            big = 0;
            if (f->stride && run >= f->threshold) {
                uint64_t y = run - f->threshold;
                big = y % f->stride == f->stride - 1;
                run = big ? y / f->stride : f->threshold + y - y / f->stride;
            }
        }
        if (run > 4096 || (f->mode == JOINT && big && run == 4096) || run > n - done) return 0;
        for (uint64_t i = 0; i < run; i++) out[done++] = 0;
        if (run == 4096 || done == n) {
            if ((f->mode == JOINT && big) || bit_at(bits, count, at)) return 0;
            at++;
        } else if (!big) {
            out[done++] = bit_at(bits, count, at++) ? -1 : 1;
        } else {
            int base = f->mode == JOINT ? 3 : 1;
            symbol = read_codeword(&f->magnitude, bits, count, &at, 0);
            if (symbol < 0 || symbol + base > largest) return 0;
            out[done++] = to_level(symbol + base);
        }
    }
    if (count - at >= 32) return 0;
    while (at < count)
        if (bit_at(bits, count, at++)) return 0;
    return 1;
}

typedef struct {
    uint8_t *bits;
    size_t count;
} Sink;

static void push(Sink *sink, uint64_t value, uint32_t length) {
    while (length--) {
        if (value >> length & 1) sink->bits[sink->count / 8] |= (uint8_t)(0x80 >> sink->count % 8);
        sink->count++;
    }
}

static int push_codeword(Sink *sink, const Plain *c, uint64_t symbol, uint32_t following) {
    uint32_t index = 0, zeros, length = 0;
    uint64_t size;
    if (symbol > 65535) return 0;
    while (symbol >= (size = class_size(c, index))) symbol -= size, index++;
    symbol += size;
    zeros = index < 2 && c->swap ? 1 - index : index;
    while (symbol >> length) length++;
    if (zeros + length + following > 32) return 0;
    push(sink, symbol, zeros + length);
    return 1;
}

static uint64_t to_slot(const Fields *f, uint64_t run, int big) {
    if (f->mode != JOINT || !f->stride) return run;
    if (big) return f->threshold + run * f->stride + f->stride - 1;
    if (run < f->threshold) return run;
    run -= f->threshold;
    return f->threshold + run / (f->stride - 1) * f->stride + run % (f->stride - 1);
}

/* 1 if the levels can be coded in the setting. */
static int plain_encode(const Fields *f, const int32_t *levels, size_t n, Sink *sink) {
    uint64_t run = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t level = levels[i];
        uint64_t symbol = level > 0 ? 2 * (uint64_t)level - 1 : 2 * (uint64_t)-level;
        int big = level > 1 || level < -1;
        if (f->mode == PLAIN) {
            if (!push_codeword(sink, &f->code, symbol, 0)) return 0;
        } else if (f->mode == RAW) {
            if (symbol >> (f->code.order + 1)) return 0;
            push(sink, symbol, f->code.order + 1);
        } else if (level == 0) {
            if (++run == 4096) {
                if (!push_codeword(sink, &f->code, to_slot(f, run, 0), 1)) return 0;
                push(sink, 0, 1);
                run = 0;
            }
        } else {
            int joint = f->mode == JOINT;
            if (joint && big && !f->stride) return 0;
            if (!push_codeword(sink, &f->code, to_slot(f, run, joint && big), 1)) return 0;
            if (joint && !big)
                push(sink, level < 0, 1);
            else if (!push_codeword(sink, &f->magnitude, symbol - (joint ? 3 : 1), 0))
                return 0;
            run = 0;
        }
    }
    if (run) {
        if (!push_codeword(sink, &f->code, to_slot(f, run, 0), 1)) return 0;
        push(sink, 0, 1);
    }
    return 1;
}

/* ---- A pool of settings that the format allows ---- */

static uint32_t words[POOL];
static Fields fields[POOL];
static Setting *built[POOL];

static uint32_t mix(uint32_t x) {
    x ^= x >> 16, x *= 0x7FEB352Du, x ^= x >> 15, x *= 0x846CA68Bu;
    return x ^ x >> 16;
}

static uint32_t draw(uint32_t *state, uint32_t below) { return (*state = mix(*state + 0x9E3779B9u)) % below; }

static void pool_setup(void) {
    for (uint32_t i = 0; i < POOL; i++) {
        uint32_t state = mix(i + 1), f = 0, shape = 0, small = draw(&state, 2) ? 16 : 5;
        Fields *s = fields + i;
        s->level_bits = i & 1 ? 16 : 8;
        s->mode = (int)(i >> 1 & 3);
        s->code.order = draw(&state, small);
        if (s->mode == RAW) {
            s->code.order %= (uint32_t)s->level_bits;
        } else {
            s->code.head = draw(&state, 16);
            s->code.first = draw(&state, 2) ? s->code.order : draw(&state, small);
            s->code.half = draw(&state, 2);
            s->code.first_half = draw(&state, 2);
        }
        if (s->mode == PLAIN) s->code.swap = draw(&state, 2);
        if (s->mode == ZERO_RUN || s->mode == JOINT) {
            s->magnitude.order = s->magnitude.first = draw(&state, small);
            s->magnitude.half = s->magnitude.first_half = draw(&state, 2);
            s->magnitude.head = draw(&state, 16);
        }
        if (s->mode == JOINT) {
            f = draw(&state, 16);
            shape = draw(&state, 4);
            s->threshold = f < 8 ? f : (4 + f % 4) << (f / 4 - 1);
            s->stride = shape == 3 ? 0 : 2u << shape;
        }
        words[i] = (uint32_t)s->mode << 30 | s->code.order << 26 | s->code.half << 25 |
                   s->code.head << 21 | s->code.first << 17 | s->code.first_half << 16 |
                   s->code.swap << 15 | s->magnitude.order << 11 | s->magnitude.half << 10 |
                   s->magnitude.head << 6 | f << 2 | shape;
    }
}

static const Setting *setting_of(uint32_t i) {
    if (!built[i]) {
        built[i] = malloc(sizeof **built);
        CHECK(built[i]);
        setting_build(built[i], words[i], fields[i].level_bits);
    }
    return built[i];
}

static int kernels(void) {
#if EGRESS_X86
    return has_avx512() ? 3 : has_avx2() ? 2 : 1;
#else
    return 1;
#endif
}

/* ---- Trials ---- */

static uint32_t dealt(uint64_t weights, uint32_t W, uint32_t G, uint64_t number, uint64_t *first) {
    uint64_t group = number / G, base = group * G * W, here = weights - base;
    if (here > (uint64_t)G * W) here = (uint64_t)G * W;
    *first = base + number % G;
    return (uint32_t)((here - number % G + G - 1) / G);
}

static void compare(const Job *job, const int32_t *expected, int64_t bad, uint32_t pick) {
    for (int kernel = 0; kernel < kernels(); kernel++) {
        static const size_t element[] = {0, 4, 2};
        size_t bytes = job->kind ? element[job->kind] : (size_t)job->level_bits / 8;
        Job own = *job;
        int64_t found;
        own.kernel = kernel;
        own.out = malloc((size_t)job->weights * bytes);
        CHECK(own.out);
        found = decode_job(&own);
        if (found != bad)
            fprintf(stderr, "kernel %d: %lld, not %lld; setting %08x, %d bits, kind %d, W %u, G %u, %llu weights, %llu segments\n",
                    kernel, (long long)found, (long long)bad, words[pick], own.level_bits, own.kind,
                    own.segment_weights, own.interleave,
                    (unsigned long long)own.weights, (unsigned long long)own.last);
        CHECK(found == bad);
        for (uint64_t i = 0; bad == DECODED && i < job->weights; i++) {
            if (job->kind == AS_FLOAT32) {
                CHECK(((float *)own.out)[i] == (float)expected[i] * job->step);
            } else if (job->kind == AS_LEVELS) {
                CHECK((job->level_bits == 8 ? ((int8_t *)own.out)[i] : ((int16_t *)own.out)[i]) ==
                      expected[i]);
            }
        }
        free(own.out);
    }
}

static void try_decode(const uint8_t *data, size_t size, int encoded, const int32_t *levels,
                       uint32_t pick, uint32_t W, uint64_t weights, uint32_t G, uint32_t segments,
                       const uint64_t *start, const uint8_t *which, int kind) {
    static int32_t part[MOST_WEIGHTS];
    int32_t *expected = calloc((size_t)weights, sizeof *expected);
    int64_t bad = DECODED;
    Job job = {0};
    CHECK(expected);
    for (uint32_t s = 0; s < segments; s++) {
        uint64_t first;
        uint32_t n = dealt(weights, W, G, s, &first);
        const Fields *f = fields + (pick + 10 * which[s]) % POOL;
        size_t count = (size_t)(8 * (start[s + 1] - start[s] - 4));
        int good = plain_decode(f, data + start[s] + 4, count, n, part);
        if (!good && bad == DECODED) bad = s;
        for (uint32_t i = 0; good && i < n; i++) expected[first + (uint64_t)i * G] = part[i];
    }
    if (encoded) {
        CHECK(bad == DECODED);
        CHECK(!memcmp(levels, expected, (size_t)weights * sizeof *levels));
    }
    job.record = data, job.size = size, job.start = start, job.last = segments;
    job.settings_count = MAX_SETTINGS, job.level_bits = fields[pick].level_bits;
    for (uint32_t i = 0; i < MAX_SETTINGS; i++) job.settings[i] = setting_of((pick + 10 * i) % POOL);
    job.weights = job.room = weights, job.segment_weights = W, job.interleave = G;
    job.kind = kind, job.step = 0.375f;
    compare(&job, expected, bad, pick);
    free(expected);
}

/* Payloads of the bytes, of equal size, in settings that they choose. */
static void fuzz_decode(const uint8_t *data, size_t size, uint32_t pick, uint32_t W, uint32_t G,
                        uint32_t segments, int kind, int alike) {
    uint8_t which[MOST_SEGMENTS], *record;
    uint64_t start[MOST_SEGMENTS + 1], weights, at = 0;
    size_t each;
    while (segments > 1 && size / segments < 4) segments--;
    if (size / segments < 4) return;
    each = size / segments / 4 * 4;
    if (each > 4 * 2048) each = 4 * 2048;
    /* Of more than one group the last is not full: each of its segments keeps a weight. */
    if (G > 1) segments = segments > G ? segments / G * G : segments < G ? 1 : segments;
    weights = (uint64_t)segments * W;
    if (G > 1) {
        uint64_t less = segments / 2;
        if (less > (uint64_t)G * (W - 1)) less = (uint64_t)G * (W - 1);
        weights = segments == 1 ? 1 : weights - less;
    }
    record = malloc(segments * (each + 4));
    CHECK(record);
    for (uint32_t s = 0; s < segments; s++) {
        start[s] = at;
        which[s] = alike ? 0 : data[s * each] & 3;
        record[at] = (uint8_t)(which[s] << 6 | each / 4 >> 8), record[at + 1] = (uint8_t)(each / 4);
        record[at + 2] = record[at + 3] = 0;
        memcpy(record + at + 4, data + s * each, each);
        at += 4 + each;
    }
    start[segments] = at;
    try_decode(record, at, 0, NULL, pick, W, weights, G, segments, start, which, kind);
    free(record);
}

/* The bytes as levels, small ones more often. */
static void fuzz_encode(const uint8_t *data, size_t size, uint32_t pick, uint32_t W,
                        uint32_t segments, uint32_t style) {
    static int32_t levels[MOST_WEIGHTS];
    static uint8_t plain[MOST_WEIGHTS * 8 + 64];
    const Fields *own = fields + pick;
    int wide = own->level_bits == 16, coded = 1;
    int64_t counts[MOST_SEGMENTS], choice[MOST_SEGMENTS], lengths[MOST_SEGMENTS];
    uint64_t start[MOST_SEGMENTS + 1];
    uint8_t which[MOST_SEGMENTS], *record, *out;
    size_t n = 0, room = 0, at = 0;
    void *given;
    uint32_t own_words[MAX_SETTINGS], used = style >> 6 ? 1 : MAX_SETTINGS;
    EncodeJob job = {0};
    for (size_t i = 0; i < size && n < MOST_WEIGHTS; i++) {
        int32_t v = (int8_t)data[i];
        if (style & 1 && v > 0) { /* a run of zeros */
            for (int32_t z = style & 2 ? v * 60 : v; z && n < MOST_WEIGHTS; z--) levels[n++] = 0;
            continue;
        }
        if (style & 4) v = v % 2;
        if (wide && style & 8) v *= 255;
        if (v < (wide ? -32767 : -127)) v = 0;
        levels[n++] = v;
    }
    if (!n) return;
    if (W > n) W = (uint32_t)n;
    segments = (uint32_t)((n + W - 1) / W);
    if (segments > MOST_SEGMENTS) segments = MOST_SEGMENTS, n = (size_t)segments * W;
    given = malloc(n << wide);
    record = calloc(1, 8 * n + 64 * MOST_SEGMENTS);
    CHECK(given && record);
    for (size_t i = 0; i < n; i++) {
        if (wide)
            ((int16_t *)given)[i] = (int16_t)levels[i];
        else
            ((int8_t *)given)[i] = (int8_t)levels[i];
    }
    for (uint32_t s = 0; s < segments; s++) {
        Sink sink = {plain, 0};
        uint32_t count = (uint32_t)(s + 1 < segments ? W : n - (size_t)s * W);
        which[s] = (uint8_t)((data[s % size] & 3) % used);
        memset(plain, 0, 8 * (size_t)count + 64);
        if (!plain_encode(fields + (pick + 10 * which[s]) % POOL, levels + (size_t)s * W, count, &sink))
            coded = 0;
        counts[s] = count, choice[s] = which[s], lengths[s] = (int64_t)((sink.count + 31) / 32);
        if (lengths[s] > 2048) coded = 0;
        start[s] = at;
        if (coded) memcpy(record + at + 4, plain, 4 * (size_t)lengths[s]);
        at += 4 + 4 * (size_t)lengths[s];
        room += 4 + 4 * (size_t)lengths[s];
        if (!coded) break;
    }
    start[segments] = at;
    out = malloc(room);
    CHECK(out);
    for (uint32_t i = 0; i < MAX_SETTINGS; i++) own_words[i] = words[(pick + 10 * i) % POOL];
    job.levels = given, job.weights = n, job.level_bits = own->level_bits;
    job.counts = counts, job.choice = choice, job.words = lengths, job.segments = segments;
    job.settings = own_words, job.settings_count = used, job.out = out, job.room = room;
    for (int kernel = 0; kernel < kernels(); kernel++) {
        job.kernel = kernel;
        if (coded) {
            CHECK(encode_segments(&job) == ENCODED);
            CHECK(walk(out, room, 0, segments, 2048, MAX_SETTINGS, 1, start) == DECODED);
            for (uint32_t s = 0; s < segments; s++)
                CHECK(!memcmp(out + start[s] + 4, record + start[s] + 4, (size_t)lengths[s] * 4));
        } else {
            for (uint32_t s = 0; s < segments; s++)
                if (lengths[s] < 0 || lengths[s] > 2048 || !start[segments]) lengths[s] = 1;
            CHECK(encode_segments(&job) != ENCODED);
            break;
        }
    }
    if (coded)
        try_decode(out, room, 1, levels, pick, W, n, 1, segments, start, which, AS_LEVELS);
    free(out), free(given), free(record);
}

static void fuzz_walk(const uint8_t *data, size_t size, uint32_t segments) {
    uint8_t *record = malloc(size ? size : 1);
    uint64_t *start = malloc((segments + 1) * sizeof *start);
    int64_t bad;
    CHECK(record && start);
    if (size) memcpy(record, data, size);
    bad = walk(record, size, 0, segments, 512, 2, (int)(segments & 1), start);
    CHECK(bad >= DECODED && bad <= (int64_t)segments);
    if (bad == DECODED) CHECK(start[segments] == size);
    free(record), free(start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t interleaves[] = {1, 1, 2, 7};
    static int ready;
    uint32_t pick, W, segments, hash = 0;
    if (!ready) {
        ready = 1;
        crc_setup();
        pool_setup();
    }
    if (size < 8) return 0;
    pick = ((uint32_t)data[1] << 8 | data[2]) % POOL;
    W = 1 + (((uint32_t)data[3] << 8 | data[4]) % (data[5] >= 0xE0 ? 1500 : 60));
    segments = 1 + data[5] % MOST_SEGMENTS;
    /* Encoders make tables first, which takes long under a sanitizer, and longer for levels of 16
       bits: they get a share of the inputs, and no way for a fuzzer to ask for more. */
    for (size_t i = 0; i < size; i++) hash = mix(hash + data[i]);
    if ((data[0] & 7) == 5 && hash % 4 == 0) {
        if (hash % 64 && pick & 1) pick--;
        fuzz_encode(data + 8, size - 8, pick, W, segments, data[6]);
    } else if ((data[0] & 7) < 6) {
        fuzz_decode(data + 8, size - 8, pick, W, interleaves[data[6] & 3], segments, data[7] % 3,
                    data[7] >> 7);
    } else {
        fuzz_walk(data + 8, size - 8, segments);
    }
    return 0;
}

#ifdef ALONE
enum { SEEDS = 4096, SEED_BYTES = 512 };
static uint8_t seeds[SEEDS][SEED_BYTES], input[2 * SEED_BYTES];
static size_t sizes[SEEDS], seed_count;

static size_t chance(uint32_t *state) {
    size_t size = 8 + draw(state, 400);
    uint32_t thick = draw(state, 4);
    for (size_t i = 0; i < size; i++) {
        input[i] = (uint8_t)draw(state, 256);
        /* Few ones or many make for longer segments that are good. */
        if (i >= 8 && thick == 1) input[i] &= (uint8_t)draw(state, 256);
        if (i >= 8 && thick == 2) input[i] |= (uint8_t)draw(state, 256);
    }
    return size;
}

/* A seed with a few bits changed, another number at its head, or the end of another. */
static size_t offspring(uint32_t *state) {
    uint32_t seed = draw(state, (uint32_t)seed_count), kind = draw(state, 4);
    size_t size = sizes[seed];
    memcpy(input, seeds[seed], size);
    if (kind == 0) input[draw(state, 8)] = (uint8_t)draw(state, 256);
    if (kind == 1) {
        uint32_t other = draw(state, (uint32_t)seed_count), from = draw(state, (uint32_t)sizes[other]);
        memcpy(input + size, seeds[other] + from, sizes[other] - from);
        size += sizes[other] - from;
    }
    for (uint32_t i = draw(state, 6); i; i--)
        input[draw(state, (uint32_t)size)] ^= (uint8_t)(1u << draw(state, 8));
    return size;
}

/* fuzz [-N] FILE...: replay the files, then N inputs made of them and of chance. */
int main(int argc, char **argv) {
    unsigned long runs = 0;
    uint32_t state = 1;
    for (int i = 1; i < argc; i++) {
        FILE *file;
        size_t size;
        if (argv[i][0] == '-') {
            runs = strtoul(argv[i] + 1, NULL, 10);
            continue;
        }
        file = fopen(argv[i], "rb");
        CHECK(file && seed_count < SEEDS);
        size = fread(seeds[seed_count], 1, SEED_BYTES, file);
        fclose(file);
        LLVMFuzzerTestOneInput(seeds[seed_count], size);
        if (size >= 8) sizes[seed_count++] = size;
    }
    for (unsigned long run = 0; run < runs; run++) {
        size_t size = seed_count && draw(&state, 2) ? offspring(&state) : chance(&state);
        LLVMFuzzerTestOneInput(input, size);
        if (run % 1000000 == 999999) fprintf(stderr, "%lu of %lu\n", run + 1, runs);
    }
    printf("%d files and %lu more inputs: nothing found\n", argc - 1 - (runs > 0), runs);
    return 0;
}
#endif
