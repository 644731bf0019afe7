import { AsyncLocalStorage } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import { deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib';
import { CallCredentials, Metadata, propagate, status as Status, type CallOptions } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import type { ConnectionCallListener } from '../subchannel/socket-call.js';
import type { UnsentCall } from '../wire-channel.js';
import { shared } from './call-metadata.js';
import { RequestCompression } from './outgoing-requests.js';
import { timeoutValue, WireCall } from './wire-call.js';
import { blockOf } from '../../../../../test/unit-support/header-blocks.js';
import { metadataOf, ReceivedHeaders } from '../subchannel/header-fields.js';

const EPOCH = new VirtualClock().epoch();
const context = new AsyncLocalStorage<string>();
/** What the load-balancing policy does with a call. 'full': the picked subchannel takes no calls. 'none': there is no policy yet. */
type Pick = 'ready' | 'queue' | 'stale' | 'full' | 'failure' | 'drop' | 'none';
const PICK_TYPES = { ready: 0, stale: 0, full: 0, queue: 1, failure: 2, drop: 3 } as const;

interface Settings {
  readonly maxReceiveBytes?: number;
  readonly deadline?: number;
  /** Picks, of which the last one is repeated. */
  readonly picks?: readonly Pick[];
  readonly pickEnd?: () => void;
  readonly options?: CallOptions;
  readonly ofChannel?: CallCredentials;
  readonly compression?: RequestCompression | undefined;
  readonly metadata?: Metadata;
}

function make({
  maxReceiveBytes = Infinity,
  deadline = Infinity,
  picks = ['ready'],
  pickEnd = () => undefined,
  options,
  ofChannel = CallCredentials.createEmpty(),
  compression,
  metadata = new Metadata(),
}: Settings = {}) {
  const clock = new VirtualClock();
  const did: string[] = [];
  const sent: { readonly message: Buffer; readonly compressed: number }[] = [];
  const events: string[] = [];
  const opened: { readonly headers: Metadata; readonly authority: string; readonly store: unknown }[] = [];
  let listener: ConnectionCallListener | undefined;
  const callEnds: number[] = [];
  const pickEnds: number[] = [];
  const unsent = new Set<UnsentCall>();
  const onConnection = {
    peer: '127.0.0.1:50051',
    cancelWithStatus: (code: number, details: string) => void did.push(`cancel ${code} ${details}`),
    startRead: () => void did.push('read'),
    halfClose: () => void did.push('half-close'),
    send: (message: Buffer, written: (() => void) | undefined, compressed = 0) => {
      sent.push({ message, compressed });
      did.push('send');
      written?.();
    },
  };
  const connectivity = { state: 2 };
  let pickCount = 0;
  const pick = () => {
    const type = picks[Math.min(pickCount, picks.length - 1)]!;
    pickCount += 1;
    if (type === 'none') return undefined;
    const real = {
      createCall: (fields: readonly string[], authority: string, _path: string, to: ConnectionCallListener) => {
        if (type === 'full') return undefined;
        opened.push({ headers: metadataOf(blockOf(fields)), authority, store: context.getStore() });
        listener = to;
        return onConnection;
      },
    };
    return {
      pickResultType: PICK_TYPES[type],
      subchannel: {
        getConnectivityState: () => (type === 'stale' ? 0 : connectivity.state),
        getCallCredentials: () => ofChannel,
        getRealSubchannel: () => real,
      },
      status: { code: type === 'drop' ? 5 : 14, details: 'No connection established', metadata: new Metadata() },
      onCallStarted: null,
      onCallEnded: (code: number) => {
        pickEnds.push(code);
        pickEnd();
      },
    };
  };
  let running = 0;
  const channel = {
    // Safe: a call uses only these members of grpc-js's channel.
    channel: {
      internalChannel: {
        defaultAuthority: 'orders:50051',
        onCallStart: () => void (running += 1),
        onCallEnd: ({ code }: { code: number }) => {
          running -= 1;
          callEnds.push(code);
        },
      },
    } as never,
    // Safe: a call uses only these members.
    pick: pick as never,
    unsent,
    addUnsent: (waiting: UnsentCall) => void unsent.add(waiting),
    compression,
    maxReceiveBytes,
  };
  const owner = { isOver: false };
  const call: WireCall = new WireCall(
    channel,
    '/testing.v1.Echo/Unary',
    deadline,
    options,
    {
      get isOver() {
        return owner.isOver;
      },
      onReceiveHeaders: (received) => void events.push(`headers ${JSON.stringify(received.metadata.toJSON())}`),
      onReceiveMessage: (message) => void events.push(`message ${message.toString()}`),
      onReceiveStatus: ({ code, details }) => void events.push(`status ${code} ${details}`),
      cancel: (why, code, details) => {
        events.push(`failure ${why}`);
        call.cancelWithStatus(code, details);
      },
    },
    clock,
  );
  context.run('caller', () => call.start(metadata));
  const receive = {
    headers: (encoding?: string, accepted = 'gzip') => {
      const own = ['grpc-accept-encoding', accepted, 'x-key', 'value'];
      const fields = encoding === undefined ? own : ['grpc-encoding', encoding, ...own];
      listener?.onReceiveHeaders(new ReceivedHeaders(blockOf(fields)));
    },
    message: (body: Buffer, flag = 0) => listener?.onReceiveMessage(body, flag === 1),
    status: (code: number, details = '') => listener?.onReceiveStatus({ code, details, metadata: new Metadata() }),
  };
  /** Publishes the next picker. */
  const pickAgain = () => {
    for (const waiting of [...unsent]) waiting.pickAgain();
  };
  const isRunning = () => running > 0;
  return {
    ...{ clock, did, sent, events, opened, call, owner, metadata, receive, callEnds, pickEnds, unsent, pickAgain },
    ...{ isRunning, connectivity },
  };
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

describe('WireCall', () => {
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
    const { opened, events, clock, call } = make({ deadline: EPOCH + leftMs });
    expect(call.waitsFor).toBe('a connection');
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
    receive.headers('identity');
    receive.message(Buffer.from('hello'));
    receive.status(0);
    expect(events).toEqual(['headers {"x-key":["value"]}', 'message hello', 'status 0 ']);
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ] as const)('inflates a %s response message before reporting the status that follows', async (encoding, deflate) => {
    const { events, receive } = make();
    receive.headers(encoding);
    receive.message(deflate('hello'), 1);
    receive.status(0);
    expect(events).toHaveLength(1);
    await waitFor(() => events.length === 3);
    expect(events.slice(1)).toEqual(['message hello', 'status 0 ']);
  });

  it('drops a response message that is being inflated when the call is cancelled', async () => {
    const { call, events, receive, clock } = make();
    receive.headers('gzip');
    receive.message(gzipSync('hello'), 1);
    receive.status(0);
    call.cancelWithStatus(Status.CANCELLED, 'enough');
    clock.advance(0);
    expect(events[1]).toBe('status 1 enough');
  });

  it('stops inflating a response message at the maximum receive size, and fails the call with RESOURCE_EXHAUSTED', async () => {
    const { did, events, receive } = make({ maxReceiveBytes: 1_000 });
    receive.headers('gzip');
    receive.message(gzipSync(Buffer.alloc(50_000_000)), 1);
    await waitFor(() => did.length === 1);
    expect(events.at(-1)).toBe('failure protocol');
    expect(did).toEqual(['cancel 8 Received message that decompresses to a size larger than 1000']);
  });

  it.each([
    ['gzip', 'cancel 13 Failed to decompress gzip-encoded message'],
    ['snappy', 'cancel 13 Compression method not supported: snappy'],
    [undefined, 'cancel 13 Received compressed message but "grpc-encoding" header was identity'],
  ])(
    'fails a call with INTERNAL if a response message cannot be inflated (encoding %s)',
    async (encoding, expected) => {
      const { did, receive } = make();
      receive.headers(encoding);
      receive.message(Buffer.from('not compressed'), 1);
      await waitFor(() => did.length === 1);
      expect(did).toEqual([expected]);
    },
  );

  it('fails a call at its deadline, and clears the deadline timer when a call ends', () => {
    const late = make({ deadline: EPOCH + 1_500 });
    expect(late.opened[0]!.headers.get('grpc-timeout')).toEqual(['1500m']);
    late.clock.advance(1_499);
    expect(late.did).toEqual([]);
    late.clock.advance(1);
    expect(late.events).toEqual(['failure deadline']);
    expect(late.did).toEqual(['cancel 4 Deadline exceeded after 1.500s,remote_addr=127.0.0.1:50051']);
    const early = make({ deadline: EPOCH + 1_500 });
    early.receive.status(0);
    expect(early.clock.pending).toBe(0);
  });

  it('reports the end of the call to the channel and the load-balancing policy once', () => {
    const { call, receive, callEnds, pickEnds, events } = make();
    receive.status(5, 'none');
    receive.status(13, 'again');
    call.cancelWithStatus(1, 'late');
    expect([callEnds, pickEnds, events]).toEqual([[5], [5], ['status 5 none']]);
  });

  it('delivers the status of a call and notifies the channel even if the load-balancing policy throws', () => {
    const { receive, events, callEnds } = make({
      pickEnd: () => {
        throw new Error('invalid load report');
      },
    });
    expect(() => receive.status(0)).toThrow('invalid load report');
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
  ])('sends everything in order when the policy picks a connection, if %s', (_, picks, metadata) => {
    const made = make({ picks, ...(metadata && { metadata }) });
    const { call, did, sent, opened, unsent, pickAgain, isRunning } = made;
    let written = 0;
    call.startRead();
    call.send(Buffer.from('a'), () => (written += 1));
    call.halfClose();
    expect([call.waitsFor, call.isPlaced, call.peer, written]).toEqual(['a connection', false, undefined, 0]);
    expect(isRunning()).toBe(true);
    while (unsent.size > 0 && opened.length === 0) pickAgain();
    expect(did).toEqual(['read', 'send', 'half-close']);
    expect(sent.map(({ message }) => message.toString())).toEqual(['a']);
    expect([call.waitsFor, call.isPlaced, call.peer, written]).toEqual([undefined, true, '127.0.0.1:50051', 1]);
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
    expect(events).toEqual(['failure deadline', 'status 4 Deadline exceeded after 1.500s, waiting for a connection']);
    expect([opened, clock.pending]).toEqual([[], 0]);
  });

  it('sends the rest of its deadline', () => {
    const { clock, pickAgain, opened } = make({ picks: ['queue', 'ready'], deadline: EPOCH + 1_500 });
    clock.advance(1_000);
    pickAgain();
    expect(opened[0]!.headers.get('grpc-timeout')).toEqual(['500m']);
  });

  it('is never sent after it is cancelled', () => {
    const { call, clock, events, pickAgain, opened } = make({ picks: ['queue', 'ready'] });
    call.cancelWithStatus(1, 'enough');
    call.cancelWithStatus(1, 'again');
    pickAgain();
    clock.advance(0);
    expect([events, opened, clock.pending]).toEqual([['status 1 enough'], [], 0]);
  });

  it('is never sent if its attempt is over, even if an interceptor has ignored the cancellation', () => {
    const { clock, events, owner, pickAgain, opened } = make({ picks: ['queue', 'ready'] });
    owner.isOver = true;
    pickAgain();
    clock.advance(0);
    expect([events, opened]).toEqual([['status 1 Cancelled before it was sent'], []]);
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
    waiting.clock.advance(0);
    expect(running.did).toEqual(['cancel 1 Cancelled by parent call']);
    expect(waiting.events).toEqual(['status 1 Cancelled by parent call']);
    expect(ended.did).toEqual([]);
    running.receive.status(1);
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
    const { call, opened, unsent } = make({
      options: { credentials: own.credentials, host: '[::1]:443' },
      ofChannel: CallCredentials.createFromMetadataGenerator((_, callback) => {
        const metadata = new Metadata();
        metadata.set('x-channel', 'c');
        callback(null, metadata);
      }),
    });
    expect([call.waitsFor, unsent.size]).toEqual(['call credentials', 1]);
    await own.respond();
    expect(own.asked).toEqual([{ method_name: '/testing.v1.Echo/Unary', service_url: 'https://::1/testing.v1.Echo' }]);
    expect(opened[0]).toMatchObject({ authority: '[::1]:443', store: 'caller' });
    expect(opened[0]!.headers.toJSON()).toMatchObject({ authorization: ['Bearer t'], 'x-channel': ['c'] });
    expect([call.waitsFor, unsent.size]).toEqual([undefined, 0]);
  });

  it('asks again for the next connection if the picked one ends meanwhile', async () => {
    const { credentials, asked, respond } = createToken();
    const made = make({ options: { credentials } });
    made.connectivity.state = 0;
    await respond();
    expect([made.call.waitsFor, made.opened]).toEqual(['a connection', []]);
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
    ['it is cancelled', ({ call }) => call.cancelWithStatus(1, 'enough'), 'status 1 enough'],
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
  const sendAll = ({ call }: ReturnType<typeof make>): void => {
    for (const [text, flags] of [['a'], ['b', 2], ['c']] as const) call.send(Buffer.from(text), undefined, flags);
    call.halfClose();
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
      expect(did).toEqual(['send', 'send', 'send', 'half-close']);
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
    made.receive.headers(undefined, 'identity, deflate');
    sendAll(made);
    await waitFor(() => made.did.includes('half-close'));
    expect(made.sent.map(({ compressed }) => compressed)).toEqual([0, 0, 0]);
    expect(make({ compression }).opened[0]!.headers.get('grpc-encoding')).toEqual([]);
  });
});

describe('timeoutValue', () => {
  it.each([
    [-5, '0m'],
    [0.2, '1m'],
    [1_500, '1500m'],
    [99_999_999, '99999999m'],
    [99_999_999.5, '100000S'],
    [100_000_000, '100000S'],
    [99_999_999_500, '1666667M'],
    [1e11, '1666667M'],
    [1e16, '99999999H'],
  ])('formats a grpc-timeout of %d ms as %s', (ms, expected) => {
    expect(timeoutValue(ms)).toBe(expected);
  });
});
