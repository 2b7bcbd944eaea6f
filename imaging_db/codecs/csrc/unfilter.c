#include <string.h>

#include "png.h"

enum { NONE, SUB, UP, AVERAGE, PAETH };

static uint8_t paeth(int a, int b, int c)
{
    int pa = b - c, pb = a - c, pc = pa + pb;
    pa = pa < 0 ? -pa : pa;
    pb = pb < 0 ? -pb : pb;
    pc = pc < 0 ? -pc : pc;
    return (uint8_t)(pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
}

/* One row; `up` is the row above as it was before filtering. Inlined once for each bpp: the loops over
 * the bytes of a pixel unroll, and each byte is a chain of its own. */
static inline void unfilter_row(int type, const uint8_t *in, const uint8_t *up, size_t n, size_t bpp, uint8_t *out)
{
    uint8_t a[8] = {0}, c[8] = {0};
    switch (type) {
    case SUB:
        for (size_t i = 0; i < n; i += bpp)
            for (size_t k = 0; k < bpp; k++) out[i + k] = a[k] = (uint8_t)(in[i + k] + a[k]);
        break;
    case UP:
        for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(in[i] + up[i]);
        break;
    case AVERAGE:
        for (size_t i = 0; i < n; i += bpp)
            for (size_t k = 0; k < bpp; k++) {
                a[k] = (uint8_t)(in[i + k] + ((a[k] + up[i + k]) >> 1));
                out[i + k] = a[k];
            }
        break;
    case PAETH:
        for (size_t i = 0; i < n; i += bpp)
            for (size_t k = 0; k < bpp; k++) {
                a[k] = (uint8_t)(in[i + k] + paeth(a[k], up[i + k], c[k]));
                c[k] = up[i + k];
                out[i + k] = a[k];
            }
        break;
    default:
        memcpy(out, in, n);
    }
}

static void unfilter_any(int type, const uint8_t *in, const uint8_t *up, size_t n, size_t bpp, uint8_t *out)
{
    switch (bpp) {
    case 1: unfilter_row(type, in, up, n, 1, out); break;
    case 2: unfilter_row(type, in, up, n, 2, out); break;
    case 3: unfilter_row(type, in, up, n, 3, out); break;
    case 4: unfilter_row(type, in, up, n, 4, out); break;
    case 6: unfilter_row(type, in, up, n, 6, out); break;
    default: unfilter_row(type, in, up, n, 8, out);
    }
}

static void swap_pairs(uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        uint8_t high = bytes[i];
        bytes[i] = bytes[i + 1];
        bytes[i + 1] = high;
    }
}

int png_unfilter(const uint8_t *rows, uint32_t height, size_t n, size_t bpp, int swap, uint8_t *out)
{
    const uint8_t *up = NULL;
    for (uint32_t y = 0; y < height; y++, rows += n + 1, up = out, out += n) {
        int type = rows[0];
        if (type > PAETH) return -1;
        if (up) {
            unfilter_any(type, rows + 1, up, n, bpp, out);
            if (swap && y > 1) swap_pairs(out - 2 * n, n); /* no row needs it any more */
            continue;
        }
        memset(out, 0, n); /* above the first row are zeros; SUB and NONE look at none */
        unfilter_any(type, rows + 1, out, n, bpp, out);
    }
    for (uint32_t left = height < 2 ? height : 2; swap && left; left--) swap_pairs(out - left * n, n);
    return 0;
}
