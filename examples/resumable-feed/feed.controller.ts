// #region all
import { setTimeout as delay } from 'node:timers/promises';
import { Controller } from '@nestjs/common';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import { CallSignal, GrpcException } from 'nestjs-resilient-grpc/server';
import type { WatchRequest } from '../gen/orders.js';
import { EventLog } from './event-log.js';

@Controller()
export class FeedController {
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
