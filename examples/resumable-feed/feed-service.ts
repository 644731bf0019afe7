import { setTimeout as delay } from 'node:timers/promises';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import {
  CallSignal,
  GrpcException,
  ResilientGrpcServer,
  ResilientGrpcServerModule,
} from 'nestjs-resilient-grpc/server';
import type { OrderEvent, WatchRequest } from '../gen/orders.js';

// #region log
/** Keeps events in order. Yours is a table; `read` is `select … where sequence > $1 order by sequence limit 100`. */
export class EventLog {
  readonly #events: OrderEvent[] = [];
  #last = 0n;

  append(item: string): void {
    this.#last += 1n; // unique, and growing in the order in which events become visible to readers
    const sequence = String(this.#last);
    this.#events.push({ sequence, order: { id: sequence, requestId: '', item, quantity: 1, sequence } });
  }

  /** Forgets all events up to `sequence`. */
  trim(sequence: bigint): void {
    while (this.#events[0] !== undefined && BigInt(this.#events[0].sequence) <= sequence) this.#events.shift();
  }

  /** The last sequence that is no longer kept. */
  async trimmed(): Promise<bigint> {
    return BigInt(this.#events[0]?.sequence ?? this.#last + 1n) - 1n;
  }

  async read(after: bigint): Promise<readonly OrderEvent[]> {
    return this.#events.filter(({ sequence }) => BigInt(sequence) > after).slice(0, 100);
  }
}
// #endregion

// #region handler
@Controller()
class FeedController {
  constructor(private readonly log: EventLog) {}

  /** Sends every event after the cursor: past events first, then new ones as they occur. */
  @GrpcMethod('Orders') async *watch(@Payload() { from }: WatchRequest, @CallSignal() signal: AbortSignal) {
    let cursor = BigInt(from);
    if (cursor < (await this.log.trimmed()))
      throw new GrpcException('OUT_OF_RANGE', `events up to ${await this.log.trimmed()} are no longer kept`);
    for (let quiet = 1; ; quiet++) {
      for (const event of await this.log.read(cursor)) {
        yield event; // waits until the caller takes it
        cursor = BigInt(event.sequence);
      }
      if (quiet % 200 === 0) yield { sequence: String(cursor) }; // a heartbeat every 20 s
      await delay(100, undefined, { signal }); // ends with the call
    }
  }
}
// #endregion

@Module({})
class FeedModule {}

/** Starts the service. It must start again with the same log, or it will not know the cursors of its callers. */
export async function serve(log: EventLog, port = 50051) {
  const contract = { package: 'orders.v1', protoPath: 'protos/orders.proto', loader: { longs: String } };
  const module = {
    module: FeedModule,
    imports: [ResilientGrpcServerModule.forRoot({ ...contract, url: `127.0.0.1:${port}` })],
    controllers: [FeedController],
    providers: [{ provide: EventLog, useValue: log }],
  };
  const app = await NestFactory.createMicroservice(module, {
    inject: [ResilientGrpcServer],
    useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
    logger: false,
  });
  app.enableShutdownHooks();
  await app.listen();
  return app;
}
