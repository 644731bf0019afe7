import type { GrpcObservable } from 'nestjs-resilient-grpc';
import { FaultProxy, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, toArray } from 'rxjs';
import { onTestFinished } from 'vitest';
import { startClient, startServer, toList, type EchoService, type EchoStub } from '../calls/support.js';
import type { Echo } from '../testing/echo-client.js';

/** The two ways to read a stream. */
export const READERS: Readonly<Record<string, (stream: GrpcObservable<Echo>) => Promise<Echo[]>>> = {
  pushed: (stream) => lastValueFrom(stream.pipe(toArray())),
  pulled: (stream) => toList(stream),
};

/** Starts a server, a proxy that can break connections, and a client that connects through the proxy. */
export async function startBehindProxy(): Promise<{ server: ScriptedGrpcServer; proxy: FaultProxy; echo: EchoStub }> {
  const server = await startServer();
  const proxy = await FaultProxy.start(server.url);
  onTestFinished(() => proxy.close());
  const client = await startClient({ url: proxy.url });
  return { server, proxy, echo: client.getService<EchoService>('Echo') };
}
