import { fileURLToPath } from 'node:url';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import type {
  CallOptions,
  ChannelCredentials,
  ClientDuplexStream,
  ClientReadableStream,
  ServiceError,
  StatusObject,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { ServiceDefinition } from '@grpc/proto-loader';

/** Path of the .proto file of testing.v1.Echo. */
export const ECHO_PROTO = fileURLToPath(new URL('../../protos/testing/echo.proto', import.meta.url));

export interface Echo {
  readonly text: string;
  readonly number: number;
  readonly payload: Buffer;
}
export type EchoRequest = Partial<Echo>;

export interface Answer {
  readonly value: Echo | undefined;
  readonly error: ServiceError | undefined;
  /** Response headers; `undefined` if absent. */
  readonly headers: Metadata | undefined;
  readonly status: StatusObject;
}

const service = loadSync(ECHO_PROTO)['testing.v1.Echo'] as ServiceDefinition;
type MethodName = 'Unary' | 'UnsafeUnary' | 'ClientStream' | 'ServerStream' | 'Bidi';

/** A plain grpc-js client with its own connection pool. Its results expose the behavior of the transport. */
export class EchoClient {
  readonly client: Client;

  constructor(url: string, creds: ChannelCredentials = credentials.createInsecure(), options = {}) {
    this.client = new Client(url, creds, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 200,
      ...options,
    });
  }

  get state() {
    return this.client.getChannel().getConnectivityState(false);
  }

  unary(request: EchoRequest, options: CallOptions & { metadata?: Metadata; method?: MethodName } = {}) {
    const { path, requestSerialize, responseDeserialize } = service[options.method ?? 'Unary']!;
    return new Promise<Answer>((resolve) => {
      let headers: Metadata | undefined;
      let result: { value: Echo | undefined; error: ServiceError | undefined } | undefined;
      let status: StatusObject | undefined;
      const done = () => {
        if (result !== undefined && status !== undefined) resolve({ ...result, headers, status });
      };
      const call = this.client.makeUnaryRequest(
        path,
        requestSerialize as (value: EchoRequest) => Buffer,
        responseDeserialize as (bytes: Buffer) => Echo,
        request,
        options.metadata ?? new Metadata(),
        { deadline: Date.now() + 25_000, ...options },
        (error, value) => {
          result = { value, error: error ?? undefined };
          done();
        },
      );
      call.on('metadata', (metadata) => {
        headers = metadata;
      });
      call.on('status', (end) => {
        status = end;
        done();
      });
    });
  }

  serverStream(request: EchoRequest): Stream<ClientReadableStream<Echo>> {
    const { path, requestSerialize, responseDeserialize } = service.ServerStream!;
    return watch(
      this.client.makeServerStreamRequest(
        path,
        requestSerialize as (value: EchoRequest) => Buffer,
        responseDeserialize as (bytes: Buffer) => Echo,
        request,
      ),
    );
  }

  bidi(): Stream<ClientDuplexStream<EchoRequest, Echo>> {
    const { path, requestSerialize, responseDeserialize } = service.Bidi!;
    return watch(
      this.client.makeBidiStreamRequest(
        path,
        requestSerialize as (value: EchoRequest) => Buffer,
        responseDeserialize as (bytes: Buffer) => Echo,
      ),
    );
  }

  clientStream(requests: readonly EchoRequest[]) {
    const { path, requestSerialize, responseDeserialize } = service.ClientStream!;
    return new Promise<Echo>((resolve, reject) => {
      const call = this.client.makeClientStreamRequest(
        path,
        requestSerialize as (value: EchoRequest) => Buffer,
        responseDeserialize as (bytes: Buffer) => Echo,
        (error, value) => (value === undefined ? reject(error!) : resolve(value)),
      );
      for (const request of requests) call.write(request);
      call.end();
    });
  }

  close(): void {
    this.client.close();
  }
}

export interface Stream<C> {
  readonly call: C;
  readonly messages: Echo[];
  readonly ended: Promise<StatusObject>;
}

function watch<C extends ClientReadableStream<Echo> | ClientDuplexStream<EchoRequest, Echo>>(call: C): Stream<C> {
  const messages: Echo[] = [];
  call.on('data', (message: Echo) => messages.push(message));
  call.on('error', () => undefined);
  const ended = new Promise<StatusObject>((resolve) => {
    call.on('status', resolve);
  });
  return { call, messages, ended };
}
