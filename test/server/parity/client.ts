import {
  Client,
  Metadata,
  credentials,
  type ChannelCredentials,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  type MethodDefinition,
  type StatusObject,
} from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { KINDS_PROTO } from './places.js';

/** A message of kinds.proto. */
export interface Note {
  readonly text: string;
  readonly number: number;
  readonly payload: Buffer;
}

/** The result of a call. */
export interface Answer {
  readonly messages: readonly any[];
  readonly headers: Metadata | undefined;
  readonly status: StatusObject;
}

export interface CallSettings {
  readonly metadata?: Record<string, string | Buffer>;
  readonly deadlineMs?: number;
  /** Number of messages of a response stream after which reading stops until `resume()`. */
  readonly stopsAfter?: number;
}

export interface OpenCall {
  readonly messages: readonly any[];
  readonly headers: Metadata | undefined;
  readonly ended: Promise<Answer>;
  /** Writes a message of a request stream; resolves after it is written. */
  send(request: object): Promise<void>;
  /** Ends the request stream. */
  finish(): void;
  cancel(): void;
  /** Resumes reading after `stopsAfter`. */
  resume(): void;
}

export interface ClientSettings {
  readonly credentials?: ChannelCredentials;
  readonly options?: ClientOptions;
  readonly definition?: PackageDefinition;
}

type Call = ClientUnaryCall | ClientReadableStream<any> | ClientWritableStream<any> | ClientDuplexStream<any, any>;

const CONTRACT = loadSync(KINDS_PROTO, { defaults: true });

/** A grpc-js client whose results contain everything that was received. */
export class ParityClient {
  private readonly client: Client;
  private readonly definition: PackageDefinition;

  constructor(
    url: string,
    { credentials: own = credentials.createInsecure(), options = {}, definition = CONTRACT }: ClientSettings = {},
  ) {
    this.client = new Client(url, own, { 'grpc.use_local_subchannel_pool': 1, ...options });
    this.definition = definition;
  }

  /** Calls `method`, such as 'parity.v1.Kinds/Unary', with all requests; resolves when the call ends. */
  async call(method: string, requests: object | readonly object[] = {}, settings: CallSettings = {}): Promise<Answer> {
    const all = [requests].flat();
    const call = this.open(method, all[0], settings);
    if (this.find(method).requestStream) {
      for (const request of all) void call.send(request);
      call.finish();
    }
    return call.ended;
  }

  /** Starts a call of `method`. `request` is ignored by methods with a request stream. */
  open(method: string, request: object = {}, { metadata = {}, deadlineMs, stopsAfter }: CallSettings = {}): OpenCall {
    const sent = new Metadata();
    for (const [key, value] of Object.entries(metadata)) sent.add(key, value);
    const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
    const messages: any[] = [];
    let headers: Metadata | undefined;
    const call = this.begin(method, request, sent, options, (message) => {
      messages.push(message);
      // Pauses here, because more messages may arrive before the test continues.
      if (messages.length === stopsAfter && 'pause' in call) call.pause();
    });
    call.on('metadata', (received: Metadata) => {
      headers = received;
    });
    const ended = new Promise<Answer>((resolve) => {
      call.on('status', (status: StatusObject) => {
        // A response stream that ends with OK emits its remaining messages before 'end'. Any other call emits its last message before
        // the next event-loop turn.
        if ('readable' in call && status.code === 0) call.on('end', () => resolve({ messages, headers, status }));
        else setImmediate(() => resolve({ messages, headers, status }));
      });
    });
    return {
      messages,
      get headers() {
        return headers;
      },
      ended,
      send: (message) =>
        new Promise((resolve) => {
          if ('write' in call) call.write(message, resolve);
        }),
      finish: () => {
        if ('end' in call) call.end();
      },
      cancel: () => call.cancel(),
      resume: () => {
        if ('resume' in call) call.resume();
      },
    };
  }

  close(): void {
    this.client.close();
  }

  private begin(
    method: string,
    request: object,
    metadata: Metadata,
    options: { deadline?: number },
    received: (message: unknown) => void,
  ): Call {
    const found = this.find(method);
    const { path, requestSerialize: serialize, responseDeserialize: deserialize } = found;
    const answered = (_error: unknown, message?: unknown) => {
      if (message !== undefined) received(message);
    };
    if (!found.responseStream) {
      return found.requestStream
        ? this.client.makeClientStreamRequest(path, serialize, deserialize, metadata, options, answered)
        : this.client.makeUnaryRequest(path, serialize, deserialize, request, metadata, options, answered);
    }
    const stream = found.requestStream
      ? this.client.makeBidiStreamRequest(path, serialize, deserialize, metadata, options)
      : this.client.makeServerStreamRequest(path, serialize, deserialize, request, metadata, options);
    return stream.on('data', received).on('error', () => undefined);
  }

  private find(method: string): MethodDefinition<any, any> {
    const [service = '', name = ''] = method.split('/');
    // The cast is safe because callers pass only service names, and services contain methods.
    const found = (this.definition[service] as Record<string, MethodDefinition<any, any>> | undefined)?.[name];
    if (found === undefined) throw new Error(`no ${method} in ${Object.keys(this.definition).join(', ')}`);
    return found;
  }
}

/** Waits until `call` has received `count` messages. */
export async function received(call: OpenCall, count: number): Promise<void> {
  await waitFor(() => call.messages.length >= count, {
    describe: () => `${count} messages, got ${call.messages.length}`,
  });
}

export function numbers({ messages }: { readonly messages: readonly any[] }): number[] {
  return messages.map(({ number }: Note) => number);
}

/** Notes numbered from 1 to `count`. */
export function notes(count: number, text = ''): Partial<Note>[] {
  return Array.from({ length: count }, (_, index) => ({ text, number: index + 1 }));
}
