/* PNG of camera frames: a filter and a Huffman code for every block of rows, runs of zeros, no search. */
#ifndef IMAGING_DB_PNG_H
#define IMAGING_DB_PNG_H

#include <stddef.h>
#include <stdint.h>

/* Samples in memory: rows `stride` bytes apart, samples of a row side by side. */
typedef struct {
    const uint8_t *samples;
    ptrdiff_t stride;
    uint32_t width, height;
    int colors;   /* 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA */
    int depth;    /* bits a sample: 8 or 16 */
    int swap;     /* samples of 16 bit have the low byte first */
} frame;

/* Fill the tables; call once before the others. */
void png_init(void);

/* Bytes that the PNG of a frame can have at most, 0 where that is too much for one chunk. */
size_t png_bound(const frame *f);

/* Write the PNG of a frame to `out`; return its bytes, 0 where memory ran out. */
size_t png_encode(const frame *f, uint8_t *out);

/* 1 where most of a sample of the rows is repetition: drawn or simulated, no camera noise. There a search
 * makes much smaller files than `png_encode`, which only knows how often each byte comes. */
int png_repeats(const frame *f);

/* Undo the filters of `height` rows of 1 + n bytes; write n bytes a row, samples turned over if `swap`.
 * Return 0, or -1 where a row has no known filter. */
int png_unfilter(const uint8_t *rows, uint32_t height, size_t n, size_t bpp, int swap, uint8_t *out);

#endif
