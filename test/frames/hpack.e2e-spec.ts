import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { HpackDecoder } from '../../libs/resilient-grpc/dist/transport/hpack/hpack-decoder.js';
import { encodedBound, encodeFields } from '../../libs/resilient-grpc/dist/transport/hpack/hpack-encoder.js';
import { PYTHON } from '../support/programs.js';
import { Dice } from './dice.js';

const SCRIPT = new URL('hpack_blocks.py', import.meta.url).pathname;
const SEED = Number(process.env['FRAME_SEED'] ?? 1);
const BLOCKS = 5_000;
const isMissing = spawnSync(PYTHON, ['-c', 'import hpack']).status !== 0;

/** Runs the script, and returns its lines. */
function hpack(count: number, input = ''): unknown[] {
  const options = { input, encoding: 'utf8', maxBuffer: 2 ** 28 } as const;
  const { stdout, stderr, status } = spawnSync(PYTHON, [SCRIPT, String(SEED), String(count)], options);
  if (status !== 0) throw new Error(stderr);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

it('decodes blocks of another encoder, with Huffman codes and tables of any size', ({ skip }) => {
  skip(isMissing, 'not run: hpack is not installed');
  const decoders = new Map<number, HpackDecoder>();
  // Safe: the script writes these lines.
  const blocks = hpack(BLOCKS) as { connection: number; block: string; fields: string[] }[];
  expect(blocks).toHaveLength(BLOCKS);
  for (const { connection, block, fields } of blocks) {
    const decoder = decoders.get(connection) ?? new HpackDecoder(0, 1_000_000);
    decoders.set(connection, decoder);
    const bytes = Buffer.from(block, 'hex');
    expect(decoder.decode(bytes, 0, bytes.length).fields).toEqual(fields);
  }
});

it('encodes blocks that another decoder reads', ({ skip }) => {
  skip(isMissing, 'not run: hpack is not installed');
  const dice = new Dice(SEED);
  const lists = Array.from({ length: 2_000 }, () =>
    Array.from({ length: 1 + dice.below(8) }, () => [
      dice.pick([':path', ':method', 'te', 'authorization', 'grpc-timeout', 'x-a', `x-${'n'.repeat(dice.below(200))}`]),
      dice.pick([
        'POST',
        'trailers',
        '/a.B/C',
        '',
        'v'.repeat(dice.below(500)),
        dice.bytes(dice.below(40)).toString('latin1'),
      ]),
    ]).flat(),
  );
  const blocks = lists.map((fields) => {
    const bytes = Buffer.alloc(encodedBound(fields));
    return bytes.toString('hex', 0, encodeFields(bytes, 0, fields));
  });
  expect(hpack(0, blocks.join('\n'))).toEqual(lists);
});
