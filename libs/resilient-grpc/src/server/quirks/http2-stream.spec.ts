import {
  Client,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  credentials,
  status,
  type ServerInterceptor,
  type StatusObject,
} from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { observeData, resetStream, sentStatusOf, statusSentBy } from './http2-stream.js';

const PATH = '/test.Service/Call';
const asIs = (bytes: Buffer): Buffer => bytes;
const passOn: ServerInterceptor = (_method, call) => new ServerInterceptingCall(call);

const KINDS = [
  ['unary', false, false],
  ['client-stream', true, false],
  ['server-stream', false, true],
  ['bidi', true, true],
] as const;

/** Starts a server with one method, whose handler is `handle`, and creates a client of this server. */
async function serverOf(
  requestStream: boolean,
  responseStream: boolean,
  interceptors: ServerInterceptor[],
  handle: (call: { write(bytes: Buffer): boolean }) => void,
) {
  const server = new Server({ interceptors });
  const method = {
    path: PATH,
    requestStream,
    responseStream,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  server.addService({ call: method }, { call: handle as never });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  const client = new Client(`127.0.0.1:${String(port)}`, credentials.createInsecure());
  const close = () => {
    client.close();
    server.forceShutdown();
  };
  return { client, close };
}

describe('resetStream', () => {
  describe.each([
    ['without interceptors', []],
    ['with one interceptor', [passOn]],
    ['with two interceptors', [passOn, passOn]],
  ] as const)('%s', (_how, interceptors) => {
    it.each(KINDS)('resets the stream of a %s call', async (_kind, requestStream, responseStream) => {
      const found: boolean[] = [];
      const { client, close } = await serverOf(requestStream, responseStream, [...interceptors], (call) => {
        found.push(resetStream(call));
      });
      // A bidi call of the client works with a server method of any kind.
      const call = client.makeBidiStreamRequest(PATH, asIs, asIs);
      call.on('error', () => undefined);
      const ended = new Promise<StatusObject>((resolve) => call.on('status', resolve));
      call.resume();
      if (requestStream) call.write(Buffer.from('request'));
      else call.end(Buffer.from('request'));
      expect((await ended).code).toBe(status.CANCELLED);
      expect(found).toEqual([true]);
      close();
    });
  });

  it('resets a stream whose client does not read', async () => {
    const { client, close } = await serverOf(false, true, [], (call) => {
      while (call.write(Buffer.alloc(64 * 1024)));
      setImmediate(() => resetStream(call));
    });
    const call = client.makeServerStreamRequest(PATH, asIs, asIs, Buffer.from('request'));
    const ended = new Promise<StatusObject>((resolve) => call.on('status', resolve));
    call.on('error', () => undefined);
    call.on('metadata', () => {
      call.pause();
    });
    call.resume();
    expect((await ended).code).toBe(status.CANCELLED);
    close();
  });

  it('resets no stream and returns false for a call of unknown structure', () => {
    expect(resetStream({})).toBe(false);
    expect(resetStream({ call: { nextCall: { stream: {} } } })).toBe(false);
  });
});

describe('statusSentBy', () => {
  it.each([
    ['trailers', { sentHeaders: { ':status': 200 }, sentTrailers: { 'grpc-status': 5, 'grpc-message': 'no%20order' } }],
    ['a trailers-only response', { sentHeaders: { ':status': 200, 'grpc-status': '5', 'grpc-message': 'no%20order' } }],
  ])('reads the sent status from %s', (_where, stream) => {
    expect(statusSentBy(stream)).toEqual({ code: status.NOT_FOUND, details: 'no order' });
  });

  it.each([
    ['an unknown code', { 'grpc-status': 99 }, { code: status.UNKNOWN, details: '' }],
    ['details that are not percent-encoded', { 'grpc-status': 2, 'grpc-message': '5%' }, { code: 2, details: '5%' }],
  ])('reads a sent status with %s', (_what, sentTrailers, expected) => {
    expect(statusSentBy({ sentTrailers })).toEqual(expected);
  });

  it('finds no sent status if none was sent or the call has an unknown structure', () => {
    expect(statusSentBy({ sentHeaders: { ':status': 415 } })).toBeUndefined();
    expect(sentStatusOf({})).toBeUndefined();
    expect(observeData({}, () => undefined)).toBe(false);
  });
});
