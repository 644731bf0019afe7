import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { Controller, Module, type INestMicroservice, type LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, GrpcStreamMethod } from '@nestjs/microservices';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { Observable, map } from 'rxjs';
import { FLAG, FRAME, FrameReader, ping, settingsAck } from '../unit-support/frames.js';
import { ECHO_PROTO, EchoClient, type EchoRequest } from '../testing/echo-client.js';
import { clientSequence } from './client-frames.js';
import type { FuzzTarget } from './fuzz-run.js';
import { end, runSteps, turns } from './hostile-server.js';

const LINGER_MS = 50;
const CLEANUP_WAIT_MS = 5;
const MAX_CLEANUP_WAITS = 600;
const PROBE_TIMEOUT_MS = 60_000;
const PAYLOAD = Buffer.alloc(1_024);

@Controller()
class EchoController {
  @GrpcMethod('Echo', 'Unary')
  unary(request: EchoRequest): EchoRequest {
    return request;
  }

  @GrpcMethod('Echo', 'UnsafeUnary')
  async unsafeUnary(request: EchoRequest): Promise<EchoRequest> {
    await turns(2);
    return request;
  }

  @GrpcStreamMethod('Echo', 'ClientStream')
  clientStream(requests: Observable<EchoRequest>): Promise<EchoRequest> {
    return new Promise((resolve, reject) => {
      let number = 0;
      requests.subscribe({ next: () => (number += 1), complete: () => resolve({ number }), error: reject });
    });
  }

  @GrpcMethod('Echo', 'ServerStream')
  async *serverStream({ number = 0 }: EchoRequest): AsyncGenerator<EchoRequest> {
    for (let i = 0; i < number; i++) yield { number: i, payload: PAYLOAD };
  }

  @GrpcStreamMethod('Echo', 'Bidi')
  bidi(requests: Observable<EchoRequest>): Observable<EchoRequest> {
    return requests.pipe(map(({ number = 0 }) => ({ number })));
  }
}

/** A ResilientGrpcServer with hostile clients and correct ones. */
export class ServerTarget implements FuzzTarget {
  private constructor(
    private readonly app: INestMicroservice,
    private readonly server: ResilientGrpcServer,
    private readonly port: number,
    private readonly probes: readonly EchoClient[],
  ) {}

  static async start(lanes: number, logger: LoggerService): Promise<ServerTarget> {
    @Module({
      imports: [
        ResilientGrpcServerModule.forRoot({ package: 'testing.v1', protoPath: ECHO_PROTO, url: '127.0.0.1:0' }),
      ],
      controllers: [EchoController],
    })
    class AppModule {}
    const app = await NestFactory.createMicroservice(AppModule, {
      inject: [ResilientGrpcServer],
      useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
      logger,
    });
    await app.listen();
    const server = app.get(ResilientGrpcServer);
    const { port } = server;
    if (port === undefined) throw new Error('the server is not listening');
    const probes = Array.from({ length: lanes }, () => new EchoClient(`127.0.0.1:${port}`));
    return new ServerTarget(app, server, port, probes);
  }

  async runSequence(lane: number, seed: number, without: ReadonlySet<number>): Promise<string | undefined> {
    const { steps, streams, ending } = clientSequence(seed);
    const socket = connect(this.port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    const reader = new FrameReader(0, ({ type, flags, payload }) => {
      if ((flags & FLAG.ack) !== 0 || !socket.writable) return;
      if (type === FRAME.settings) socket.write(settingsAck());
      if (type === FRAME.ping) socket.write(ping(payload, FLAG.ack));
    });
    socket.on('data', (bytes) => {
      reader.read(bytes);
    });
    await runSteps(
      socket,
      steps.filter((_, at) => !without.has(at)),
      streams,
    );
    await turns();
    const peer = `127.0.0.1:${socket.localPort}`;
    const openPaths = (): readonly string[] =>
      this.server.activeStreams().flatMap((stream) => (stream.peer === peer ? [stream.path] : []));
    if (ending === 'linger') await wait(LINGER_MS);
    await end(socket, ending === 'rst');
    // The limit is far below the time after which a keepalive ping would detect the disconnected client.
    for (let waits = 0; openPaths().length > 0 && waits < MAX_CLEANUP_WAITS; waits++) await wait(CLEANUP_WAIT_MS);
    if (openPaths().length > 0) return `streams of a closed connection are still open: ${openPaths().join()}`;
    // Makes another call, which must succeed.
    const deadline = Date.now() + PROBE_TIMEOUT_MS;
    const answer = await this.probes[lane]?.unary({ number: 7 }, { deadline });
    return answer?.value?.number === 7 ? undefined : `the next call fails: ${String(answer?.error)}`;
  }

  describe(seed: number): readonly string[] {
    const { streams, steps, ending } = clientSequence(seed);
    return [`streams ${streams.join()}`, ...steps.map(({ what }) => what), `then: ${ending}`];
  }

  async close(): Promise<string | undefined> {
    for (const probe of this.probes) probe.close();
    const open = (): string => JSON.stringify(this.server.activeStreams().map(({ path }) => path));
    let leak: string | undefined;
    try {
      await waitFor(() => this.server.activeStreams().length === 0, { timeoutMs: 10_000 });
    } catch {
      leak = `streams are still open: ${open()}`;
    }
    await this.app.close();
    return leak;
  }
}
