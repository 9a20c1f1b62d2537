/* The loops of decode.c, compiled for processors that count zeros and shift in one step. */
#include "kernel.h"

#if EGRESS_X86
#define TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt")))
#define LINKAGE
#define LEVEL int8_t
#define PAIR uint32_t
#define OF of_8
#define NAME(x) x##_x86_8
#include "rounds.h"
#undef LEVEL
#undef PAIR
#undef OF
#undef NAME
#define LEVEL int16_t
#define PAIR uint64_t
#define OF of_16
#define NAME(x) x##_x86_16
#include "rounds.h"
#endif
