/* Huffman codes for DEFLATE: lengths from counts, limited; codes in the bit order of RFC 1951. */
#ifndef IMAGING_DB_HUFFMAN_H
#define IMAGING_DB_HUFFMAN_H

#include <stdint.h>

enum { MAX_SYMBOLS = 286 };

/* One symbol as it is written: its code, first bit lowest, in the low 16 bits, its length above. */
typedef uint32_t code_t;
#define CODE_BITS(c) ((c) & 0xffffu)
#define CODE_LENGTH(c) ((c) >> 16)

/* Code lengths of at most `limit` bits for `n` symbols, at least two of which must be counted. */
void huffman_lengths(const uint32_t *count, int n, int limit, uint8_t *length);

/* The canonical codes of such lengths (RFC 1951, section 3.2.2). */
void huffman_codes(const uint8_t *length, int n, code_t *code);

#endif
