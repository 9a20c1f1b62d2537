// A board at its pins: clock, reset, serial wires bit by bit, an SPI flash; the host's end of the
// serial cable is a pseudo-terminal.
//
//   harness CYCLES_A_BIT CLOCK_HZ LINK TIME FLASH SEED [FAULT...]
//
// LINK is a path that points to the terminal while the cable is in. TIME is a file of 8 bytes, in
// which the simulated time is kept, in nanoseconds. FLASH is the flash's contents, or "-". FAULT is
//
//   noise=RATE      a wire is inverted for the time of a bit, at this rate a bit, either wire
//   lose=RATE       a byte is lost between host and wire, either way
//   reset@BYTES     the board is reset when that many bytes have passed, both ways together
//   unplug@BYTES=S  the cable is pulled, and plugged in again S seconds later
//   power@BYTES=S   the same, and the board loses its power
//
// The same, with "@now", are taken as lines from the standard input; at its end the simulation
// ends, and tells what happened as JSON.

#include "Vmodel.h"
#include "verilated.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <poll.h>
#include <random>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>
#include <vector>

namespace {

using Bytes = std::vector<uint8_t>;

// Cycles between looks at the host.
constexpr uint64_t LOOK = 256;
// Cycles without a change at the pins after which time is skipped, while there is nothing in the
// board, as its LED tells. While there is, it may be at work: so many cycles for each skip.
constexpr uint64_t QUIET = 2'000;
constexpr uint64_t QUIET_ACTIVE = 20'000;
// Time is skipped, so much at once, when the host has been quiet for so many milliseconds: it may
// only be slow. After that it waits.
constexpr int PATIENCE_MS = 10;
constexpr uint64_t SKIP_NS = 10'000'000;
// Bytes that the host's system keeps of what it has not read.
constexpr size_t KEPT = 4096;

[[noreturn]] void fail(const std::string &what) { throw std::runtime_error(what); }

struct Event {
    std::string kind;
    uint64_t at;
    double seconds;
};

struct Faults {
    double noise = 0, lose = 0;
    std::vector<Event> events;

    void add(const std::string &text, uint64_t now) {
        size_t at = text.find('@'), equal = text.find('=');
        std::string kind = text.substr(0, std::min(at, equal));
        bool placed = kind == "reset" || kind == "unplug" || kind == "power";
        placed &= at != std::string::npos;
        double value = equal == std::string::npos ? 0 : atof(text.c_str() + equal + 1);
        if (kind == "noise" && equal != std::string::npos)
            noise = value;
        else if (kind == "lose" && equal != std::string::npos)
            lose = value;
        else if (placed && text.compare(at, 4, "@now") == 0)
            events.push_back({kind, now, value});
        else if (placed)
            events.push_back({kind, strtoull(&text[at + 1], nullptr, 10), value});
        else
            fail("unknown fault " + text);
    }
};

// A wire that is inverted now and then.
class Wire {
  public:
    Wire(uint64_t seed, uint64_t bit) : draw(seed), bit(bit) {}

    bool pass(bool level, uint64_t cycle, double noise) {
        if (noise != rate) {
            rate = noise;
            plan(cycle);
        }
        if (cycle < next) return level;
        if (cycle + 1 >= next + bit) {
            glitches++;
            plan(cycle);
        }
        return !level;
    }
    uint64_t glitches = 0;

  private:
    void plan(uint64_t cycle) {
        next = rate > 0 ? cycle + 1 + uint64_t(std::exponential_distribution<>(rate)(draw) * bit)
                        : UINT64_MAX;
    }
    std::mt19937_64 draw;
    uint64_t bit, next = UINT64_MAX;
    double rate = 0;
};

// Makes levels of bytes.
class Sender {
  public:
    explicit Sender(uint64_t bit) : bit(bit) {}

    bool level() {
        if (!left) {
            if (bytes.empty()) return true;
            // Start bit, eight bits, stop bit.
            frame = 0x200 | bytes.front() << 1;
            bytes.pop_front();
            left = 10 * bit;
        }
        bool now = frame >> (10 - (left + bit - 1) / bit) & 1;
        left--;
        return now;
    }
    bool busy() const { return left || !bytes.empty(); }
    std::deque<uint8_t> bytes;

  private:
    uint64_t bit, left = 0;
    unsigned frame = 0;
};

// Makes bytes of levels.
class Receiver {
  public:
    explicit Receiver(uint64_t bit) : bit(bit) {}

    // Returns whether `byte` is complete.
    bool take(bool level) {
        if (!left) {
            if (!level) {
                left = 10 * bit;
                value = 0;
            }
            return false;
        }
        left--;
        uint64_t passed = 10 * bit - left, number = passed / bit;
        if (passed % bit != bit / 2) return false;
        // A start bit that has gone again is none.
        if (number == 0 && level) left = 0;
        if (number >= 1 && number <= 8) value |= unsigned(level) << (number - 1);
        if (number != 9) return false;
        // The next start bit may come early.
        left = 0;
        byte = value;
        return level;
    }
    uint8_t byte = 0;

  private:
    uint64_t bit, left = 0;
    unsigned value = 0;
};

// Reads of an SPI flash, mode 0. It sleeps until it is woken by AB.
class Flash {
  public:
    explicit Flash(Bytes contents) : contents(std::move(contents)) {}

    // Takes the levels of the pins; returns that of the flash's output.
    bool step(bool selected, bool clock, bool in) {
        if (!selected) {
            bits = 0;
            command = address = 0;
        } else if (clock && !before) {
            rise(in);
        } else if (!clock && before && reads()) {
            fall();
        }
        before = clock;
        return out;
    }
    uint64_t read = 0;

  private:
    unsigned head() const { return command == 0x0B ? 40 : 32; }
    bool reads() const { return awake && (command == 0x03 || command == 0x0B) && bits >= head(); }

    void rise(bool in) {
        if (bits < 8) {
            command = command << 1 | in;
            if (bits == 7 && command == 0xAB) awake = true;
            if (bits == 7 && command == 0xB9) awake = false;
        } else if (bits < 32) {
            address = address << 1 | in;
        }
        bits++;
    }
    void fall() {
        unsigned at = (bits - head()) % 8;
        if (at == 0) {
            value = address < contents.size() ? contents[address] : 0xFF;
            address = (address + 1) & 0xFFFFFF;
            read++;
        }
        out = value >> (7 - at) & 1;
    }

    Bytes contents;
    bool before = false, awake = false, out = true;
    uint64_t bits = 0;
    uint32_t command = 0, address = 0;
    uint8_t value = 0xFF;
};

// The host's end of the cable.
class Terminal {
  public:
    explicit Terminal(std::string link) : link(std::move(link)) {}
    ~Terminal() {
        if (plugged()) unplug();
    }

    bool plugged() const { return master >= 0; }

    void plug() {
        master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
        if (master < 0 || grantpt(master) || unlockpt(master)) fail("no pseudo-terminal");
        const char *name = ptsname(master);
        // Open as long as the cable is in, or reading would fail while no host has it open.
        slave = open(name, O_RDWR | O_NOCTTY);
        termios raw;
        if (slave < 0 || tcgetattr(slave, &raw)) fail("no pseudo-terminal");
        cfmakeraw(&raw);
        tcsetattr(slave, TCSANOW, &raw);
        // The link takes its name in one step.
        std::string made = link + ".new";
        ::unlink(made.c_str());
        if (symlink(name, made.c_str()) || rename(made.c_str(), link.c_str()))
            fail("cannot make " + link);
    }

    void unplug() {
        ::unlink(link.c_str());
        close(slave);
        close(master);
        master = slave = -1;
        out.clear();
    }

    size_t take(uint8_t *to, size_t size) {
        ssize_t got = plugged() ? read(master, to, size) : 0;
        return got > 0 ? got : 0;
    }

    void give(uint8_t byte) {
        if (plugged() && out.size() < KEPT) out.push_back(byte);
    }

    void flush() {
        if (out.empty() || !plugged()) return;
        ssize_t written = write(master, out.data(), out.size());
        if (written > 0) out.erase(out.begin(), out.begin() + written);
    }

    // Waits for the host, or for a line of the standard input.
    bool wait(int milliseconds) {
        pollfd files[] = {{STDIN_FILENO, POLLIN, 0}, {master, POLLIN, 0}};
        return poll(files, plugged() ? 2 : 1, milliseconds) > 0;
    }

  private:
    std::string link;
    int master = -1, slave = -1;
    Bytes out;
};

Bytes read_file(const char *name) {
    if (!strcmp(name, "-")) return {};
    FILE *file = fopen(name, "rb");
    if (!file) fail(std::string("cannot open ") + name);
    Bytes bytes;
    int byte;
    while ((byte = getc(file)) != EOF) bytes.push_back(byte);
    fclose(file);
    return bytes;
}

volatile uint64_t *map_time(const char *name) {
    int file = open(name, O_RDWR);
    if (file < 0) fail(std::string("cannot open ") + name);
    void *at = mmap(nullptr, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (at == MAP_FAILED) fail(std::string("cannot map ") + name);
    close(file);
    return static_cast<volatile uint64_t *>(at);
}

class Board {
  public:
    Board(char **argument, int faults_count)
        : bit(atoi(argument[0])), clock_hz(atof(argument[1])), terminal(argument[2]),
          time(map_time(argument[3])), flash(read_file(argument[4])),
          seed(strtoull(argument[5], nullptr, 10)), draw(seed), to_board(seed + 1, bit),
          from_board(seed + 2, bit), sender(bit), receiver(bit) {
        for (int i = 0; i < faults_count; i++) faults.add(argument[6 + i], 0);
    }

    void run() {
        reset();
        terminal.plug();
        puts("ready");
        fflush(stdout);
        fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
        while (!ended) {
            for (uint64_t i = 0; i < LOOK; i++) step();
            tell_time();
            happen();
            terminal.flush();
            listen();
            if (cycle - changed > (model.active ? QUIET_ACTIVE : QUIET)) rest();
        }
        printf("{\"cycles\":%llu,\"seconds\":%.6f,\"to_board\":%llu,\"from_board\":%llu,"
               "\"glitches\":%llu,\"lost\":%llu,\"flash_bytes\":%llu,\"events\":%llu}\n",
               (unsigned long long)cycle, *time * 1e-9, (unsigned long long)sent,
               (unsigned long long)received,
               (unsigned long long)(to_board.glitches + from_board.glitches),
               (unsigned long long)lost, (unsigned long long)flash.read,
               (unsigned long long)events);
    }

  private:
    void clock() {
        model.clk = !model.clk;
        model.eval();
        cycle++;
    }

    void reset() {
        model.rst = 1;
        for (int i = 0; i < 8; i++) clock();
        model.rst = 0;
    }

    void step() {
        model.rx = to_board.pass(sender.level(), cycle, faults.noise);
        clock();
        model.flash_cipo = flash.step(!model.flash_cs_n, model.flash_clk, model.flash_copi);
        bool level = model.tx;
        if (receiver.take(from_board.pass(level, cycle, faults.noise))) {
            received++;
            if (kept()) terminal.give(receiver.byte);
        }
        if (sender.busy() || !level || !model.flash_cs_n) changed = cycle;
    }

    // Whether a byte gets through the cable.
    bool kept() {
        bool gone = faults.lose > 0 && std::bernoulli_distribution(faults.lose)(draw);
        lost += gone;
        return !gone;
    }

    void tell_time() { *time = uint64_t(cycle / clock_hz * 1e9) + skipped; }

    void happen() {
        for (size_t i = 0; i < faults.events.size();) {
            Event event = faults.events[i];
            if (event.at > sent + received) {
                i++;
                continue;
            }
            faults.events.erase(faults.events.begin() + i);
            events++;
            if (event.kind != "unplug") reset();
            if (event.kind != "reset" && terminal.plugged()) {
                terminal.unplug();
                sender.bytes.clear();
                plug_at = *time + uint64_t(event.seconds * 1e9);
            }
            changed = cycle;
        }
        if (!terminal.plugged() && *time >= plug_at) terminal.plug();
    }

    void listen() {
        uint8_t bytes[64];
        if (sender.bytes.size() < 32) {
            size_t count = terminal.take(bytes, sizeof bytes);
            for (size_t i = 0; i < count; i++) {
                sent++;
                if (kept()) sender.bytes.push_back(bytes[i]);
            }
            if (count) {
                changed = cycle;
                waits = false;
            }
        }
        if (cycle < commands_at) return;
        commands_at = cycle + 16 * LOOK;
        ssize_t count;
        while ((count = read(STDIN_FILENO, bytes, sizeof bytes)) > 0) {
            for (ssize_t i = 0; i < count; i++) {
                if (bytes[i] != '\n') {
                    line += char(bytes[i]);
                    continue;
                }
                faults.add(line, sent + received);
                line.clear();
            }
        }
        if (count == 0) ended = true;
    }

    // Nothing happens at the pins: waits for the host, and lets time pass quickly.
    void rest() {
        commands_at = 0;
        for (int i = waits ? PATIENCE_MS - 1 : 0; i < PATIENCE_MS; i++) {
            if (terminal.wait(1)) {
                waits = false;
                return;
            }
        }
        waits = true;
        skipped += SKIP_NS;
        if (model.active) changed = cycle;
    }

    Vmodel model;
    uint64_t bit;
    double clock_hz;
    Terminal terminal;
    volatile uint64_t *time;
    Flash flash;
    uint64_t seed;
    std::mt19937_64 draw;
    Wire to_board, from_board;
    Sender sender;
    Receiver receiver;
    Faults faults;
    std::string line;
    uint64_t cycle = 0, changed = 0, skipped = 0, plug_at = 0, commands_at = 0;
    uint64_t sent = 0, received = 0, lost = 0, events = 0;
    bool ended = false, waits = false;
};

}  // namespace

double sc_time_stamp() { return 0; }

int main(int count, char **argument) {
    try {
        if (count < 7) fail("see the top of board_harness.cpp for the arguments");
        Board(argument + 1, count - 7).run();
    } catch (const std::exception &error) {
        fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
