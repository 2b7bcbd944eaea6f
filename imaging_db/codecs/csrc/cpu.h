/* Which instructions may be used: chosen when the module is loaded, not when it is compiled. */
#ifndef IMAGING_DB_CPU_H
#define IMAGING_DB_CPU_H

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define HAVE_AVX2 1
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt,pclmul,sse4.1")))
#else
#define HAVE_AVX2 0
#endif

/* True where AVX2 code may run; `cpu_init` finds out, and may be told to say no. */
extern int cpu_avx2;
void cpu_init(int allowed);

#endif
