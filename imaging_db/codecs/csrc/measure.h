/* Quality of a frame of 8 or 16 bit samples: sums that Python makes the figures of. */
#ifndef IMAGING_DB_MEASURE_H
#define IMAGING_DB_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* `gradient` sums the squared differences of samples two columns of the same colour apart, in every
 * `step`-th row from the first on. */
typedef struct { uint32_t minimum, maximum; uint64_t sum, saturated, gradient; } quality;

/* Samples in the processor's own order: `height` rows, `stride` bytes apart, of `n` samples. */
quality measure_8(const uint8_t *samples, ptrdiff_t stride, size_t height, size_t n, size_t colors, size_t step);
quality measure_16(const uint8_t *samples, ptrdiff_t stride, size_t height, size_t n, size_t colors, size_t step);

#endif
