/** @typedef {import('../contract.mjs').Chunk} Chunk */

/**
 * Generates messages of `size` bytes, each in a separate buffer, so that buffered messages show up in memory.
 *
 * @param {number} size
 * @param {number} count
 * @returns {Generator<Chunk>}
 */
export function* chunks(size, count) {
  for (let number = 1; number <= count; number++) yield { data: Buffer.alloc(size, number), number };
}
