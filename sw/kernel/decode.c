/* Segments to levels: plain C, and what every kernel shares.

   A lane has one segment under way. The quick loops (rounds.h) take it as far as whole windows and
   whole stores go; lane_finish does the rest, with every bound checked at every codeword. Nothing
   is read beyond the record or written beyond the segment's own levels. A codeword may be read
   from bits behind its payload: a segment that ends beyond its payload is refused afterwards. */
#include <stdlib.h>

#include "kernel.h"

/* 64 bits from any position, zeros behind the record; 57 of them hold. */
static uint64_t window_at(const Job *job, uint64_t at) {
    size_t byte = (size_t)(at >> 3);
    uint8_t last[8] = {0};
    if (byte + 8 <= job->size) return load_be64(job->record + byte) << (at & 7);
    if (byte < job->size) memcpy(last, job->record + byte, job->size - byte);
    return load_be64(last) << (at & 7);
}

static void put(Lane *lane, int level_bits, int32_t level) {
    if (level_bits == 8) {
        *(int8_t *)lane->out = (int8_t)level;
        lane->out += 1;
    } else {
        int16_t wide = (int16_t)level;
        memcpy(lane->out, &wide, 2);
        lane->out += 2;
    }
}

static int is_runs(const Setting *setting) {
    return setting->mode == ZERO_RUN || setting->mode == JOINT;
}

/* One run and what follows it, by FORMAT.md, 5.3 and 5.4; 0 if it is not allowed. */
static int event(const Setting *setting, const Job *job, Lane *lane) {
    int length, big = 1, bytes = setting->level_bits / 8;
    uint64_t left = (uint64_t)(lane->out_end - lane->out) / (unsigned)bytes;
    uint64_t window = window_at(job, lane->at);
    uint32_t symbol = symbol_at(&setting->first, window, &length), run;
    if (symbol > setting->max_symbol) return 0;
    run = setting->mode == JOINT ? unslot(setting, symbol, &big) : symbol;
    if (run > left || run > RUN_LIMIT) return 0;
    window <<= length;
    memset(lane->out, 0, run * (unsigned)bytes);
    lane->out += run * (unsigned)bytes;
    if (run == RUN_LIMIT || run == left) {
        if (window >> 63 || (setting->mode == JOINT && big)) return 0;
        lane->at += (uint64_t)length + 1;
    } else if (!big) {
        put(lane, setting->level_bits, window >> 63 ? -1 : 1);
        lane->at += (uint64_t)length + 1;
    } else {
        lane->at += (uint64_t)length;
        symbol = symbol_at(&setting->magnitude, window_at(job, lane->at), &length);
        if (symbol > setting->max_magnitude) return 0;
        put(lane, setting->level_bits,
            level_of_symbol(symbol + (setting->mode == JOINT ? 3 : 1)));
        lane->at += (uint64_t)length;
    }
    return 1;
}

static int symbol_step(const Setting *setting, const Job *job, Lane *lane) {
    int length = setting->width;
    uint64_t window = window_at(job, lane->at);
    uint32_t symbol = setting->mode == RAW ? (uint32_t)(window >> (64 - length))
                                           : symbol_at(&setting->first, window, &length);
    if (symbol > setting->max_symbol) return 0;
    put(lane, setting->level_bits, level_of_symbol(symbol));
    lane->at += (uint64_t)length;
    return 1;
}

/* Number of levels of a segment, the weight that its first one is. */
static uint32_t segment_weights(const Job *job, uint64_t number, uint64_t *first) {
    uint64_t group = number / job->interleave, lane = number % job->interleave;
    uint64_t base = group * job->interleave * job->segment_weights;
    uint64_t here = job->weights - base, whole = (uint64_t)job->interleave * job->segment_weights;
    *first = base + lane;
    if (here >= whole) return job->segment_weights;
    return (uint32_t)((here - lane + job->interleave - 1) / job->interleave);
}

static size_t element_bytes(const Job *job) {
    return job->kind == AS_FLOAT32 ? 4 : job->kind == AS_BFLOAT16 ? 2 : (size_t)job->level_bits / 8;
}

int lane_next(Queue *queue, Lane *lane) {
    const Job *job = queue->job;
    if (queue->pending_count) {
        Lane begun = queue->pending[--queue->pending_count];
        queue->pending[queue->pending_count].scratch = lane->scratch;
        *lane = begun;
        return 1;
    }
    for (;;) {
        uint64_t number = queue->next, begin, end, first;
        const uint8_t *head;
        uint32_t weights;
        if (number >= job->last) return 0;
        queue->next++;
        begin = job->start[number - job->first];
        head = job->record + begin;
        if (head[0] >> 6 != queue->index) continue;
        end = job->start[number - job->first + 1];
        if (job->check && !crc_holds(head, (uint32_t)((end - begin) / 4 - 1), number)) {
            if (number < queue->bad) queue->bad = number;
            continue;
        }
        weights = segment_weights(job, number, &first);
        lane->number = number;
        lane->suspect = 0;
        lane->at = lane->start = 8 * (begin + 4);
        lane->payload = head + 4;
        lane->end = 8 * end;
        lane->safe = job->size < 48 ? 0 : 8 * ((uint64_t)job->size - 48);
        if (lane->safe > lane->end) lane->safe = lane->end;
        lane->begin = lane->scratch
                          ? lane->scratch
                          : (uint8_t *)job->out + (first - job->origin) * element_bytes(job);
        lane->out = lane->begin;
        lane->out_end = lane->begin + (size_t)weights * (size_t)(job->level_bits / 8);
        if (queue->zeroed)
            memset(lane->begin, 0, (size_t)(lane->out_end - lane->begin));
        return 1;
    }
}

/* Look-ups for one lane alone, while there is room. */
static void look_on(const Job *job, const Setting *setting, Lane *lane) {
    ptrdiff_t level_bytes = setting->level_bits / 8;
    while (lane->at <= lane->safe && lane->at < lane->end) {
        uint64_t w = load_be64(job->record + (lane->at >> 3)) << (lane->at & 7);
        for (int i = 0; i < 4; i++) {
            uint32_t look = (uint32_t)(w >> (64 - LOOK_BITS)), step = setting->steps[look];
            ptrdiff_t skip = (ptrdiff_t)(step >> 8) * level_bytes;
            if (!step || lane->out_end - lane->out < skip + 8) return;
            memset(lane->out, 0, (size_t)skip);
            lane->out += skip;
            memcpy(lane->out, &setting->levels[look], 8);
            lane->out += (step >> 4 & 15) * (uint32_t)level_bytes;
            lane->at += step & 15;
            w <<= step & 15;
        }
    }
}

/* Raw fields that are bytes. Written for compilers to use vectors. */
static void bytes_on(const Job *job, Lane *lane) {
    const uint8_t *in = job->record + lane->at / 8;
    size_t n = (size_t)(lane->out_end - lane->out);
    int8_t *out = (int8_t *)lane->out;
    uint8_t most = 0;
    if (lane->at + 8 * n > lane->end) return;
    for (size_t i = 0; i < n; i++) {
        uint8_t symbol = in[i], half = (uint8_t)((symbol >> 1) + (symbol & 1));
        uint8_t even = (uint8_t)((symbol & 1) - 1);
        most = symbol > most ? symbol : most;
        out[i] = (int8_t)((half ^ even) - even);
    }
    if (most > 254) return;
    lane->out = lane->out_end;
    lane->at += 8 * n;
}

void lane_finish(Queue *queue, Lane *lane) {
    const Setting *setting = queue->setting;
    const Job *job = queue->job;
    int runs = is_runs(setting), look = runs || queue->rate < FEW_RATE, bad = 0;
    if (lane->suspect) { /* from the start, to be certain */
        lane->at = lane->start;
        lane->out = lane->begin;
        look = 0;
    }
    if (setting->mode == RAW && setting->width == 8 && setting->level_bits == 8)
        bytes_on(job, lane);
    while (!bad && lane->out < lane->out_end && lane->at <= lane->end) {
        if (look) look_on(job, setting, lane);
        if (lane->out == lane->out_end) break;
        bad = !(runs ? event(setting, job, lane) : symbol_step(setting, job, lane));
    }
    if (bad || lane->out < lane->out_end || lane->at > lane->end || lane->end - lane->at >= 32 ||
        (lane->at < lane->end && window_at(job, lane->at) >> (64 - (lane->end - lane->at)))) {
        if (lane->number < queue->bad) queue->bad = lane->number;
        return;
    }
    if (lane->scratch) {
        uint64_t first;
        segment_weights(job, lane->number, &first);
        queue->hand_on(job, lane, (size_t)(first - job->origin));
    }
}

int lane_event(Queue *queue, Lane *lane) {
    if (lane->at > lane->safe || lane->out == lane->out_end) return 0;
    lane->suspect = !event(queue->setting, queue->job, lane);
    return !lane->suspect;
}

#define TARGET
#define LINKAGE static
#define LEVEL int8_t
#define FEW uint32_t
#define FEW_TABLE few_8
#define FEW_TABLE_BITS FEW_BITS_8
#define NAME(x) x##_8
#include "rounds.h"
#undef LEVEL
#undef FEW
#undef FEW_TABLE
#undef FEW_TABLE_BITS
#undef NAME
#define LEVEL int16_t
#define FEW uint64_t
#define FEW_TABLE few_16
#define FEW_TABLE_BITS FEW_BITS_16
#define NAME(x) x##_16
#include "rounds.h"
#undef LEVEL
#undef FEW
#undef FEW_TABLE
#undef FEW_TABLE_BITS
#undef NAME

/* Bits a weight of the segments of a setting, times eight. */
static int rate_of(const Job *job, uint32_t index) {
    uint64_t bytes = 0, weights = 1, first;
    for (uint64_t s = job->first; s < job->last; s++) {
        const uint64_t *start = job->start + (s - job->first);
        if (job->record[start[0]] >> 6 != index) continue;
        bytes += start[1] - start[0];
        weights += segment_weights(job, s, &first);
    }
    bytes = 64 * bytes / weights;
    return bytes < 1000 ? (int)bytes : 1000;
}

static int is_sound(const Job *job) {
    uint64_t first, weights, groups;
    if (job->first >= job->last || !job->interleave || !job->segment_weights) return 0;
    if (job->settings_count < 1 || job->settings_count > MAX_SETTINGS) return 0;
    for (int i = 0; i < job->settings_count; i++)
        if (job->settings[i]->level_bits != job->level_bits) return 0;
    /* The segments' weights are among those of `out`: the first and the last group tell. */
    groups = (job->last - 1) / job->interleave;
    if (groups > UINT32_MAX || job->last - 1 > UINT32_MAX || job->weights > UINT32_MAX) return 0;
    if (groups * job->interleave * job->segment_weights +
            (job->last - 1) % job->interleave >= job->weights)
        return 0;
    segment_weights(job, job->first / job->interleave * job->interleave, &first);
    if (first < job->origin) return 0;
    weights = (groups + 1) * job->interleave * job->segment_weights;
    if (job->interleave == 1) {
        uint32_t here = segment_weights(job, job->last - 1, &first);
        weights = first + here;
    }
    if (weights > job->weights) weights = job->weights;
    if (weights - job->origin > job->room) return 0;
    for (uint64_t s = 0; s < job->last - job->first; s++) {
        uint64_t a = job->start[s], b = job->start[s + 1];
        if (a > job->size || b > job->size || b < a + 8 || (b - a) & 3 || b - a > 4 * 4096)
            return 0;
    }
    return 1;
}

#if EGRESS_X86
/* Many segments at once while there are so many; what is left of them is pending then. */
static void decode_avx512(Queue *queue, Lane *lanes) {
    int active = 0, high_rate = queue->rate >= AVX512_HIGH_RATE;
    while (active < AVX512_LANES && lane_next(queue, &lanes[active])) active++;
    while (active == AVX512_LANES) {
        int64_t rounds = INT64_MAX;
        int stopped;
        for (int l = 0; l < AVX512_LANES; l++) {
            int64_t left = (lanes[l].out_end - lanes[l].out) / 8;
            if (lanes[l].at > lanes[l].safe || lanes[l].suspect) left = 0;
            if (left < rounds) rounds = left;
        }
        stopped = !avx512_rounds(queue->setting, lanes, rounds, &high_rate);
        for (int l = 0; l < active; l++) {
            /* Which lane it was that stopped them all is not known: none goes on. */
            if (!stopped && lanes[l].at <= lanes[l].safe && !lanes[l].suspect &&
                lanes[l].out_end - lanes[l].out >= 8)
                continue;
            lane_finish(queue, &lanes[l]);
            if (!lane_next(queue, &lanes[l])) {
                Lane spare = lanes[l];
                lanes[l--] = lanes[--active];
                lanes[active] = spare;
            }
        }
    }
    queue->pending = lanes;
    queue->pending_count = active;
}
#endif

static void decode_queue(Queue *queue, Lane *lanes) {
    int kernel = queue->job->kernel, wide = queue->job->level_bits == 16;
    queue->hand_on = wide ? hand_on_16 : hand_on_8;
#if EGRESS_X86
    if (kernel != PORTABLE) queue->hand_on = wide ? hand_on_x86_16 : hand_on_x86_8;
    if (kernel == AVX512 && queue->rate >= AVX512_RATE && avx512_decodes(queue->setting))
        decode_avx512(queue, lanes + 4);
    if (kernel != PORTABLE) {
        wide ? decode_x86_16(queue, lanes) : decode_x86_8(queue, lanes);
        return;
    }
#endif
    (void)kernel;
    wide ? decode_16(queue, lanes) : decode_8(queue, lanes);
}

int64_t decode_job(const Job *job) {
    Lane lanes[MAX_LANES];
    Queue queue = {.job = job, .bad = UINT64_MAX};
    uint8_t *scratch = NULL;
    int many = job->kernel == AVX512 ? MAX_LANES : 4;
    size_t bytes = ((size_t)job->segment_weights * (size_t)(job->level_bits / 8) + 127) & ~(size_t)63;
    if (!is_sound(job)) return BAD_CALL;
    memset(lanes, 0, sizeof lanes);
    if (job->kind != AS_LEVELS || job->interleave > 1) {
        if (bytes > job->weights * 2 + 128) bytes = ((size_t)job->weights * 2 + 127) & ~(size_t)63;
        scratch = malloc(bytes * (size_t)many);
        if (!scratch) return NO_MEMORY;
        for (int l = 0; l < many; l++) lanes[l].scratch = scratch + bytes * (size_t)l;
    }
    for (queue.index = 0; queue.index < (uint32_t)job->settings_count; queue.index++) {
        queue.rate = rate_of(job, queue.index);
        queue.setting = job->settings[queue.index];
        queue.zeroed = is_runs(queue.setting) && queue.rate < SHORT_RATE;
        queue.next = job->first;
        decode_queue(&queue, lanes);
    }
    free(scratch);
    return queue.bad == UINT64_MAX ? DECODED : (int64_t)queue.bad;
}
