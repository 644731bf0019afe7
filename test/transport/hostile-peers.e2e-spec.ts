import { lastValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { failureOf, startClient, type EchoService, type EchoStub } from '../calls/support.js';
import { FrameServer, keyed, type FrameRequest } from '../support/frame-server.js';
import { FLAG, FRAME, fieldBlock, frame, goaway, settings, windowUpdate } from '../unit-support/frames.js';

async function echoOf(server: FrameServer): Promise<EchoStub> {
  return (await startClient({ url: server.url })).getService<EchoService>('Echo');
}

const times = (count: number, bytes: Buffer): Buffer => Buffer.concat(Array.from({ length: count }, () => bytes));

/** Frames that end the connection, with the text that the error of its calls contains. */
const ATTACKS: readonly (readonly [what: string, text: RegExp, bytes: (request: FrameRequest) => Buffer])[] = [
  ['PUSH_PROMISE', /PUSH_PROMISE, which this side does not allow/, (request) => request.push(2)],
  [
    'a flood of empty DATA',
    /too many frames without an effect \(DATA\)/,
    ({ streamId }) => times(11_000, frame(FRAME.data, 0, streamId, Buffer.alloc(0))),
  ],
  [
    'a flood of unknown frames',
    /too many frames without an effect \(type 99\)/,
    () => times(11_000, frame(99, 0, 0, Buffer.alloc(0))),
  ],
  ['a flood of GOAWAY', /too many frames without an effect \(GOAWAY\)/, () => times(11_000, goaway(2 ** 31 - 1, 0))],
  ['a flood of SETTINGS', /the peer sends more than it reads|\(SETTINGS\)/, () => times(11_000, settings([4, 1_000]))],
  [
    'a flood of CONTINUATION',
    /a header block of \d+ bytes in \d+ frames/,
    ({ streamId }) =>
      Buffer.concat([
        frame(FRAME.headers, 0, streamId, fieldBlock({ ':status': '200' })),
        times(100, frame(FRAME.continuation, 0, streamId, Buffer.alloc(0))),
      ]),
  ],
  ['a window above 2^31-1', /WINDOW_UPDATE/, () => windowUpdate(0, 2 ** 31 - 1)],
  ['a window update of 0', /WINDOW_UPDATE of 0/, () => windowUpdate(0, 0)],
  [
    'a reference beyond the header table',
    /index 70/,
    ({ streamId }) => frame(FRAME.headers, FLAG.endHeaders, streamId, Buffer.from([0x88, 0xbe + 8])),
  ],
  [
    'a header table above the limit',
    /table size 100000/,
    ({ streamId }) => frame(FRAME.headers, FLAG.endHeaders, streamId, Buffer.from([0x3f, 0x81, 0x8d, 0x06])),
  ],
];

it.each(ATTACKS)(
  'names %s in the error of the calls on its connection, and sends the next call on another',
  async (_what, text, bytes) => {
    const server = await FrameServer.start((request) => {
      if (request.key === 'next') request.connection.write(request.success());
      else request.connection.write(bytes(request));
    });
    const echo = await echoOf(server);
    const error = await failureOf(echo.unsafeUnary({}, { metadata: keyed('attacked') }));
    expect(error).toMatchObject({ code: 14, reason: 'connection-lost' });
    expect(error.reachedServer).not.toBe('no');
    expect(error.details).toMatch(text);
    await lastValueFrom(echo.unsafeUnary({}, { metadata: keyed('next') }));
    expect([server.connections.length, server.requests('attacked').length]).toEqual([2, 1]);
  },
);

describe('a response that violates the protocol', () => {
  /** A sixteenth of a header list above 256 KiB, whose block is smaller. */
  const PART = Object.fromEntries(Array.from({ length: 15 }, (_, at) => [`x-${String(at)}`, 'y'.repeat(1_070)]));
  const tooLarge = (request: FrameRequest): Buffer =>
    Buffer.concat([
      frame(FRAME.headers, 0, request.streamId, fieldBlock({ ':status': '200', 'content-type': 'application/grpc' })),
      times(15, frame(FRAME.continuation, 0, request.streamId, fieldBlock(PART))),
      frame(FRAME.continuation, FLAG.endHeaders, request.streamId, fieldBlock(PART)),
    ]);

  it.each<[string, { code: number; reachedServer: string; details: RegExp }, (request: FrameRequest) => Buffer]>([
    [
      'headers above the limit',
      { code: 8, reachedServer: 'yes', details: /^Received headers larger than max \(26\d{4} vs 262144\)$/ },
      tooLarge,
    ],
    [
      'too many fields',
      { code: 8, reachedServer: 'yes', details: /^Received headers larger than max \(30\d vs 256 fields\)$/ },
      (request) => request.headers(Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`x-${String(at)}`, '']))),
    ],
    [
      'an unknown content-type',
      { code: 2, reachedServer: 'maybe', details: /HTTP status code 200/ },
      (request) => request.status({ 'content-type': 'text/html' }),
    ],
    [
      'connection fields',
      { code: 13, reachedServer: 'maybe', details: /field connection/ },
      (request) => request.headers({ connection: 'close' }),
    ],
    [
      'a stream window above 2^31-1',
      { code: 13, reachedServer: 'maybe', details: /WINDOW_UPDATE/ },
      ({ streamId }) => windowUpdate(streamId, 2 ** 31 - 1),
    ],
  ])('costs only its call: %s', async (_what, expected, bytes) => {
    const server = await FrameServer.start((request) => {
      request.connection.write(request.key === 'bad' ? bytes(request) : request.success());
    });
    const echo = await echoOf(server);
    const error = await failureOf(echo.unsafeUnary({}, { metadata: keyed('bad') }));
    const { code, reachedServer, details } = expected;
    expect(error).toMatchObject({ code, reachedServer, details: expect.stringMatching(details) });
    await lastValueFrom(echo.unsafeUnary({}, { metadata: keyed('next') }));
    expect([server.connections.length, server.requests('bad').length]).toEqual([1, 1]);
  });

  it('keeps the status of a response whose message ends with white space', async () => {
    const server = await FrameServer.start((request) => {
      request.connection.write(
        request.status({ 'content-type': 'application/grpc', 'grpc-status': '5', 'grpc-message': 'no order ' }),
      );
    });
    const error = await failureOf((await echoOf(server)).unsafeUnary({}, { metadata: keyed('call') }));
    expect(error).toMatchObject({ code: 5, details: 'no order ' });
  });
});

describe('evidence that contradicts itself', () => {
  it.each([
    [
      'an informational response',
      (request: FrameRequest) =>
        frame(FRAME.headers, FLAG.endHeaders, request.streamId, fieldBlock({ ':status': '103' })),
    ],
    ['response headers', (request: FrameRequest) => request.headers()],
  ])('does not make a call count as unprocessed: %s, then a GOAWAY below its stream', async (_what, answer) => {
    const server = await FrameServer.start((request) => {
      request.connection.write(answer(request));
      request.connection.goaway(0);
    });
    const echo = await echoOf(server);
    const error = await failureOf(echo.unsafeUnary({}, { metadata: keyed('call') }));
    expect(error.reachedServer).not.toBe('no');
    expect(server.requests('call')).toHaveLength(1);
  });
});
