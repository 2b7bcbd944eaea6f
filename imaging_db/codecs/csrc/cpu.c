#include "cpu.h"

int cpu_avx2 = 0;

void cpu_init(int allowed)
{
#if HAVE_AVX2
    __builtin_cpu_init();
    cpu_avx2 = allowed && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")
               && __builtin_cpu_supports("pclmul");
#else
    (void)allowed;
#endif
}
