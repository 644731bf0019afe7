import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { epochMs } from '../epoch.js';
import { callsDue } from '../load/due-calls.js';
import { OrderLog } from './order-log.js';

const TICK_MS = 10;
/** So that a reader who pauses leaves more lying than the buffers on the way hold. */
const ITEM = 'a chest of tea, '.repeat(25);

/** Appends orders that nobody on the other side asked for, at a steady rate: what a feed is there for. */
@Injectable()
export class Production implements OnModuleDestroy {
  private ticking: NodeJS.Timeout | undefined;

  constructor(private readonly log: OrderLog) {}

  /** So many a second from now on; 0: none. */
  run(perSecond: number): void {
    clearInterval(this.ticking);
    if (perSecond === 0) return;
    const startedAtMs = epochMs();
    let made = 0;
    this.ticking = setInterval(() => {
      for (; made < callsDue(perSecond, epochMs() - startedAtMs); made++)
        this.log.append({ requestId: 'production', item: ITEM, quantity: 1 });
    }, TICK_MS);
  }

  onModuleDestroy(): void {
    this.run(0);
  }
}
