import { Socket } from 'node:net';
import { Controller } from '@nestjs/common';
import { GrpcMethod, GrpcStreamCall } from '@nestjs/microservices';
import type { ServerDuplexStream, ServerUnaryCall } from '@grpc/grpc-js';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../../support/free-port.mjs';
import type { Note } from './client.js';
import { SERVERS, startServer, type RunningServer } from './servers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

interface Peer {
  readonly call: { readonly stream: { readonly session: { readonly socket: Socket } } };
}

@Controller()
class CallObjectController {
  @GrpcMethod('Kinds', 'Unary')
  unary(_note: Note, _metadata: unknown, call: ServerUnaryCall<Note, Note> & Peer) {
    const { socket } = call.call.stream.session;
    return { text: `${String(socket.remoteAddress)} ${String(socket instanceof Socket)}` };
  }

  @GrpcStreamCall('Calls', 'Chat')
  chat(call: ServerDuplexStream<Note, Note>) {
    call.on('data', () => {
      throw new Error('thrown by a listener');
    });
  }
}

describe.each(SERVERS)('%s: the call that a handler gets', (serverKind) => {
  let server: RunningServer;

  async function start(): Promise<void> {
    const options = { url: `127.0.0.1:${String(await freePort())}` };
    server = await startServer({ serverKind, controllers: [CallObjectController], options });
  }
  afterEach(() => server.close());

  it('leads to the socket of the client', async () => {
    await start();
    const { messages } = await server.client.call('parity.v1.Kinds/Unary');
    expect(messages).toMatchObject([{ text: '127.0.0.1 true' }]);
  });

  it('rejects a promise, and throws no uncaught exception, if a listener for its messages throws', async () => {
    const seen: string[] = [];
    const note = (origin: string) => (error: Error) => void seen.push(`${origin}: ${error.message}`);
    for (const event of ['unhandledRejection', 'uncaughtException'] as const) {
      const listeners = process.listeners(event as never);
      process.removeAllListeners(event).on(event, note(event));
      onTestFinished(() => {
        process.removeAllListeners(event);
        for (const listener of listeners) process.on(event, listener);
      });
    }
    await start();
    const call = server.client.open('parity.v1.Calls/Chat');
    await call.send({ number: 1 });
    await waitFor(() => seen.length > 0);
    call.cancel();
    await call.ended;
    expect(seen).toEqual(['unhandledRejection: thrown by a listener']);
  });
});
