import { EventEmitter } from 'node:events';
import { deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib';
import { CallCredentials, Metadata, propagate, type CallOptions } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { attemptRequest, JSON_METHOD } from '../../../../../test/unit-support/attempt-request.js';
import {
  callerContext,
  fakeChannel,
  type FakeChannelSettings,
  type Pick,
} from '../../../../../test/unit-support/fake-connection.js';
import { blockOf } from '../../../../../test/unit-support/header-blocks.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { AttemptEnd, AttemptListener } from '../../call/attempt.js';
import type { MethodDescriptor } from '../../call/method.js';
import { classify, type Verdict } from '../../policy/evidence/classify.js';
import { waitFor } from '../../testing/wait-for.js';
import { inflate } from '../../transport/grpc/inflate.js';
import type { HeaderBlock } from '../../transport/hpack/header-block.js';
import { metadataOf } from '../subchannel/header-fields.js';
import { shared } from './call-metadata.js';
import { RequestCompression } from './outgoing-requests.js';
import { SocketAttempt } from './socket-attempt.js';

const EPOCH = new VirtualClock().epoch();
/** Metadata of responses. */
const KEY = new Metadata();
KEY.set('x-key', 'value');
const GRPC = new Metadata();
GRPC.set('content-type', 'application/grpc');
const METHOD: MethodDescriptor = {
  ...JSON_METHOD,
  kind: 'bidi',
  requestStream: true,
  responseStream: true,
  responseDeserialize: (bytes) => bytes.toString(),
};

interface Settings extends FakeChannelSettings {
  readonly deadline?: number;
  readonly options?: CallOptions;
  readonly metadata?: Metadata;
}

function make({ deadline = Infinity, options, metadata = new Metadata(), ...settings }: Settings = {}) {
  const clock = new VirtualClock();
  const fake = fakeChannel(settings);
  const events: string[] = [];
  const ends: AttemptEnd[] = [];
  const request = attemptRequest({ method: METHOD, deadline, metadata, options });
  const listener: AttemptListener = {
    onHeaders: (headers) => void events.push(`headers ${JSON.stringify(headers.metadata.toJSON())}`),
    onMessage: (message) => void events.push(`message ${String(message)}`),
    onEnd: (end) => {
      ends.push(end);
      events.push(`status ${end.code} ${end.details}`);
    },
  };
  const attempt = callerContext.run('caller', () =>
    new SocketAttempt(fake.wire, request, listener, clock, clock.now()).begin(),
  );
  const isRunning = () => fake.counts.running > 0;
  return { ...fake, clock, events, ends, attempt, metadata, isRunning };
}

const waitingForReady = (): Metadata => {
  const metadata = new Metadata();
  metadata.setOptions({ waitForReady: true });
  return metadata;
};

/** Creates call credentials that respond when the test says so, with one `authorization` value. */
function createToken(value = 'Bearer t') {
  const asked: object[] = [];
  let answer: (error: Error | null, metadata?: Metadata) => void = () => undefined;
  const credentials = CallCredentials.createFromMetadataGenerator((given, callback) => {
    asked.push(given);
    answer = callback;
  });
  const respond = async (error: Error | null = null): Promise<void> => {
    const metadata = new Metadata();
    metadata.set('authorization', value);
    if (error === null) answer(null, metadata);
    else answer(error);
    await new Promise(setImmediate);
  };
  return { credentials, asked, respond };
}

describe('SocketAttempt', () => {
  it('adds the headers of grpc-js’s channel to a copy of the metadata of a call', () => {
    const { opened, metadata } = make();
    expect(opened[0]).toMatchObject({ authority: 'orders:50051' });
    expect(opened[0]!.headers.toJSON()).toEqual({
      'grpc-accept-encoding': ['identity,deflate,gzip'],
      'accept-encoding': ['identity'],
    });
    expect(metadata.toJSON()).toEqual({});
  });

  it.each([-1, 0])('does not send a call at or after its deadline (%i ms left)', (leftMs) => {
    const { opened, events, clock, attempt } = make({ deadline: EPOCH + leftMs });
    expect(attempt.unsentBecause).toBe('waiting for a connection');
    clock.advance(0);
    expect([opened, events]).toEqual([[], ['status 4 Deadline exceeded before the attempt was sent']]);
  });

  it('sends the fields of shared metadata as those of its own, with a timeout, and adds the metadata of call credentials', async () => {
    const given = new Metadata();
    given.set('x-key', 'value');
    given.add('x-list', 'a');
    given.add('x-list', 'b');
    const credentials = CallCredentials.createFromMetadataGenerator((_, done) => {
      const added = new Metadata();
      added.set('authorization', 'Bearer 7');
      done(null, added);
    });
    const headersOf = async (metadata: Metadata, ofChannel?: CallCredentials) => {
      const { opened } = make({ metadata, deadline: EPOCH + 500, ...(ofChannel && { ofChannel }) });
      await waitFor(() => opened.length === 1);
      return opened[0]!.headers.toJSON();
    };
    const own = [await headersOf(given.clone()), await headersOf(given.clone(), credentials)];
    expect([await headersOf(shared(given)), await headersOf(given, credentials)]).toEqual(own);
    expect(own[1]).toMatchObject({ 'x-list': ['a, b'], 'grpc-timeout': ['500m'], authorization: ['Bearer 7'] });
    expect(given.toJSON()).toEqual({ 'x-key': ['value'], 'x-list': ['a', 'b'] });
  });

  it('replaces a timeout in the metadata of its caller by the rest of its deadline', () => {
    const metadata = new Metadata();
    metadata.set('grpc-timeout', '9S');
    expect(make({ metadata }).opened[0]!.headers.get('grpc-timeout')).toEqual(['9S']);
    expect(make({ metadata, deadline: EPOCH + 500 }).opened[0]!.headers.get('grpc-timeout')).toEqual(['500m']);
  });

  it('removes the encoding headers of a response and the header of each message', () => {
    const { events, receive } = make();
    receive.headers(KEY, 'identity');
    receive.message('hello');
    receive.status(0);
    expect(events).toEqual(['headers {"x-key":["value"]}', 'message hello', 'status 0 ']);
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ] as const)('inflates a %s response message before reporting the status that follows', async (encoding, deflate) => {
    const { events, receive } = make();
    receive.headers(KEY, encoding);
    receive.message(deflate('hello'), 1);
    receive.status(0);
    expect(events).toHaveLength(1);
    await waitFor(() => events.length === 3);
    expect(events.slice(1)).toEqual(['message hello', 'status 0 ']);
  });

  it('drops a response message that is being inflated when the call is cancelled', async () => {
    const { attempt, events, receive, clock } = make();
    receive.headers(KEY, 'gzip');
    receive.message(gzipSync('hello'), 1);
    receive.status(0);
    attempt.cancel('cancel', 1, 'enough');
    clock.advance(0);
    expect(events[1]).toBe('status 1 enough');
  });

  it.each<[string, (scene: ReturnType<typeof make>) => void]>([
    ['its caller cancels it', ({ attempt }) => attempt.cancel('cancel', 1, 'enough')],
    ['its deadline passes', ({ clock }) => clock.advance(1_500)],
    [
      'its caller cancels it after its status',
      ({ attempt, receive }) => {
        receive.status(0);
        attempt.cancel('cancel', 1, 'enough');
      },
    ],
  ])('does not begin to inflate a response message that waits when the call ends because %s', async (_why, end) => {
    const others = [1, 2, 3, 4].map(() => inflate('gzip', gzipSync(Buffer.alloc(1_000_000)), 1_000_000));
    const reserved = vi.spyOn(Buffer, 'allocUnsafe');
    onTestFinished(() => reserved.mockRestore());
    const scene = make({ deadline: EPOCH + 1_500, maxReceiveBytes: 4_194_304 });
    scene.receive.headers(KEY, 'gzip');
    // Memory of this size is reserved for nothing else.
    scene.receive.message(gzipSync(Buffer.alloc(20_011), { level: 0 }), 1);
    end(scene);
    scene.clock.advance(0);
    await Promise.all(others.map(({ result }) => result));
    await inflate('gzip', gzipSync('last'), 4_194_304).result;
    expect(reserved.mock.calls.filter(([bytes]) => bytes === 20_012)).toEqual([]);
    expect(scene.events.map((event) => event.slice(0, 8))).toEqual([
      'headers ',
      expect.stringMatching(/^status [14]$/),
    ]);
  });

  it('reports a status that arrives after a response message was inflated', async () => {
    const { events, receive } = make();
    receive.headers(KEY, 'gzip');
    receive.message(gzipSync('hello'), 1);
    await waitFor(() => events.length === 2);
    receive.status(0);
    expect(events.slice(1)).toEqual(['message hello', 'status 0 ']);
  });

  it('delivers no response message that is inflated between the end of a parent call and its report', async () => {
    const parent = new EventEmitter();
    // Safe: only the event is used.
    const { events, receive, clock } = make({ options: { parent: parent as never } });
    receive.headers(KEY, 'gzip');
    receive.message(gzipSync('hello'), 1);
    parent.emit('cancelled');
    await inflate('gzip', gzipSync(Buffer.alloc(100_000)), Infinity).result;
    await new Promise(setImmediate);
    clock.advance(0);
    expect(events.slice(1)).toEqual(['status 1 Cancelled by parent call']);
  });

  it('stops inflating a response message at the maximum receive size, and fails the call with RESOURCE_EXHAUSTED', async () => {
    const { clock, did, events, attempt, receive } = make({ maxReceiveBytes: 1_000 });
    receive.headers(KEY, 'gzip');
    receive.message(gzipSync(Buffer.alloc(50_000_000)), 1);
    await waitFor(() => did.length === 1);
    clock.advance(0);
    expect(attempt.endedHere).toBe('protocol');
    expect(events.at(-1)).toBe('status 8 Received message that decompresses to a size larger than 1000');
  });

  it.each([
    ['gzip', 'status 13 Failed to decompress gzip-encoded message'],
    ['snappy', 'status 13 Compression method not supported: snappy'],
    [undefined, 'status 13 Received compressed message but "grpc-encoding" header was identity'],
  ])(
    'fails a call with INTERNAL if a response message cannot be inflated (encoding %s)',
    async (encoding, expected) => {
      const { clock, did, events, receive } = make();
      receive.headers(KEY, encoding);
      receive.message('not compressed', 1);
      await waitFor(() => did.length === 1);
      clock.advance(0);
      expect(events.at(-1)).toBe(expected);
    },
  );

  it('fails a call at its deadline, and clears the deadline timer when a call ends', () => {
    const late = make({ deadline: EPOCH + 1_500 });
    expect(late.opened[0]!.headers.get('grpc-timeout')).toEqual(['1500m']);
    late.clock.advance(1_499);
    expect(late.did).toEqual([]);
    late.clock.advance(1);
    expect(late.did).toEqual(['cancel']);
    late.clock.advance(0);
    expect(late.attempt.endedHere).toBe('deadline');
    expect(late.events).toEqual(['status 4 Deadline exceeded after 1.500s,remote_addr=127.0.0.1:50051']);
    const early = make({ deadline: EPOCH + 1_500 });
    early.receive.status(0);
    expect(early.clock.pending).toBe(0);
  });

  it('reports the end of the call to the channel and the load-balancing policy once', () => {
    const { attempt, receive, callEnds, pickEnds, events } = make();
    receive.status(5, 'none');
    receive.failure({ cause: 'lost' });
    attempt.cancel('cancel', 1, 'late');
    expect([callEnds, pickEnds, events]).toEqual([[5], [5], ['status 5 none']]);
  });

  it('delivers the status of a call and notifies the channel even if the load-balancing policy throws', () => {
    const { receive, events, callEnds, attempt } = make({
      pickEnd: () => {
        throw new Error('invalid load report');
      },
    });
    // What is thrown must not end the connection.
    const thrown = vi.spyOn(process, 'nextTick').mockImplementation(() => undefined);
    receive.status(0);
    expect(thrown.mock.calls[0]?.[1]).toMatchObject({ message: 'invalid load report' });
    thrown.mockRestore();
    expect(attempt.code).toBe(0);
    expect([events, callEnds]).toEqual([['status 0 '], [0]]);
  });
});

describe('call that waits for a connection', () => {
  it.each<[string, readonly Pick[], Metadata?]>([
    ['the policy queues it', ['queue', 'queue', 'ready']],
    ['there is no policy yet', ['none', 'ready']],
    ['the picked connection has ended', ['stale', 'ready']],
    ['the picked connection takes no calls', ['full', 'ready']],
    ['no connection can be established and it waits for ready', ['failure', 'queue', 'ready'], waitingForReady()],
  ])('sends everything in order when the policy picks a connection, if %s', async (_, picks, metadata) => {
    const made = make({ picks, ...(metadata && { metadata }) });
    const { attempt, did, opened, unsent, pickAgain, isRunning } = made;
    let written = 0;
    attempt.startRead();
    attempt.send(Buffer.from('a'), () => (written += 1));
    attempt.halfClose();
    expect([attempt.unsentBecause, attempt.picked, attempt.peer]).toEqual([
      'waiting for a connection',
      false,
      undefined,
    ]);
    expect([written, isRunning()]).toEqual([0, true]);
    while (unsent.size > 0 && opened.length === 0) pickAgain();
    expect(did).toEqual(['send a', 'half-close']);
    expect([attempt.unsentBecause, attempt.picked, attempt.peer]).toEqual([undefined, true, '127.0.0.1:50051']);
    await Promise.resolve();
    expect(written).toBe(1);
    // The event of a connection has another async context.
    expect(opened[0]!.store).toBe('caller');
  });

  it.each<[string, Pick, string]>([
    ['no connection can be established', 'failure', 'status 14 No connection established'],
    [
      'the policy drops it',
      'drop',
      'status 13 Invalid status from control plane: 5 NOT_FOUND No connection established',
    ],
  ])('fails in a later turn if %s', (_, pick, status) => {
    const { events, clock, unsent, callEnds, isRunning } = make({ picks: ['queue', pick] });
    for (const waiting of unsent) waiting.pickAgain();
    expect(events).toEqual([]);
    clock.advance(0);
    expect(events).toEqual([status]);
    expect([unsent.size, callEnds.length, isRunning(), clock.pending]).toEqual([0, 1, false, 0]);
  });

  it('is never sent after its deadline, which states what it waited for', () => {
    const { clock, events, pickAgain, opened } = make({ picks: ['queue', 'ready'], deadline: EPOCH + 1_500 });
    clock.advance(1_500);
    pickAgain();
    clock.advance(0);
    expect(events).toEqual(['status 4 Deadline exceeded after 1.500s, waiting for a connection']);
    expect([opened, clock.pending]).toEqual([[], 0]);
  });

  it('sends the rest of its deadline', () => {
    const { clock, pickAgain, opened } = make({ picks: ['queue', 'ready'], deadline: EPOCH + 1_500 });
    clock.advance(1_000);
    pickAgain();
    expect(opened[0]!.headers.get('grpc-timeout')).toEqual(['500m']);
  });

  it('is never sent after it is cancelled', () => {
    const { attempt, clock, events, pickAgain, opened } = make({ picks: ['queue', 'ready'] });
    attempt.cancel('cancel', 1, 'enough');
    attempt.cancel('cancel', 1, 'again');
    pickAgain();
    clock.advance(0);
    expect([events, opened, clock.pending]).toEqual([['status 1 enough'], [], 0]);
  });
});

describe('call with a parent', () => {
  const parentOf = (emitter: EventEmitter, flags?: number): Settings => ({
    options: { parent: emitter as never, ...(flags !== undefined && { propagate_flags: flags }) },
  });

  it('is cancelled with its parent, running or waiting, and leaves no listener', () => {
    const parent = new EventEmitter();
    const running = make(parentOf(parent));
    const waiting = make({ ...parentOf(parent), picks: ['queue'] });
    const ended = make(parentOf(parent));
    ended.receive.status(0);
    parent.emit('cancelled');
    for (const { clock } of [running, waiting]) clock.advance(0);
    expect(running.did).toEqual(['cancel']);
    expect([running.events, waiting.events]).toEqual([
      ['status 1 Cancelled by parent call'],
      ['status 1 Cancelled by parent call'],
    ]);
    expect(ended.did).toEqual([]);
    expect(parent.listenerCount('cancelled')).toBe(0);
  });

  it('is not cancelled with its parent if the flags do not propagate cancellations', () => {
    const parent = new EventEmitter();
    const { did } = make(parentOf(parent, propagate.DEADLINE));
    parent.emit('cancelled');
    expect(did).toEqual([]);
  });
});

describe('call credentials', () => {
  it('receives the method and the service, and sends the metadata of the channel and of the call', async () => {
    const own = createToken();
    const { attempt, opened, unsent } = make({
      options: { credentials: own.credentials, host: '[::1]:443' },
      ofChannel: CallCredentials.createFromMetadataGenerator((_, callback) => {
        const metadata = new Metadata();
        metadata.set('x-channel', 'c');
        callback(null, metadata);
      }),
    });
    expect([attempt.unsentBecause, unsent.size]).toEqual(['waiting for call credentials', 1]);
    await own.respond();
    expect(own.asked).toEqual([{ method_name: '/testing.v1.Echo/Unary', service_url: 'https://::1/testing.v1.Echo' }]);
    expect(opened[0]).toMatchObject({ authority: '[::1]:443', store: 'caller' });
    expect(opened[0]!.headers.toJSON()).toMatchObject({ authorization: ['Bearer t'], 'x-channel': ['c'] });
    expect([attempt.unsentBecause, unsent.size]).toEqual([undefined, 0]);
  });

  it('asks again for the next connection if the picked one ends meanwhile', async () => {
    const { credentials, asked, respond } = createToken();
    const made = make({ options: { credentials } });
    made.connectivity.state = 0;
    await respond();
    expect([made.attempt.unsentBecause, made.opened]).toEqual(['waiting for a connection', []]);
    made.connectivity.state = 2;
    made.pickAgain();
    await respond();
    expect([asked.length, made.opened.length]).toEqual([2, 1]);
  });

  it.each<[string, Error, string]>([
    ['a code', Object.assign(new Error('no token'), { code: 14 }), '14 '],
    ['no code', new Error('no token'), '2 '],
    [
      'a code of servers',
      Object.assign(new Error('no token'), { code: 5 }),
      '13 Invalid status from control plane: 5 NOT_FOUND ',
    ],
  ])('fails the call if they fail with %s', async (_, error, status) => {
    const { credentials, respond } = createToken();
    const { clock, events, opened, unsent } = make({ options: { credentials } });
    await respond(error);
    clock.advance(0);
    expect(events).toEqual([`status ${status}Getting metadata from plugin failed with error: no token`]);
    expect([opened, unsent.size]).toEqual([[], 0]);
  });

  it.each<[string, (made: ReturnType<typeof make>) => void, string]>([
    ['it is cancelled', ({ attempt }) => attempt.cancel('cancel', 1, 'enough'), 'status 1 enough'],
    [
      'its deadline passes',
      ({ clock }) => clock.advance(1_000),
      'status 4 Deadline exceeded after 1.000s, waiting for call credentials',
    ],
  ])('are not sent if %s before they respond', async (_, end, status) => {
    const { credentials, respond } = createToken();
    const made = make({ options: { credentials }, deadline: EPOCH + 1_000 });
    end(made);
    await respond();
    made.clock.advance(0);
    expect([made.events.at(-1), made.opened, made.clock.pending]).toEqual([status, [], 0]);
  });

  it('fails the call if there are several authorization values', async () => {
    const { credentials, respond } = createToken();
    const metadata = new Metadata();
    metadata.set('authorization', 'Basic u');
    const { clock, events, opened } = make({ options: { credentials }, metadata });
    await respond();
    clock.advance(0);
    expect(events).toEqual(['status 13 "authorization" metadata cannot have multiple values']);
    expect(opened).toEqual([]);
  });
});

describe('compression of requests', () => {
  const sendAll = ({ attempt }: ReturnType<typeof make>): void => {
    for (const [text, flags] of [['a'], ['b', 2], ['c']] as const) attempt.send(Buffer.from(text), undefined, flags);
    attempt.halfClose();
  };

  it.each([
    [1, 'deflate', inflateSync],
    [2, 'gzip', gunzipSync],
  ] as const)(
    'sends messages in order and compressed by algorithm %i, unless a flag forbids it',
    async (algorithm, encoding, expand) => {
      const made = make({ compression: RequestCompression.of(algorithm), picks: ['queue', 'ready'] });
      const { did, sent, opened, pickAgain } = made;
      sendAll(made);
      pickAgain();
      await waitFor(() => did.includes('half-close'));
      expect(opened[0]!.headers.get('grpc-encoding')).toEqual([encoding]);
      expect(did).toHaveLength(4);
      expect(sent.map(({ compressed }) => compressed)).toEqual([1, 0, 1]);
      expect(sent.map(({ message, compressed }) => (compressed ? expand(message) : message).toString())).toEqual([
        'a',
        'b',
        'c',
      ]);
    },
  );

  it('ends when a server does not list the encoding, for this call and later ones', async () => {
    const compression = RequestCompression.of(2);
    const made = make({ compression });
    made.receive.headers(metadataOf(blockOf(['grpc-accept-encoding', 'identity, deflate'])));
    sendAll(made);
    await waitFor(() => made.did.includes('half-close'));
    expect(made.sent.map(({ compressed }) => compressed)).toEqual([0, 0, 0]);
    expect(make({ compression }).opened[0]!.headers.get('grpc-encoding')).toEqual([]);
  });
});

describe('verdict', () => {
  type End = (made: ReturnType<typeof make>) => void | Promise<void>;
  const afterHeaders =
    (end: End): End =>
    (made) => {
      made.receive.headers(KEY);
      return end(made);
    };
  const fails = (failure: Parameters<ReturnType<typeof make>['receive']['failure']>[0]): End => {
    return ({ receive }) => receive.failure(failure);
  };
  const lost: End = ({ connection, receive }) => {
    connection.isUsable = false;
    receive.failure({ cause: 'lost', details: 'read ECONNRESET' });
  };
  const html = (): HeaderBlock => {
    const block = blockOf(['content-type', 'text/html']);
    block.status = '503';
    return block;
  };

  it.each<[string, Settings, End, Partial<Verdict>]>([
    [
      'no connection can be established',
      { picks: ['failure'] },
      () => undefined,
      { kind: 'unsent', reachedServer: 'no' },
    ],
    ['the connection is lost', {}, lost, { kind: 'connection-lost', reachedServer: 'maybe' }],
    ['it is lost after the headers', {}, afterHeaders(lost), { kind: 'committed', connectionLost: true }],
    ['its stream was never sent', {}, fails({ cause: 'lost', progress: 'never-sent' }), { kind: 'unsent' }],
    ['a GOAWAY rejects it', {}, fails({ cause: 'goaway' }), { kind: 'refused', reachedServer: 'no' }],
    ['a reset refuses it', {}, fails({ cause: 'reset', code: 7 }), { kind: 'refused', reachedServer: 'maybe' }],
    ['a reset cancels it', {}, fails({ cause: 'reset', code: 8 }), { kind: 'connection-lost' }],
    ['a reset asks for calm', {}, fails({ cause: 'reset', code: 11 }), { kind: 'connection-lost', overloaded: true }],
    ['a reset reports a protocol error', {}, fails({ cause: 'reset', code: 1 }), { kind: 'server' }],
    [
      'its response is too large',
      {},
      afterHeaders(fails({ cause: 'too-large', protection: 'message-size', progress: 'answered' })),
      { kind: 'protocol', reachedServer: 'yes' },
    ],
    ['a proxy answers', {}, ({ response }) => response.headers(html(), true), { kind: 'http', retryableHttp: true }],
    ['its deadline passes', { deadline: EPOCH + 100 }, ({ clock }) => clock.advance(100), { kind: 'deadline' }],
    ['the server answers', {}, ({ receive }) => receive.status(5, 'none', GRPC), { kind: 'server', code: 5 }],
    [
      'its credentials fail',
      { ofChannel: CallCredentials.createFromMetadataGenerator((_, done) => done(new Error('no token'))) },
      () => new Promise<void>((resolve) => setImmediate(resolve)),
      { kind: 'local', credentialsFailed: true },
    ],
  ])('depends on the evidence and not on a text if %s', async (_, settings, end, expected) => {
    const made = make(settings);
    await end(made);
    made.clock.advance(0);
    expect(made.ends).toHaveLength(1);
    const verdict = classify(made.ends[0]!);
    const { details: __, ...decided } = verdict;
    expect(decided).toMatchObject(expected);
    // Safe: the end is the attempt, whose details are a property.
    Object.assign(made.ends[0]!, { details: 'another text' });
    expect(classify(made.ends[0]!)).toMatchObject(decided);
  });
});
