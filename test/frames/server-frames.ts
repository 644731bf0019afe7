import { FLAG, FRAME, frame, headers, reset } from '../unit-support/frames.js';
import { Dice } from './dice.js';
import { message, mutate, nastyText, type FieldList, type Step } from './hostile-frames.js';

export const CALL_KINDS = ['unary', 'unsafeUnary', 'clientStream', 'serverStream', 'bidi'] as const;
export type CallKind = (typeof CALL_KINDS)[number];

/** The frames of a hostile server on one connection while calls are in flight. */
export interface ServerSequence {
  readonly calls: readonly { readonly kind: CallKind; readonly requests: 'few' | 'large' | 'endless' }[];
  /** True if the server first ends the current connection, and sends the steps before its SETTINGS on the next one. */
  readonly isGreeting: boolean;
  readonly steps: readonly Step[];
  /** Action of the server after the steps: answers the calls, does not answer them, or ends the connection by FIN or RST. */
  readonly ending: 'answer' | 'unanswered' | 'fin' | 'rst';
}

const OK: FieldList = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
];
/** An EchoMessage whose `text` is 'hi'. */
const REPLY = message(Buffer.from([0x0a, 2, 0x68, 0x69]));

export function serverSequence(seed: number): ServerSequence {
  const dice = new Dice(seed);
  const calls = Array.from({ length: 1 + dice.below(5) }, () => ({
    kind: dice.pick(CALL_KINDS),
    requests: dice.pick(['few', 'few', 'large', 'endless'] as const),
  }));
  const isGreeting = dice.chance(0.04);
  const valid = isGreeting
    ? []
    : interleave(
        dice,
        calls.map((_, index) => response(dice, index)),
      );
  const steps = mutate(dice, valid, dice.chance(0.5) ? OK : trailers(dice));
  return { calls, isGreeting, steps, ending: dice.pick(['answer', 'answer', 'answer', 'unanswered', 'fin', 'rst']) };
}

function response(dice: Dice, index: number): readonly Step[] {
  const of = (streams: readonly number[]): number => streams[index] ?? 1;
  const reply: Step = { what: `message ${index}`, bytes: (streams) => frame(FRAME.data, 0, of(streams), REPLY) };
  const head = dice.chance(0.8) ? OK : oddHead(dice);
  const begin: Step = { what: `${JSON.stringify(head[0])} ${index}`, bytes: (streams) => headers(of(streams), head) };
  const fields = trailers(dice);
  const end: Step = {
    what: `trailers ${index} ${JSON.stringify(fields).slice(0, 80)}`,
    bytes: (streams) => headers(of(streams), fields, FLAG.endStream),
  };
  const status: Step = {
    what: `Trailers-Only ${index} ${JSON.stringify(fields).slice(0, 80)}`,
    bytes: (streams) => headers(of(streams), [...head, ...fields], FLAG.endStream),
  };
  const code = dice.below(14);
  const ends: Step = { what: `RST_STREAM ${code} ${index}`, bytes: (streams) => reset(of(streams), code) };
  return dice.pick([
    [begin, reply, end],
    [begin, reply, reply, end],
    [begin, end],
    [status],
    [begin],
    [begin, reply, ends],
    [ends],
    [],
  ]);
}

function oddHead(dice: Dice): FieldList {
  return dice.pick<FieldList>([
    [
      [':status', dice.pick(['100', '103', '101', '204', '304', '429', '503', '999', '0', '-1', 'abc', ''])],
      ['content-type', 'text/html'],
    ],
    [[':status', '200']],
    [
      [':status', '200'],
      ['content-type', dice.pick(['text/html', '', 'application/grpc+json', 'application/grpc-web'])],
    ],
    [
      [':status', '200'],
      ['content-type', 'application/grpc'],
      ['grpc-encoding', dice.pick(['gzip', 'br', 'deflate', ''])],
    ],
  ]);
}

function trailers(dice: Dice): FieldList {
  return [
    [
      'grpc-status',
      dice.pick(['0', '0', '0', '5', '13', '14', '16', '17', '99', '-1', '', 'abc', '1e1', '4294967296']),
    ],
    ...(dice.chance(0.4) ? [['grpc-message', nastyText(dice)] as const] : []),
    ...(dice.chance(0.2)
      ? [['grpc-retry-pushback-ms', dice.pick(['0', '-1', '1', '99999999999999', 'x'])] as const]
      : []),
    ...(dice.chance(0.1) ? [['grpc-status', '0'] as const] : []),
    ...(dice.chance(0.1) ? [['x-trailer-bin', '!!'] as const] : []),
  ];
}

/** Merges the lists in random order; steps of one list keep their order. */
function interleave(dice: Dice, lists: readonly (readonly Step[])[]): Step[] {
  const copies = lists.map((list) => [...list]);
  const all: Step[] = [];
  for (let rest = copies; rest.length > 0; rest = rest.filter((list) => list.length > 0)) {
    const step = dice.pick(rest).shift();
    if (step !== undefined) all.push(step);
  }
  return all;
}
