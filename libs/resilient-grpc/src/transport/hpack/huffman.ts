import { HpackError } from './hpack-error.js';

/** Length in bits of the code of each byte, and of EOS. The code is canonical, so the lengths determine it (RFC 7541, appendix B). */
// prettier-ignore
const CODE_LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];
const EOS = 256;

// Bits of an entry of the automaton. The nine lowest bits are the next state.
const STATE = 0x1ff;
/** A byte ends here; it is in the bits from `BYTE_SHIFT` on. */
const EMITS = 0x200;
const FAILS = 0x400;
/** The text may end here. */
const MAY_END = 0x800;
const BYTE_SHIFT = 16;

/** The next state for each state, an inner node of the code tree, and each four bits; made for the first text. */
let table: Uint32Array | undefined;

/** Children of each inner node for the bits 0 and 1: the index of a node, or `~byte` for a leaf. */
type CodeTree = readonly (readonly [number, number])[];

function codeTree(): CodeTree {
  const nodes: [number, number][] = [[0, 0]];
  const symbols = CODE_LENGTHS.map((bits, symbol) => ({ bits, symbol })).sort(
    (a, b) => a.bits - b.bits || a.symbol - b.symbol,
  );
  let code = 0;
  let length = 0;
  for (const { bits, symbol } of symbols) {
    code *= 2 ** (bits - length);
    length = bits;
    let at = 0;
    for (let bit = bits - 1; bit >= 0; bit--) {
      const side = Math.floor(code / 2 ** bit) % 2 === 0 ? 0 : 1;
      const node = nodes[at]!;
      if (bit === 0) node[side] = ~symbol;
      else {
        if (node[side] === 0) node[side] = nodes.push([0, 0]) - 1;
        at = node[side];
      }
    }
    code += 1;
  }
  return nodes;
}

function automaton(tree: CodeTree): Uint32Array {
  // The padding is at most seven bits of EOS, which are ones.
  const ends = new Set([0]);
  for (let node = tree[0]![1]; ends.size <= 7; node = tree[node]![1]) ends.add(node);
  const table = new Uint32Array(tree.length * 16);
  for (let state = 0; state < tree.length; state++) {
    for (let bits = 0; bits < 16; bits++) {
      let node = state;
      let entry = 0;
      for (let bit = 3; bit >= 0; bit--) {
        node = tree[node]![(bits >> bit) % 2 === 0 ? 0 : 1];
        if (node >= 0) continue;
        // The shortest code has five bits, so four bits end at most one byte.
        entry |= ~node === EOS ? FAILS : EMITS | (~node << BYTE_SHIFT);
        node = 0;
      }
      table[state * 16 + bits] = entry | node | (ends.has(node) ? MAY_END : 0);
    }
  }
  return table;
}

/** Upper bound of the length of a text whose code has `length` bytes: the shortest code has five bits. */
export function decodedBound(length: number): number {
  return Math.floor((length * 8) / 5) + 1;
}

/**
 * Decodes `bytes[at..end)` into `target`, which has at least `decodedBound()` bytes, and returns the number of bytes.
 *
 * @throws HpackError if the code or its padding is invalid
 */
export function decodeHuffman(bytes: Uint8Array, at: number, end: number, target: Uint8Array): number {
  const next = (table ??= automaton(codeTree()));
  let length = 0;
  let entry = MAY_END;
  for (let from = at; from < end; from++) {
    const byte = bytes[from]!;
    entry = next[(entry & STATE) * 16 + (byte >> 4)]!;
    if (entry & FAILS) break;
    if (entry & EMITS) target[length++] = entry >> BYTE_SHIFT;
    entry = next[(entry & STATE) * 16 + (byte & 15)]!;
    if (entry & FAILS) break;
    if (entry & EMITS) target[length++] = entry >> BYTE_SHIFT;
  }
  if (entry & FAILS || !(entry & MAY_END)) throw new HpackError('invalid Huffman code or padding');
  return length;
}
