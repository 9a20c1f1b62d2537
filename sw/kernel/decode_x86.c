/* The loops of decode.c, compiled for processors that count zeros and shift in one step. */
#include "kernel.h"

#if EGRESS_X86
#define TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt")))
#define LINKAGE
#define LEVEL int8_t
#define FEW uint32_t
#define FEW_TABLE few_8
#define FEW_TABLE_BITS FEW_BITS_8
#define NAME(x) x##_x86_8
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
#define NAME(x) x##_x86_16
#include "rounds.h"
#endif
