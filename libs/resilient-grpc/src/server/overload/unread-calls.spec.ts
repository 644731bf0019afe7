import { once } from 'node:events';
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { Client, Metadata, ServerCredentials, credentials, status, type ServiceError } from '@grpc/grpc-js';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { ServerTelemetry } from '../../telemetry/grpc-telemetry.js';
import { VirtualClock } from '../../../spec-support/virtual-clock.js';
import type { ServedMethod } from '../calls/served-call.js';
import { observedServer } from '../observed-server.js';
import { filterStreams, observeHttp2Servers } from '../quirks/http2-servers.js';
import type { OverloadGate } from './overload-gate.js';
import { refuseUnreadCalls } from './unread-calls.js';

const IGNORED = { onUnserializable: () => undefined, onUnreadable: () => undefined };

const PATH = '/a.B/Get';
const OTHER_PATH = '/a.B/Other';
const plain = (bytes: Buffer): Buffer => bytes;

/** Records the timeouts that the filter passes to the gate, and refuses every call. */
class RecordingGate {
  isRefusing = true;
  readonly timeouts: number[] = [];

  refuseUnread(_: ServedMethod, timeoutMs: number): boolean {
    this.timeouts.push(timeoutMs);
    return true;
  }
}

let gate: RecordingGate;
let clock: VirtualClock;
let recorded: string[];
let handled: string[];
let port: number;

beforeEach(async () => {
  gate = new RecordingGate();
  clock = new VirtualClock();
  recorded = [];
  handled = [];
  const telemetry: ServerTelemetry = {
    begin({ path, kind, metadata }) {
      recorded.push(`begin ${kind} ${path} ${String(metadata.get('trace')[0])}`);
      return {
        within: (work) => {
          work();
        },
        serve: (work) => {
          work();
        },
        received: () => undefined,
        sent: () => undefined,
        end: ({ code, receivedBytes }) => recorded.push(`end ${code} ${receivedBytes}`),
      };
    },
    refused: (code) => recorded.push(`refused ${code}`),
    take: () => undefined,
    observe: () => () => undefined,
  };
  const methods = new Map([[PATH, { path: PATH, kind: 'unary' } as ServedMethod]]);
  const server = observedServer({}, telemetry, clock, IGNORED);
  for (const path of [PATH, OTHER_PATH]) {
    const handler = (call: { request: Buffer }, callback: (error: null, response: Buffer) => void) => {
      handled.push(path);
      callback(null, call.request);
    };
    server.register(path, handler, plain, plain, 'unary');
  }
  const filter = refuseUnreadCalls(gate as Pick<OverloadGate, 'isRefusing'> as OverloadGate, methods, telemetry);
  observeHttp2Servers(server, (http2Server) => {
    filterStreams(http2Server, filter);
  });
  port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  onTestFinished(() => {
    server.forceShutdown();
  });
});

/** A grpc-js client. Its calls resolve to the response, or reject with the status. */
class GrpcClient {
  private readonly client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());

  constructor() {
    onTestFinished(() => {
      this.client.close();
    });
  }

  call(path: string, request = Buffer.alloc(1), timeoutMs?: number): Promise<unknown> {
    const metadata = new Metadata();
    metadata.set('trace', '7');
    const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
    return new Promise((resolve, reject) => {
      this.client.makeUnaryRequest(path, plain, plain, request, metadata, options, (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
  }
}

/** Opens an HTTP/2 connection to the server, for requests that a grpc-js client cannot send. */
function http2Session(): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`);
  onTestFinished(() => {
    session.destroy();
  });
  return session;
}

function request(session: ClientHttp2Session, headers: Readonly<Record<string, string>> = {}): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': PATH,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  stream.on('error', () => undefined).resume();
  return stream;
}

describe('refuseUnreadCalls', () => {
  it('refuses a call with a status that stops retries, and reports the call to telemetry', async () => {
    const client = new GrpcClient();
    const error = (await client.call(PATH).catch((thrown: unknown) => thrown)) as ServiceError;
    expect(error).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: 'The server is overloaded and refused the call before its handler ran',
    });
    expect(error.metadata.getMap()).toMatchObject({ 'grpc-retry-pushback-ms': '-1', 'x-overloaded': 'true' });
    expect(handled).toEqual([]);
    expect(recorded).toEqual([`begin unary ${PATH} 7`, 'end 8 0']);
  });

  it('passes the timeout of a call to the overload gate, and Infinity for a call without a timeout', async () => {
    const client = new GrpcClient();
    await expect(client.call(PATH)).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    await expect(client.call(PATH, undefined, 60_000)).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    expect(gate.timeouts).toHaveLength(2);
    const [unlimited, limited = 0] = gate.timeouts;
    expect(unlimited).toBe(Infinity);
    expect(limited).toBeGreaterThan(1_000);
    expect(limited).toBeLessThanOrEqual(60_000);
  });

  it('serves calls to a method that the filter for unread calls does not cover, and calls to every method if the server is not overloaded', async () => {
    const client = new GrpcClient();
    await client.call(OTHER_PATH);
    gate.isRefusing = false;
    await client.call(PATH);
    expect(handled).toEqual([OTHER_PATH, PATH]);
    expect(gate.timeouts).toEqual([]);
  });

  it('lets grpc-js handle a request that is not gRPC or has an invalid timeout', async () => {
    const session = http2Session();
    const [web] = (await once(request(session, { 'content-type': 'text/html' }), 'response')) as [object];
    expect(web).toMatchObject({ ':status': 415 });
    const [invalid] = (await once(request(session, { 'grpc-timeout': 'soon' }).end(), 'response')) as [object];
    expect(invalid).toMatchObject({ 'grpc-status': '13' });
    expect(gate.timeouts).toEqual([]);
  });

  it('discards the request of a refused call, so that the stream closes if the client sends the whole request', async () => {
    // Unlike this client, a grpc-js client resets a call as soon as it receives the status.
    const call = request(http2Session()).end(Buffer.alloc(1_000_000));
    const [refused] = (await once(call, 'response')) as [object];
    expect(refused).toMatchObject({ 'grpc-status': String(status.RESOURCE_EXHAUSTED) });
    await once(call, 'close');
    expect(call.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
    expect(handled).toEqual([]);
  });

  it('serves other calls if a client resets calls immediately after it sends their headers', async () => {
    const session = http2Session();
    await once(session, 'remoteSettings');
    const streams = Array.from({ length: 50 }, () => request(session));
    for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
    for (const stream of streams) if (!stream.destroyed) await once(stream, 'close');
    const client = new GrpcClient();
    await client.call(OTHER_PATH);
    expect(gate.timeouts).not.toEqual([]);
    expect(handled).toEqual([OTHER_PATH]);
  });
});
