import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { moment, systemClock } from '../../time/clock.js';
import { HpackDecoder } from '../hpack/hpack-decoder.js';
import { Flag, FrameType, HEAD_BYTES, PREFACE, readUint32, Setting } from '../http2/frames.js';

const TYPES = Object.keys(FrameType);
const SETTINGS = Object.keys(Setting);
const ERRORS = Object.keys(HTTP2_ERROR_CODES);
/** Fields whose values are printed. Others may contain credentials or personal data. */
const PRINTED = /^(?:te|content-type|user-agent|grpc-(?!message)[a-z-]+(?<!-bin))$/;
const MAX_LIST_BYTES = 16 * 1024 * 1024;
const TABLE_BYTES = 4_096;

/** True if the environment asks for a trace. */
export const isTraced = (): boolean => process.env['NESTJS_RESILIENT_GRPC_TRACE'] === 'frames';

/**
 * Prints the frames of one connection to the standard error stream, one line per frame, if NESTJS_RESILIENT_GRPC_TRACE is `frames`. Values of
 * metadata are replaced by their lengths.
 */
export class FrameTrace {
  private readonly sent: Direction;
  private readonly received: Direction;

  constructor(isServer: boolean, print: (line: string) => void = printLine) {
    this.sent = new Direction('>', isServer ? 0 : PREFACE.length, (line) => print(line));
    this.received = new Direction('<', isServer ? PREFACE.length : 0, (line) => print(line));
  }

  send(bytes: Uint8Array): void {
    this.sent.take(bytes);
  }

  receive(bytes: Uint8Array): void {
    this.received.take(bytes);
  }
}

function printLine(line: string): void {
  process.stderr.write(`${moment(systemClock.epoch()).toISOString()} http2 ${line}\n`);
}

class Direction {
  private rest = Buffer.alloc(0);
  private block: Buffer[] = [];
  private readonly decoder = new HpackDecoder(TABLE_BYTES, MAX_LIST_BYTES);

  constructor(
    private readonly arrow: '<' | '>',
    private skipped: number,
    private readonly print: (line: string) => void,
  ) {}

  take(bytes: Uint8Array): void {
    this.rest = Buffer.concat([this.rest, bytes]);
    for (;;) {
      const { rest, skipped } = this;
      const length = rest.length < skipped + HEAD_BYTES ? Infinity : rest.readUIntBE(skipped, 3);
      const end = skipped + HEAD_BYTES + length;
      if (rest.length < end) return;
      this.frame(rest.subarray(skipped, skipped + HEAD_BYTES), rest.subarray(skipped + HEAD_BYTES, end));
      this.rest = rest.subarray(end);
      this.skipped = 0;
    }
  }

  private frame(head: Buffer, payload: Buffer): void {
    const [type = 0, flags = 0] = head.subarray(3, 5);
    const id = readUint32(head, 5) & 0x7fff_ffff;
    const name = TYPES[type] ?? `type ${String(type)}`;
    const text = this.describe(type, flags, payload);
    this.print(`${this.arrow} ${name} stream=${String(id)} length=${String(payload.length)}${text}`);
  }

  private describe(type: number, flags: number, payload: Buffer): string {
    switch (type) {
      case FrameType.DATA:
        return (flags & Flag.END_STREAM) === 0 ? '' : ' END_STREAM';
      case FrameType.HEADERS:
      case FrameType.CONTINUATION: {
        const padded = type === FrameType.HEADERS && (flags & Flag.PADDED) !== 0 ? 1 : 0;
        const start = padded + (type === FrameType.HEADERS && (flags & Flag.PRIORITY) !== 0 ? 5 : 0);
        this.block.push(payload.subarray(start, payload.length - (padded && payload[0]!)));
        const end = type === FrameType.HEADERS && (flags & Flag.END_STREAM) !== 0 ? ' END_STREAM' : '';
        return (flags & Flag.END_HEADERS) === 0 ? end : `${end}${this.fields()}`;
      }
      case FrameType.RST_STREAM:
        return payload.length < 4 ? '' : ` ${errorName(readUint32(payload, 0))}`;
      case FrameType.GOAWAY:
        return payload.length < 8
          ? ''
          : ` last=${String(readUint32(payload, 0))} ${errorName(readUint32(payload, 4))} ${JSON.stringify(payload.toString('utf8', 8))}`;
      case FrameType.WINDOW_UPDATE:
        return payload.length < 4 ? '' : ` increment=${String(readUint32(payload, 0))}`;
      case FrameType.SETTINGS: {
        if ((flags & Flag.ACK) !== 0) return ' ACK';
        let text = '';
        for (let at = 0; at + 6 <= payload.length; at += 6) {
          const key = payload.readUInt16BE(at);
          text += ` ${SETTINGS[key - 1] ?? String(key)}=${String(readUint32(payload, at + 2))}`;
        }
        return text;
      }
      case FrameType.PING:
        return (flags & Flag.ACK) === 0 ? '' : ' ACK';
      default:
        return '';
    }
  }

  private fields(): string {
    const block = Buffer.concat(this.block);
    this.block = [];
    let text = '';
    try {
      const { status, method, scheme, path, authority, fields } = this.decoder.decode(block, 0, block.length);
      for (const [name, value] of Object.entries({ status, method, scheme, authority, path }))
        if (value !== undefined) text += ` :${name}=${value}`;
      for (let at = 0; at + 1 < fields.length; at += 2) {
        const name = fields[at] ?? '';
        const value = fields[at + 1] ?? '';
        text += PRINTED.test(name) ? ` ${name}=${value}` : ` ${name}=(${String(value.length)} bytes)`;
      }
    } catch (error) {
      text = ` undecodable: ${String(error)}`;
    }
    return text;
  }
}

function errorName(code: number): string {
  return ERRORS[code] ?? String(code);
}
