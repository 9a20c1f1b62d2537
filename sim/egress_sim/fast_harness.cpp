// Drives a verilated core as fast as it goes. Two ways of use, by the first argument:
//
//   carry STREAM BUS LANES WIDTH WATCHDOG STOP QUIET GAPS STALLS
//     One stream; standard input gives the beats that are expected, standard output tells how far
//     it is ("cycle sent words") and at the end, in a line of JSON, what happened.
//   visits LANES WIDTH
//     Any number of streams one after another, each in the state that the last left the core in or
//     after a reset; standard input gives them, standard output what came of each. Nothing is
//     judged.
//
// BUS is in bytes, WIDTH in bytes a weight. GAPS and STALLS are strings of 0 and 1, repeated
// without end, "-" for none: 1 where the source idles and where the sink is not ready. WATCHDOG,
// STOP and QUIET are in cycles: the run ends after so many without a transfer and without cause,
// after so many altogether (0: never), and so many after all that is expected came.
// A model that has a port `covered` adds its bits, as they are at the end, to the file that the
// environment variable EGRESS_COVERED names.
// All numbers in files are little-endian, which the host has to be: the ports of a verilated model
// lie in memory as its words do.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <string>
#include <vector>

#include "Vmodel.h"
#include "Vmodel___024root.h"
#include "verilated.h"

// What is left of `Vmodel::eval` without threads, messages and a first time.
void Vmodel___024root___eval(Vmodel___024root *root);

namespace {

using Bytes = std::vector<uint8_t>;

[[noreturn]] void fail(const std::string &what) { throw std::runtime_error(what); }

const uint8_t *memory(const void *port) { return static_cast<const uint8_t *>(port); }

size_t mask_bytes(size_t lanes) { return (lanes + 7) / 8; }

bool bit(const uint8_t *mask, size_t at) { return mask[at / 8] >> at % 8 & 1; }

size_t count_bits(const uint8_t *mask, size_t bytes) {
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++)
        if (mask[i]) count += __builtin_popcount(mask[i]);
    return count;
}

Bytes pattern_of(const std::string &text) {
    Bytes pattern;
    if (text != "-")
        for (char c : text) pattern.push_back(c == '1');
    return pattern;
}

// A place in a pattern that is repeated, one step a cycle.
class Pattern {
  public:
    explicit Pattern(const Bytes &bits) : bits(bits) {}
    bool now() const { return !bits.empty() && bits[at]; }
    void step() {
        if (++at >= bits.size()) at = 0;
    }

  private:
    const Bytes &bits;
    size_t at = 0;
};

// Lanes whose weights are kept, of `m_axis_tkeep`, which has a bit for each byte.
class Keep {
  public:
    Keep(size_t lanes, size_t width)
        : lanes(lanes), width(width), seen(mask_bytes(lanes * width)), mask(mask_bytes(lanes)) {}

    // Gives the mask of lanes, and in `count` how many they are.
    const uint8_t *of(const uint8_t *bytes) {
        // Beats with the same lanes follow each other.
        if (memcmp(bytes, seen.data(), seen.size()) != 0) {
            memcpy(seen.data(), bytes, seen.size());
            std::fill(mask.begin(), mask.end(), 0);
            count = 0;
            for (size_t lane = 0; lane < lanes; lane++) {
                bool kept = bit(bytes, lane * width);
                for (size_t i = 1; i < width; i++)
                    if (bit(bytes, lane * width + i) != kept)
                        fail("m_axis_tkeep keeps a part of a weight");
                mask[lane / 8] |= kept << lane % 8;
                count += kept;
            }
        }
        return mask.data();
    }
    size_t count = 0;

  private:
    size_t lanes, width;
    Bytes seen, mask;
};

struct Order {
    const uint8_t *stream;
    size_t words, bus;
    Bytes gaps, stalls;
    uint64_t watchdog, stop, quiet;
};

struct Happened {
    uint64_t cycles = 0, words = 0, beats = 0, startup = 0, consumer = 0, ran = 0, idle[8] = {};
    int64_t first_beat = -1;
    bool stuck = false;
    double seconds = 0, cpu_seconds = 0;
};

class Driver {
  public:
    Vmodel model;

    Driver() { model.eval(); }

    // A cycle of it is enough.
    void reset() {
        model.rst = 1;
        model.s_axis_tvalid = 0;
        model.m_axis_tready = 0;
        step();
        model.rst = 0;
        // The core has what its inputs were a cycle before.
        step();
    }

    // Carries a stream. `sink` takes the beats, and says whether all that are expected came.
    template <class Sink> Happened carry(const Order &order, Sink &sink, bool tell) {
        using Clock = std::chrono::steady_clock;
        Happened happened;
        Pattern gaps(order.gaps), stalls(order.stalls);
        bool offered = false, between_records = true;
        uint64_t cycle = 0, quiet = 0, idle = 0;
        size_t sent = 0;
        auto begin = Clock::now(), report = begin;
        auto worked = std::clock();
        // `quiet` is what ends a run; a stop of 0 is never reached, as `cycle` is then not 0.
        while (quiet < order.quiet && idle < order.watchdog) {
            offered = offered || (sent < order.words && !gaps.now());
            bool ready = !stalls.now();
            if (offered) memcpy(&model.s_axis_tdata, order.stream + sent * order.bus, order.bus);
            model.s_axis_tvalid = offered;
            model.m_axis_tready = ready;
            step();
            bool beat = model.m_axis_tvalid;
            idle += ready && (offered || sent == order.words);
            if (beat && ready) {
                sink.beat(model, cycle);
                if (happened.first_beat < 0) happened.first_beat = cycle;
                happened.beats++;
                happened.cycles = cycle + 1;
                between_records = model.m_axis_tlast;
                idle = 0;
            } else if (beat) {
                happened.consumer++;
                between_records = false;
            } else if (sink.complete()) {
                quiet += sent == order.words;
            } else if (between_records) {
                happened.startup++;
            } else {
                happened.idle[model.idle]++;
            }
            if (offered && model.s_axis_tready) {
                offered = false;
                idle = 0;
                sent++;
            }
            gaps.step();
            stalls.step();
            cycle++;
            if (cycle == order.stop) break;
            if (tell && !(cycle & 0xFFFF) && Clock::now() - report > std::chrono::seconds(2)) {
                report = Clock::now();
                printf("%llu %zu %zu\n", (unsigned long long)cycle, sent, order.words);
                fflush(stdout);
            }
        }
        // Nothing is offered to whoever is next.
        model.s_axis_tvalid = 0;
        model.m_axis_tready = 0;
        step();
        happened.words = sent;
        happened.ran = cycle;
        happened.stuck = idle >= order.watchdog;
        happened.cpu_seconds = double(std::clock() - worked) / CLOCKS_PER_SEC;
        happened.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
        return happened;
    }

  private:
    // The next cycle begins, with what the inputs are now (`egress_sim.compiled.DRIVEN`).
    void step() {
#ifdef BOTH_EDGES
        model.clk = !model.clk;
        Vmodel___024root___eval(model.rootp);
#else
        model.clk = 1;
        model.eval();
        model.clk = 0;
        model.eval();
#endif
    }
};

// When how many weights had come: a point for each `stride` beats, which doubles when there are
// too many, as `egress_sim.bench_volume.Course` has it.
class Course {
  public:
    static constexpr size_t most = 4096;

    void beat(uint64_t cycle, size_t weights) {
        if (++beats % stride) return;
        points.push_back({cycle, weights});
        if (points.size() < most) return;
        for (size_t i = 0; i < points.size() / 2; i++) points[i] = points[2 * i + 1];
        points.resize(points.size() / 2);
        stride *= 2;
    }

    void print() const {
        printf("\"course\":[");
        for (size_t i = 0; i < points.size(); i++)
            printf("%s[%llu,%zu]", i ? "," : "", (unsigned long long)points[i].cycle,
                   points[i].weights);
        printf("],");
    }

  private:
    struct Point {
        uint64_t cycle;
        size_t weights;
    };
    std::vector<Point> points;
    uint64_t beats = 0, stride = 1;
};

// Compares beats with those expected, which come as rows: weights, and masks of the lanes that have
// one and whose weight is lost; then a byte for `last`.
class Judge {
  public:
    Judge(size_t lanes, size_t width, FILE *source)
        : lanes(lanes), width(width), masks(mask_bytes(lanes)), size(lanes * width + 2 * masks + 1),
          source(source), buffer(size * 4096), given(lanes, width) {
        want_seen.resize(masks);
    }

    bool complete() { return next() == nullptr; }

    void beat(const Vmodel &model, uint64_t cycle) {
        const uint8_t *row = next();
        const uint8_t *data = memory(&model.m_axis_tdata), *error = memory(&model.m_axis_tuser);
        const uint8_t *keep = given.of(memory(&model.m_axis_tkeep));
        kept += given.count;
        course.beat(cycle, kept);
        flagged += count_bits(error, masks);
        if (row) {
            count_expected(row);
            const uint8_t *want = row + lanes * width, *lost = want + masks;
            if (memcmp(data, row, lanes * width) || memcmp(keep, want, masks) ||
                memcmp(error, lost, masks) || model.m_axis_tlast != row[size - 1])
                compare(row, data, keep, error, model.m_axis_tlast);
            at += size;
        } else {
            surplus += given.count;
            if (surplus_first.empty()) note(surplus_first, 0, data, keep, error, model.m_axis_tlast);
        }
        beats++;
    }

    void print() {
        printf("\"compared\":%zu,\"differ\":%zu,\"surplus\":%zu,"
               "\"kept\":%zu,\"flagged\":%zu,",
               compared, differ, surplus, kept, flagged);
        course.print();
        printf("\"first\":[%s],\"surplus_first\":[%s]", first.c_str(), surplus_first.c_str());
    }

  private:
    // The next row, or null if there is none; waits for it.
    const uint8_t *next() {
        if (at == filled && !ended) {
            filled = fread(buffer.data(), 1, buffer.size(), source);
            at = 0;
            ended = filled == 0;
            if (filled % size) fail("an expected beat is cut off");
        }
        return at == filled ? nullptr : buffer.data() + at;
    }

    void count_expected(const uint8_t *row) {
        const uint8_t *want = row + lanes * width;
        if (memcmp(want, want_seen.data(), masks)) {
            memcpy(want_seen.data(), want, masks);
            want_count = count_bits(want, masks);
        }
        compared += want_count;
    }

    void compare(const uint8_t *row, const uint8_t *data, const uint8_t *keep, const uint8_t *error,
                 bool last) {
        const uint8_t *want = row + lanes * width, *lost = want + masks;
        for (size_t lane = 0; lane < lanes; lane++) {
            bool wrong = bit(keep, lane) != bit(want, lane) || bit(error, lane) != bit(lost, lane);
            wrong |= bit(want, lane) && memcmp(data + lane * width, row + lane * width, width) != 0;
            wrong |= lane == 0 && last != (row[size - 1] != 0);
            if (wrong && differ++ == 0) note(first, lane, data, keep, error, last);
        }
    }

    void note(std::string &text, size_t lane, const uint8_t *data, const uint8_t *keep,
              const uint8_t *error, bool last) {
        uint32_t pattern = 0;
        memcpy(&pattern, data + lane * width, width);
        char line[100];
        snprintf(line, sizeof line, "%zu,%zu,%u,%d,%d,%d", beats, lane, pattern, bit(keep, lane),
                 bit(error, lane), last);
        text = line;
    }

    size_t lanes, width, masks, size;
    FILE *source;
    Bytes buffer, want_seen;
    Keep given;
    Course course;
    size_t at = 0, filled = 0, want_count = 0;
    bool ended = false;
    size_t beats = 0, compared = 0, differ = 0, surplus = 0, kept = 0, flagged = 0;
    std::string first, surplus_first;
};

// Keeps beats as they come, as rows of data, keep, error and last.
class Keeper {
  public:
    Keeper(size_t lanes, size_t width) : lanes(lanes), width(width), given(lanes, width) {}

    bool complete() const { return false; }

    void beat(const Vmodel &model, uint64_t) {
        add(memory(&model.m_axis_tdata), lanes * width);
        add(given.of(memory(&model.m_axis_tkeep)), mask_bytes(lanes));
        add(memory(&model.m_axis_tuser), mask_bytes(lanes));
        rows.push_back(model.m_axis_tlast);
    }

    Bytes rows;

  private:
    void add(const uint8_t *bytes, size_t count) { rows.insert(rows.end(), bytes, bytes + count); }

    size_t lanes, width;
    Keep given;
};

Bytes read_file(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file) fail(std::string("cannot open ") + name);
    Bytes bytes;
    fseek(file, 0, SEEK_END);
    bytes.resize(ftell(file));
    rewind(file);
    if (fread(bytes.data(), 1, bytes.size(), file) != bytes.size())
        fail(std::string("cannot read ") + name);
    fclose(file);
    return bytes;
}

void print(const Happened &h) {
    printf("{\"cycles\":%llu,\"words\":%llu,\"beats\":%llu,\"first_beat\":%lld,"
           "\"startup\":%llu,\"consumer\":%llu,\"stuck\":%s,\"seconds\":%.6f,"
           "\"cpu_seconds\":%.6f,\"idle\":[",
           (unsigned long long)h.cycles, (unsigned long long)h.words, (unsigned long long)h.beats,
           (long long)h.first_beat, (unsigned long long)h.startup, (unsigned long long)h.consumer,
           h.stuck ? "true" : "false", h.seconds, h.cpu_seconds);
    for (int i = 0; i < 8; i++) printf("%s%llu", i ? "," : "", (unsigned long long)h.idle[i]);
    printf("],");
}

void carry(Driver &driver, char **argument) {
    size_t bus = atoi(argument[1]), lanes = atoi(argument[2]), width = atoi(argument[3]);
    Bytes stream = read_file(argument[0]);
    // The last beat of the bus is filled with zeros.
    stream.resize((stream.size() + bus - 1) / bus * bus);
    Order order{stream.data(),
                stream.size() / bus,
                bus,
                pattern_of(argument[7]),
                pattern_of(argument[8]),
                strtoull(argument[4], nullptr, 10),
                strtoull(argument[5], nullptr, 10),
                strtoull(argument[6], nullptr, 10)};
    Judge judge(lanes, width, stdin);
    driver.reset();
    Happened happened = driver.carry(order, judge, true);
    print(happened);
    judge.print();
    printf(",\"error\":%d,\"reason\":%d,\"error_segment\":%u}\n", driver.model.error,
           driver.model.reason, driver.model.error_segment);
}

bool take(void *to, size_t bytes) {
    size_t taken = fread(to, 1, bytes, stdin);
    if (taken && taken != bytes) fail("a visit is cut off");
    return taken == bytes;
}

Bytes take_bytes(size_t count) {
    Bytes bytes(count);
    if (count && !take(bytes.data(), count)) fail("a visit is cut off");
    return bytes;
}

void visits(Driver &driver, char **argument) {
    size_t lanes = atoi(argument[0]), width = atoi(argument[1]);
    // As `egress_sim.faults` packs and unpacks them.
    struct {
        uint32_t reset, bus, words, gaps, stalls, watchdog, stop;
    } head;
    while (take(&head, sizeof head)) {
        Bytes stream = take_bytes(size_t(head.words) * head.bus);
        Bytes gaps = take_bytes(head.gaps), stalls = take_bytes(head.stalls);
        if (head.reset) driver.reset();
        Order order{stream.data(), head.words,    head.bus,  gaps,
                    stalls,        head.watchdog, head.stop, UINT64_MAX};
        Keeper keeper(lanes, width);
        Happened happened = driver.carry(order, keeper, false);
        uint32_t tail[] = {uint32_t(happened.beats),      uint32_t(happened.words),
                           uint32_t(happened.ran),        driver.model.error,
                           driver.model.reason,           driver.model.error_segment,
                           driver.model.busy,          driver.model.idle};
        fwrite(tail, sizeof tail, 1, stdout);
        fwrite(keeper.rows.data(), 1, keeper.rows.size(), stdout);
    }
}

template <class Model> auto keep_covered(Model &model, int) -> decltype((void)model.covered) {
    const char *name = getenv("EGRESS_COVERED");
    if (!name) return;
    FILE *file = fopen(name, "ab");
    if (!file) fail(std::string("cannot open ") + name);
    fwrite(&model.covered, sizeof model.covered, 1, file);
    fclose(file);
}

template <class Model> void keep_covered(Model &, long) {}

}  // namespace

double sc_time_stamp() { return 0; }

int main(int count, char **argument) {
    try {
        Driver driver;
        if (count == 11 && !strcmp(argument[1], "carry"))
            carry(driver, argument + 2);
        else if (count == 4 && !strcmp(argument[1], "visits"))
            visits(driver, argument + 2);
        else
            fail("see the top of fast_harness.cpp for the arguments");
        keep_covered(driver.model, 0);
    } catch (const std::exception &error) {
        fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
