import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { CA_PATH, targetOf } from '../contract.mjs';
import { loadService } from '../load-contract.mjs';

/** @typedef {import('../contract.mjs').Chunk} Chunk */

/**
 * The lower bound for clients on Node's HTTP/2: `node:http2` with hand-written gRPC framing and the same codec. It has no deadlines, no
 * metadata, and no backoff, and reports every status except OK as a plain error. After a lost connection, the next call reconnects.
 *
 * @param {string} address
 * @param {Readonly<Record<string, string>>} [headers] Further headers of each call.
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address, headers = {}) {
  const { Get, Watch, Upload, Echo } = loadService();
  const { target, isSecure } = targetOf(address);
  /** @type {import('node:http2').ClientHttp2Session | undefined} */
  let session;

  function connected() {
    if (session === undefined || session.closed || session.destroyed) {
      // Uses the same limit as grpc-js, because Node's default of 10 MB is too small for thousands of streams.
      const security = isSecure ? { ca: readFileSync(CA_PATH) } : {};
      session = connect(`${isSecure ? 'https' : 'http'}://${target}`, { maxSessionMemory: 2 ** 53 - 1, ...security });
      // Ignores the error, because the streams report it.
      session.on('error', () => undefined);
    }
    return session;
  }

  /** @param {string} path */
  function request(path) {
    return connected().request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
  }

  /**
   * @template Response
   * @param {import('../contract.mjs').MethodDefinition<any, Response>} method
   * @param {(message: Response) => void} onMessage
   * @param {(error: unknown) => void} done
   */
  function begin(method, onMessage, done) {
    const stream = request(method.path);
    /** @type {unknown} */
    let failure = new Error('the stream ended without a status');
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      done(failure);
    };
    stream.on('data', messageReader(method.responseDeserialize, onMessage));
    stream.on('trailers', (/** @type {Record<string, string>} */ trailers) => {
      const status = trailers['grpc-status'];
      failure = status === '0' ? null : new Error(`status ${String(status)}`);
    });
    stream.on('error', (error) => {
      failure = error;
    });
    stream.once('end', end);
    stream.once('close', end);
    return stream;
  }

  /** Begins a call with one response. */
  function beginOne(method, done) {
    let answer;
    const onMessage = (message) => (answer = message);
    return begin(method, onMessage, (error) => done(error, answer));
  }

  return {
    get(id, done) {
      beginOne(Get, done).end(framed(Get.requestSerialize({ id })));
    },
    watch(wanted, onMessage, done) {
      begin(Watch, onMessage, done).end(framed(Watch.requestSerialize(wanted)));
    },
    upload(chunks, done) {
      writeAll(beginOne(Upload, done), chunks, Upload.requestSerialize);
    },
    echo(chunks, onMessage, done) {
      writeAll(begin(Echo, onMessage, done), chunks, Echo.requestSerialize);
    },
    close() {
      session?.destroy();
    },
  };
}

/**
 * @param {Buffer} message
 * @returns {Buffer} The message with its 5-byte length prefix.
 */
export function framed(message) {
  const bytes = Buffer.allocUnsafe(5 + message.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, 5);
  return bytes;
}

/**
 * @template T
 * @param {(bytes: Buffer) => T} deserialize
 * @param {(message: T) => void} onMessage
 * @returns {(bytes: Buffer) => void} Accepts bytes in pieces of any size.
 */
function messageReader(deserialize, onMessage) {
  /** @type {Buffer[]} */
  let held = [];
  let length = 0;
  let needed = 5;
  return (piece) => {
    held.push(piece);
    length += piece.length;
    if (length < needed) return;
    const bytes = held.length === 1 ? piece : Buffer.concat(held, length);
    let at = 0;
    for (;;) {
      needed = bytes.length - at < 5 ? 5 : 5 + bytes.readUInt32BE(at + 1);
      if (bytes.length - at < needed) break;
      onMessage(deserialize(bytes.subarray(at + 5, at + needed)));
      at += needed;
    }
    length = bytes.length - at;
    held = length === 0 ? [] : [bytes.subarray(at)];
  };
}

/**
 * @param {import('node:http2').ClientHttp2Stream} stream
 * @param {Iterable<Chunk>} chunks
 * @param {(chunk: Chunk) => Buffer} serialize
 */
function writeAll(stream, chunks, serialize) {
  const source = chunks[Symbol.iterator]();
  const fill = () => {
    for (let next = source.next(); next.done !== true; next = source.next()) {
      if (!stream.write(framed(serialize(next.value)))) {
        stream.once('drain', fill);
        return;
      }
    }
    stream.end();
  };
  fill();
}
