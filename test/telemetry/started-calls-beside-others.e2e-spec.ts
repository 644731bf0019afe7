import { AsyncLocalStorage } from 'node:async_hooks';
import { Channel, credentials, Metadata, type InterceptingListener, type StatusObject } from '@grpc/grpc-js';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom } from 'rxjs';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { EACH_METHOD, callOnce, failureOf, protoName } from '../calls/support.js';
import { instrumentedScene } from './instrumented-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** A traced call: its name, and the end that the agent saw. */
interface Segment {
  readonly name: string;
  end?: Pick<StatusObject, 'code' | 'details'>;
  /** True if the call ended while the segment was active, so that the agent can note the error there. */
  isEndedInside?: boolean;
}

const transaction = new AsyncLocalStorage<{ readonly isOpaque: boolean }>();
let segments: Segment[] = [];
beforeEach(() => {
  segments = [];
});

interface StartedCall {
  readonly method: string;
  readonly channel: { readonly target: { readonly path: string } };
}

// Patches grpc-js as New Relic's agent does: it replaces `start()` of the calls of channels, and copies the listener and the metadata.
beforeAll(() => {
  const channel = new Channel('localhost', credentials.createInsecure(), {});
  const prototype = Object.getPrototypeOf(channel.createCall('/', Infinity, null, null, undefined)) as {
    start: (this: StartedCall, metadata: Metadata, listener: InterceptingListener) => void;
  };
  channel.close();
  const original = prototype.start;
  prototype.start = function (metadata, listener) {
    const active = transaction.getStore();
    const copied: InterceptingListener = Object.assign({}, listener);
    if (active === undefined || active.isOpaque) {
      original.call(this, metadata, copied);
      return;
    }
    const segment: Segment = { name: `${this.channel.target.path}${this.method}` };
    segments.push(segment);
    const own = metadata.clone();
    own.set('newrelic', `segment ${segments.length}`);
    copied.onReceiveStatus = (status) => {
      segment.end = { code: status.code, details: status.details };
      segment.isEndedInside = transaction.getStore()?.isOpaque === true;
      listener.onReceiveStatus(status);
    };
    transaction.run({ isOpaque: true }, () => {
      original.call(this, own, copied);
    });
  };
  return () => {
    prototype.start = original;
  };
});

const traced = <T>(work: () => T): T => transaction.run({ isOpaque: false }, work);
const secret = credentials.createFromMetadataGenerator((_, callback) => {
  callback(null, new Metadata());
});

it.each(EACH_METHOD)(
  'lets an agent that patches started calls trace a call to %s once, and sends its headers',
  async (method) => {
    const { echo, server } = await instrumentedScene({}, {}, 'no module');
    await traced(() => lastValueFrom(callOnce(echo, method), { defaultValue: undefined }));
    const name = `${server.url}/testing.v1.Echo/${protoName(method)}`;
    expect(segments).toEqual([{ name, end: { code: 0, details: 'OK' }, isEndedInside: true }]);
    expect(server.calls().map(({ metadata }) => metadata.get('newrelic'))).toEqual([['segment 1']]);
  },
);

it('reports the end of a call that fails to an agent that patches started calls', async () => {
  const { echo, server } = await instrumentedScene({}, {}, 'no module');
  server.script('Unary', { status: 'NOT_FOUND', details: 'no such thing' });
  await traced(() => failureOf(echo.unary({})));
  expect(segments.map(({ end }) => end)).toEqual([{ code: 5, details: 'no such thing' }]);
});

it('traces a call of grpc-js’s channel once beside an agent that copies the listener of each call', async () => {
  const { client, echo, server } = await instrumentedScene({}, {}, 'no module');
  await traced(() => lastValueFrom(echo.unary({}, { credentials: secret })));
  expect(segments).toHaveLength(1);
  const plain = client.getClientByServiceName<any>('Echo');
  await traced(() => new Promise((resolve) => plain.unary({}, resolve)));
  await waitFor(() => segments.length === 2 && segments[1]!.end !== undefined);
  expect(server.calls().map(({ metadata }) => metadata.get('newrelic'))).toEqual([['segment 1'], ['segment 2']]);
});

it('shows an agent that patches started calls no other call of a client that is created while a segment is active', async () => {
  const { echo } = await traced(() => instrumentedScene({}, {}, 'no module'));
  expect(segments).toEqual([]);
  await traced(() => lastValueFrom(echo.unary({})));
  expect(segments).toHaveLength(1);
});
