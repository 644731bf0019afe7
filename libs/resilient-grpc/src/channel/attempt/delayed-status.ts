import type { StatusObject } from '@grpc/grpc-js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import type { ConnectionRecord } from '../quirks/connection-record.js';

/** Maximum delay of a status. A grpcio server that is stopped may send statuses up to 4 ms before its GOAWAY. */
export const GOAWAY_LAG_MS = 20;

/** Delivers a status when `connection` receives GOAWAY or closes, but after 20 ms at the latest. */
export class DelayedStatus {
  private readonly timer: PeerTimer;
  private isDue = false;

  constructor(
    private status: StatusObject,
    private readonly connection: ConnectionRecord,
    private readonly clock: Clock,
    private readonly deliver: (status: StatusObject) => void,
  ) {
    this.timer = new PeerTimer(clock, GOAWAY_LAG_MS, this.due, true);
    connection.endListeners.add(this.due);
  }

  /** Delivers `status` instead, in the next turn of the event loop. */
  replace(status: StatusObject): void {
    this.status = status;
    this.due();
  }

  private readonly due = (): void => {
    if (this.isDue) return;
    this.isDue = true;
    this.timer.clear();
    this.connection.endListeners.delete(this.due);
    // Node and grpc-js have handled the GOAWAY by then.
    this.clock.defer(() => {
      this.deliver(this.status);
    });
  };
}
