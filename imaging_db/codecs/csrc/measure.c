#include "measure.h"

#include <string.h>

#include "cpu.h"

#define NAME(x) x##_plain
#define TARGET
#include "measure.inc.h"
#undef NAME
#undef TARGET
#if HAVE_AVX2
#define NAME(x) x##_avx2
#define TARGET AVX2
#include "measure.inc.h"
#undef NAME
#undef TARGET
#endif

quality measure_8(const uint8_t *samples, ptrdiff_t stride, size_t height, size_t n, size_t colors, size_t step)
{
#if HAVE_AVX2
    if (cpu_avx2) return measure_8_avx2(samples, stride, height, n, colors, step);
#endif
    return measure_8_plain(samples, stride, height, n, colors, step);
}

quality measure_16(const uint8_t *samples, ptrdiff_t stride, size_t height, size_t n, size_t colors, size_t step)
{
#if HAVE_AVX2
    if (cpu_avx2) return measure_16_avx2(samples, stride, height, n, colors, step);
#endif
    return measure_16_plain(samples, stride, height, n, colors, step);
}
