import { Client, Metadata, credentials, status } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import type { ServiceConfig } from 'nestjs-resilient-grpc';
import { onTestFinished } from 'vitest';
import { startClient, type EchoService } from '../calls/support.js';
import { ECHO_PROTO, type Echo, type EchoRequest } from '../testing/echo-client.js';

/** Result of a call. */
export interface Ended {
  /** Name of the status, such as 'OK' or 'UNAVAILABLE'. */
  readonly status: string;
  readonly ms: number;
  readonly messages: number;
}

/** A call in progress. */
export interface Running {
  readonly ended: Promise<Ended>;
  cancel(): void;
}

/** One of the two clients under comparison, with its own channel. */
export interface Contender {
  /** @param timeoutMs time from now to the deadline; 20 s by default */
  unary(timeoutMs?: number, text?: string): Running;
  serverStream(): Running;
}

/** Creates a client for `url` with a service config. */
export type Maker = (url: string, serviceConfig: ServiceConfig) => Promise<Contender>;

const DEFAULT_TIMEOUT_MS = 20_000;

interface Report {
  readonly message: () => void;
  readonly end: (code: number) => void;
}

/** Measures the call that `begin` starts. `begin` returns a function that cancels it. */
function measureCall(begin: (report: Report) => () => void): Running {
  const beganAt = performance.now();
  let messages = 0;
  let cancel: () => void = () => undefined;
  const ended = new Promise<Ended>((resolve) => {
    cancel = begin({
      message: () => (messages += 1),
      end: (code) => resolve({ status: status[code] ?? String(code), ms: performance.now() - beganAt, messages }),
    });
  });
  return { ended, cancel: () => cancel() };
}

/** grpc-js's own client with its own policies. */
export const grpcJs: Maker = async (url, serviceConfig) => {
  const client = new Client(url, credentials.createInsecure(), {
    'grpc.service_config': JSON.stringify(serviceConfig),
    'grpc.use_local_subchannel_pool': 1,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 200,
  });
  onTestFinished(() => client.close());
  const service = loadSync(ECHO_PROTO)['testing.v1.Echo'] as ServiceDefinition;
  const { Unary, ServerStream } = service as unknown as Record<string, MethodDefinition<EchoRequest, Echo>>;
  return {
    unary: (timeoutMs = DEFAULT_TIMEOUT_MS, text = '') =>
      measureCall(({ message, end }) => {
        const { path, requestSerialize, responseDeserialize } = Unary!;
        const options = { deadline: Date.now() + timeoutMs };
        const metadata = new Metadata();
        const call = client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          { text },
          metadata,
          options,
          (_, value) => {
            if (value !== undefined) message();
          },
        );
        call.on('status', ({ code }) => end(code));
        return () => call.cancel();
      }),
    serverStream: () =>
      measureCall(({ message, end }) => {
        const { path, requestSerialize, responseDeserialize } = ServerStream!;
        const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {});
        call.on('data', message);
        call.on('error', () => undefined);
        call.on('status', ({ code }) => end(code));
        return () => call.cancel();
      }),
  };
};

/** This library's client. */
export const resilient: Maker = async (url, serviceConfig) => {
  const client = await startClient({ url, serviceConfig });
  const echo = client.getService<EchoService>('Echo');
  const watch = (call: ReturnType<typeof echo.unary>) =>
    measureCall(({ message, end }) => {
      const subscription = call.subscribe({
        next: message,
        error: ({ code }: { code: number }) => end(code),
        complete: () => end(status.OK),
      });
      return () => subscription.unsubscribe();
    });
  return {
    unary: (timeoutMs = DEFAULT_TIMEOUT_MS, text = '') =>
      watch(echo.unary({ text }, { deadline: Date.now() + timeoutMs })),
    serverStream: () => watch(echo.serverStream({})),
  };
};
