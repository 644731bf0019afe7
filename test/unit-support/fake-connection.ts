import { AsyncLocalStorage } from 'node:async_hooks';
import { CallCredentials, Metadata } from '@grpc/grpc-js';
import { metadataOf } from '../../libs/resilient-grpc/src/channel/subchannel/header-fields.js';
import type { UnsentCall } from '../../libs/resilient-grpc/src/channel/wire/socket-attempt.js';
import type { SocketWire } from '../../libs/resilient-grpc/src/channel/wire/socket-wire.js';
import type { RequestCompression } from '../../libs/resilient-grpc/src/channel/wire/outgoing-requests.js';
import type { ResponseFailure, ResponseStream } from '../../libs/resilient-grpc/src/transport/grpc/response-stream.js';
import { blockOf, blockOfMetadata } from './header-blocks.js';

/** What the load-balancing policy does with a call. 'full': the picked subchannel takes no calls. 'none': there is no policy yet. */
export type Pick = 'ready' | 'queue' | 'stale' | 'full' | 'failure' | 'drop' | 'none';
const PICK_TYPES = { ready: 0, stale: 0, full: 0, queue: 1, failure: 2, drop: 3 } as const;

/** Async context of the caller in tests. */
export const callerContext = new AsyncLocalStorage<string>();

export interface FakeChannelSettings {
  readonly transport?: 'socket' | 'grpc-js';
  /** Picks, of which the last one is repeated. */
  readonly picks?: readonly Pick[];
  readonly pickEnd?: () => void;
  readonly ofChannel?: CallCredentials;
  readonly compression?: RequestCompression | undefined;
  readonly maxReceiveBytes?: number;
  /** Subchannel that the policy picks instead of the one of the test. */
  readonly subchannel?: object | undefined;
}

/** A channel with one connection, whose peer is the test. */
export function fakeChannel({
  transport = 'socket',
  picks = ['ready'],
  pickEnd = () => undefined,
  ofChannel = CallCredentials.createEmpty(),
  compression,
  maxReceiveBytes = Infinity,
  subchannel,
}: FakeChannelSettings = {}) {
  /** What the attempts did on the connection, in order. */
  const did: string[] = [];
  const sent: { readonly message: Buffer; readonly compressed: number }[] = [];
  const opened: { readonly headers: Metadata; readonly authority: string; readonly store: unknown }[] = [];
  let response: ResponseStream | undefined;
  let hasHeaders = false;
  const stream = {
    id: 1,
    isClosed: false,
    isLocalEnded: false,
    obstacle: undefined as string | undefined,
    send: (message: Uint8Array, compressed = 0) => {
      sent.push({ message: Buffer.from(message), compressed });
      did.push(`send ${Buffer.from(message).toString()}`);
      return true;
    },
    end: () => void did.push('half-close'),
    cancel: () => void did.push('cancel'),
    credit: () => undefined,
    awaitDrain: () => undefined,
  };
  const connection = {
    address: '127.0.0.1:50051',
    peer: '127.0.0.1:50051',
    authContext: {},
    endListeners: new Set<() => void>(),
    goawayCode: undefined as number | undefined,
    isUsable: true,
    hasTimedOut: false,
    isPeersFault: false,
    resetsStreams: false,
    maxMessageBytes: Infinity,
    socket: { callStarted: () => undefined, callEnded: () => undefined },
    open: (to: ResponseStream, _path: string, authority: string, fields: readonly string[]) => {
      opened.push({ headers: metadataOf(blockOf(fields)), authority, store: callerContext.getStore() });
      response = to;
      return stream;
    },
    streamReset: () => undefined,
    retireIfStalled: () => undefined,
    lossText: () => 'Connection dropped',
  };
  const connectivity = { state: 2 };
  let pickCount = 0;
  const pickEnds: number[] = [];
  const pick = () => {
    const type = picks[Math.min(pickCount, picks.length - 1)]!;
    pickCount += 1;
    if (type === 'none') return undefined;
    return {
      pickResultType: PICK_TYPES[type],
      subchannel: subchannel ?? {
        getConnectivityState: () => (type === 'stale' ? 0 : connectivity.state),
        getCallCredentials: () => ofChannel,
        getRealSubchannel: () => ({ connectionFor: () => (type === 'full' ? undefined : connection) }),
      },
      status: { code: type === 'drop' ? 5 : 14, details: 'No connection established', metadata: new Metadata() },
      onCallStarted: null,
      onCallEnded: (code: number) => {
        pickEnds.push(code);
        pickEnd();
      },
    };
  };
  const unsent = new Set<UnsentCall>();
  const callEnds: number[] = [];
  const counts = { running: 0, active: 0, ended: 0 };
  const answered: number[] = [];
  const tooLong: { peer: string | undefined; startedAt: number; waitedMs: number }[] = [];
  /** Reports of `endpoints`. */
  const endpointReports: string[] = [];
  const grpcJs = new FakeGrpcJsCall();
  const histories = {
    isUndecided: false,
    answeredTo: (_peer: string | undefined, startedAt: number) => void answered.push(startedAt),
  };
  const channel = {
    transport,
    channel: {
      createCall: () => grpcJs,
      getTarget: () => 'dns:orders:50051',
    },
    calls: {
      authority: 'orders:50051',
      started: () => void (counts.running += 1),
      ended: ({ code }: { code: number }) => {
        counts.running -= 1;
        callEnds.push(code);
      },
    },
    pick,
    unsent,
    addUnsent: (waiting: UnsentCall) => void unsent.add(waiting),
    compression,
    maxReceiveBytes,
    maxSendBytes: 100,
    ready: true,
    loads: undefined,
    histories,
    attemptStarted: () => void (counts.active += 1),
    attemptEnded: () => {
      counts.active -= 1;
      counts.ended += 1;
    },
    timedOut: (peer: string | undefined, startedAt: number, waitedMs: number) =>
      void tooLong.push({ peer, startedAt, waitedMs }),
    silenceRemedy: () => 'nothing received',
    endpoints: {
      started: () => void endpointReports.push('started'),
      answered: () => void endpointReports.push('answered'),
      ended: () => void endpointReports.push('ended'),
    },
  };
  const receive = {
    headers: (metadata = new Metadata(), encoding?: string) => {
      const block = blockOfMetadata(metadata);
      block.status = '200';
      block.grpcEncoding = encoding;
      hasHeaders = true;
      response?.headers(block, false);
    },
    message: (body: string | Buffer, flag = 0) => {
      const bytes = Buffer.from(body);
      const prefix = Buffer.alloc(5);
      prefix.writeUInt8(flag);
      prefix.writeUInt32BE(bytes.length, 1);
      const frame = Buffer.concat([prefix, bytes]);
      response?.request(Infinity);
      response?.data(frame, 0, frame.length);
    },
    /** The status of the server, in trailers, or without headers before it. */
    status: (code: number, details = '', metadata = new Metadata()) => {
      const block = blockOfMetadata(metadata);
      block.grpcStatus = String(code);
      block.grpcMessage = details;
      if (!hasHeaders) block.status = '200';
      response?.headers(block, true);
    },
    failure: (failure: Partial<ResponseFailure>) =>
      response?.failed({
        ...{ cause: 'lost', code: 0, details: '', progress: 'sent', protection: undefined },
        ...failure,
      } as never),
  };
  /** Publishes the next picker. */
  const pickAgain = (): void => {
    for (const waiting of [...unsent]) waiting.pickAgain();
  };
  return {
    ...{ did, sent, opened, stream, connection, connectivity, pickEnds, unsent, callEnds, counts, answered, tooLong },
    ...{ endpointReports, grpcJs, histories, receive, pickAgain, channel },
    /** Stream of the response to the latest attempt. */
    get response(): ResponseStream {
      return response!;
    },
    // Safe: an attempt uses only these members.
    wire: channel as unknown as SocketWire,
  };
}

interface Listener {
  onReceiveMetadata(headers: Metadata): void;
  onReceiveMessage(message: Buffer): void;
  onReceiveStatus(status: { readonly code: number; readonly details: string; readonly metadata: Metadata }): void;
}

/** A call of grpc-js, which the test controls. */
class FakeGrpcJsCall {
  listener: Listener | undefined;
  peer = '127.0.0.1:50051';
  readonly did: string[] = [];

  start(_metadata: Metadata, listener: Listener): void {
    this.listener = listener;
    this.did.push('start');
  }
  sendMessageWithContext(context: { callback?: () => void }, message: Buffer): void {
    this.did.push(`send ${message.toString()}`);
    context.callback?.();
  }
  startRead(): void {
    this.did.push('read');
  }
  halfClose(): void {
    this.did.push('half-close');
  }
  cancelWithStatus(code: number, details: string): void {
    this.did.push(`cancel ${code} ${details}`);
  }
  getPeer(): string {
    return this.peer;
  }
  end(code: number, details = '', metadata = new Metadata()): void {
    this.listener?.onReceiveStatus({ code, details, metadata });
  }
}
