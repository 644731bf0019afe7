/** @typedef {import('../contract.mjs').Chunk} Chunk */

/**
 * Messages of `size` bytes, each in memory of its own: what is held of them can be seen.
 *
 * @param {number} size
 * @param {number} count
 * @returns {Generator<Chunk>}
 */
export function* chunks(size, count) {
  for (let number = 1; number <= count; number++) yield { data: Buffer.alloc(size, number), number };
}
