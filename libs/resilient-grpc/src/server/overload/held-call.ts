import { AsyncResource } from 'node:async_hooks';
import type { WaitingCall } from '../../policy/overload/overload-queue.js';
import type { ServiceTime } from '../../policy/overload/service-time.js';
import type { ServedCall } from '../calls/served-call.js';

/**
 * A call whose handler has not started. The handler starts in the async context in which the call arrived, because tracing and request
 * scopes use this context.
 */
export class HeldCall extends AsyncResource implements WaitingCall<HeldCall> {
  order = 0;
  isRemoved = false;
  previous: HeldCall | undefined;
  next: HeldCall | undefined;
  weight = 0;
  variance = 0;

  constructor(
    readonly call: ServedCall,
    readonly serviceTime: ServiceTime,
    readonly arrivedAt: number,
    private readonly start: () => void,
  ) {
    super('GrpcHeldCall');
  }

  get deadline(): number {
    return this.call.deadline;
  }

  /** Starts the handler, or passes the call to the next limit or the gate. */
  serve(): void {
    this.runInAsyncScope(this.start);
  }
}
