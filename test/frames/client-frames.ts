import { FLAG, FRAME, PREFACE, SETTING, fieldBlock, frame, headers, reset, settings } from '../unit-support/frames.js';
import { Dice } from './dice.js';
import { hostileStep, message, mutate, type FieldList, type Step } from './hostile-frames.js';

/** The frames of a hostile client on one connection. */
export interface ClientSequence {
  /** Ids of the streams on which the sequence starts calls. A flood opens other streams. */
  readonly streams: readonly number[];
  readonly steps: readonly Step[];
  /** End of the connection after the steps: immediately by FIN or RST, or by FIN after a pause. */
  readonly ending: 'fin' | 'rst' | 'linger';
}

const METHODS = ['Unary', 'UnsafeUnary', 'ClientStream', 'ServerStream', 'Bidi'];
const KiB = 1_024;
/** EchoMessages. Two set `number`, the number of messages in the response stream; the third has a payload of 8 KiB. */
const REQUESTS = [
  Buffer.from([0x10, 3]),
  Buffer.from([0x10, 0xe8, 0x07]),
  Buffer.from([0x1a, 0x80, 0x40, ...Buffer.alloc(8 * KiB)]),
];

export function clientSequence(seed: number): ClientSequence {
  const dice = new Dice(seed);
  const streams = Array.from({ length: 1 + dice.below(5) }, (_, index) => 2 * index + 1);
  const requests = streams.map((stream) => request(dice, stream));
  const steps = mutate(dice, requests.flat(), requestFields(dice));
  const opening = dice.chance(0.95) ? [hello(dice)] : [hostileStep(dice, requestFields(dice))];
  return {
    streams,
    steps: [...opening, ...attack(dice), ...steps],
    ending: dice.pick(['fin', 'rst', 'rst', 'linger']),
  };
}

function hello(dice: Dice): Step {
  const window = dice.pick([0, 1, 65_535, 65_535, 2 ** 31 - 1]);
  return {
    what: `preface and SETTINGS with a window of ${window}`,
    bytes: () => Buffer.concat([PREFACE, settings([SETTING.initialWindowSize, window])]),
  };
}

function requestFields(dice: Dice): FieldList {
  const method = dice.chance(0.95)
    ? dice.pick(METHODS)
    : dice.pick(['Nothing', '', '../x', '%00', '__proto__', 'x'.repeat(9 * KiB)]);
  const type = dice.chance(0.9) ? 'application/grpc' : dice.pick(['text/html', '', 'application/json']);
  return [
    [':method', dice.chance(0.95) ? 'POST' : dice.pick(['GET', 'CONNECT', 'HEAD', 'OPTIONS', ''])],
    [':scheme', 'http'],
    [':authority', dice.pick(['localhost', 'localhost', 'x'.repeat(300), ''])],
    [
      ':path',
      dice.chance(0.97) ? `/testing.v1.Echo/${method}` : dice.pick(['*', '', '/', '/grpc.health.v1.Health/Watch']),
    ],
    ['content-type', type],
    ['te', 'trailers'],
    ...(dice.chance(0.3)
      ? [['grpc-timeout', dice.pick(['100m', '1S', '1n', '99999999H', 'x', '', '-5m'])] as const]
      : []),
    ...(dice.chance(0.1) ? [['grpc-encoding', dice.pick(['gzip', 'deflate', 'br', ''])] as const] : []),
  ];
}

function request(dice: Dice, stream: number): readonly Step[] {
  const fields = requestFields(dice);
  const isLast = dice.chance(0.1);
  const begin: Step = {
    what: `HEADERS ${stream} ${fields[3]?.[1].slice(0, 60)}`,
    bytes: () => headers(stream, fields, isLast ? FLAG.endStream : 0),
  };
  const bytes = dice.pick(REQUESTS);
  const data: Step = { what: `DATA ${stream}`, bytes: () => frame(FRAME.data, 0, stream, message(bytes)) };
  const last: Step = {
    what: `DATA ${stream}, END_STREAM`,
    bytes: () => frame(FRAME.data, FLAG.endStream, stream, message(bytes)),
  };
  const cancel: Step = { what: `RST_STREAM ${stream}`, bytes: () => reset(stream, 8) };
  return dice.pick([
    [begin, last],
    [begin, data, data, last],
    [begin, data],
    [begin],
    [begin, last, cancel],
    [begin, cancel],
  ]);
}

/** Returns the flood of an attacker: up to 1,200 streams, of which the client resets all or none. Most sequences have no flood. */
function attack(dice: Dice): readonly Step[] {
  if (!dice.chance(0.15)) return [];
  const [count, isReset, hasMessage] = [dice.pick([10, 100, 1_200]), dice.chance(0.6), dice.chance(0.5)];
  const block = fieldBlock(requestFields(dice));
  const data = message(Buffer.from([0x10, 3]));
  return [
    {
      what: `${count} streams${hasMessage ? ' with a message' : ''}${isReset ? ', each reset' : ''}`,
      bytes: () =>
        Buffer.concat(
          Array.from({ length: count }, (_, index) => {
            const stream = 101 + 2 * index;
            return [
              frame(FRAME.headers, FLAG.endHeaders, stream, block),
              ...(hasMessage ? [frame(FRAME.data, FLAG.endStream, stream, data)] : []),
              ...(isReset ? [reset(stream, 8)] : []),
            ];
          }).flat(),
        ),
    },
  ];
}
