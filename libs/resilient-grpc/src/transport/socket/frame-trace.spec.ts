import { describe, expect, it } from 'vitest';
import { encodedBound, encodeFields } from '../hpack/hpack-encoder.js';
import { PREFACE } from '../http2/frames.js';
import { FrameTrace } from './frame-trace.js';

/** Creates a frame. */
function frame(type: number, flags: number, id: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

function block(...fields: string[]): Buffer {
  const target = Buffer.alloc(encodedBound(fields));
  return target.subarray(0, encodeFields(target, 0, fields));
}

describe('FrameTrace', () => {
  it('prints each frame on one line, in pieces of any size, without the values of metadata', () => {
    const lines: string[] = [];
    const trace = new FrameTrace(false, (line) => lines.push(line));
    const request = block(
      ':method',
      'POST',
      ':path',
      '/o.Orders/Get',
      'authorization',
      'Bearer secret',
      'te',
      'trailers',
    );
    const sent = Buffer.concat([
      PREFACE,
      frame(4, 0, 0, Buffer.from([0, 4, 0, 0, 0, 255])),
      frame(1, 0, 1, request.subarray(0, 5)),
      frame(9, 4, 1, request.subarray(5)),
      frame(0, 1, 1, Buffer.from('message with a secret')),
    ]);
    for (let at = 0; at < sent.length; at += 7) trace.send(sent.subarray(at, at + 7));
    trace.receive(frame(4, 1, 0));
    trace.receive(frame(3, 0, 1, Buffer.from([0, 0, 0, 8])));
    trace.receive(frame(7, 0, 0, Buffer.from([0, 0, 0, 1, 0, 0, 0, 11, 0x6f, 0x6b])));
    trace.receive(frame(99, 0, 0));
    expect(lines).toEqual([
      '> SETTINGS stream=0 length=6 INITIAL_WINDOW_SIZE=255',
      '> HEADERS stream=1 length=5',
      `> CONTINUATION stream=1 length=${request.length - 5} :method=POST :path=/o.Orders/Get authorization=(13 bytes) te=trailers`,
      '> DATA stream=1 length=21 END_STREAM',
      '< SETTINGS stream=0 length=0 ACK',
      '< RST_STREAM stream=1 length=4 CANCEL',
      '< GOAWAY stream=0 length=10 last=1 ENHANCE_YOUR_CALM "ok"',
      '< type 99 stream=0 length=0',
    ]);
    expect(lines.join()).not.toContain('secret');
  });

  it('skips the preface of the client on the side of a server', () => {
    const lines: string[] = [];
    const trace = new FrameTrace(true, (line) => lines.push(line));
    trace.receive(Buffer.concat([PREFACE, frame(4, 0, 0)]));
    trace.send(frame(4, 1, 0));
    expect(lines).toEqual(['< SETTINGS stream=0 length=0', '> SETTINGS stream=0 length=0 ACK']);
  });
});
