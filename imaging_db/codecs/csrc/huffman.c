#include "huffman.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_LENGTH = 15 };

static int by_count(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Lengths of an optimal code from ascending weights, in place (Moffat and Katajainen, 1995). */
static void minimum_redundancy(uint32_t *w, int n)
{
    int root = 0, leaf = 2, next;
    w[0] += w[1];
    for (next = 1; next < n - 1; next++) {
        if (leaf >= n || w[root] < w[leaf]) { w[next] = w[root]; w[root++] = (uint32_t)next; }
        else w[next] = w[leaf++];
        if (leaf >= n || (root < next && w[root] < w[leaf])) {
            w[next] += w[root];
            w[root++] = (uint32_t)next;
        } else w[next] += w[leaf++];
    }
    w[n - 2] = 0;
    for (next = n - 3; next >= 0; next--) w[next] = w[w[next]] + 1;
    int open = 1, used = 0;
    uint32_t depth = 0;
    for (root = n - 2, next = n - 1; open > 0; open = 2 * used, depth++, used = 0) {
        while (root >= 0 && w[root] == depth) { used++; root--; }
        while (open > used) { w[next--] = depth; open--; }
    }
}

/* Make the counts of lengths a complete code again after the longest were cut to `limit`. */
static void limit_lengths(int *with, int limit)
{
    uint32_t total = 0;
    for (int bits = limit; bits > 0; bits--) total += (uint32_t)with[bits] << (limit - bits);
    while (total > 1u << limit) {
        with[limit]--;
        for (int bits = limit - 1; bits > 0; bits--) {
            if (!with[bits]) continue;
            with[bits]--;
            with[bits + 1] += 2;
            break;
        }
        total--;
    }
}

void huffman_lengths(const uint32_t *count, int n, int limit, uint8_t *length)
{
    uint64_t order[MAX_SYMBOLS];
    uint32_t weight[MAX_SYMBOLS] = {0};
    int with[MAX_SYMBOLS] = {0};
    int used = 0;
    memset(length, 0, (size_t)n);
    for (int i = 0; i < n; i++)
        if (count[i]) order[used++] = (uint64_t)count[i] << 16 | (uint64_t)i;
    qsort(order, (size_t)used, sizeof *order, by_count);
    for (int i = 0; i < used; i++) weight[i] = (uint32_t)(order[i] >> 16);
    minimum_redundancy(weight, used);
    for (int i = 0; i < used; i++) with[weight[i] < (uint32_t)limit ? weight[i] : (uint32_t)limit]++;
    limit_lengths(with, limit);
    for (int bits = 1, i = used - 1; bits <= limit; bits++) /* the most frequent get the shortest */
        for (int k = 0; k < with[bits]; k++) length[order[i--] & 0xffff] = (uint8_t)bits;
}

static uint32_t reversed(uint32_t code, int bits)
{
    uint32_t out = 0;
    for (int i = 0; i < bits; i++) out |= (code >> i & 1u) << (bits - 1 - i);
    return out;
}

void huffman_codes(const uint8_t *length, int n, code_t *code)
{
    uint32_t with[MAX_LENGTH + 1] = {0}, next[MAX_LENGTH + 1] = {0};
    for (int i = 0; i < n; i++) with[length[i]]++;
    with[0] = 0;
    for (int bits = 1; bits <= MAX_LENGTH; bits++) next[bits] = (next[bits - 1] + with[bits - 1]) << 1;
    for (int i = 0; i < n; i++) {
        int bits = length[i];
        code[i] = bits ? reversed(next[bits]++, bits) | (uint32_t)bits << 16 : 0;
    }
}
