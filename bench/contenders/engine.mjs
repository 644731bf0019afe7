import { connect } from 'node:net';
import { readFileSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { ResponseStream } from '../../libs/resilient-grpc/dist/transport/grpc/response-stream.js';
import { encodedBound, encodeFields } from '../../libs/resilient-grpc/dist/transport/hpack/hpack-encoder.js';
import { SocketConnection } from '../../libs/resilient-grpc/dist/transport/socket/socket-connection.js';
import { systemClock } from '../../libs/resilient-grpc/dist/time/clock.js';
import { CA_PATH, targetOf } from '../contract.mjs';
import { loadService } from '../load-contract.mjs';

/** Options of a connection as this library sets them. */
const SETTINGS = { streamWindow: 262_144, connectionWindow: 1_048_576, maxHeaderListSize: 65_536, headerTableSize: 0 };

/**
 * The HTTP/2 connection of this library without the library above it: no deadlines, no metadata, no policies, and no reconnecting.
 *
 * @param {string} address
 * @returns {Promise<import('../contenders.mjs').Contender>}
 */
export async function open(address) {
  const { target, isSecure } = targetOf(address);
  const [host, port] = target.split(':');
  const connection = await new Promise((resolve, reject) => {
    const opened = new SocketConnection(
      SETTINGS,
      {
        ready: () => resolve(opened),
        settingsChanged: () => undefined,
        goawayReceived: () => undefined,
        idsRunOut: () => undefined,
        ended: ({ details }) => reject(new Error(details)),
      },
      systemClock,
    );
    const onread = isSecure ? undefined : opened.onread;
    const socket = isSecure
      ? connectTls({ host, port: Number(port), ca: readFileSync(CA_PATH), ALPNProtocols: ['h2'] })
      : connect({ host, port: Number(port), onread });
    // Keeps the process running until the connection is ready.
    opened.callStarted();
    socket.once('error', reject);
    socket.setNoDelay();
    socket.once(isSecure ? 'secureConnect' : 'connect', () => opened.start(socket, !isSecure));
  });
  connection.callEnded();
  const methods = Object.entries(loadService()).map(([name, method]) => [name, new Method(connection, target, method)]);
  const { Get, Watch, Upload, Echo } = Object.fromEntries(methods);
  return {
    get: (id, done) => Get.call(one({ id }), new LastMessage(done)),
    watch: (request, onMessage, done) => Watch.call(one(request), new Messages(onMessage, done)),
    upload: (chunks, done) => Upload.call(chunks[Symbol.iterator](), new LastMessage(done)),
    echo: (chunks, onMessage, done) => Echo.call(chunks[Symbol.iterator](), new Messages(onMessage, done)),
    close: () => connection.drain(),
  };
}

/** @template T @param {T} item */
const one = (item) => [item][Symbol.iterator]();

class Method {
  constructor(connection, authority, { path, requestSerialize, responseDeserialize }) {
    const fields = [':method', 'POST', ':scheme', 'http', ':path', path, ':authority', authority];
    fields.push('te', 'trailers', 'content-type', 'application/grpc');
    const target = Buffer.alloc(encodedBound(fields));
    const head = target.subarray(0, encodeFields(target, 0, fields));
    this.begin = (receiver) => connection.http2.open(receiver, head.length, (bytes, at) => at + head.copy(bytes, at));
    this.connection = connection;
    this.serialize = requestSerialize;
    this.deserialize = responseDeserialize;
  }

  /** @param {Iterator<unknown>} requests @param {Messages} call */
  call(requests, call) {
    const response = new ResponseStream(call, Infinity);
    call.method = this;
    call.requests = requests;
    call.stream = response.stream = this.begin(response);
    this.connection.callStarted();
    response.request(Infinity);
    call.drained();
  }
}

/** A call that passes its messages on. */
class Messages {
  constructor(onMessage, done) {
    this.onMessage = onMessage;
    this.done = done;
  }

  drained() {
    for (let next = this.requests.next(); next.done !== true; next = this.requests.next()) {
      if (this.stream.send(this.method.serialize(next.value))) continue;
      this.stream.awaitDrain();
      return;
    }
    this.stream.end();
  }

  headers() {}

  message(bytes) {
    this.onMessage(this.method.deserialize(bytes));
  }

  trailers({ grpcStatus }) {
    this.finish(grpcStatus === '0' ? null : new Error(`status ${String(grpcStatus)}`));
  }

  failed({ details }) {
    this.finish(new Error(details));
  }

  finish(error) {
    this.method.connection.callEnded();
    this.done(error);
  }
}

/** A call with one response. */
class LastMessage extends Messages {
  constructor(done) {
    super(
      (message) => (this.last = message),
      (error) => done(error, this.last),
    );
  }
}
