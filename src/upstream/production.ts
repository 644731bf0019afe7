import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { epochMs } from '../epoch.js';
import { callsDue } from '../load/load.js';
import { OrderLog } from './order-log.js';

const TICK_MS = 10;
/** Item of each order, large enough that the buffers between server and client fill up while a reader pauses. */
const ITEM = 'a chest of tea, '.repeat(25);

/** Appends orders to the log at a steady rate, as events for feeds. */
@Injectable()
export class Production implements OnModuleDestroy {
  private ticking: NodeJS.Timeout | undefined;

  constructor(private readonly log: OrderLog) {}

  /** Appends this many orders per second from now on; 0 stops. */
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
