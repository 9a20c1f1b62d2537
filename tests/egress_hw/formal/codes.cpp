// Every entry of the class table, for every setting, against FORMAT.md, section 4.
//
// An entry is right if what a lane makes of it (Entry's docstring) is the codeword's length and
// value, for every codeword of its class. Both are affine in the suffix, so the first and the last
// codeword of each half tell of all. Prints what is wrong and the number of classes that were seen.
#include "table.cpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

static cxxrtl_design::p_top top;
static uint64_t entries[64];
static bool written[64];
static long failures = 0, classes = 0, large = 0;

struct Entry {
    uint32_t offset, size, take;
    bool done, is_long, bad, half, tight;
};

static Entry unpack(uint64_t bits) {
    return {uint32_t(bits & 0x1FFFF), uint32_t(bits >> 17 & 31), uint32_t(bits >> 22 & 63),
            bool(bits >> 28 & 1),     bool(bits >> 29 & 1),      bool(bits >> 30 & 1),
            bool(bits >> 31 & 1),     bool(bits >> 32 & 1)};
}

static void fill(uint32_t setting) {
    for (bool &one : written) one = false;
    top.p_word.set<uint32_t>(setting);
    top.p_i____valid.set<bool>(true);
    for (int cycle = 0; cycle < 1000; cycle++) {
        top.p_clk.set<bool>(false);
        top.step();
        if (top.p_write.get<bool>()) {
            unsigned index = top.p_address.get<uint32_t>() & 63;
            entries[index] = top.p_entry.get<uint64_t>();
            written[index] = true;
        }
        bool ready = top.p_i____ready.get<bool>();
        top.p_clk.set<bool>(true);
        top.step();
        if (ready) return;
    }
    printf("setting %08x: not done after 1000 cycles\n", setting);
    exit(1);
}

static void fail(uint32_t setting, const char *code, int number, const char *what) {
    if (++failures > 100) exit(1);
    static std::map<std::string, int> told;
    if (told[std::to_string(setting >> 30) + code + what]++ < 3)
        printf("setting %08x, %s code, class %d: %s\n", setting, code, number, what);
}

// A code, and what its symbols stand for: levels' symbols from `base` on, or slots.
static void check_code(uint32_t setting, bool second, int j, int k, int T, bool first_half,
                       bool half, bool swap, bool runs, int threshold, int64_t base) {
    const char *code = second ? "second" : "first";
    int64_t start = 0;
    for (int c = 0; c < 24; c++) {
        int b = c == 0 ? j : k + (c > T ? c - T : 0);
        bool triple = c == 0 ? first_half : half;
        int zeros = swap && c < 2 ? 1 - c : c;
        int suffix = b + triple + runs;
        int length = zeros + 1 + suffix;  // of a half class, if its suffix begins with a one
        int place = zeros - second;
        bool field = second && zeros == 0;
        int passed = second + (!field && place >= 8 ? place & ~7 : 0);
        int index = field ? 63 : second << 5 | (place >= 8) << 4 | (place >= 16) << 3 | (place & 7);
        classes++;
        if (!written[index]) fail(setting, code, c, "no entry");
        Entry e = unpack(entries[index]);
        if (length > 32) {
            if (e.done || e.is_long || !e.bad || (int)e.take != 33 - passed)
                fail(setting, code, c, "a codeword that is too long is not refused as one");
        } else {
            int window = WINDOW;
            if (e.done == e.is_long) fail(setting, code, c, "neither done nor long");
            if (e.half != triple) fail(setting, code, c, "half class");
            if (e.done) {
                if ((int)e.take != length - passed || passed != second)
                    fail(setting, code, c, "take");
                if ((int)e.take + triple > window) fail(setting, code, c, "beyond the window");
            } else {
                if ((int)e.size != suffix) fail(setting, code, c, "size");
                if ((int)e.take != (field ? 0 : zeros + 1 - passed)) fail(setting, code, c, "take");
            }
            // The two halves of a half class: suffixes that begin with a one, and with a zero.
            for (int zero = 0; zero <= triple; zero++) {
                int64_t low = zero ? int64_t(1) << b : 0;
                int64_t high = (triple && !zero ? int64_t(1) << b : int64_t(triple ? 3 : 1) << b) - 1;
                bool refused = e.bad || (zero && e.tight);
                bool legal_length = length + zero <= 32;
                // In a field of 16 bits or more those above the lowest 16 must be zero: the lane sees.
                int64_t most = (int64_t(1) << (16 - runs)) - 1 + low;
                bool looks = e.is_long && suffix >= 16 && most < high;
                for (int64_t v : {low, looks ? most : low, looks ? most + 1 : low, high}) {
                    bool above = looks && v > most;
                    int64_t symbol = start + v;
                    int64_t x = v + (int64_t(triple ? 3 : 1) << b);  // the one and the suffix
                    for (int follows = 0; follows <= runs; follows++) {
                        int64_t value = runs ? 2 * (symbol - threshold) + follows : symbol + base;
                        int64_t bits = runs ? 2 * x + follows : x;
                        bool same = ((e.offset + bits - value) & 0x1FFFF) == 0;
                        // What must be refused, and what a lane sees by itself, of 17 bits.
                        bool must = runs ? symbol >= 1 << 15 : value > 65535;
                        bool seen = runs ? symbol - threshold < 3 << 14 : value < 1 << 17;
                        if (!legal_length) must = true, seen = false;
                        if (above) {
                            if (!must) fail(setting, code, c, "high bits");
                            continue;
                        }
                        if (refused && !must) fail(setting, code, c, "refused");
                        if (refused || (same && (!must || seen))) continue;
                        if (must && legal_length)
                            large++;
                        else
                            fail(setting, code, c, "value");
                    }
                }
            }
        }
        start += int64_t(triple ? 3 : 1) << b;
    }
}

static void check_raw(uint32_t setting, int width) {
    for (int index = 0; index < 8; index++) {
        Entry e = unpack(entries[index]);
        classes++;
        int lead = 1 << width;  // a long field has a one before it that is none of its bits
        bool right = e.done ? (int)e.take == width && width <= WINDOW && e.offset == 1
                            : e.is_long && e.take == 0 && (int)e.size == width &&
                                  ((e.offset + lead - 1) & 0x1FFFF) == 0;
        if (!written[index] || !right || e.bad || e.half || e.tight)
            fail(setting, "raw", index, "field");
    }
}

static uint32_t setting_of(int mode, int first_code, int second_code, int threshold, int shape) {
    return uint32_t(mode) << 30 | uint32_t(first_code) << 15 | second_code << 6 | threshold << 2 | shape;
}

static void check(int mode, int first_code, int second_code, int field) {
    uint32_t setting = setting_of(mode, first_code, second_code, field, (first_code ^ field) & 3 & -(mode == 2));
    fill(setting);
    int threshold = field < 8 ? field : (4 + field % 4) << (field / 4 - 1);
    int k = first_code >> 11 & 15, T = first_code >> 6 & 15, j = first_code >> 2 & 15;
    bool half = first_code >> 10 & 1, first_half = first_code >> 1 & 1, swap = first_code & 1;
    bool runs = mode != 0;
    check_code(setting, false, j, k, T, first_half, half, swap, runs, threshold, 1);
    if (!runs) return;
    k = second_code >> 5, T = second_code & 15, half = second_code >> 4 & 1;
    check_code(setting, true, k, k, T, half, half, false, false, 0, mode == 2 ? 4 : 2);
}

int main() {
    top.p_i____payload.set<uint32_t>(0);
    for (int code = 0; code < 1 << 15; code++) check(0, code, 0, 0);
    // A setting's two codes have nothing in common: each is seen with all of its own values.
    for (int code = 0; code < 1 << 14; code++) {
        check(1, code << 1, code * 331 & 511, 0);
        for (int field = 0; field < 16; field++) check(2, code << 1, (code * 331 + field) & 511, field);
    }
    for (int width = 1; width <= 16; width++) {
        uint32_t setting = 3u << 30 | uint32_t(width - 1) << 26;
        fill(setting);
        check_raw(setting, width);
    }
    printf("%ld classes, %ld failures; %ld large symbols not refused\n", classes, failures, large);
    return failures != 0;
}
